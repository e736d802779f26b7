"""How far a run is, counted from its events: trials and stages done and left, and the time that is left."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sota_bench.engine.events import (
    Event,
    StageBlocked,
    StageDone,
    StageFailed,
    StageInterrupted,
    StageProgress,
    StageStarted,
)
from sota_bench.stages.protocol import Progress
from sota_bench.stages.stage import Stage


@dataclass
class RunningStage:
    """The stage that a worker runs now; ``began`` on the monotonic clock."""

    stage: Stage
    began: float
    progress: Progress = field(default_factory=lambda: Progress(0, 0))


class RunProgress:
    """Counts of a run.

    Args:
        stages: all stages of the run.
        predicted: key -> seconds, where the planner has an estimate.
        workers: how many run at once.
        clock: monotonic seconds.
        trials: ids of the trials that were asked for; by default all that the stages belong to. A shared stage may
            belong to others too, which this run does not finish.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        predicted: Mapping[str, float] | None = None,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
        trials: Collection[str] | None = None,
    ) -> None:
        self.clock, self.workers = clock, max(1, workers)
        self.predicted = dict(predicted or {})
        self.stages = len(stages)
        self.done = self.reused = self.failed = self.blocked = 0
        self.running: dict[int, RunningStage] = {}
        self._left = {stage.key: stage for stage in stages}
        self._stages_of: defaultdict[str, set[str]] = defaultdict(set)
        for stage in stages:
            for trial in stage.trials:
                if trials is None or trial in trials:
                    self._stages_of[trial].add(stage.key)
        self.trials = len(self._stages_of)
        self.trials_done = self.trials_failed = 0
        self._failed_trials: set[str] = set()
        self._seconds: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._against_estimate: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def count(self, event: Event) -> None:
        """Update the counts by one event."""
        match event:
            case StageStarted(stage, worker):
                self.running[worker] = RunningStage(stage, self.clock())
            case StageProgress(_, worker, progress) if worker in self.running:
                self.running[worker].progress = progress
            case StageDone(stage, worker, _, reused, wall_s):
                self.running.pop(worker, None)
                self.done += 1
                self.reused += reused
                if not reused:
                    self._learn(stage, wall_s)
                self._close(stage)
                for trial in self._asked(stage):
                    self._stages_of[trial].discard(stage.key)
                    self.trials_done += not self._stages_of[trial]
            case StageFailed(stage) | StageBlocked(stage):
                self.failed += isinstance(event, StageFailed)
                self.blocked += isinstance(event, StageBlocked)
                self._close(stage)
                self._failed_trials.update(self._asked(stage))
                self.trials_failed = len(self._failed_trials)
            case StageInterrupted(stage):
                self._drop(stage)

    def _asked(self, stage: Stage) -> list[str]:
        return [trial for trial in stage.trials if trial in self._stages_of]

    def left(self) -> tuple[float, bool]:
        """Seconds until the run ends, and whether that covers all that is left.

        A stage with an estimate uses it, corrected by the ratio of measured to estimated seconds of the finished stages
        of its kind. The others take the mean of the finished stages of their kind, per epoch, or the pace of a running
        one. A kind of which nothing is known yet counts as 0, and the sum is then a lower bound.
        """
        total = longest = 0.0
        complete = True
        ongoing = {job.stage.key: self._job_s(job) for job in self.running.values()}
        by_kind = {job.stage.kind: self._pace(job) for job in self.running.values()}
        for key, stage in self._left.items():
            estimate = ongoing.get(key)
            if estimate is None:
                estimate = self._estimate(stage)
            if estimate is None and (pace := by_kind.get(stage.kind)) is not None:
                estimate = pace * max(1, stage.epochs)
            if estimate is None:
                complete = False
                continue
            total += estimate
            longest = max(longest, estimate)
        return max(total / self.workers, longest), complete

    def _job_s(self, job: RunningStage) -> float | None:
        """Seconds that a running stage still takes."""
        pace = self._pace(job)
        whole = self._estimate(job.stage) if pace is None else pace * max(1, job.stage.epochs)
        return None if whole is None else max(0.0, whole - (self.clock() - job.began))

    def _pace(self, job: RunningStage) -> float | None:
        """Seconds per epoch of a running stage, from how far it has come."""
        progress = job.progress
        if not (progress.done and progress.total):
            return None
        return (self.clock() - job.began) * progress.total / progress.done / max(1, job.stage.epochs)

    def _learn(self, stage: Stage, wall_s: float) -> None:
        totals = self._seconds[stage.kind]
        totals[0] += wall_s
        totals[1] += max(1, stage.epochs)
        if self.predicted.get(stage.key, 0.0) > 0.0:
            against = self._against_estimate[stage.kind]
            against[0] += wall_s
            against[1] += self.predicted[stage.key]

    def _estimate(self, stage: Stage) -> float | None:
        if stage.key in self.predicted:
            measured, estimated = self._against_estimate[stage.kind]
            return self.predicted[stage.key] * (measured / estimated if estimated else 1.0)
        seconds, units = self._seconds[stage.kind]
        return seconds / units * max(1, stage.epochs) if units else None

    def _close(self, stage: Stage) -> None:
        self._left.pop(stage.key, None)
        self._drop(stage)

    def _drop(self, stage: Stage) -> None:
        self.running = {worker: job for worker, job in self.running.items() if job.stage.key != stage.key}
