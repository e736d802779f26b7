"""``data.curation`` as a factor: its levels train on other images and are judged on the same ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pytest
from lab import CLASSES, Lab, write_images

from sota_bench.data.subset import choose
from sota_bench.errors import UserError

HALF, CORRECTED, ONE_CLASS = "half.csv", "corrected.csv", "one_class.csv"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """12 training images of each class, and manifests that keep half of them, move one, and keep one class."""
    folder = tmp_path_factory.mktemp("curation")
    images = write_images(folder / "images")
    files = sorted(images.rglob("*.png"))
    rows = pd.DataFrame({
        "path": [file.relative_to(images).as_posix() for file in files],
        "split": ["train" if file.parts[-3] == "train" else "select" for file in files],
        "class": [file.parent.name for file in files],
        "keep": "true",
        "sha256": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files],
    })  # fmt: skip
    train = rows["split"] == "train"
    even = rows["path"].str.fullmatch(r".*[02468]\.png")
    rows.assign(keep=(even | ~train).map(str)).to_csv(folder / HALF, index=False)
    first = train & (rows["class"] == CLASSES[0])
    corrected = rows["class"].where(~(first & ~even), CLASSES[1])
    rows.assign(**{"class": corrected}).to_csv(folder / CORRECTED, index=False)
    rows.assign(keep=(~train | first).map(str)).to_csv(folder / ONE_CLASS, index=False)
    return Lab(folder, images)


def test_levels_train_on_what_they_keep_and_are_judged_alike(lab: Lab) -> None:
    plan = lab.plan("", f'curation = ["", "{HALF}"]')
    chosen = [plan.stages[trial.training[0]].choice for trial in plan.trials]
    whole, half = (plan.images.subset(choice) for choice in chosen)
    assert whole.sizes()["train"] == 2 * half.sizes()["train"]
    for split in ("select", "test"):
        assert whole.split_digest(split) == half.split_digest(split)
    assert whole.split_digest("train") != half.split_digest("train")


def test_classes_that_a_person_corrected_are_trained_on(lab: Lab) -> None:
    manifest = lab.plan("", "mixup = [0.0, 0.2]").images.manifest
    subset = choose(manifest, curation=str(lab.folder / CORRECTED))
    plain = choose(manifest)
    counts = [(chosen.targets("train") == 1).sum() for chosen in (plain, subset)]
    assert counts == [12, 18]
    assert (subset.targets("select") == plain.targets("select")).all()


def test_smaller_parts_of_a_curated_set_lie_inside_it(lab: Lab) -> None:
    manifest = lab.plan("", "mixup = [0.0, 0.2]").images.manifest
    file = str(lab.folder / HALF)
    whole, part = (set(choose(manifest, curation=file, fraction=share).contents("train")) for share in (1, 0.5))
    assert part < whole


def test_a_class_without_training_images_is_not_judged_silently(lab: Lab) -> None:
    with pytest.raises(UserError, match=f"keeps no training image of '{CLASSES[1]}', which would still be judged"):
        lab.plan("", f'curation = ["", "{ONE_CLASS}"]')


def test_levels_that_keep_the_same_images_are_refused(lab: Lab, tmp_path: Path) -> None:
    table = pd.read_csv(lab.folder / HALF, dtype=str)
    table.assign(keep="true").to_csv(lab.folder / "all.csv", index=False)
    with pytest.raises(UserError, match=r'"" and all\.csv choose the same images'):
        lab.plan("", 'curation = ["", "all.csv"]')
