"""Combinations: the settings that decide the time of a stage, and those that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sota_bench.forecast.calibrate import steady
from sota_bench.forecast.calibration import Calibration, CalibrationCache
from sota_bench.forecast.combination import Combination, Combinations
from sota_bench.plan.plan import Plan
from sota_bench.stages.results import StageResult, StepTimes, TrainResult


def trained(plan: Plan) -> set[Combination]:
    combinations = Combinations(plan, 2)
    return {combinations.of(stage) for stage in plan.stages.values() if stage.kind == "train"}


@pytest.mark.parametrize(
    "free",
    [
        "lr = [0.003, 0.001]",
        "weight_decay = [0.05, 0.0]",
        'schedule = ["one-cycle", "constant"]',
        'schedule_span = ["phase", "run"]',
        "flip = [true, false]",
        'resize = ["32x1", "32x5"]',
        "fraction = [1.0, 0.5]",
        "dropout = [0.1, 0.2]",
    ],
)
def test_what_takes_no_time_makes_no_combination(plan_of: Callable[..., Plan], free: str) -> None:
    recipe = "crop_scale = 0.5" if "resize" in free else 'resize = "32x2"'
    assert len(trained(plan_of(recipe, free, (0, 1, 2)))) == 1


@pytest.mark.parametrize(
    "costly",
    [
        'backbone = ["test_resnet", "test_vit"]',
        "batch_size = [16, 8]",
        'optimizer = ["adamw", "sgd"]',
        'precision = ["fp32", "bf16"]',
        'layout = ["auto", "contiguous"]',
        'compile = ["off", "on"]',
        "in_chans = [3, 1]",
        "mixup = [0.0, 0.2]",
        "dropout = [0.0, 0.2]",
        'resize = ["32x1", "16x1"]',
    ],
)
def test_what_takes_time_makes_one(plan_of: Callable[..., Plan], costly: str) -> None:
    assert len(trained(plan_of('resize = "32x2"' if "resize" not in costly else "lr = 0.003", costly, (0,)))) == 2


def test_techniques_add_up_and_networks_do_not(plan_of: Callable[..., Plan]) -> None:
    mixed = trained(plan_of('resize = "32x2"', "mixup = [0.0, 0.2]", (0,)))
    assert len({combination.group_name for combination in mixed}) == 1
    networks = trained(plan_of('resize = "32x2"', 'backbone = ["test_resnet", "test_vit"]', (0,)))
    assert len({combination.group_name for combination in networks}) == 2


def test_a_phase_after_another_costs_what_it_costs_alone_unless_a_technique_acts_there(
    plan_of: Callable[..., Plan],
) -> None:
    assert len(trained(plan_of('resize = "32x2"', 'resize = ["32x2", "16x1 32x2"]', (0,)))) == 2
    with_mitigation = trained(plan_of('resize = "16x1 32x2"', 'mitigation = ["none", "low-lr"]', (0,)))
    assert len(with_mitigation) == 3


def test_the_number_of_workers_and_the_machine_count(plan: Plan) -> None:
    stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
    assert Combinations(plan, 1).of(stage) != Combinations(plan, 2).of(stage)
    assert Combinations(plan, 2).of(stage).group["device"] == plan.environment.identity


def test_a_batch_is_no_larger_than_the_images(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of('batch_size = 64\nresize = "32x1"', "lr = [0.003]", (0,))
    stage = next(stage for stage in plan.stages.values() if stage.kind == "train")
    assert Combinations(plan, 1).of(stage).group["batch"] == 48


def result(**values: object) -> StageResult:
    trained = TrainResult(
        curve=[], steps=5, batch_size=10, steps_at_size={"32": 5}, pixels=0, images_per_s=1.0, trained_parameters=1,
        step_ms=StepTimes(first=900.0, median=200.0),
    )  # fmt: skip
    return StageResult({**trained.to_json(), **values}, {"compile": 0.0, "train": 1.9}, 1.0, 1, {})


def test_a_steady_image_is_the_median_step_s_on_a_cpu() -> None:
    image_s, first_s = steady(result(), 50, on_gpu=False)
    assert image_s == pytest.approx(0.02)
    assert first_s == pytest.approx(0.7)


def test_on_a_gpu_all_steps_but_the_first_count_together() -> None:
    image_s, first_s = steady(result(step_ms={"first": 900.0, "median": 1.0}), 50, on_gpu=True)
    assert image_s == pytest.approx(1.0 / 40)
    assert first_s == pytest.approx(0.65)


def test_compilation_is_part_of_the_first_steps() -> None:
    compiled = result()
    compiled.seconds["compile"] = 30.0
    assert steady(compiled, 50, on_gpu=False)[1] == pytest.approx(30.7)


def test_a_stage_that_asks_for_few_images_takes_no_longer_with_more() -> None:
    fisher = Calibration(0.1, 0.0, 1.0, 1.0, 1.0, most_images=512)
    assert fisher.stage_s(10_000) == fisher.stage_s(512) == pytest.approx(52.2)
    assert fisher.stage_s(100) == pytest.approx(11.0)


def test_the_cache_returns_what_was_stored_and_nothing_else(tmp_path: Path) -> None:
    cache, first, second = CalibrationCache(tmp_path / "c"), *(Combination("train", {"a": a}, {}) for a in (1, 2))
    assert cache.get(first) is None and not (tmp_path / "c").exists()
    stored = Calibration(0.1, 0.2, 0.3, 4.0, 5.0, most_images=7, images=6)
    cache.put(first, stored)
    assert CalibrationCache(tmp_path / "c").get(first) == stored
    assert cache.get(second) is None
    cache.put(first, Calibration(9.0, 0.2, 0.3, 4.0, 5.0))
    assert cache.get(first) == stored  # a prediction does not change
    for damage in (b"", b"{", b"[]", b'{"format": 99}', b'{"format": 1, "calibration": {"x": 1}}'):
        (tmp_path / "c" / f"{first.name}.json").write_bytes(damage)
        assert cache.get(first) is None
