"""The side-by-side runs: their options, which images they take, and the arithmetic of their tables."""

from __future__ import annotations

import importlib
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.fixture
def compare(imported: Callable[[str], ModuleType]) -> ModuleType:
    return imported("compare")


def run(runner: str, rate: float, whole: float, accuracy: float, size: int = 64) -> dict[str, object]:
    about = {"backbone": "resnet18", "size": size, "runner": runner}
    return {**about, "images_per_s": rate, "whole_s": whole, "accuracy": accuracy}


def test_the_steady_rate_leaves_out_the_start_and_what_was_worked_ahead(compare: ModuleType) -> None:
    ends = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 15.1, 15.2, 15.3, 15.4]  # one step a second, until loaders are done
    assert compare.common.steady(ends, 64) == pytest.approx(64)
    with pytest.raises(ValueError, match="too few"):
        compare.common.steady(ends[:7], 64)


def test_factors_are_of_medians_and_above_one_where_this_project_is_faster(compare: ModuleType) -> None:
    runs = [run("timm", rate, 20.0, 30.0 + rate) for rate in (90.0, 100.0, 500.0)]
    runs += [run("sota_bench", rate, 16.0, 31.0 + rate) for rate in (240.0, 10.0, 250.0)]
    runs += [run("timm", 40.0, 50.0, 30.0, size=128)]
    rows = compare.table(runs)
    assert [(row["size"], row["runner"], row["runs"]) for row in rows] == [
        (64, "timm", 3), (64, "sota_bench", 3), (128, "timm", 1)
    ]  # fmt: skip
    assert rows[0]["rate_factor"] == pytest.approx(2.4)
    assert rows[0]["time_factor"] == pytest.approx(1.25)
    assert "rate_factor" not in rows[1]
    assert "rate_factor" not in rows[2]


def test_the_interval_is_welchs(compare: ModuleType) -> None:
    ours, theirs = [27.5, 21.0, 19.0, 23.7, 16.6], [25.0, 22.0, 24.0, 21.0, 23.0]
    difference, low, high = compare.interval(ours, theirs)
    mean_ours, mean_theirs = sum(ours) / 5, sum(theirs) / 5
    parts = [
        sum((value - mean) ** 2 for value in some) / 20 for some, mean in ((ours, mean_ours), (theirs, mean_theirs))
    ]
    freedom = sum(parts) ** 2 / sum(part**2 / 4 for part in parts)
    from scipy.stats import t

    half = t.ppf(0.975, freedom) * sum(parts) ** 0.5
    assert (difference, low, high) == pytest.approx((mean_ours - mean_theirs, difference - half, difference + half))


def test_the_table_names_machine_and_versions(compare: ModuleType) -> None:
    machine = {"name": "A CPU", "capability": "avx2", "bf16": False, "cores": 2, "fingerprint": "abc"}
    assert machine.keys() < compare.machine().keys()
    about = {"machine": machine, "versions": {"torch": "2.0"}, "train": 640, "val": 320, "epochs": 1}
    rows = compare.table([run(name, 100.0, 10.0, acc) for name in ("tuned", "sota_bench") for acc in (20.0, 22.0)])
    text = compare.markdown(rows, about)
    assert "| resnet18 | 64 | tuned | 100 | 1.00 | 10.0 | 1.00 | 21.0 | +0.0 (" in text
    assert "no bf16, 2 cores (machine abc). torch 2.0." in text


def test_options_need_data_unless_only_tables_are_made(compare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compare.arguments(["--data", "x"]).rounds >= 5
    assert compare.arguments(["--table"]).table
    monkeypatch.delenv("SOTA_BENCH_DATA", raising=False)
    with pytest.raises(SystemExit):
        importlib.reload(compare).arguments([])


def test_the_subset_has_the_same_share_of_each_class(compare: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for split, count in (("train", 6), ("val", 4)):
        for label in ("a", "b", "c"):
            for number in range(count):
                file = source / "set" / split / label / f"{number}.JPEG"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{split}{label}{number}")
    with tarfile.open(source / "imagenette.tar", "w") as tar:
        tar.add(source / "set", arcname="imagenette")
    folder = compare.common.export(source, tmp_path / "subsets", 7, 6)
    counts = {split: [len(list((folder / split / label).iterdir())) for label in "abc"] for split in ("train", "val")}
    assert counts == {"train": [3, 2, 2], "val": [2, 2, 2]}
    found = next((folder / "val" / "b").iterdir())
    assert found.read_text() == f"valb{found.stem}"


def test_every_runner_exists_and_the_grid_is_valid(compare: ModuleType, tmp_path: Path) -> None:
    from sota_bench.grid import load

    assert all((PEERS / script).is_file() for script, *_ in compare.PEERS.values())
    task = {"seed": 3, "backbone": "resnet10t", "size": 64, "epochs": 1, "batch": 64, "lr": 0.003}
    grid = tmp_path / "grid.toml"
    grid.write_text(compare.GRID.format(**task, images=tmp_path, weight_decay=0.05, crop_scale=0.35))
    recipe = load(grid).cells()[0].recipe
    assert (recipe.backbone, recipe.resize, recipe.crop_scale, recipe.batch_size) == ("resnet10t", "64x1", 0.35, 64)


def test_the_decision_grid_asks_five_questions_and_knows_its_fixed_design(
    imported: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    from sota_bench.grid import load

    whole_grid = imported("whole_grid")
    text = whole_grid.grid_text(tmp_path, "test_resnet", 5.0)
    (tmp_path / "grid.toml").write_text(text)
    grid = load(tmp_path / "grid.toml")
    assert grid.stop == "decided" and grid.smallest_effect == 5.0
    assert sum(len(levels) - 1 for levels in grid.factors.values()) == 5
    assert len(whole_grid.trials_of(text, tmp_path)) == 24 * 3  # the mitigation needs a rise
    record = {
        "grid": {"smallest_effect": 5.0},
        "looks": [{"questions": [1, 2], "undecided": ["b"]}],
        "until_decided": {
            "trainings": 9, "fixed_trainings": 36, "questions": [{"fixed_seeds": 4}, {"fixed_seeds": 12}]
        },
    }  # fmt: skip
    decision = whole_grid.decision_of(record)
    assert (decision["decided"], decision["questions"], decision["fixed_seeds"]) == (1, 2, 12)
    record["until_decided"]["questions"].append({"fixed_seeds": None})
    with pytest.raises(SystemExit, match="larger --delta"):
        whole_grid.decision_of(record)
