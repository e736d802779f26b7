"""What the commands ask for: a plan's prediction from the shelf, calibrated first where that is wanted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field

from sota_bench.engine.worker_pool import has_ready_worker
from sota_bench.forecast.calibrate import calibrate, missing, scratch, small_stages, startup_of
from sota_bench.forecast.calibration import Calibration, Shelf
from sota_bench.forecast.combination import Combinations
from sota_bench.forecast.estimate import Estimates
from sota_bench.forecast.predict import Prediction, predict
from sota_bench.forecast.shrink import work
from sota_bench.plan.environment import cores
from sota_bench.plan.plan import Plan
from sota_bench.plan.why import to_run
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

CHEAP, CHEAP_WITH_GOAL = 0.05, 0.5
"""``run`` calibrates first where that is at most this share of the work that is left: a goal is worth more of it."""


@dataclass
class Forecast:
    """Predicts plans on one store.

    Args:
        store: where calibrations are kept.
        tell: told what happens, a line at a time.
    """

    store: Store
    tell: Callable[[str], None] = lambda line: None
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.store.root)

    def calibrate(self, plan: Plan, workers: int) -> None:
        """Measures what the shelf lacks for a plan; what cannot be measured is told and left out."""
        combinations = Combinations(plan, workers)
        failed = calibrate(plan, combinations, self.shelf, missing(plan, combinations, self.shelf), cores(), self.tell)
        for reason in dict.fromkeys(failed.values()):
            self.problems.append(f"not calibrated: {reason}")
            self.tell(self.problems[-1])

    def anew(self, plan: Plan, workers: int) -> Prediction | None:
        """The prediction of a plan from calibrations that are made now and not kept: those in the store may have been
        made on a busy machine."""
        folder = scratch(self.shelf.folder)
        try:
            fresh = Forecast(self.store, self.tell)
            fresh.shelf = Shelf(folder)
            fresh.calibrate(plan, workers)
            return fresh.predict(plan, workers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def is_cheap(self, plan: Plan, workers: int) -> bool:
        """Whether measuring what is lacking is a small part of what is left to run."""
        combinations = Combinations(plan, workers)
        lacking = missing(plan, combinations, self.shelf)
        left = to_run(plan.stages, self.store.is_done, self.store.has_files)
        share = CHEAP_WITH_GOAL if plan.grid.minutes_per_iteration is not None else CHEAP
        small = small_stages(plan, combinations, lacking).stages.values()
        return work(small, plan) <= share * work((plan.stages[key] for key in left), plan)

    def predict(self, plan: Plan, workers: int, selected: set[str] | None = None) -> Prediction | None:
        """The prediction of a plan, or None where nothing of it is known.

        Args:
            plan: what is asked for.
            workers: that it will have.
            selected: ids of the trials whose stages are to run; all by default. The others' minutes are predicted too.
        """
        combinations = Combinations(plan, workers)
        startup = self.shelf.get(startup_of(combinations))
        if startup is None:
            return None
        measured = {}
        for stage in plan.stages.values():
            combination = combinations.of(stage)
            if combination not in measured and (found := self.shelf.get(combination)) is not None:
                measured[combination] = found
        if not measured:
            return None
        estimates = Estimates(measured)
        memo: dict[str, Calibration | None] = {}

        def calibration_of(stage: Stage) -> Calibration | None:
            combination = combinations.of(stage)
            if combination.name not in memo:
                memo[combination.name] = estimates.of(combination)
            return memo[combination.name]

        stages = {
            key: stage for key, stage in plan.stages.items() if selected is None or selected.intersection(stage.trials)
        }
        left = to_run(stages, self.store.is_done, self.store.has_files)
        startup_s = 0.0 if has_ready_worker() else startup.overhead_s
        return predict(plan, combinations, calibration_of, left, startup_s)
