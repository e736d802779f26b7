"""Every mistake in a grid is exactly one line that names the file, the key, the value and the remedy."""

# ruff: noqa: E501 (a mistake and its line read best side by side)

from __future__ import annotations

from pathlib import Path

import pytest

from sota_bench.errors import UserError
from sota_bench.grid import load
from sota_bench.grid.names import safe_name

OK = "[factors]\nlr = [0.1, 0.2]\n"
NUMBER = "write a number above 0 and up to 100"

MISTAKES = {
    # tables and keys
    "unknown table": ("[recipes]\n" + OK, "recipes: there is no such table; did you mean recipe?"),
    "key outside a table": (
        "nam = 'x'\n" + OK,
        "nam: there is no such table, and keys stand inside one; the tables are [grid], [data], [recipe], [factors]",
    ),
    "table is a value": ("recipe = 3\n" + OK, "recipe: 3 is not a table; write [recipe] on a line of its own"),
    "misspelt key": ("[recipe]\nbatchsize = 3\n" + OK, "recipe.batchsize: there is no such key; did you mean batch_size?"),
    "misspelt factor": ("[factors]\noptimiser = ['sgd']", "factors.optimiser: there is no such key; did you mean optimizer or optimizer_at_switch?"),
    "key of another table": ("[grid]\nlr = 0.1\n" + OK, "grid.lr: there is no such key; it belongs in [recipe] or [factors]"),
    "grid key in recipe": ("[recipe]\nseeds = [1]\n" + OK, "recipe.seeds: there is no such key; it belongs in [grid]"),
    "far key": (
        "[recipe]\nqqqqqq = 1\n" + OK,
        "recipe.qqqqqq: there is no such key; `python -m sota_bench list fields` shows all of them",
    ),
    "empty key": (
        '[recipe]\n"" = 1\n' + OK,
        "recipe.'': there is no such key; `python -m sota_bench list fields` shows all of them",
    ),
    "control letters in a key": (
        '[recipe]\n"\\u001b[31m" = 1\n' + OK,
        "recipe.'\\x1b[31m': there is no such key; `python -m sota_bench list fields` shows all of them",
    ),
    # types and ranges
    "text for a number": ("[recipe]\nlr = 'fast'\n" + OK.replace("lr", "dropout"), f"recipe.lr: 'fast' is not a number; {NUMBER}"),
    "number as text": ("[factors]\nlr = ['0.1']", f"factors.lr: '0.1' is not a number; {NUMBER}"),
    "1.5x": ("[factors]\nlr = [0.1, '1.5x']", f"factors.lr: '1.5x' is not a number; {NUMBER}"),
    "true for a number": ("[factors]\nlr = [true]", f"factors.lr: true is not a number; {NUMBER}"),
    "negative": ("[factors]\nlr = [-1]", f"factors.lr: -1 is out of range; {NUMBER}"),
    "too large": ("[factors]\nlr = [101.0]", f"factors.lr: 101.0 is out of range; {NUMBER}"),
    "nan": ("[factors]\nlr = [nan]", f"factors.lr: nan is not a finite number; {NUMBER}"),
    "inf": ("[recipe]\ndrop_path = inf\n" + OK, "recipe.drop_path: inf is not a finite number; write a number from 0 and below 1"),
    "overflow": ("[factors]\nlr = [1e999]", f"factors.lr: inf is not a finite number; {NUMBER}"),
    "huge integer": (
        f"[recipe]\nbatch_size = 0x{'f' * 5000}\n" + OK,
        "recipe.batch_size: a number of 20000 bits is too large; write a whole number from 2 to 65,536",
    ),
    "fraction for a whole number": (
        "[recipe]\nbatch_size = 6.5\n" + OK,
        "recipe.batch_size: 6.5 is not a whole number; write a whole number from 2 to 65,536",
    ),
    "number for a switch": ("[recipe]\nflip = 1\n" + OK, "recipe.flip: 1 is not true or false; write true or false"),
    "number for text": ("[recipe]\nweights = 3\n" + OK, "recipe.weights: 3 is not text; write text in quotes"),
    "date": ("[factors]\nlr = [2020-01-01]", f"factors.lr: 2020-01-01 is not a number; {NUMBER}"),
    "table for a number": ("[factors]\nlr = [{a = 1}]", f"factors.lr: {{a = 1}} is not a number; {NUMBER}"),
    "choice": ("[recipe]\noptimizer = 'adamww'\n" + OK, "recipe.optimizer: 'adamww' is not one of adamw, sgd, muon; did you mean adamw?"),
    "far choice": ("[recipe]\noptimizer = 'lion'\n" + OK, "recipe.optimizer: 'lion' is not one of adamw, sgd, muon; write one of them"),
    "schedule": (
        "[factors]\nresize = ['64by3']",
        "factors.resize: '64by3' is not SIZExEPOCHS; write for example \"64x3 128x2\" (3 epochs at 64 px, then 2 at 128 px)",
    ),
    "schedule size": ("[recipe]\nresize = '4x3'\n" + OK, "recipe.resize: size 4 is out of range; write 8 to 2048 px"),
    "batch sizes": (
        "[recipe]\nbatch_sizes = {4 = 1}\n" + OK,
        "recipe.batch_sizes: 4 px with 1 images is out of range; write sizes of 8 to 2048 px and 2 to 65536 images",
    ),
    "backbone": (
        "[recipe]\nbackbone = 'resnte18'\n" + OK,
        "recipe.backbone: 'resnte18' is not a backbone of the installed timm; did you mean resnet18, resnet18d or skresnet18?",
    ),
    "far backbone": (
        "[factors]\nbackbone = ['???']",
        "factors.backbone: '???' is not a backbone of the installed timm; "
        "`python -m sota_bench list backbones` shows small ones",
    ),
    # factors
    "no factors": ("[grid]\nname = 'a'", "factors: there is nothing to compare; name a factor, such as lr = [0.003, 0.001]"),
    "empty factors": ("[factors]\n", "factors: there is nothing to compare; name a factor, such as lr = [0.003, 0.001]"),
    "empty factor": ("[factors]\nlr = []", "factors.lr: the factor has no levels; name two or more, the baseline first"),
    "factor without list": ("[factors]\nlr = 0.1", "factors.lr: 0.1 is not a list of levels; write lr = [...]"),
    "duplicate level": ("[factors]\nlr = [0.1, 0.2, 0.1]", "factors.lr: levels 1 and 3 are both 0.1; name each level once"),
    "0 and 0.0": ("[factors]\ndropout = [0, 0.0]", "factors.dropout: levels 1 and 2 are both 0.0; name each level once"),
    "two spellings": (
        "[factors]\nresize = ['64x3 128x2', '64x3,  128X2']",
        "factors.resize: levels 1 and 2 are both 64x3 128x2; name each level once",
    ),
    "contradicts the recipe": (
        "[recipe]\nlr = 0.2\n" + OK,
        "factors.lr: the first level is the baseline, and recipe.lr says 0.2; put 0.2 first, or leave lr out of [recipe]",
    ),
    "too many trials": (
        "[factors]\n" + "".join(f"{key} = [{', '.join(str(n / 100) for n in range(1, 61))}]\n" for key in ("lr", "dropout", "warmup")),
        'factors: the grid has 648,000 trials, and 100,000 is the limit; name fewer levels, or write grid.design = "one-at-a-time"',
    ),
    # seeds
    "no seeds": ("[grid]\nseeds = []\n" + OK, "grid.seeds: [] is empty; name at least one"),
    "duplicate seeds": ("[grid]\nseeds = [1, 2, 1]\n" + OK, "grid.seeds: seed 1 occurs twice; write each seed once"),
    "negative seed": ("[grid]\nseeds = [-1]\n" + OK, "grid.seeds: -1 is out of range; write whole numbers from 0 to 4294967295"),
    "huge seed": ("[grid]\nseeds = [4294967296]\n" + OK, "grid.seeds: 4294967296 is out of range; write whole numbers from 0 to 4294967295"),
    "true as a seed": ("[grid]\nseeds = [true]\n" + OK, "grid.seeds: true is not a list of whole numbers; write a list of whole numbers"),
    "seeds as a number": ("[grid]\nseeds = 3\n" + OK, "grid.seeds: 3 is not a list of whole numbers; write a list of whole numbers"),
    "seed added twice": ("[grid]\nadded_seeds = [2]\n" + OK, "grid.added_seeds: seed 2 is in grid.seeds too; name it in one of them"),
    # the rest of [grid] and [data]
    "design": (
        "[grid]\ndesign = 'ful'\n" + OK,
        "grid.design: 'ful' is not one of full, one-at-a-time, leave-one-out, fractional; did you mean full?",
    ),
    "match": (
        "[grid]\nmatch = 'minute'\n" + OK,
        "grid.match: 'minute' is not one of epochs, minutes, flops; did you mean minutes?",
    ),
    "choice of several words": (
        "[grid]\nscope = 'these-images'\n" + OK,
        "grid.scope: 'these-images' is not one of 'seeds and images', 'these images'; did you mean these images?",
    ),
    "duration": (
        "[grid]\nminutes_per_iteration = 'soon'\n" + OK,
        "grid.minutes_per_iteration: 'soon' is not a duration; write minutes as 2.0, or \"90 s\", \"2 min\", \"1.5 h\"",
    ),
    "true as a duration": (
        "[grid]\nminutes_per_iteration = true\n" + OK,
        "grid.minutes_per_iteration: true is not a duration; write minutes as 2.0, or \"90 s\", \"2 min\", \"1.5 h\"",
    ),
    "no time": (
        "[grid]\nminutes_per_iteration = 0\n" + OK,
        "grid.minutes_per_iteration: 0 is out of range; write a number above 0 and up to 100,000",
    ),
    "technique file": ("[grid]\ntechniques = ['no.py']\n" + OK, "grid.techniques: there is no file 'no.py'; paths start at the grid"),
    "not a technique file": ("[grid]\ntechniques = ['a.txt']\n" + OK, "grid.techniques: 'a.txt' is not a Python file; write paths that end in .py"),
    "source": ("[data]\nsource = 'imagenete'\n" + OK, "data.source: 'imagenete' is not a data source; did you mean imagenette or imagenet?"),
    "source without path": ("[data]\nsource = 'folder:'\n" + OK, "data.source: 'folder:' names no path; write folder:PATH"),
    "size": ("[data]\nsize = 4\n" + OK, "data.size: 4 px is too small; write 8 or more, or 0 for what the grid needs"),
    "recipe key in data": ("[data]\nlr = 0.1\n" + OK, "data.lr: there is no such key; it belongs in [recipe] or [factors]"),
    "name": ("[grid]\nname = '../up'\n" + OK, "grid.name: '../up' would leave the output folder; write a short name of letters, digits, - and _"),
    # TOML
    "syntax": ("[grid]\nname = x\n", "not TOML: Invalid value (at line 2, column 8); fix that line; text needs quotes"),
    "key twice": ("[grid]\nname = 'a'\nname = 'b'\n", "not TOML: Cannot overwrite a value (at line 3, column 11); fix that line; text needs quotes"),
    "long integer": ("a = " + "9" * 5000, "not TOML: "),
    "deep": ("a = " + "[" * 100_000, "its lists or tables are nested too deeply; write it flat"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISTAKES)
def test_one_line(read, tmp_path: Path, kind: str) -> None:
    text, expected = MISTAKES[kind]
    with pytest.raises(UserError) as caught:
        read(text)
    line = str(caught.value)
    assert line.splitlines() == [line] and line.isprintable()
    start = f"{tmp_path / 'grid.toml'}: "
    assert line.startswith(start)
    if expected.endswith(": "):
        assert line.removeprefix(start).startswith(expected)
    else:
        assert line.removeprefix(start) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.toml"]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("lr=1", "--set: 'lr=1' is not table.key=value; write --set recipe.lr=0.001"),
        ("recipe.lr", "--set: 'recipe.lr' is not table.key=value; write --set recipe.lr=0.001"),
        ("recipe.a.b=1", "--set: 'recipe.a.b=1' is not table.key=value; write --set recipe.lr=0.001"),
        ("recipe.lrr=1", "--set: recipe.lrr: there is no such key; did you mean lr or lr_curve?"),
        ("recipe.dropout=x", "--set: recipe.dropout: 'x' is not a number; write a number from 0 and below 1"),
        ("recipes.lr=1", "grid.toml: recipes: there is no such table; did you mean recipe?"),
        ("factors.lr=0.1", "--set: factors.lr: 0.1 is not a list of levels; write lr = [...]"),
    ],
)
def test_overrides(read, override: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        read(OK, override)
    assert str(caught.value).endswith(line)
    assert str(caught.value).startswith("--set") or line.startswith("grid.toml")


@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        ([], "--seeds: no seed is named; write --seeds 0,1,2"),
        ([1, 1], "--seeds: seed 1 occurs twice; write each seed once"),
        ([-1], "--seeds: -1 is out of range; write whole numbers from 0 to 4294967295"),
        ([True], "--seeds: true is not a list of whole numbers; write a list of whole numbers"),
    ],
)
def test_seeds_option(read, seeds: list[int], line: str) -> None:
    with pytest.raises(UserError) as caught:
        read(OK, seeds=seeds)
    assert str(caught.value) == line


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cases = {
        tmp_path / "none.toml": "there is no such file; `python -m sota_bench init` writes one",
        tmp_path: "this is a folder; name a grid file, such as grid.toml",
        tmp_path / "latin.toml": "byte 8 is not UTF-8; save the file as UTF-8 text",
        tmp_path / "large.toml": "the file is larger than 1 MB; a grid is a short text; name the right file",
        tmp_path / "nul\0.toml": "",  # said in one way or the other, by the version of Python
        tmp_path / ("n" * 300): "",
        Path("/dev/null"): "this is not a regular file; name a grid file, such as grid.toml",
    }
    (tmp_path / "latin.toml").write_bytes(b"# caf\xc3\xa9 \xe9\n")
    (tmp_path / "large.toml").write_bytes(b"#" * (2**20 + 1))
    for path, expected in cases.items():
        with pytest.raises(UserError) as caught:
            load(path)
        assert str(caught.value).endswith(expected), path
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        "", " ", ".", "..", "...", "a/b", "/a", "\\a", "C:\\a", "c:", "~", "~root", "a\nb", "a\x1bb", "\u2028", "a\u202eb",
        "nul", "CON", "com1.txt", "LPT9", "aux .x", "a.", "a ", " a", ".hidden", "-rf", "a" * 65, "日" * 67, "a*", "a?", "<a>", "a|b", "a\0",
    ],
)  # fmt: skip
def test_names_that_are_no_folder_everywhere(name: str) -> None:
    with pytest.raises(ValueError, match="; write a short name"):
        safe_name(name)


