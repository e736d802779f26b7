"""The goal in minutes: which cells are predicted to miss it, and which one change of the grid would meet it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from sota_bench.errors import UserError
from sota_bench.forecast.predict import Prediction, iteration_stages
from sota_bench.forecast.predictor import Predictor
from sota_bench.grid.backbones import SmallBackbone, small_backbones
from sota_bench.grid.expand import Cell, Trial
from sota_bench.grid.resize_schedule import SizePhase, format_schedule
from sota_bench.plan.graph import build
from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.units import counted

T = TypeVar("T")

CANDIDATES = 3
"""Smaller sizes, and smaller backbones, that are measured at most."""

MARGIN = 1.25
"""A candidate is measured if its operations are at most this much above what the goal allows: they are no exact
clock."""

SMALLEST_SHARE = 0.01
"""Of the images; a smaller share is no useful remedy."""


@dataclass(frozen=True)
class Remedy:
    """One change of the grid that would meet the goal.

    Attributes:
        kind: what is changed.
        setting: as it is written in a grid: ``recipe.fraction = 0.5``.
        minutes: predicted for the slowest cell with it.
        lost: what it gives up, in words.
    """

    kind: Literal["fraction", "epochs", "size", "backbone"]
    setting: str
    minutes: float
    lost: str


@dataclass(frozen=True)
class Advice:
    """What is predicted to miss the goal, and what would meet it.

    Attributes:
        missed: id of a cell -> its predicted minutes, the slowest first.
        remedies: changes of which each one alone would meet the goal. Fewer images or epochs are calculated for all
            cells; a smaller size or backbone is measured on the slowest cell.
    """

    missed: Mapping[str, float]
    remedies: tuple[Remedy, ...]


def advise(
    plan: Plan, workers: int, predictor: Predictor, prediction: Prediction | None, measure: bool = True
) -> Advice:
    """The advice for a plan and its prediction.

    Args:
        plan: the plan, with or without a goal.
        workers: that it will have.
        predictor: of the store.
        prediction: of the plan, or None where there is none.
        measure: whether smaller sizes and backbones may be calibrated.
    """
    goal = plan.grid.minutes_per_iteration
    if goal is None or prediction is None or not (missed := prediction.missed(goal)):
        return Advice({}, ())
    trials = {trial.trial.cell.id: trial for trial in reversed(plan.trials)}
    slow = [_Iteration.of(trials[cell], prediction) for cell in missed]
    remedies = [_fewer_images(plan, slow, goal), _fewer_epochs(plan, slow, goal)]
    remedies += _measured(plan, workers, predictor, slow[0], goal, measure)
    return Advice(missed, tuple(remedy for remedy in remedies if remedy is not None))


@dataclass(frozen=True)
class _Iteration:
    """The predicted seconds of one trial's iteration, by part.

    Attributes:
        trial: the trial.
        training_s: of the images of each training phase.
        fixed_s: of everything else: first steps, evaluation, a technique's own stages.
    """

    trial: TrialPlan
    training_s: tuple[float, ...]
    fixed_s: float

    @classmethod
    def of(cls, trial: TrialPlan, prediction: Prediction) -> _Iteration:
        work, first = prediction.work_s, prediction.first_s
        training = tuple(work[key] - first[key] for key in trial.training)
        return cls(trial, training, sum(work[key] for key in iteration_stages(trial)) - sum(training))


def largest_fraction(fraction: float, training_s: float, fixed_s: float, goal_s: float) -> float | None:
    """The largest share of the training images that meets the goal, rounded down to whole percent.

    Args:
        fraction: the share now.
        training_s: seconds of the training images with that share, to which they are proportional.
        fixed_s: seconds of everything else.
        goal_s: the goal.

    Returns:
        None where even the smallest share misses it.
    """
    if training_s <= 0:
        return None
    exact = fraction * (goal_s - fixed_s) / training_s
    rounded = math.floor(100 * min(exact, fraction) + 1e-9) / 100
    return rounded if rounded >= SMALLEST_SHARE else None


def fewest_epochs_lost(
    epochs: Sequence[int], costs_s: Sequence[float], fixed_s: float, goal_s: float
) -> list[int] | None:
    """Epochs by phase that meet the goal with the fewest epochs removed: those of the most expensive phase first, and
    at least one stays in each.

    Args:
        epochs: of each phase, now.
        costs_s: seconds of one epoch of each.
        fixed_s: seconds of everything else.
        goal_s: the goal.

    Returns:
        None where even one epoch of each misses it.
    """
    remaining = list(epochs)
    excess = fixed_s + sum(count * cost for count, cost in zip(remaining, costs_s, strict=True)) - goal_s
    for phase in sorted(range(len(remaining)), key=lambda phase: -costs_s[phase]):
        if excess <= 1e-9 or costs_s[phase] <= 0:
            break
        removed = min(remaining[phase] - 1, math.ceil(excess / costs_s[phase] - 1e-9))
        remaining[phase] -= removed
        excess -= removed * costs_s[phase]
    return remaining if excess <= 1e-9 else None


def _fewer_images(plan: Plan, slow: Sequence[_Iteration], goal: float) -> Remedy | None:
    """A smaller ``fraction`` for all cells; none where the grid varies the images or limits them in another way."""
    recipe = plan.grid.recipe
    fraction = getattr(recipe, "fraction", None)
    if fraction is None or "fraction" in plan.grid.factors or getattr(recipe, "per_class", None):
        return None
    shares = [largest_fraction(fraction, sum(part.training_s), part.fixed_s, 60 * goal) for part in slow]
    if None in shares:
        return None
    share = min(share for share in shares if share is not None)
    minutes = max(part.fixed_s + sum(part.training_s) * share / fraction for part in slow) / 60
    lost = f"{100 * (1 - share / fraction):.0f}% fewer training images"
    return Remedy("fraction", f"recipe.fraction = {share:g}", minutes, lost)


def _fewer_epochs(plan: Plan, slow: Sequence[_Iteration], goal: float) -> Remedy | None:
    """Shorter schedules for all cells that miss the goal: cells with the same schedule keep the same one."""
    if plan.grid.match != "epochs":  # the schedules follow from the baseline's
        return None
    shortened: dict[str, list[int]] = {}
    seconds = []
    for part in slow:
        phases = part.trial.phases
        main = [index for index, phase in enumerate(phases) if phase.task == "main"]
        costs = [part.training_s[index] / phases[index].epochs for index in main]
        fixed_s = part.fixed_s + sum(part.training_s) - sum(part.training_s[index] for index in main)
        epochs = fewest_epochs_lost([phases[index].epochs for index in main], costs, fixed_s, 60 * goal)
        if epochs is None:
            return None
        schedule = part.trial.trial.cell.recipe.resize
        least = list(map(min, epochs, shortened.get(schedule, epochs)))
        shortened[schedule] = least
        seconds.append((schedule, fixed_s, costs))
    minutes = max(
        fixed_s + sum(count * cost for count, cost in zip(shortened[schedule], costs, strict=True))
        for schedule, fixed_s, costs in seconds
    )
    phases_of = {part.trial.trial.cell.recipe.resize: part.trial.trial.cell.recipe.phases for part in slow}
    schedules = {schedule: _with_epochs(phases, shortened[schedule]) for schedule, phases in phases_of.items()}
    slowest = slow[0].trial.trial.cell.recipe
    before, after = sum(phase.epochs for phase in slowest.phases), sum(shortened[slowest.resize])
    return _schedule_remedy(plan, "epochs", schedules, minutes / 60, f"{after} instead of {counted(before, 'epoch')}")


def _with_epochs(phases: Sequence[SizePhase], epochs: Sequence[int]) -> str:
    return format_schedule([SizePhase(phase.size, count) for phase, count in zip(phases, epochs, strict=True)])


def _schedule_remedy(
    plan: Plan, kind: Literal["epochs", "size"], schedules: Mapping[str, str], minutes: float, lost: str
) -> Remedy | None:
    """Schedules instead of those that the grid has; none where two levels of a factor would become the same."""
    levels = [str(level) for level in plan.grid.factors.get("resize", ())]
    if not levels:
        setting = f'recipe.resize = "{schedules[plan.grid.recipe.resize]}"'
        return Remedy(kind, setting, minutes, lost)
    replaced = [schedules.get(level, level) for level in levels]
    if len(set(replaced)) < len(levels):
        return None
    written = ", ".join(f'"{level}"' for level in replaced)
    return Remedy(kind, f"factors.resize = [{written}]", minutes, lost)


def _measured(
    plan: Plan, workers: int, predictor: Predictor, slowest: _Iteration, goal: float, measure: bool
) -> list[Remedy]:
    """The largest smaller size and the largest smaller backbone that meet the goal, measured on the slowest cell."""
    share = max(0.0, 60 * goal - slowest.fixed_s) / max(sum(slowest.training_s), 1e-9)
    cell = slowest.trial.trial.cell
    recipe, model = cell.recipe, type(cell.recipe)
    values = {name: getattr(recipe, name) for name in model.model_fields}
    trials: list[Trial] = []
    remedies: dict[str, MakeRemedy] = {}
    for fields, remedy in [*_smaller_sizes(plan, cell, share), *_smaller_backbones(plan, cell, share)]:
        try:
            changed = Cell(cell.id, cell.levels, model.model_validate(values | fields))
        except ValueError:  # this backbone does not take these settings
            continue
        if plan.grid.inapplicable(changed) is None:
            trials.append(Trial(f"candidate-{len(trials)}", changed, slowest.trial.trial.seed))
            remedies[trials[-1].id] = remedy
    best: dict[str, Remedy] = {}
    for name, minutes in _predicted(plan, workers, predictor, trials, measure).items():
        candidate = remedies[name](minutes) if minutes <= goal else None
        if candidate is not None:  # those that give up least come first
            best.setdefault(candidate.kind, candidate)
    return list(best.values())


MakeRemedy = Callable[[float], Remedy | None]
"""Makes the remedy of a candidate from its predicted minutes."""

Candidate = tuple[dict[str, str], MakeRemedy]
"""Recipe fields of the slowest cell, and the remedy that they are."""


def _smaller_sizes(plan: Plan, cell: Cell, share: float) -> list[Candidate]:
    """Smaller sizes, the largest first; every phase above the size is lowered to it."""
    if plan.grid.match != "epochs":
        return []
    phases = cell.recipe.phases
    largest = max(phase.size for phase in phases)
    step = 32 if largest > 96 else 16 if largest > 48 else 8
    sizes = list(range(step * ((largest - 1) // step), step - 1, -step))
    row = next((row for row in small_backbones() if row.name == cell.recipe.backbone.split(".")[0]), None)
    sizes = [size for size in sizes if row is None or _takes(row, [size])]
    pixels = sum(phase.epochs * phase.size**2 for phase in phases)
    schedules = {other.recipe.resize: other.recipe.phases for other in plan.grid.cells()}

    def lowered_share(size: int) -> float:
        return sum(phase.epochs * min(phase.size, size) ** 2 for phase in phases) / pixels

    def candidate(size: int) -> Candidate:
        lowered = {schedule: _lowered(phases, size) for schedule, phases in schedules.items()}
        lost = f"{size} px instead of {largest} px"
        return {"resize": lowered[cell.recipe.resize]}, lambda minutes: _schedule_remedy(
            plan, "size", lowered, minutes, lost
        )

    return [candidate(size) for size in _likely(sizes, [lowered_share(size) <= MARGIN * share for size in sizes])]


def _smaller_backbones(plan: Plan, cell: Cell, share: float) -> list[Candidate]:
    """Backbones of the short list with fewer operations, those with most first."""
    if "backbone" in plan.grid.factors:
        return []
    backbone = cell.recipe.backbone
    recipes = [other.recipe for other in plan.grid.cells()]
    sizes = {phase.size for recipe in recipes for phase in recipe.phases} | {recipe.eval_size for recipe in recipes}
    rows = [row for row in small_backbones() if row.name != backbone and not row.fixed_size and _takes(row, sizes)]
    current = next((row for row in small_backbones() if row.name == backbone.split(".")[0]), None)
    smaller = sorted((row for row in rows if current is None or row.flops < current.flops), key=lambda row: -row.flops)

    def candidate(name: str, params: float) -> Candidate:
        lost = f"{name} with {params / 1e6:.1f} M parameters instead of {backbone}"
        return {"backbone": name, "weights": ""}, lambda minutes: Remedy(
            "backbone", f'recipe.backbone = "{name}"', minutes, lost
        )

    is_likely = [current is None or row.flops <= MARGIN * share * current.flops for row in smaller]
    return [candidate(row.name, row.params) for row in _likely(smaller, is_likely)]


def _takes(row: SmallBackbone, sizes: Iterable[int]) -> bool:
    """Whether a backbone takes images of all sizes; 0 stands for the size of the last phase."""
    return all(size == 0 or (size >= row.least and size % row.step == 0) for size in sizes)


def _likely(ordered: Sequence[T], is_likely: Sequence[bool]) -> list[T]:
    """The first few candidates that are likely to meet the goal, and the smallest of all."""
    first = [candidate for candidate, likely in zip(ordered, is_likely, strict=True) if likely][: CANDIDATES - 1]
    return first if not ordered or ordered[-1] in first else [*first, ordered[-1]]


def _predicted(
    plan: Plan, workers: int, predictor: Predictor, trials: Sequence[Trial], measure: bool
) -> dict[str, float]:
    """Predicted minutes of candidates, which are calibrated first where that is allowed."""
    if not trials:
        return {}
    context = plan.prepare_context
    try:
        variant = build(plan.grid, plan.environment, plan.images, context.manifest, context.processes, trials)
    except UserError:
        return {}
    if measure:
        predictor.calibrate(variant, workers)
    prediction = predictor.predict(variant, workers)
    return {} if prediction is None else prediction.trial_minutes


def _lowered(phases: Sequence[SizePhase], size: int) -> str:
    """The schedule with no phase above a size; neighbouring phases of one size become one."""
    lowered: list[SizePhase] = []
    for phase in phases:
        now = SizePhase(min(phase.size, size), phase.epochs)
        if lowered and lowered[-1].size == now.size:
            now = SizePhase(now.size, lowered.pop().epochs + now.epochs)
        lowered.append(now)
    return format_schedule(lowered)
