"""`analyze TABLE.csv`: the same answers as the function, JSON alone on standard output, one line for a mistake."""

import json
from pathlib import Path

import numpy as np
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


def test_predictions_widen_the_intervals_and_both_components_are_printed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows, right = ["trial,seed,a,accuracy"], {}
    ease = rng.normal(size=400)
    for seed in range(4):
        for level in range(2):
            name = f"c{level}-s{seed}"
            right[name] = ease + 0.8 * np.random.default_rng(level + 1).normal(size=400) + rng.normal(size=400) > 0
            rows.append(f"{name},{seed},{level},{100 * right[name].mean():.2f}")
            lines = [f"{image}.jpg,{int(value)}" for image, value in enumerate(right[name])]
            (tmp_path / f"{name}.csv").write_text("\n".join(["image,correct", *lines]), encoding="utf-8")
    table = tmp_path / "trials.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    options = [table, "--response", "accuracy", "--factors", "a", "--block", "seed", "--predictions", tmp_path]
    printed = json.loads(run(*options, "--json"))
    expected = analyze(
        pd.read_csv(table, dtype=str), response="accuracy", factors=["a"], block="seed", predictions=right
    )  # fmt: skip
    assert printed == json.loads(expected.to_json()) and printed["about"]["scope"] == "seeds and images"
    row = printed["contrasts"][-1]
    assert row["se"] == pytest.approx(np.hypot(row["se_seeds"], row["se_images"])) and row["se_images"] > 0.5
    narrow = json.loads(run(*options, "--scope", "these images", "--json"))["contrasts"][-1]
    assert narrow["se"] == row["se_seeds"] and narrow["se_images"] == row["se_images"]
    assert "Intervals cover other seeds and other images like these (400 images)." in run(*options)
    (tmp_path / "c1-s3.csv").write_text("image,correct\n0.jpg,maybe\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"c1-s3.csv: correct: line 2 holds 'maybe'"):
        run(*options)
