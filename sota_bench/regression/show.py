"""The outcome of the gate for people (Markdown, which also reads well in a terminal) and for programs (JSON)."""

from __future__ import annotations

import math
from typing import Any

from sota_bench.regression.decide import POWER, Verdict
from sota_bench.regression.outcome import Outcome

SIGNS = {"slower": "▼", "pass": "✓", "inconclusive": "?"}
HEADS = {
    "pass": "passes",
    "inconclusive": "is inconclusive, which is no failure",
    "fail": "fails",
    "void": "is void",
}


def percent(share: float) -> str:
    """``0.031`` as ``+3.1%``; a dash where there is no number."""
    return f"{100 * share:+.1f}%".replace("-", "−") if math.isfinite(share) else "–"


def markdown(outcome: Outcome) -> str:
    """The whole outcome: a headline, what fails, the table of times, the counts, and how it was judged."""
    lines = [f"## The timing gate {HEADS[outcome.answer]}", "", f"`{outcome.head}` against `{outcome.base}`.", ""]
    if outcome.failures:
        lines += [*(f"- **{line}**" for line in outcome.failures), ""]
    if outcome.void:
        lines += [f"- {outcome.void}.", ""]
    if outcome.verdicts:
        lines += [
            "| | workload | change | 90% interval | visible | blocks | |", "|---|---|--:|--:|--:|--:|---|",
            *(_row(name, one) for name, one in outcome.verdicts.items()), "",
        ]  # fmt: skip
    lines += _counts(outcome)
    lines += [f"- {note}" for note in _notes(outcome)]
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, one: Verdict) -> str:
    between = f"{percent(one.low)} to {percent(one.high)}" if math.isfinite(one.high) else "–"
    blocks = " + ".join(map(str, one.blocks))
    words = one.kind + (f": {one.note}" if one.note else "")
    cells = [SIGNS[one.kind], name, percent(one.change), between, percent(one.visible), blocks, words]
    return f"| {' | '.join(cells)} |"


def _counts(outcome: Outcome) -> list[str]:
    if not outcome.counted:
        return []
    expected = [one for one in outcome.differences if one.expected]
    unexpected = [one for one in outcome.differences if not one.expected]
    found = f"{len(unexpected)} unexpected and {len(expected)} expected changes" if outcome.differences else "no change"
    lines = [f"Exact counts of {len(outcome.counted)} workloads: {found}."]
    lines += [f"- expected: {one.text}" for one in expected]
    if unexpected:
        lines.append("- If it is meant: `timing gate --write-counts`, and commit counts.json with the change.")
    return [*lines, ""]


def _notes(outcome: Outcome) -> list[str]:
    settings, notes = outcome.settings, list(outcome.notes)
    if outcome.new:
        notes.append(f"New, without a base of their own: {', '.join(outcome.new)}.")
    for name, moves in outcome.control.items():
        notes.append(f"Control {name}: {', '.join(percent(math.expm1(move)) for move in moves)}.")
    if outcome.verdicts:
        notes.append(
            f"Slower means above {percent(settings.threshold)} with a one-sided {100 * (1 - outcome.alpha):.0f}% bound "
            f"above zero, in two independent stages. Visible: found with probability {POWER:.0%} at this noise."
        )
    notes.append(f"Took {outcome.seconds / 60:.1f} minutes.")
    return notes


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Everything, with infinities and NaN as null."""
    settings = outcome.settings
    return {
        "answer": outcome.answer,
        "base": outcome.base,
        "head": outcome.head,
        "threshold": settings.threshold,
        "alpha": outcome.alpha,
        "device": settings.device,
        "failures": outcome.failures,
        "void": outcome.void,
        "times": [{"workload": name, **_finite(vars(one))} for name, one in outcome.verdicts.items()],
        "control": outcome.control,
        "counted": outcome.counted,
        "counts": [vars(one) for one in outcome.differences],
        "missing": outcome.missing,
        "new": outcome.new,
        "notes": outcome.notes,
        "seconds": round(outcome.seconds, 1),
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
