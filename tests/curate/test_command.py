"""``curate``: what it finds in a folder with known flaws, what it writes, and one line where it is asked wrongly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from sota_bench.cli import main
from sota_bench.curate.flags import SEPARATOR
from sota_bench.data.curated import COLUMNS, CuratedManifest
from sota_bench.data.find import open_source

from .conftest import Flawed


@pytest.fixture
def rows(curated: Path) -> pd.DataFrame:
    return pd.read_csv(curated / "manifest.csv", keep_default_na=False).set_index("path")


def reasons(rows: pd.DataFrame, path: str) -> set[str]:
    return set(rows.loc[path, "reasons"].split(SEPARATOR))


def test_the_manifest_has_the_columns_of_the_contract(curated: Path) -> None:
    head = (curated / "manifest.csv").read_text(encoding="utf-8").partition("\n")[0].split(",")
    assert tuple(head[: len(COLUMNS)]) == COLUMNS
    assert (curated / "report.html").is_file()


def test_wrong_labels_have_the_lowest_scores(rows: pd.DataFrame, flawed: Flawed) -> None:
    pytest.importorskip("cleanlab")
    train = rows[(rows["split"] == "train") & (rows["label_score"] != "")]
    lowest = set(train["label_score"].astype(float).nsmallest(len(train) // 10).index)
    assert len(set(flawed.wrong) & lowest) >= 3
    flagged = set(rows.index[rows["reasons"].str.contains("wrong-label")])
    assert len(set(flawed.wrong) & flagged) >= 2
    assert len(flagged) < 15
    assert sum(rows.loc[path, "suggested_class"] == true for path, true in flawed.wrong.items()) >= 3


def test_copies_across_splits_are_leaks_and_name_their_originals(rows: pd.DataFrame, flawed: Flawed) -> None:
    for path, original in {**flawed.copies, **flawed.exact}.items():
        assert reasons(rows, path) == {"leak"}
        assert rows.loc[path, "copy_of"] == original
    for original in flawed.copies.values():
        assert "leak" in reasons(rows, original)


def test_tiny_and_unreadable_files_are_told(rows: pd.DataFrame, flawed: Flawed) -> None:
    assert "tiny" in reasons(rows, flawed.tiny) and rows.loc[flawed.tiny, "shorter_side"] == "8"
    assert reasons(rows, flawed.unreadable) == {"unreadable"}
    assert rows.loc[flawed.unreadable, "note"]
    assert rows["reasons"].str.contains("tiny").sum() == 1


def test_nothing_is_dropped_unless_asked(rows: pd.DataFrame, flawed: Flawed) -> None:
    dropped = set(rows.index[~rows["keep"]])
    assert dropped == {flawed.unreadable, *flawed.exact}  # what no grid can use


def test_the_record_says_how_it_was_made(curated: Path, flawed: Flawed) -> None:
    import hashlib

    record = json.loads((curated / "curation.json").read_text(encoding="utf-8"))
    assert record["manifest"]["sha256"] == hashlib.sha256((curated / "manifest.csv").read_bytes()).hexdigest()
    assert record["source"]["text"] == f"folder:{flawed.folder}"
    assert record["request"] == {"aim": "random", "classes": 0, "per_class": 0, "seed": 0, "drop": []}
    assert record["embedder"]["backbone"] and record["versions"]["torch"] != "absent"


def test_the_manifest_is_a_source_that_honours_keep(curated: Path, flawed: Flawed, tmp_path: Path) -> None:
    for name in ("manifest.csv", "curation.json"):
        shutil.copy(curated / name, tmp_path)
    file = tmp_path / "manifest.csv"
    table = pd.read_csv(file, keep_default_na=False, dtype=str)
    dropped, moved = "train/rings/000.png", next(iter(flawed.wrong))
    table.loc[table["path"] == dropped, "keep"] = "FALSE"  # as a spreadsheet writes it
    table.loc[table["path"] == moved, "class"] = "stripes"
    table.to_csv(file, index=False, sep=";")
    whole = open_source(f"folder:{flawed.folder}").scan()
    manifest = open_source(f"manifest:{file}").scan()
    assert set(whole.items["path"]) - set(manifest.items["path"]) == {dropped}
    labels = dict(zip(manifest.items["path"], manifest.items["label"], strict=True))
    assert labels[moved] == "stripes"
    assert manifest.digest != whole.digest
    assert not any("loses" in alarm for alarm in manifest.alarms)


def test_images_that_changed_since_are_left_out_by_name(curated: Path, flawed: Flawed, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(flawed.folder, folder)
    shutil.copytree(curated, tmp_path / "out")
    (folder / "train/rings/001.png").write_bytes((folder / "train/rings/wrong0.png").read_bytes() + b"\n")
    (folder / "train/rings/002.png").unlink()
    manifest = open_source(f"manifest:{tmp_path / 'out' / 'manifest.csv'}", path=folder).scan()
    left_out = dict(zip(manifest.left_out["path"], manifest.left_out["reason"], strict=True))
    assert "changed" in left_out["train/rings/001.png"] and "no such image" in left_out["train/rings/002.png"]
    assert any("2 images" in alarm for alarm in manifest.alarms)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--drop", "outliers"], "--drop: 'outliers' is not a reason; did you mean outlier?"),
        (["--classes", "9"], "--classes: 9 is more than the 3 that pictures has; ask for fewer"),
        (["--weights", "nowhere"], "--weights: 'nowhere' does not say which backbone it is for"),
        (["--probe", "resnet81"], "--probe: 'resnet81' is not a backbone"),
        (["--per-class", "5", "--minutes-per-iteration", "1"], "--per-class: it sets the number of images"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], line: str, flawed: Flawed, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("sota_bench.data.find.user_cache", lambda: tmp_path / "user-cache")
    monkeypatch.setattr("sota_bench.curate.quick_probe.SEEN", 64)
    if "--weights" not in arguments:
        arguments = [*arguments, "--weights", "none"]
    assert main(["curate", str(flawed.folder), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("keep", "maybe", "keep: 'maybe' is neither true nor false (path 'train/"),
        ("split", "valid", "split: 'valid' cannot be used (path 'train/"),
        ("class", "", "class: '' cannot be used"),
        ("sha256", "", "sha256: '' cannot be used"),
    ],
)
def test_a_damaged_row_is_named(column: str, value: str, problem: str, curated: Path, tmp_path: Path) -> None:
    from sota_bench.errors import UserError

    table = pd.read_csv(curated / "manifest.csv", keep_default_na=False, dtype=str)
    table.loc[table.index[table["path"] == "train/rings/000.png"], column] = value
    table.to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(UserError) as caught:
        CuratedManifest.load(tmp_path / "manifest.csv")
    assert problem in str(caught.value)


def test_the_manifest_needs_its_record(curated: Path, tmp_path: Path) -> None:
    from sota_bench.errors import UserError

    shutil.copy(curated / "manifest.csv", tmp_path)
    with pytest.raises(UserError, match=r"curation\.json: cannot be read .* keep curation\.json beside the manifest"):
        open_source(f"manifest:{tmp_path / 'manifest.csv'}")
