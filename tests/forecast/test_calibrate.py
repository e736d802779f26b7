"""Calibration through the real engine: what it measures, keeps, repairs and cleans up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sota_bench.forecast.calibrate import missing_combinations, stages_by_combination, startup_combination
from sota_bench.forecast.calibration import Calibration, scratch_folder
from sota_bench.forecast.combination import Combinations
from sota_bench.forecast.predictor import Predictor
from sota_bench.forecast.shrink import LEAST_STEPS, Shrinker
from sota_bench.plan.plan import Plan
from sota_bench.store import Store
from sota_bench.training.batches import steps_in_epoch

FACTORS = 'resize = ["32x6", "16x3 32x3"]\nmixup = [0.0, 0.2]\nmitigation = ["none", "low-lr"]\ntta = ["off", "flip"]'


@pytest.fixture(scope="module")
def small(plan_of: Callable[..., Plan]) -> Plan:
    """A plan with everything that is measured."""
    return plan_of('resize = "32x6"', FACTORS, (0, 1))


@pytest.fixture(scope="module")
def predictor(small: Plan, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A predictor whose store has been calibrated for the plan."""
    calibrated = Predictor(Store(tmp_path_factory.mktemp("predictor") / "store"))
    calibrated.calibrate(small, 2)
    return calibrated


def test_all_of_a_plan_follows_from_what_was_measured(small: Plan, predictor: Predictor) -> None:
    assert predictor.problems == []
    combinations = Combinations(small, 2)
    assert missing_combinations(small, combinations, predictor.cache) == {}
    prediction = predictor.predict(small, 2)
    assert prediction is not None and not prediction.unknown
    assert prediction.run_minutes is not None and prediction.run_minutes > 0
    applicable = [trial for trial in small.trials if trial.inapplicable is None]
    assert len(prediction.trial_minutes) == len(applicable)
    startup = predictor.cache.get(startup_combination(combinations))
    assert startup is not None and 0.2 < startup.overhead_s < 120
    for key, stage in small.stages.items():
        assert prediction.stage_s[key] > 0, stage.title


def test_fewer_trainings_are_measured_than_there_are(small: Plan, predictor: Predictor) -> None:
    combinations = Combinations(small, 2)
    trained = {combinations.of(stage) for stage in small.stages.values() if stage.kind == "train"}
    measured = [combination for combination in trained if predictor.cache.get(combination) is not None]
    assert (
        len(trained) == 2 + 2 + 2
    )  # 32 px, 16 px, and 32 px after a rise with the mitigation; each with and without Mixup
    assert len(measured) < len(trained)


def test_other_seeds_and_epochs_need_no_new_calibration(
    plan_of: Callable[..., Plan], small: Plan, predictor: Predictor
) -> None:
    longer = plan_of('resize = "32x9"', FACTORS.replace("x6", "x9"), (3, 4, 5))
    assert missing_combinations(longer, Combinations(longer, 2), predictor.cache) == {}
    before, after = predictor.predict(small, 2), predictor.predict(longer, 2)
    assert before is not None and after is not None
    cell = next(iter(before.cell_minutes))
    assert after.cell_minutes[cell] > before.cell_minutes[cell]


def test_nothing_is_left_but_the_calibrations(predictor: Predictor) -> None:
    assert {path.suffix for path in predictor.cache.folder.iterdir()} == {".json"}
    assert not (predictor.store.root / "artifacts").exists()


def test_what_is_measured_anew_uses_nothing_that_is_there_and_leaves_it(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = plan_of('resize = "32x2"', "lr = [0.003]", (0,))
    predictor = Predictor(Store(tmp_path / "store"))
    combinations = Combinations(plan, 1)
    busy = Calibration(1e6, 0.0, 0.0, 1.0, 1.0)
    for combination in (*stages_by_combination(plan, combinations), startup_combination(combinations)):
        predictor.cache.put(combination, busy)
    alone = predictor.predict_anew(plan, 1)
    assert alone is not None and 0 < max(alone.trial_minutes.values()) < 5
    assert {path.suffix for path in predictor.cache.folder.iterdir()} == {".json"}
    assert predictor.cache.get(startup_combination(combinations)) == busy


def test_what_a_killed_calibration_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "scratch-4194305"  # above the largest process id of Linux
    left.mkdir()
    made = scratch_folder(tmp_path)
    assert made.is_dir() and not left.exists()


def test_without_calibrations_nothing_is_predicted(small: Plan, tmp_path: Path) -> None:
    assert Predictor(Store(tmp_path / "store")).predict(small, 2) is None
    assert not (tmp_path / "store").exists()


def test_calibrating_is_cheap_only_against_a_long_run(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    predictor = Predictor(Store(tmp_path / "store"))
    assert not predictor.is_cheap_to_calibrate(plan_of('resize = "32x1"', "lr = [0.003]", (0,)), 2)
    assert predictor.is_cheap_to_calibrate(plan_of('resize = "32x500"', "lr = [0.003, 0.001]", (0, 1, 2)), 2)


def test_small_stages_have_the_same_steps_on_fewer_images(small: Plan) -> None:
    combinations = Combinations(small, 2)
    shrinker = Shrinker(small, combinations)
    stage = [stage for stage in small.stages.values() if stage.kind == "train" and stage.params.phase.rise][-1]
    made = shrinker.add(stage)
    assert made.params.techniques == stage.params.techniques
    assert made.params.phase.size == stage.params.phase.size
    assert made.params.phase.earlier_sizes == stage.params.phase.earlier_sizes
    assert made.params.recipe["batch_size"] == stage.params.recipe["batch_size"]
    images = small.images.subset(made.choice).sizes()["train"]
    assert made.epochs * steps_in_epoch(images, 16) >= LEAST_STEPS
    assert [stage.kind for stage in shrinker.stages.values()].count("train") == 2  # with the phase before it
