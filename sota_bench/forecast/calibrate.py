"""Measures the combinations of a plan: a few steps of each through the real engine, in a store that is thrown away."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sota_bench.data.build import processes_for
from sota_bench.engine.events import Event, StageDone, StageFailed, StageProgress, StageStarted
from sota_bench.engine.run_stages import run_stages
from sota_bench.forecast.calibration import Calibration, Shelf
from sota_bench.forecast.combination import Combination, Combinations
from sota_bench.forecast.estimate import to_measure
from sota_bench.forecast.shrink import Shrinker
from sota_bench.plan.plan import Plan
from sota_bench.stages.context import PrepareContext
from sota_bench.stages.params import EvaluateParams, PrecomputeParams, PrepareParams, TrainParams
from sota_bench.stages.results import StageResult
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

CANDIDATES = 8
"""Stages of one combination among which the one with the fewest new predecessors is measured."""

DECODED = 32
"""Images that are decoded one after the other, to learn the time of one."""


@dataclass
class Heard:
    """What the engine said about each small stage."""

    done: dict[str, StageDone] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    firsts: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    ready_s: float | None = None
    _seen: set[int] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case StageStarted(stage, _, pid):
                if self.ready_s is None:
                    self.ready_s = time.monotonic() - self.began
                if stage.kind != "prepare" and pid not in self._seen:
                    self._seen.add(pid)
                    self.firsts.append(stage.key)
            case StageProgress(stage, _, progress):
                self.totals[stage.key] = progress.total
            case StageDone(stage):
                self.done[stage.key] = event
            case StageFailed(stage, _, reason):
                self.failed[stage.key] = reason


def startup_of(combinations: Combinations) -> Combination:
    """What the start of the workers is filed under: their number and the software."""
    environment, workers = combinations.plan.environment, combinations.workers
    group = {"device": dict(environment.identity), "software": dict(environment.versions), "workers": workers}
    return Combination("startup", group, {})


def wanted(plan: Plan, combinations: Combinations) -> dict[Combination, list[Stage]]:
    """The combinations of a plan and the first few stages of each, in running order."""
    found: dict[Combination, list[Stage]] = {}
    for stage in plan.stages.values():
        same = found.setdefault(combinations.of(stage), [])
        if len(same) < CANDIDATES:
            same.append(stage)
    return found


def missing(plan: Plan, combinations: Combinations, shelf: Shelf) -> dict[Combination, list[Stage]]:
    """The combinations of a plan that are neither on the shelf nor determined by what is there."""
    all_of = wanted(plan, combinations)
    known = [combination for combination in all_of if shelf.get(combination) is not None]
    lacking = {combination: all_of[combination] for combination in to_measure(all_of, known)}
    if not lacking and shelf.get(startup_of(combinations)) is None:
        return {combination: stages for combination, stages in all_of.items() if combination.kind == "prepare"}
    return lacking


def small_stages(plan: Plan, combinations: Combinations, lacking: dict[Combination, list[Stage]]) -> Shrinker:
    """The stages that measure what is lacking."""
    shrinker = Shrinker(plan, combinations)
    for combination, stages in lacking.items():
        if combination.kind != "prepare":
            shrinker.add(min(stages, key=shrinker.would_add))
    return shrinker


def calibrate(
    plan: Plan,
    combinations: Combinations,
    shelf: Shelf,
    lacking: dict[Combination, list[Stage]],
    processes: int,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[Combination, str]:
    """Measures what is lacking and puts it on the shelf.

    Args:
        plan: whose combinations they are.
        combinations: of the plan; says how many workers measure at once, as many as the run will have.
        shelf: where results go.
        lacking: combinations with stages that have them.
        processes: how many decode images.
        tell: told what happens, a line at a time.

    Returns:
        Why a combination could not be measured.

    Raises:
        KeyboardInterrupt: it was stopped by a signal; what is on the shelf stays.
    """
    if not lacking:
        return {}
    shrinker = small_stages(plan, combinations, lacking)
    what = "1 combination" if len(lacking) == 1 else f"{len(lacking)} combinations"
    tell(f"calibrating {what} of network, size and techniques on a few images each")
    folder = scratch(shelf.folder)
    heard = Heard()
    try:
        stages = shrinker.finish(folder, processes)
        store = Store(folder / "store")
        with store.hold("calibrate"):
            heard.began = time.monotonic()
            summary = run_stages(
                stages,
                store,
                workers=min(combinations.workers, len(stages)),
                device=plan.environment.device,
                threads=plan.environment.threads,
                on_event=heard,
            )
            _keep(plan, combinations, shelf, shrinker, stages, store, heard)
        if summary.interrupted:
            raise KeyboardInterrupt
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tell(f"calibrated in {time.monotonic() - heard.began:.0f} s")
    return {
        combinations.of(shrinker.origin[key]): reason for key, reason in heard.failed.items() if key in shrinker.origin
    }


def scratch(calibrations: Path) -> Path:
    """A folder for one calibration, named by its process; those of processes that are gone are removed."""
    import psutil

    for left in calibrations.glob("scratch-*"):
        if not psutil.pid_exists(int(left.name.split("-")[1])):
            shutil.rmtree(left, ignore_errors=True)
    folder = calibrations / f"scratch-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _keep(
    plan: Plan,
    combinations: Combinations,
    shelf: Shelf,
    shrinker: Shrinker,
    stages: Sequence[Stage],
    store: Store,
    heard: Heard,
) -> None:
    """Turns what was measured into calibrations."""
    spent = {key: event.wall_s - _worked_s(event.result) for key, event in heard.done.items()}
    import_s = _import_s(stages, spent, heard.firsts)
    for stage in stages:
        if stage.key not in heard.done:
            continue
        overhead = spent[stage.key] - (import_s if stage.key in heard.firsts else 0.0)
        calibration = _calibration(plan, stage, heard, max(0.0, overhead), sum(store.record(stage.key).sizes.values()))
        shelf.put(combinations.of(shrinker.origin[stage.key]), calibration)
    if heard.ready_s is not None:
        shelf.put(startup_of(combinations), Calibration(0.0, 0.0, heard.ready_s + import_s, 0.0, 0.0))


def _import_s(stages: Sequence[Stage], spent: Mapping[str, float], firsts: Sequence[str]) -> float:
    """What the first stage of a worker spends on imports: its overhead above that of later stages of its kind."""
    later = [stage for stage in stages if stage.kind != "prepare" and stage.key in spent and stage.key not in firsts]
    above = []
    for stage in stages:
        if stage.key in firsts and stage.key in spent:
            others = [other for other in later if other.kind == stage.kind] or later
            if others:
                above.append(spent[stage.key] - statistics.median(spent[other.key] for other in others))
    return max(0.0, statistics.median(above)) if above else 0.0


def _worked_s(result: StageResult) -> float:
    """Seconds that a stage spent on its images."""
    return sum(result.seconds.get(part, 0.0) for part in ("compile", "train", "evaluate"))


def _calibration(plan: Plan, stage: Stage, heard: Heard, overhead_s: float, size: int) -> Calibration:
    event = heard.done[stage.key]
    result, worked = event.result, _worked_s(event.result)
    if stage.kind == "prepare":
        return _decoding(plan, stage, event)
    if isinstance(stage.params, TrainParams):
        images = stage.epochs * plan.images.subset(stage.choice).sizes()["train"]
        image_s, first_s = steady(result, images, on_gpu=plan.environment.device != "cpu")
        waited = result.use.cpu_wait or 0.0
        return Calibration(image_s, first_s, overhead_s, result.peak_memory_mb, size, images=images, cpu_wait=waited)
    if isinstance(stage.params, EvaluateParams):
        sizes = plan.images.subset(stage.choice).sizes()
        images, image_s = sizes[stage.params.split], result.evaluated.latency_ms / 1000
        grows = 4.0 * len(plan.images.subset(stage.choice).classes)  # float32 of each class
        first_s = max(0.0, worked - images * image_s)
        fixed = max(0.0, size - images * grows)
        return Calibration(image_s, first_s, overhead_s, result.peak_memory_mb, fixed, grows, images=images)
    available = plan.images.subset(stage.choice).sizes()["train"]
    images = heard.totals.get(stage.key) or available
    asked = result.computed.most_images if isinstance(stage.params, PrecomputeParams) else available
    most = asked if asked != available else 0  # else it asked for all that there are
    return Calibration(worked / images, 0.0, overhead_s, result.peak_memory_mb, size, most_images=most, images=images)


def steady(result: StageResult, images: int, on_gpu: bool) -> tuple[float, float]:
    """Seconds per image of a steady step, and what the first steps took longer.

    On a CPU the median step counts, which no other process's moment disturbs. On a GPU steps are only asked for, and
    the clock is true for all of them together: the mean counts.

    Args:
        result: of a training stage.
        images: that it went through, all epochs together.
        on_gpu: whether its device works while its host goes on.
    """
    trained, seconds = result.trained, result.seconds
    steps = trained.steps
    batch = min(trained.batch_size, images)
    first_s = trained.step_ms.first / 1000
    if on_gpu and steps > 1:
        image_s = (seconds["train"] - first_s) / max(1, images - batch)
    else:
        image_s = trained.step_ms.median / 1000 / batch
    return image_s, max(0.0, first_s - batch * image_s) + seconds["compile"]


def _decoding(plan: Plan, stage: Stage, event: StageDone) -> Calibration:
    """Decoding is measured on the source itself, one image after the other; the rest of the stage is its overhead."""
    assert isinstance(stage.params, PrepareParams) and isinstance(stage.context, PrepareContext)
    _, whole = plan.images.contents_digest(plan.prepare_context.choices)
    prepared = event.result.prepared
    count, processes = prepared.images, processes_for(whole, stage.context.processes)
    paths, seen = plan.images.paths(DECODED), 0
    began = time.perf_counter()
    for path in paths:
        try:
            plan.images.source.decode(path, stage.params.size)
        except Exception:  # a damaged image is named when the images are decoded
            continue
        seen += 1
    image_s = (time.perf_counter() - began) / max(1, seen) / processes
    size = float(prepared.bytes)
    overhead = max(0.0, event.wall_s - count * image_s)
    return Calibration(image_s, 0.0, overhead, event.result.peak_memory_mb, 0.0, size / max(1, count), images=count)
