"""What ``plan`` and ``run`` say about minutes: the prediction, the goal, and what would meet it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from sota_bench.plan.plan import Plan
from sota_bench.store import Store
from sota_bench.units import size_text

if TYPE_CHECKING:
    from rich.console import Console

    from sota_bench.forecast.goal import Miss
    from sota_bench.forecast.predict import Prediction

BUSY = 0.1
"""Share of the time without a free processor above which a prediction is marked."""

SHOWN = 8
"""Cells above the goal that are listed with what would meet it."""


def say(line: str) -> None:
    """A line for people, on standard error: standard output is the answer."""
    click.echo(line, err=True)


def forecast(
    plan: Plan,
    workers: int,
    shelf: Store,
    measure: Callable[[Any], bool],
    selected: set[str] | None = None,
    tell: Callable[[str], None] = say,
) -> Prediction | None:
    """The prediction of a plan, or None where nothing is known of it.

    Args:
        plan: what is asked for.
        workers: that it will have.
        shelf: the store.
        measure: asked, with the forecast, whether to calibrate first.
        selected: ids of the trials to run; all by default.
        tell: told what happens, a line at a time.
    """
    from sota_bench.forecast.forecast import Forecast

    found = Forecast(shelf, tell)
    if measure(found):
        found.calibrate(plan, workers)
    return found.predict(plan, workers, selected)


def misses_of(plan: Plan, workers: int, shelf: Store, prediction: Prediction | None, measure: bool) -> list[Miss]:
    """The cells that are predicted to miss the goal, with what would meet it."""
    goal = plan.grid.minutes_per_iteration
    if prediction is None or goal is None or not prediction.missed(goal):
        return []
    from sota_bench.forecast.forecast import Forecast
    from sota_bench.forecast.goal import Advisor

    return Advisor(plan, workers, Forecast(shelf, say), prediction, measure).misses()


def as_json(plan: Plan, prediction: Prediction | None, misses: list[Miss]) -> dict[str, Any]:
    """The prediction as JSON values; ``calibrated`` is false where there is none."""
    if prediction is None:
        return {"calibrated": False, "goal_minutes": plan.grid.minutes_per_iteration}
    slowest = prediction.slowest
    return {
        "calibrated": True,
        "goal_minutes": plan.grid.minutes_per_iteration,
        "iteration_minutes": {
            "median": prediction.median_minutes,
            "max": slowest[1] if slowest else None,
            "slowest": slowest[0] if slowest else None,
            "cells": prediction.cell_minutes,
        },
        "run_minutes": prediction.run_minutes,
        "disk_bytes": prediction.disk_bytes,
        "memory_mb": prediction.memory_mb,
        "cpu_wait": prediction.cpu_wait,
        "not_predicted": prediction.unknown,
        "cells_not_predicted": _not_predicted(plan, prediction),
        "misses": [
            {
                "cell": miss.cell.id,
                "minutes": miss.minutes,
                "remedies": [vars(remedy) for remedy in miss.remedies],
            }
            for miss in misses
        ],
    }


def show(console: Console, plan: Plan, prediction: Prediction | None, misses: list[Miss]) -> None:
    """The prediction in a terminal."""

    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    goal = plan.grid.minutes_per_iteration
    if prediction is None or prediction.median_minutes is None or prediction.slowest is None:
        line("Minutes: not calibrated (plan without --no-calibrate measures a few steps).")
        return
    cell, most = prediction.slowest
    text = next(trial.trial.cell.text for trial in plan.trials if trial.trial.cell.id == cell)
    levels = ", ".join(f"{name} {level}" for name, level in text.items())
    middle = _minutes(prediction.median_minutes)
    line(f"Minutes per iteration: {middle} (median), {_minutes(most)} (slowest: {cell}, {levels}).")
    run = "not known" if prediction.run_minutes is None else _minutes(prediction.run_minutes)
    line(f"What is left: {run} with all workers, {size_text(prediction.disk_bytes)} of disk, "
         f"{size_text(prediction.memory_mb * 2**20)} of memory at once.")  # fmt: skip
    if prediction.cpu_wait > BUSY:
        busy = f"{100 * prediction.cpu_wait:.0f}% of the time"
        line(f"Calibrated while other work held the processors {busy}: an idle machine is faster.")
    for title in prediction.unknown[:3]:
        line(f"Not predicted: {title}.")
    if goal is None:
        return
    unknown = _not_predicted(plan, prediction)
    if unknown:
        line(f"Whether these meet the goal of {_minutes(goal)} is not known: {', '.join(unknown)}.")
    if not misses:
        line(f"Every {'other ' if unknown else ''}cell meets the goal of {_minutes(goal)}.")
        return
    line(f"{len(misses)} of {len(prediction.cell_minutes)} cells miss the goal of {_minutes(goal)}:")
    for miss in misses[:SHOWN]:
        levels = ", ".join(f"{name} {level}" for name, level in miss.cell.text.items())
        line(f"  {miss.cell.id} ({levels}): {_minutes(miss.minutes)}. Any of these would meet it:")
        for remedy in miss.remedies:
            line(f"    {remedy.setting}: {_minutes(remedy.minutes)}, gives up {remedy.lost}")
        if not miss.remedies:
            line("    nothing that this version tries")
    if len(misses) > SHOWN:
        line(f"  ... and {len(misses) - SHOWN} more (--json shows them)")


def _not_predicted(plan: Plan, prediction: Prediction) -> list[str]:
    """Cells whose minutes are not known, since a stage of theirs could not be measured."""
    cells = dict.fromkeys(trial.trial.cell.id for trial in plan.trials if trial.inapplicable is None)
    return [cell for cell in cells if cell not in prediction.cell_minutes]


def iteration_minutes(trials: Any, alone: bool = False) -> float | None:
    """The iteration that counts for the goal: the slowest cell, each cell by the median over its seeds.

    Args:
        trials: the table of trials; only finished ones count.
        alone: whether minutes with nothing else running count; the run's own where those could not be measured.
    """
    done = trials[trials["status"] == "done"]
    minutes = done["minutes_alone"].fillna(done["minutes"]) if alone else done["minutes"]
    cells = minutes.groupby(done["cell"]).median()
    return float(cells.max()) if len(cells) else None


def alone_lines(trials: Any, alone: Prediction | None) -> list[str]:
    """How far the minutes with nothing else running can be believed.

    Args:
        trials: the table of trials.
        alone: what was measured, or None where nothing could be.
    """
    lines = []
    if alone is not None:
        waited = f"{100 * alone.cpu_wait:.0f}% of the time"
        lines.append(f"minutes alone: measured anew; other work held the processors {waited}")
    lost = trials[(trials["status"] == "done") & trials["minutes_alone"].isna()]
    if cells := sorted(set(lost["cell"])):
        lines.append(
            f"minutes alone: not measured for {', '.join(cells)}, whose minutes in this run count for the goal"
        )
    return lines


def _minutes(value: float) -> str:
    return f"{60 * value:.0f} s" if value < 1 else f"{value:.1f} min" if value < 120 else f"{value / 60:.1f} h"
