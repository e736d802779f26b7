"""A prediction in words and as JSON: the minutes, whether the goal is met, and what would meet it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sota_bench.forecast.goal import Advice
from sota_bench.forecast.predict import Prediction
from sota_bench.plan.plan import Plan
from sota_bench.stages.values import Json
from sota_bench.units import counted, duration_text, size_text

if TYPE_CHECKING:
    import pandas as pd

BUSY = 0.1
"""Share of the time spent waiting for a processor above which a measured time is called too long."""

SHOWN = 8
"""Cells above the goal that are listed."""


def as_json(plan: Plan, prediction: Prediction | None, advice: Advice) -> dict[str, Json]:
    """The prediction as JSON values; ``calibrated`` is false where there is none."""
    goal = plan.grid.minutes_per_iteration
    if prediction is None:
        return {"calibrated": False, "goal_minutes": goal}
    slowest = prediction.slowest
    return {
        "calibrated": True,
        "goal_minutes": goal,
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
        "misses": [{"cell": cell, "minutes": minutes} for cell, minutes in advice.missed.items()],
        "remedies": [vars(remedy) for remedy in advice.remedies],
    }


def as_lines(plan: Plan, prediction: Prediction | None, advice: Advice, workers: int, calibrations: Path) -> list[str]:
    """The prediction as lines for people.

    Args:
        plan: what is predicted.
        prediction: None where nothing is calibrated.
        advice: what would meet the goal.
        workers: worker processes.
        calibrations: the folder that the prediction comes from.
    """
    if prediction is None or prediction.median_minutes is None or prediction.slowest is None:
        return [
            "Times are not predicted: nothing is calibrated yet; plan without --no-calibrate to measure a few steps."
        ]
    cell, slowest = prediction.slowest
    levels = _levels(plan)
    run = "unknown" if prediction.run_minutes is None else minutes_text(prediction.run_minutes)
    lines = [
        f"Predicted per iteration: {minutes_text(prediction.median_minutes)} in the median, {minutes_text(slowest)} "
        f"for the slowest cell, {cell} ({levels[cell]}).",
        f"Remaining with {counted(workers, 'worker')}: {run}, {size_text(prediction.disk_bytes)} of disk, "
        f"{size_text(prediction.memory_mb * 2**20)} of memory.",
    ]
    if prediction.cpu_wait > BUSY:
        lines.append(
            "The CPU was busy with other work during calibration, so these times may be too long: on an idle machine, "
            f"remove the folder {calibrations} and plan again."
        )
    lines += [f"Not predicted: {title}." for title in prediction.unknown[:3]]
    if plan.grid.minutes_per_iteration is not None:
        lines += _goal_lines(plan, prediction, advice, plan.grid.minutes_per_iteration)
    return lines


def _goal_lines(plan: Plan, prediction: Prediction, advice: Advice, goal: float) -> list[str]:
    unknown = _not_predicted(plan, prediction)
    lines = []
    if unknown:
        lines.append(f"Unknown whether these cells meet the goal of {minutes_text(goal)}: {', '.join(unknown)}.")
    if not advice.missed:
        return [*lines, f"Every {'other ' if unknown else ''}cell meets the goal of {minutes_text(goal)}."]
    cells = counted(len(prediction.cell_minutes), "cell")
    verb = "misses" if len(advice.missed) == 1 else "miss"
    lines.append(f"{len(advice.missed)} of {cells} {verb} the goal of {minutes_text(goal)}:")
    levels = _levels(plan)
    for cell, minutes in list(advice.missed.items())[:SHOWN]:
        lines.append(f"  {cell} ({levels[cell]}): {minutes_text(minutes)}")
    if len(advice.missed) > SHOWN:
        lines.append(f"  ... and {len(advice.missed) - SHOWN} more (--json shows them)")
    if not advice.remedies:
        return [
            *lines,
            "No remedy found: fewer images, fewer epochs, a smaller size or a smaller backbone would still miss it.",
        ]
    lines.append("Any one of these changes would meet it:")
    return lines + [
        f"  {remedy.setting}: {minutes_text(remedy.minutes)} for the slowest cell ({remedy.lost})"
        for remedy in advice.remedies
    ]


def _levels(plan: Plan) -> dict[str, str]:
    """Cell -> its levels in words."""
    cells = {trial.trial.cell.id: trial.trial.cell for trial in plan.trials}
    return {id: ", ".join(f"{factor} {text}" for factor, text in cell.text.items()) for id, cell in cells.items()}


def _not_predicted(plan: Plan, prediction: Prediction) -> list[str]:
    """Cells without predicted minutes, since one of their stages could not be measured."""
    cells = dict.fromkeys(trial.trial.cell.id for trial in plan.trials if trial.inapplicable is None)
    return [cell for cell in cells if cell not in prediction.cell_minutes]


def minutes_text(minutes: float) -> str:
    """Minutes in the unit that suits them: ``4.8 s``, ``2.4 min``, ``3.1 h``."""
    return duration_text(60 * minutes)


def slowest_measured_minutes(trials: pd.DataFrame, alone: bool = False) -> float | None:
    """The minutes that are compared with the goal: the median over seeds of the slowest cell.

    Args:
        trials: the table of trials; only finished ones count.
        alone: whether minutes with nothing else running count, and the run's own where those could not be measured.
    """
    done = trials[trials["status"] == "done"]
    minutes = done["minutes_alone"].fillna(done["minutes"]) if alone else done["minutes"]
    cells = minutes.groupby(done["cell"]).median()
    return float(cells.max()) if len(cells) else None


def exclusive_timing_lines(trials: pd.DataFrame, alone: Prediction | None) -> list[str]:
    """What ``--exclusive-timing`` measured, and how far it can be trusted, for people.

    Args:
        trials: the table of trials.
        alone: the prediction from new calibrations with one worker, or None where nothing could be measured.
    """
    lines = []
    if alone is not None and alone.cpu_wait > BUSY:
        lines.append(
            "exclusive timing: the CPU was busy with other work meanwhile, so these minutes may be too long; run it "
            "again on an idle machine"
        )
    elif alone is not None:
        lines.append("exclusive timing: every combination was measured with nothing else running")
    missing = trials[(trials["status"] == "done") & trials["minutes_alone"].isna()]
    if cells := sorted(set(missing["cell"])):
        lines.append(
            f"exclusive timing: not measured for {', '.join(cells)}; their minutes in this run count for the goal"
        )
    return lines
