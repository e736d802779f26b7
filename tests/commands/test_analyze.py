"""`analyze TABLE.csv`: the same answers as the function, JSON alone on standard output, one line for a mistake."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from sota_bench.commands.analyze import command
from sota_bench.errors import UserError
from sota_bench.stats import analyze

CSV = """seed,mixup,mitigation,tta,accuracy,status
0,0,none,false,50.0,done
0,0,none,true,51.1,done
0,0.2,none,false,52.5,done
0,0.2,none,true,53.4,done
1,0,none,false,49.0,done
1,0,none,true,50.2,done
1,0.2,none,false,51.9,done
1,0.2,none,true,52.8,done
2,0,none,false,50.7,done
2,0,none,true,51.6,done
2,0.2,none,false,53.0,done
2,0.2,none,true,,failed
"""


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "trials.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_json_is_the_function_on_the_same_table(csv: Path) -> None:
    options = [
        "--response",
        "accuracy",
        "--factors",
        "mixup,tta",
        "--block",
        "seed",
        "--within",
        "tta",
        "--delta",
        "0.5",
    ]
    printed = json.loads(run(csv, *options, "--json"))
    expected = analyze(
        pd.read_csv(csv, dtype=str),
        response="accuracy",
        factors=["mixup", "tta"],
        block="seed",
        within=["tta"],
        delta=0.5,
    )
    assert printed == json.loads(expected.to_json())
    assert any("1 row with status failed" in warning for warning in printed["warnings"])


def test_text_has_verdicts_and_warnings(csv: Path) -> None:
    text = run(csv, "--response", "accuracy", "--factors", "mixup", "--block", "seed")
    assert "mixup 0.2 vs 0: helps" in text.replace("\n", " ")
    assert "Warning:" in text


def test_without_a_block_it_is_the_plain_factorial(csv: Path) -> None:
    printed = json.loads(run(csv, "--response", "accuracy", "--factors", "mixup,tta", "--json"))
    assert {row["error"] for row in printed["contrasts"]} == {"pooled", "moderated"}
    assert printed["anova"][0]["df_error"] == 11 - 4


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (None, [], "there is no such file"),
        ("", [], "the file is empty"),
        ("seed,mixup,accuracy\n", [], "no rows"),
        (CSV, ["--response", "acc"], "did you mean accuracy"),
        (CSV, ["--factors", "mitigation"], "a factor needs two levels, this one has none"),
        (CSV.replace("52.5", "high"), [], "row 4 holds 'high'"),
        (CSV.replace("52.5", "inf"), [], "row 4 holds"),
        (CSV.replace("52.5", ""), [], "row 4 holds nothing"),
        ("a,b\n1,2,3,4\n1\n", [], "not a CSV file"),
        ("\x00\x01\x02", [], "save it as UTF-8"),
    ],
)
def test_bad_input_is_one_user_error(tmp_path: Path, text: str | None, options: list[str], words: str) -> None:
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    defaults = ["--response", "accuracy", "--factors", "mixup", "--block", "seed"]
    with pytest.raises(UserError, match=words) as caught:
        run(path, *defaults, *options)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
