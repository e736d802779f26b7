"""The goal in minutes: which cells miss it, and what would meet it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sota_bench.errors import UserError
from sota_bench.forecast.forecast import Forecast
from sota_bench.forecast.predict import Prediction, iteration
from sota_bench.grid.backbones import small_backbones
from sota_bench.grid.expand import Cell, Trial
from sota_bench.grid.resize_schedule import SizePhase, format_schedule
from sota_bench.plan.graph import build
from sota_bench.plan.plan import Plan, TrialPlan

TRIES = 3
"""Candidates of one kind that are measured before giving up on it."""

MARGIN = 1.25
"""A candidate may be estimated this much above the goal and still be measured: its operations are no clock."""

SMALLEST_SHARE = 0.01
"""Of the images; a smaller share is no help worth naming."""


@dataclass(frozen=True)
class Remedy:
    """One change that meets the goal.

    Attributes:
        kind: ``fraction``, ``epochs``, ``size`` or ``backbone``.
        setting: as it is written in a grid.
        minutes: predicted minutes of the cell's iteration with it.
        lost: what it gives up, in words.
        size: pixels to which phases are lowered, for ``size``.
        first_minutes: the part of the minutes that first steps take longer, for what was measured.
    """

    kind: str
    setting: str
    minutes: float
    lost: str
    size: int = 0
    first_minutes: float = 0.0


@dataclass(frozen=True)
class Miss:
    """A cell above the goal.

    Attributes:
        cell: which one.
        minutes: predicted.
        remedies: what would meet the goal, each by itself.
    """

    cell: Cell
    minutes: float
    remedies: tuple[Remedy, ...]


def largest_fraction(fraction: float, training_s: float, fixed_s: float, goal_s: float) -> float | None:
    """The largest share of the training images that meets the goal, rounded down to whole percent.

    The time of the training images is proportional to it; first steps and evaluation do not depend on it.

    Args:
        fraction: the share now.
        training_s: seconds of the training images with that share.
        fixed_s: seconds of the rest.
        goal_s: the goal.

    Returns:
        None where even the smallest share misses it.
    """
    if training_s <= 0:
        return None
    wanted = fraction * (goal_s - fixed_s) / training_s
    rounded = math.floor(100 * min(wanted, fraction) + 1e-9) / 100
    return rounded if rounded >= SMALLEST_SHARE else None


def fewest_epochs_lost(
    epochs: Sequence[int], costs_s: Sequence[float], fixed_s: float, goal_s: float
) -> list[int] | None:
    """Epochs by phase that meet the goal with the fewest epochs taken away: the dearest go first, one always stays.

    Args:
        epochs: of each phase, now.
        costs_s: seconds of one epoch of each.
        fixed_s: seconds of the rest.
        goal_s: the goal.
    """
    left = list(epochs)
    over = fixed_s + sum(count * cost for count, cost in zip(left, costs_s, strict=True)) - goal_s
    for place in sorted(range(len(left)), key=lambda place: -costs_s[place]):
        if over <= 1e-9 or costs_s[place] <= 0:
            break
        taken = min(left[place] - 1, math.ceil(over / costs_s[place] - 1e-9))
        left[place] -= taken
        over -= taken * costs_s[place]
    return left if over <= 1e-9 else None


class Advisor:
    """Finds what would meet the goal of a plan.

    Args:
        plan: with cells above its goal.
        workers: that it will have.
        forecast: predicts variants, and measures them where it may.
        prediction: of the plan.
        measure: whether other sizes and backbones may be calibrated.
    """

    def __init__(
        self, plan: Plan, workers: int, forecast: Forecast, prediction: Prediction, measure: bool = True
    ) -> None:
        self.plan, self.workers, self.forecast = plan, workers, forecast
        self.prediction, self.measure = prediction, measure
        self.trials = {trial.trial.cell.id: trial for trial in reversed(plan.trials)}
        self.goal_s = 60 * float(plan.grid.minutes_per_iteration or math.inf)

    def misses(self) -> list[Miss]:
        """Every cell above the goal, the slowest first. Sizes and backbones are measured on the slowest cell; for the
        others they are scaled by what they did there."""
        missed = self.prediction.missed(self.goal_s / 60)
        found: list[Miss] = []
        measured: list[Remedy] = []
        for cell, minutes in missed.items():
            trial = self.trials[cell]
            remedies = [self._fraction(trial), self._epochs(trial)]
            if not found:
                measured = self._measured(trial)
                remedies += measured
            else:
                remedies += [self._scaled(trial, minutes, remedy, found[0]) for remedy in measured]
            found.append(Miss(trial.trial.cell, minutes, tuple(remedy for remedy in remedies if remedy)))
        return found

    def _parts(self, trial: TrialPlan) -> tuple[list[float], float]:
        """Seconds of the images of each training phase, and of the rest of the iteration, first steps included."""
        work, first = self.prediction.work_s, self.prediction.first_s
        images = [work[key] - first[key] for key in trial.training]
        return images, sum(work[key] for key in iteration(trial)) - sum(images)

    def _fraction(self, trial: TrialPlan) -> Remedy | None:
        recipe = trial.trial.cell.recipe
        if not hasattr(recipe, "fraction"):
            return None
        training, fixed = self._parts(trial)
        share = largest_fraction(recipe.fraction, sum(training), fixed, self.goal_s)
        if share is None:
            return None
        minutes = (fixed + sum(training) * share / recipe.fraction) / 60
        return Remedy(
            "fraction", f"fraction = {share:g}", minutes, f"{100 * (1 - share / recipe.fraction):.0f}% of the images"
        )

    def _epochs(self, trial: TrialPlan) -> Remedy | None:
        training, fixed = self._parts(trial)
        own = [place for place, phase in enumerate(trial.phases) if phase.task == "main"]
        fixed += sum(training) - sum(training[place] for place in own)
        epochs = [trial.phases[place].epochs for place in own]
        costs = [training[place] / trial.phases[place].epochs for place in own]
        fewer = fewest_epochs_lost(epochs, costs, fixed, self.goal_s)
        if fewer is None:
            return None
        phases = [SizePhase(trial.phases[place].size, count) for place, count in zip(own, fewer, strict=True)]
        minutes = (fixed + sum(count * cost for count, cost in zip(fewer, costs, strict=True))) / 60
        lost = sum(epochs) - sum(fewer)
        return Remedy("epochs", f'resize = "{format_schedule(phases)}"', minutes, f"{lost} of {sum(epochs)} epochs")

    def _measured(self, trial: TrialPlan) -> list[Remedy]:
        """The largest size and the largest backbone that meet the goal, all candidates measured together."""
        training, fixed = self._parts(trial)
        share = max(0.0, self.goal_s - fixed) / max(sum(training), 1e-9)
        candidates = [*self._sizes(trial, share), *self._backbones(trial, share)]
        recipe = trial.trial.cell.recipe
        model = type(recipe)
        kept = {name: getattr(recipe, name) for name in model.model_fields}
        tried: dict[str, Remedy] = {}
        trials: list[Trial] = []
        for number, (remedy, fields) in enumerate(candidates):
            try:
                cell = Cell(trial.trial.cell.id, trial.trial.cell.levels, model.model_validate(kept | fields))
            except ValueError:  # this backbone does not take these settings
                continue
            if self.plan.grid.inapplicable(cell) is None:
                tried[f"candidate-{number}"] = remedy
                trials.append(Trial(f"candidate-{number}", cell, trial.trial.seed))
        minutes = self._minutes(trials)
        met = [
            replace(tried[name], minutes=value, first_minutes=first)
            for name, (value, first) in minutes.items()
            if 60 * value <= self.goal_s
        ]
        found: dict[str, Remedy] = {}
        for remedy in met:  # in the order of the candidates: the one that gives up least comes first
            found.setdefault(remedy.kind, remedy)
        return list(found.values())

    def _sizes(self, trial: TrialPlan, share: float) -> list[tuple[Remedy, dict[str, Any]]]:
        """Smaller sizes, the largest first: every phase above the size is lowered to it."""
        phases = trial.trial.cell.recipe.phases
        largest = max(phase.size for phase in phases)
        step = 32 if largest > 96 else 16 if largest > 48 else 8
        smaller = list(range(step * ((largest - 1) // step), step - 1, -step))
        chosen = _likely(smaller, [_lowered_share(phases, size) <= MARGIN * share for size in smaller])
        found = []
        for size in chosen:
            schedule = _lowered(phases, size)
            remedy = Remedy("size", f'resize = "{schedule}"', math.nan, f"{largest} px for {size} px", size)
            found.append((remedy, {"resize": schedule}))
        return found

    def _backbones(self, trial: TrialPlan, share: float) -> list[tuple[Remedy, dict[str, Any]]]:
        """Backbones of the short list that compute less, those that compute most first."""
        recipe = trial.trial.cell.recipe
        now = next((row for row in small_backbones() if row.name == recipe.backbone.split(".")[0]), None)
        rows = [row for row in small_backbones() if row.name != recipe.backbone and not row.fixed_size]
        smaller = sorted((row for row in rows if now is None or row.flops < now.flops), key=lambda row: -row.flops)
        chosen = _likely(smaller, [now is None or row.flops <= MARGIN * share * now.flops for row in smaller])
        found = []
        for row in chosen:
            lost = f"{recipe.backbone} for one of {row.params / 1e6:.1f} M parameters"
            remedy = Remedy("backbone", f'backbone = "{row.name}"', math.nan, lost)
            found.append((remedy, {"backbone": row.name, "weights": ""}))
        return found

    def _scaled(self, trial: TrialPlan, minutes: float, remedy: Remedy, slowest: Miss) -> Remedy | None:
        """A remedy that was measured on the slowest cell, for another one with the same setting: its own first steps,
        and the rest scaled by what the setting did to the slowest cell's."""
        first = _first_minutes(self.prediction, trial)
        before = slowest.minutes - _first_minutes(self.prediction, self.trials[slowest.cell.id])
        share = (remedy.minutes - remedy.first_minutes) / before
        setting = remedy.setting
        if remedy.kind == "size":
            phases = trial.trial.cell.recipe.phases
            share *= _lowered_share(phases, remedy.size) / _lowered_share(slowest.cell.recipe.phases, remedy.size)
            setting = f'resize = "{_lowered(phases, remedy.size)}"'
        scaled = first + share * (minutes - first)
        if 60 * scaled > self.goal_s:
            return None
        return replace(remedy, setting=setting, minutes=scaled, first_minutes=first)

    def _minutes(self, trials: Sequence[Trial]) -> dict[str, tuple[float, float]]:
        """Predicted minutes of candidates, and the part of first steps; measured first where that is allowed."""
        if not trials:
            return {}
        manifest, processes = self.plan.prepare_context.manifest, self.plan.prepare_context.processes
        try:
            plan = build(self.plan.grid, self.plan.environment, self.plan.images, manifest, processes, trials)
        except UserError:
            return {}
        if self.measure:
            self.forecast.calibrate(plan, self.workers)
        prediction = self.forecast.predict(plan, self.workers)
        if prediction is None:
            return {}
        by_id = {trial.trial.id: trial for trial in plan.trials}
        return {
            name: (value, _first_minutes(prediction, by_id[name])) for name, value in prediction.trial_minutes.items()
        }