@pytest.mark.parametrize("name", ["a", "resizing-2", "größe", "日本語", "v1.2", "a b", "console", "com10"])
def test_names_that_are(name: str, tmp_path: Path) -> None:
    (tmp_path / safe_name(name)).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_file_name_must_be_a_name_too_when_there_is_no_other(tmp_path: Path) -> None:
    path = tmp_path / "-x.toml"
    path.write_text(OK)
    with pytest.raises(UserError, match=r"grid\.name: '-x' starts or ends with a blank"):
        load(path)


def test_a_key_in_data_and_in_recipe(read, technique: str) -> None:
    head = f"[grid]\n{technique}{OK}"
    with pytest.raises(UserError, match=r"recipe\.anchor_classes: it is in \[data\] too; name it in one of them"):
        read(f"{head}[data]\nanchor_classes = 2\n[recipe]\nanchor_classes = 3\n")
    with pytest.raises(UserError, match=r"data\.anchor_classes: true is not a list of texts or a whole number"):
        read(f"{head}[data]\nanchor_classes = true\n")
    with pytest.raises(UserError, match=r"data\.anchor_clases: there is no such key; did you mean anchor_classes"):
        read(f"{head}[data]\nanchor_clases = 1\n")


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "1/0", "syntax error", "raise KeyboardInterrupt", "\0"])
def test_a_technique_file_that_fails_is_one_line(read, tmp_path: Path, body: str) -> None:
    (tmp_path / "bad.py").write_text(body)
    if body == "raise KeyboardInterrupt":
        with pytest.raises(KeyboardInterrupt):
            read(f"[grid]\ntechniques = ['bad.py']\n{OK}")
        return
    with pytest.raises(UserError, match=r"bad\.py: the technique file cannot be loaded"):
        read(f"[grid]\ntechniques = ['bad.py']\n{OK}")
