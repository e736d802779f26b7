"""A folder of tables of single images: each form of the columns, any order, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sota_bench.errors import UserError
from sota_bench.stats.prediction_tables import read_predictions

TRIALS = {"c0-s0": "", "c1-s0": ""}


def folder(path: Path, **tables: str) -> Path:
    for name, text in tables.items():
        (path / f"{name.replace('_', '-')}.csv").write_text(text.replace(" ", "\n"), encoding="utf-8")
    return path


def test_images_come_in_any_order_and_every_form_says_the_same(tmp_path: Path) -> None:
    tables = folder(
        tmp_path,
        c0_s0="image,correct a.jpg,1 b.jpg,0 c.jpg,true",
        c1_s0="image;label;prediction c.jpg;cat;cat b.jpg;dog;cat a.jpg;1;1.0",
        c2_s0="image,value b.jpg,2.5 a.jpg,0.1 c.jpg,1e-3",
        notes="free,text",
    )
    found = read_predictions(tables, {**TRIALS, "c2-s0": "", "c3-s0": ""})
    assert list(found) == ["c0-s0", "c1-s0", "c2-s0"], "a trial without a file has no predictions"
    assert found["c0-s0"].tolist() == found["c1-s0"].tolist() == [True, False, True]
    assert found["c0-s0"].dtype == bool and found["c2-s0"].tolist() == [0.1, 2.5, 1e-3]


def test_each_set_of_images_has_its_own_order(tmp_path: Path) -> None:
    tables = folder(tmp_path, c0_s0="image,correct a,1 b,0", c1_s0="image,correct x,0 y,1 z,1")
    found = read_predictions(tables, {"c0-s0": "val", "c1-s0": "other"})
    assert [len(values) for values in found.values()] == [2, 3]
    with pytest.raises(UserError, match=r"c1-s0.csv: image: 'x' is not in c0-s0.csv; judge all trials on the same"):
        read_predictions(tables, TRIALS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,correct a,1 b,0", "c1-s0.csv: image: no such column"),
        ("image,score a,1 b,0", "there are image, score; the columns are image, and correct, label with prediction"),
        ("image,correct a,1 a,0", "image: 'a' occurs on lines 2 and 3; give each image one row"),
        ("image,correct a,1", "it lacks 'b' of c0-s0.csv"),
        ("image,correct a,yes b,0", "correct: line 2 holds 'yes'; write 1 or 0, or true or false"),
        ("image,correct a,1 b,", "correct: line 3 is empty; give every image a value"),
        ("image,value a,1 b,inf", "value: line 3 holds 'inf'; write a finite number"),
        ("image,label,prediction a,1,1 b,,1", "label: line 3 is empty"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    tables = folder(tmp_path, c0_s0="image,correct a,1 b,0", c1_s0=text)
    with pytest.raises(UserError) as caught:
        read_predictions(tables, TRIALS)
    assert message in str(caught.value)


def test_a_folder_without_a_file_for_any_trial(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file is named after a trial; name them like c0-s0.csv"):
        read_predictions(tmp_path, TRIALS)
    with pytest.raises(UserError, match="there is no such folder"):
        read_predictions(tmp_path / "none", TRIALS)


def test_thousands_of_images_in_random_order_are_paired(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    right = rng.random((2, 2000)) < 0.5
    for number, row in enumerate(right):
        lines = [f"i{image},{int(row[image])}" for image in rng.permutation(2000)]
        folder(tmp_path, **{f"c{number}_s0": " ".join(["image,correct", *lines])})
    found = read_predictions(tmp_path, TRIALS)
    agreement = {bool((found["c0-s0"] == found["c1-s0"]).sum() == (right[0] == right[1]).sum())}
    assert agreement == {True} and found["c0-s0"].sum() == right[0].sum()
