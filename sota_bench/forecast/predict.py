"""Predicts minutes, disk and memory of a plan from calibrations: arithmetic alone, without a clock."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sota_bench.engine.stage_queue import StageQueue
from sota_bench.forecast.calibration import Calibration
from sota_bench.forecast.combination import Combinations
from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.stages.params import EvaluateParams
from sota_bench.stages.stage import Stage

MB = 2**20


@dataclass(frozen=True)
class Prediction:
    """What a plan will cost.

    Attributes:
        stage_s: key -> seconds of a stage on a worker, its overhead included; only stages that can be predicted.
        work_s: key -> seconds of its steps alone, as ``trials.minutes`` counts them.
        first_s: key -> the part of ``work_s`` that does not grow with images or epochs: how much longer the first step
            takes.
        trial_minutes: trial -> minutes of the iteration as if it were run alone, shared phases in full.
        training_minutes: the same for the training phases alone.
        cell_minutes: cell -> median over its seeds.
        run_minutes: from the start to the end of the remaining stages, with all workers; None where a stage cannot be
            predicted.
        disk_bytes: what the remaining stages write.
        memory_mb: peak memory of all workers together, on the device where that is a GPU, in 2**20 bytes.
        unknown: titles of stages that cannot be predicted.
        cpu_wait: share of the training time in which threads waited for a processor that other work used, while the
            stages were calibrated.
    """

    stage_s: dict[str, float]
    work_s: dict[str, float]
    first_s: dict[str, float]
    trial_minutes: dict[str, float]
    training_minutes: dict[str, float]
    cell_minutes: dict[str, float]
    run_minutes: float | None
    disk_bytes: float
    memory_mb: float
    unknown: list[str] = field(default_factory=list)
    cpu_wait: float = 0.0

    @property
    def median_minutes(self) -> float | None:
        """Median over the trials."""
        return statistics.median(self.trial_minutes.values()) if self.trial_minutes else None

    @property
    def slowest(self) -> tuple[str, float] | None:
        """The slowest cell and its minutes."""
        if not self.cell_minutes:
            return None
        cell = max(self.cell_minutes, key=lambda cell: self.cell_minutes[cell])
        return cell, self.cell_minutes[cell]

    def missed(self, goal_minutes: float) -> dict[str, float]:
        """The cells above a goal with their minutes, the slowest first."""
        above = {cell: minutes for cell, minutes in self.cell_minutes.items() if minutes > goal_minutes}
        return dict(sorted(above.items(), key=lambda pair: -pair[1]))


def images_of(stage: Stage, combinations: Combinations) -> int:
    """Images that a stage reads, all epochs together."""
    plan = combinations.plan
    if stage.kind == "prepare":
        return plan.images.contents_digest(plan.prepare_context.choices)[1]
    if stage.kind == "train":
        return stage.epochs * combinations.images(stage, "train")
    if isinstance(stage.params, EvaluateParams):
        return combinations.images(stage, stage.params.split)
    return combinations.images(stage, "train")


def predict(
    plan: Plan,
    combinations: Combinations,
    calibration_of: Callable[[Stage], Calibration | None],
    to_run: Sequence[str],
    startup_s: float,
) -> Prediction:
    """The prediction of a plan.

    Args:
        plan: what is predicted.
        combinations: of the plan, with the workers that it will have.
        calibration_of: the calibration of a stage, or None.
        to_run: keys of the stages that remain.
        startup_s: seconds until the first worker runs a stage, the imports of training included.
    """
    stage_s: dict[str, float] = {}
    work_s: dict[str, float] = {}
    first_s: dict[str, float] = {}
    unknown = []
    disk = memory = waited_s = trained_s = 0.0
    remaining = set(to_run)
    for key, stage in plan.stages.items():
        calibration = calibration_of(stage)
        if calibration is None:
            unknown.append(stage.title)
            continue
        images = images_of(stage, combinations)
        stage_s[key] = calibration.stage_s(images)
        work_s[key] = calibration.work_s(images)
        first_s[key] = calibration.first_s
        if stage.kind == "train":
            trained_s += work_s[key]
            waited_s += work_s[key] * calibration.cpu_wait
        if key in remaining:
            disk += calibration.stage_bytes + images * calibration.image_bytes
            memory = max(memory, calibration.memory_mb)
    minutes: dict[str, float] = {}
    training: dict[str, float] = {}
    by_cell: dict[str, list[float]] = {}
    for trial in plan.trials:
        keys = iteration_stages(trial)
        if keys and all(key in work_s for key in keys):
            minutes[trial.trial.id] = sum(work_s[key] for key in keys) / 60
            training[trial.trial.id] = sum(work_s[key] for key in trial.training) / 60
            by_cell.setdefault(trial.trial.cell.id, []).append(minutes[trial.trial.id])
    run_s = None
    if all(key in stage_s for key in remaining):
        run_s = startup_s + makespan_s(plan, stage_s, combinations.workers, to_run) if remaining else 0.0
    return Prediction(
        stage_s=stage_s,
        work_s=work_s,
        first_s=first_s,
        trial_minutes=minutes,
        training_minutes=training,
        cell_minutes={cell: statistics.median(values) for cell, values in by_cell.items()},
        run_minutes=None if run_s is None else run_s / 60,
        disk_bytes=disk,
        memory_mb=memory * combinations.workers,
        unknown=unknown,
        cpu_wait=waited_s / trained_s if trained_s else 0.0,
    )


def iteration_stages(trial: TrialPlan) -> tuple[str, ...]:
    """Keys of the stages that a trial consists of, if it were run alone."""
    return () if trial.inapplicable is not None else (*trial.computed, *trial.training, trial.final.key)


def makespan_s(plan: Plan, stage_s: Mapping[str, float], workers: int, to_run: Sequence[str]) -> float:
    """Seconds until the last stage ends: the engine's own queue, played with the predicted times.

    Args:
        plan: its stages.
        stage_s: key -> seconds, for all that run.
        workers: how many work at once.
        to_run: keys of the stages that run; all others are done already.
    """
    queue = StageQueue(list(plan.stages.values()), to_run)
    idle = dict.fromkeys(range(workers), "")
    busy: list[tuple[float, int, str]] = []
    now = 0.0
    while queue.left():
        for worker in sorted(idle):
            if (stage := queue.next_for(idle[worker])) is not None:
                heapq.heappush(busy, (now + stage_s[stage.key], worker, stage.key))
                del idle[worker]
        if not busy:
            break
        now, worker, key = heapq.heappop(busy)
        queue.finish(key)
        idle[worker] = key
    return now
