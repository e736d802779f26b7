"""The study of curation: it counts what it says, and its committed results reach what was promised."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_found_is_counted_among_the_lowest_tenth(imported: Callable[[str], ModuleType]) -> None:
    study = imported("curation")
    paths = [f"train/a/{number:02d}.png" for number in range(20)]
    rows = pd.DataFrame({
        "path": [*paths, "val/a/copy.png", "val/a/missed.png"],
        "split": ["train"] * 20 + ["select"] * 2,
        "label_score": [number / 20 for number in range(20)] + [0.0, 0.5],
        "reasons": ["wrong-label", *[None] * 18, "leak", "leak", None],
        "copy_of": [*[None] * 19, "val/a/copy.png", paths[19], None],
    })  # fmt: skip
    copies = {"val/a/copy.png": ("exact", paths[19]), "val/a/missed.png": ("mirrored", paths[18])}
    planted = study.Planted({paths[0]: "b", paths[1]: "b", paths[9]: "b"}, copies)
    result = study.judge(rows, planted)
    assert result["wrong_first"] == pytest.approx(2 / 3)  # two of three are among the two lowest of 20
    assert result["wrong_flagged"] == pytest.approx(1 / 3)
    assert result["copies"] == {"exact": (1, 1), "mirrored": (0, 1)}
    assert result["false_leaks"] == 0 and result["images"] == 22


def test_a_part_that_turns_the_order_has_regret(imported: Callable[[str], ModuleType], tmp_path: Path) -> None:
    study = imported("curation")
    recipes = [(lr, crop, mixup) for lr in (1, 2, 3) for crop in (0.35, 1.0) for mixup in (0.0, 0.4)]

    def trials(curation: str, sign: int) -> pd.DataFrame:
        rows = [
            {"lr": lr, "crop_scale": crop, "mixup": mixup, "seed": seed, "curation": curation, "minutes": 2.0,
             "accuracy": 50 + sign * place + 0.01 * ((place * 7 + seed * 3) % 5)}
            for place, (lr, crop, mixup) in enumerate(recipes) for seed in (0, 1)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    parts = [study.Part("random", 0.1, tmp_path / f"{name}.csv", 100) for name in ("same", "turned")]
    rest = pd.concat([trials("same.csv", 1), trials("turned.csv", -1)])
    same, turned = study.compare(trials("", 1), rest, parts)
    assert same.tau == pytest.approx(1) and same.regret_pp == 0 and same.reversed == 0
    assert turned.tau == pytest.approx(-1) and turned.regret_pp == pytest.approx(11, abs=0.1) and turned.kept == 0

def test_the_committed_results_reach_what_was_promised(imported: Callable[[str], ModuleType]) -> None:
    study = imported("curation")
    runs = json.loads((RESULTS / "curation_found.json").read_text(encoding="utf-8"))["runs"]
    first = study.Found(**runs[0])
    assert first.reached
    assert first.images > 13_000
