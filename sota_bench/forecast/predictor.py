"""Predicts plans on one store: from the calibrations that it holds, or from new ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field

from sota_bench.engine.worker_pool import has_ready_worker
from sota_bench.forecast.additive import AdditiveModel
from sota_bench.forecast.calibrate import calibrate, missing_combinations, small_stages, startup_combination
from sota_bench.forecast.calibration import Calibration, CalibrationCache, calibrations_folder, scratch_folder
from sota_bench.forecast.combination import Combinations
from sota_bench.forecast.predict import Prediction, predict
from sota_bench.forecast.shrink import training_work
from sota_bench.plan.environment import cores
from sota_bench.plan.plan import Plan
from sota_bench.plan.why import to_run
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

CHEAP, CHEAP_WITH_GOAL = 0.05, 0.5
"""``run`` calibrates first where that is at most this share of the remaining work; a goal is worth more of it."""


@dataclass
class Predictor:
    """Predicts plans on one store.

    Args:
        store: that keeps the calibrations.
        log: takes lines of progress.
    """

    store: Store
    log: Callable[[str], None] = lambda line: None
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cache = CalibrationCache(calibrations_folder(self.store.root))

    def calibrate(self, plan: Plan, workers: int) -> None:
        """Measures the combinations of a plan that are not calibrated; those that cannot be measured are reported and
        left out."""
        combinations = Combinations(plan, workers)
        missing = missing_combinations(plan, combinations, self.cache)
        failed = calibrate(plan, combinations, self.cache, missing, cores(), self.log)
        for reason in dict.fromkeys(failed.values()):
            self.problems.append(f"not calibrated: {reason}")
            self.log(self.problems[-1])

    def predict_anew(self, plan: Plan, workers: int) -> Prediction | None:
        """The prediction of a plan from new calibrations, which are not kept: those in the store may have been made
        while the machine was busy."""
        folder = scratch_folder(self.cache.folder)
        try:
            fresh = Predictor(self.store, self.log)
            fresh.cache = CalibrationCache(folder)
            fresh.calibrate(plan, workers)
            return fresh.predict(plan, workers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def is_cheap_to_calibrate(self, plan: Plan, workers: int) -> bool:
        """Whether calibrating what is missing is a small part of the remaining work."""
        combinations = Combinations(plan, workers)
        missing = missing_combinations(plan, combinations, self.cache)
        remaining = to_run(plan.stages, self.store.is_done, self.store.has_files)
        share = CHEAP if plan.grid.minutes_per_iteration is None else CHEAP_WITH_GOAL
        small = small_stages(plan, combinations, missing).stages.values()
        return training_work(small, plan) <= share * training_work((plan.stages[key] for key in remaining), plan)

    def predict(self, plan: Plan, workers: int, selected: set[str] | None = None) -> Prediction | None:
        """The prediction of a plan, or None where no calibration of it is known.

        Args:
            plan: what is predicted.
            workers: that it will have.
            selected: ids of the trials that are run; all by default. The minutes of the others are predicted as well.
        """
        combinations = Combinations(plan, workers)
        startup = self.cache.get(startup_combination(combinations))
        if startup is None:
            return None
        measured = {}
        for stage in plan.stages.values():
            combination = combinations.of(stage)
            if combination not in measured and (calibration := self.cache.get(combination)) is not None:
                measured[combination] = calibration
        if not measured:
            return None
        model = AdditiveModel(measured)
        by_name: dict[str, Calibration | None] = {}

        def calibration_of(stage: Stage) -> Calibration | None:
            combination = combinations.of(stage)
            if combination.name not in by_name:
                by_name[combination.name] = model.calibration_of(combination)
            return by_name[combination.name]

        stages = {
            key: stage for key, stage in plan.stages.items() if selected is None or selected.intersection(stage.trials)
        }
        remaining = to_run(stages, self.store.is_done, self.store.has_files)
        startup_s = 0.0 if has_ready_worker() else startup.overhead_s
        return predict(plan, combinations, calibration_of, remaining, startup_s)
