"""``data SOURCE``: the account of a data set for people and for programs, and one line where it would have to guess."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sota_bench.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """12 images to train and 6 to judge in each of two classes, one of them damaged, and one hidden file."""
    monkeypatch.setattr("sota_bench.data.find.user_cache", lambda: tmp_path / "user-cache")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        for label in ("cat", "dog"):
            where = tmp_path / "images" / split / label
            where.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(where / f"{number}.png")
    (tmp_path / "images/train/dog/0.png").write_bytes(b"broken")
    (tmp_path / "images/.hidden").write_bytes(b"")
    return tmp_path / "images"


def test_json_is_the_contract(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = []
    for source in (str(folder), f"folder:{folder}"):
        assert main(["data", source, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    answer = answers[0]
    assert set(answer) == {"classes", "left_out", "left_out_files", "near_copies", "alarms"}
    assert {name: counts["train"] for name, counts in answer["classes"].items()} == {"cat": 12, "dog": 11}
    assert all(counts["select"] + counts["test"] == 6 for counts in answer["classes"].values())
    assert sum(answer["left_out"].values()) == 2
    [file] = answer["left_out_files"]
    assert file["path"] == "train/dog/0.png"
    assert file["reason"].split(":")[0] in answer["left_out"]
    assert answer["near_copies"] == []
    assert any("dog" in alarm and file["path"] in alarm for alarm in answer["alarms"])


def test_people_read_the_same_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(folder), "--all"]) == 0
    text = capsys.readouterr().out
    for part in ("35 images of 36 files", "2 classes", "train/dog/0.png", "cat", "dog"):
        assert part in text


def test_a_guess_ends_with_one_line_and_an_option_that_decides(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder.parent / "flat").mkdir()
    (folder / "train/cat").rename(folder.parent / "flat/images")
    (folder / "train/dog").rename(folder.parent / "flat/masks")
    (folder / "val/cat").rename(folder.parent / "flat/other")
    assert main(["data", str(folder.parent / "flat"), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "data.folders" in captured.err
    assert main(["data", str(folder.parent / "flat"), "--folder", "masks=skip", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["classes"]) == ["images", "other"]
    assert main(["data", str(folder.parent / "flat"), "--folder", "masks", "--json"]) == 2


def test_a_grid_reads_the_source_as_its_data_table_says(folder: Path, tmp_path: Path) -> None:
    from sota_bench.grid import load
    from sota_bench.plan.machine import Machine
    from sota_bench.plan.make import make_plan

    text = f'[data]\nsource = "folder:{folder.parent}"\nroot = "images"\nfolders = {{ val = "test" }}\n'
    text += '[recipe]\nbackbone = "test_vit"\nresize = "16x1"\n[factors]\nlr = [0.001, 0.003]\n'
    (tmp_path / "grid.toml").write_text(text)
    plan, _ = make_plan(load(tmp_path / "grid.toml"), Machine(tmp_path / "store", "cpu", 1))
    assert plan.images.account.used == 35
    assert plan.images.account.left_out["not a readable image"] == 1


def test_groups_and_names_that_no_terminal_should_obey(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "val/cat/1.png").rename(folder / "val/cat/\x1b[31m1.png")
    assert main(["data", str(folder), "--group", "(cat|dog)/", "--all"]) == 0
    output = capsys.readouterr().out
    assert "The pattern (cat|dog)/ makes 2 groups, each in one split (the largest, " in output
    assert "12 evaluation images belong to a group of an earlier split and are left out" in output
    assert "val/cat/\\x1b[31m1.png: group in two splits" in output
    assert main(["data", str(folder), "--group", "cat|dog"]) == 2
    assert "data.group: 'cat|dog' is no column of a table, and no pattern with parentheses" in capsys.readouterr().err
