"""Calibrates the combinations of a plan: a few steps of each, through the real engine, in a temporary store."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sota_bench.data.build import processes_for
from sota_bench.engine.events import Event, StageDone, StageFailed, StageProgress, StageStarted
from sota_bench.engine.run_stages import run_stages
from sota_bench.forecast.additive import to_measure
from sota_bench.forecast.calibration import Calibration, CalibrationCache, scratch_folder
from sota_bench.forecast.combination import Combination, Combinations
from sota_bench.forecast.shrink import Shrinker
from sota_bench.plan.plan import Plan
from sota_bench.stages.context import PrepareContext
from sota_bench.stages.params import EvaluateParams, PrecomputeParams, PrepareParams, TrainParams
from sota_bench.stages.results import StageResult
from sota_bench.stages.stage import Stage
from sota_bench.stages.values import Json
from sota_bench.store import Store
from sota_bench.units import counted, duration_text

CANDIDATES = 8
"""Stages of one combination among which the one is measured that needs the fewest further stages."""

DECODED = 32
"""Images that are decoded one after the other, to measure the time of one."""


@dataclass
class CalibrationEvents:
    """The events of the small stages, collected while the engine runs them.

    Attributes:
        done: key -> the event that ended it.
        totals: key -> units of work, as its progress says.
        failed: key -> the reason.
        firsts: keys of the stages that were the first of their worker.
        started: when the engine was started, by the monotonic clock.
        ready_s: seconds from then to the first stage.
    """

    done: dict[str, StageDone] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    firsts: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    ready_s: float | None = None
    _workers: set[int] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        """Collects one event."""
        match event:
            case StageStarted(stage, _, pid):
                if self.ready_s is None:
                    self.ready_s = time.monotonic() - self.started
                if stage.kind != "prepare" and pid not in self._workers:
                    self._workers.add(pid)
                    self.firsts.append(stage.key)
            case StageProgress(stage, _, progress):
                self.totals[stage.key] = progress.total
            case StageDone(stage):
                self.done[stage.key] = event
            case StageFailed(stage, _, reason):
                self.failed[stage.key] = reason


def startup_combination(combinations: Combinations) -> Combination:
    """The combination under which the start of the workers is kept: their number and the software."""
    environment, workers = combinations.plan.environment, combinations.workers
    group: dict[str, Json] = {"device": environment.identity, "software": environment.versions, "workers": workers}
    return Combination("startup", group, {})


def stages_by_combination(plan: Plan, combinations: Combinations) -> dict[Combination, list[Stage]]:
    """The combinations of a plan with the first few stages of each, in running order."""
    by_combination: dict[Combination, list[Stage]] = {}
    for stage in plan.stages.values():
        stages = by_combination.setdefault(combinations.of(stage), [])
        if len(stages) < CANDIDATES:
            stages.append(stage)
    return by_combination


def missing_combinations(
    plan: Plan, combinations: Combinations, cache: CalibrationCache
) -> dict[Combination, list[Stage]]:
    """The combinations of a plan that have to be measured, so that all of them are calibrated or follow from others."""
    needed = stages_by_combination(plan, combinations)
    measured = [combination for combination in needed if cache.get(combination) is not None]
    missing = {combination: needed[combination] for combination in to_measure(needed, measured)}
    if not missing and cache.get(startup_combination(combinations)) is None:
        return {combination: stages for combination, stages in needed.items() if combination.kind == "prepare"}
    return missing


def small_stages(plan: Plan, combinations: Combinations, missing: Mapping[Combination, Sequence[Stage]]) -> Shrinker:
    """The small stages that measure the missing combinations."""
    shrinker = Shrinker(plan, combinations)
    for combination, stages in missing.items():
        if combination.kind != "prepare":
            shrinker.add(min(stages, key=shrinker.would_add))
    return shrinker


def calibrate(
    plan: Plan,
    combinations: Combinations,
    cache: CalibrationCache,
    missing: Mapping[Combination, Sequence[Stage]],
    processes: int,
    log: Callable[[str], None] = lambda line: None,
) -> dict[Combination, str]:
    """Measures combinations and puts them into the cache.

    Args:
        plan: whose combinations they are.
        combinations: of the plan, with as many workers as the run will have: so many measure at once.
        cache: that gets the results.
        missing: combinations with stages that have them.
        processes: that decode images.
        log: takes lines of progress.

    Returns:
        Combination -> why it could not be measured.

    Raises:
        KeyboardInterrupt: a signal stopped it; what is in the cache stays.
    """
    if not missing:
        return {}
    shrinker = small_stages(plan, combinations, missing)
    log(f"calibrating {counted(len(missing), 'combination')} of network, size and techniques on a few images each")
    folder = scratch_folder(cache.folder)
    events = CalibrationEvents()
    try:
        stages = shrinker.finish(folder, processes)
        store = Store(folder / "store")
        with store.hold("calibrate"):
            events.started = time.monotonic()
            summary = run_stages(
                stages,
                store,
                workers=min(combinations.workers, len(stages)),
                device=plan.environment.device,
                threads=plan.environment.threads,
                on_event=events,
            )
            _keep(plan, combinations, cache, shrinker, stages, store, events)
        if summary.interrupted:
            raise KeyboardInterrupt
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    log(f"calibrated in {duration_text(time.monotonic() - events.started)}")
    originals = shrinker.origin
    return {combinations.of(originals[key]): why for key, why in events.failed.items() if key in originals}


def _keep(
    plan: Plan,
    combinations: Combinations,
    cache: CalibrationCache,
    shrinker: Shrinker,
    stages: Sequence[Stage],
    store: Store,
    events: CalibrationEvents,
) -> None:
    """Puts the calibrations of finished small stages into the cache."""
    spent = {key: event.wall_s - _worked_s(event.result) for key, event in events.done.items()}
    import_s = _import_s(stages, spent, events.firsts)
    for stage in stages:
        if stage.key not in events.done:
            continue
        overhead = spent[stage.key] - (import_s if stage.key in events.firsts else 0.0)
        calibration = _calibration(plan, stage, events, max(0.0, overhead), sum(store.record(stage.key).sizes.values()))
        cache.put(combinations.of(shrinker.origin[stage.key]), calibration)
    if events.ready_s is not None:
        cache.put(startup_combination(combinations), Calibration(0.0, 0.0, events.ready_s + import_s, 0.0, 0.0))


def _import_s(stages: Sequence[Stage], spent: Mapping[str, float], firsts: Sequence[str]) -> float:
    """Seconds that the first stage of a worker spends on imports: its overhead above that of later stages of its
    kind."""
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


def _calibration(plan: Plan, stage: Stage, events: CalibrationEvents, overhead_s: float, size: int) -> Calibration:
    event = events.done[stage.key]
    result, worked = event.result, _worked_s(event.result)
    if stage.kind == "prepare":
        return _decoding(plan, stage, event)
    if isinstance(stage.params, TrainParams):
        images = stage.epochs * plan.images.subset(stage.choice).sizes()["train"]
        image_s, first_s = steady(result, images, on_gpu=plan.environment.device != "cpu")
        wait = result.use.cpu_wait or 0.0
        return Calibration(image_s, first_s, overhead_s, result.peak_memory_mb, size, images=images, cpu_wait=wait)
    if isinstance(stage.params, EvaluateParams):
        sizes = plan.images.subset(stage.choice).sizes()
        images, image_s = sizes[stage.params.split], result.evaluated.latency_ms / 1000
        image_bytes = 4.0 * len(plan.images.subset(stage.choice).classes)  # float32 of each class
        first_s = max(0.0, worked - images * image_s)
        fixed = max(0.0, size - images * image_bytes)
        return Calibration(image_s, first_s, overhead_s, result.peak_memory_mb, fixed, image_bytes, images=images)
    available = plan.images.subset(stage.choice).sizes()["train"]
    images = events.totals.get(stage.key) or available
    limit = result.computed.most_images if isinstance(stage.params, PrecomputeParams) else available
    most = limit if limit != available else 0  # it reads all that there are
    return Calibration(worked / images, 0.0, overhead_s, result.peak_memory_mb, size, most_images=most, images=images)


def steady(result: StageResult, images: int, on_gpu: bool) -> tuple[float, float]:
    """Seconds per image of a steady step, and how much longer the first step took.

    On a CPU this is the median step, which short disturbances do not move. On a GPU steps overlap, and only the time of
    all of them together is exact: it is the mean.

    Args:
        result: of a training stage.
        images: that it read, all epochs together.
        on_gpu: whether its device works while its host goes on.
    """
    trained, seconds = result.trained, result.seconds
    step_images = images / trained.steps
    first_s = trained.step_ms.first / 1000
    if on_gpu and trained.steps > 1:
        image_s = (seconds["train"] - first_s) / (images - step_images)
    else:
        image_s = trained.step_ms.median / 1000 / step_images
    return image_s, max(0.0, first_s - step_images * image_s) + seconds["compile"]


def _decoding(plan: Plan, stage: Stage, event: StageDone) -> Calibration:
    """The calibration of decoding: an image is timed on the source itself, and the rest of the stage is its
    overhead."""
    assert isinstance(stage.params, PrepareParams) and isinstance(stage.context, PrepareContext)
    _, whole = plan.images.contents_digest(plan.prepare_context.choices)
    prepared = event.result.prepared
    count, processes = prepared.images, processes_for(whole, stage.context.processes)
    paths, decoded = plan.images.paths(DECODED), 0
    began = time.perf_counter()
    for path in paths:
        try:
            plan.images.source.decode(path, stage.params.size)
        except Exception:  # the stage that decodes all images names the damaged ones
            continue
        decoded += 1
    image_s = (time.perf_counter() - began) / max(1, decoded) / processes
    size = float(prepared.bytes)
    overhead = max(0.0, event.wall_s - count * image_s)
    return Calibration(image_s, 0.0, overhead, event.result.peak_memory_mb, 0.0, size / max(1, count), images=count)
