"""The images that choose, drawn anew for a seed: what confirms stays, groups stay together, shares are kept."""

from __future__ import annotations

import hashlib

import pandas as pd

from sota_bench.data.manifest import Manifest
from sota_bench.data.split import redraw
from sota_bench.data.subset import Subset, choose


def items(groups: int = 0) -> pd.DataFrame:
    """300 images to train, 100 to choose and 100 to confirm in each of two classes."""
    rows = []
    for label in ("a", "b"):
        for number, split in enumerate(["train"] * 300 + ["select"] * 100 + ["test"] * 100):
            sha = hashlib.sha256(f"{label}{number}".encode()).hexdigest()
            group = f"{label}-{number // groups}" if groups else ""
            rows.append([f"{label}/{number}.png", split, label, sha, 1, "", group])
    return pd.DataFrame(rows, columns=["path", "split", "label", "sha256", "bytes", "scale", "group"])


def manifest(groups: int = 0) -> Manifest:
    return Manifest("drawn", items(groups), pd.DataFrame({"path": [], "reason": []}))


def contents(subset: Subset, split: str) -> set[str]:
    return set(subset.contents(split))


def test_each_seed_draws_other_images_and_the_test_split_stays() -> None:
    plain = choose(manifest())
    drawn = [choose(manifest(), split_seed=seed) for seed in (1, 2)]
    assert choose(manifest(), split_seed=1).digest == drawn[0].digest
    for subset in drawn:
        assert subset.split_digest("test") == plain.split_digest("test")
        assert not contents(subset, "train") & contents(subset, "select")
        assert contents(subset, "train") | contents(subset, "select") == contents(plain, "train") | contents(
            plain, "select"
        )
        assert abs(len(contents(subset, "select")) - 200) < 50  # 4 standard deviations of 800 draws of a quarter
    overlap = len(contents(drawn[0], "select") & contents(drawn[1], "select"))
    assert overlap < 80, "two draws of a quarter of the images share a quarter of them, give or take"


def test_what_belongs_together_stays_together() -> None:
    pool = items(groups=4)
    pool = pool[pool["split"] != "test"].reset_index(drop=True)
    assert (pool.assign(drawn=redraw(pool, 5)).groupby("group")["drawn"].nunique() == 1).all()


def test_images_that_a_curated_list_leaves_out_neither_train_nor_choose() -> None:
    left = set(items().query("split == 'train'")["sha256"].iloc[:150])
    kept = set(items().query("split == 'train'")["sha256"]) - left
    subset = choose(manifest(), keep=kept, split_seed=3)
    assert not (contents(subset, "train") | contents(subset, "select")) & left
    chose = set(items().query("split == 'select'")["sha256"])
    assert contents(subset, "train") & chose, "images that chose before may train now"