def _first_minutes(prediction: Prediction, trial: TrialPlan) -> float:
    """Minutes of an iteration that its first steps take longer."""
    return sum(prediction.first_s[key] for key in iteration(trial)) / 60


Candidate = TypeVar("Candidate")


def _likely(ordered: Sequence[Candidate], enough: Sequence[bool]) -> list[Candidate]:
    """A few of those that are likely to be small enough, and the smallest of all."""
    first = [one for one, small in zip(ordered, enough, strict=True) if small][: TRIES - 1]
    return first if not ordered or ordered[-1] in first else [*first, ordered[-1]]


def _lowered_share(phases: Sequence[SizePhase], size: int) -> float:
    """Pixels that are left when no phase is above a size, as a share."""
    pixels = sum(phase.epochs * phase.size**2 for phase in phases)
    return sum(phase.epochs * min(phase.size, size) ** 2 for phase in phases) / pixels


def _lowered(phases: Sequence[SizePhase], size: int) -> str:
    """The schedule with no phase above a size."""
    return format_schedule(_merged([SizePhase(min(phase.size, size), phase.epochs) for phase in phases]))


def _merged(phases: Sequence[SizePhase]) -> list[SizePhase]:
    """Neighbouring phases of one size as one."""
    found: list[SizePhase] = []
    for phase in phases:
        if found and found[-1].size == phase.size:
            found[-1] = SizePhase(phase.size, found[-1].epochs + phase.epochs)
        else:
            found.append(phase)
    return found
