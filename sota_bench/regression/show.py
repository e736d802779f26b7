"""The outcome of the gate for people (Markdown, which also reads well in a terminal) and for programs (JSON)."""

from __future__ import annotations

import math
from typing import Any

from sota_bench.regression.decide import POWER, TimeVerdict
from sota_bench.regression.outcome import GateOutcome

SIGNS = {"slower": "▼", "pass": "✓", "inconclusive": "?"}
HEADLINES = {
    "pass": "The timing gate passes",
    "inconclusive": "The timing gate is inconclusive, which is no failure",
    "fail": "The timing gate fails",
    "void": "The timing gate is void",
}


def percent(share: float) -> str:
    """``0.031`` as ``+3.1%``; a dash where there is no number."""
    return f"{100 * share:+.1f}%".replace("-", "−") if math.isfinite(share) else "–"


def markdown(outcome: GateOutcome) -> str:
    """The whole outcome: a headline, what fails, the table of times, the counts, and how it was judged."""
    lines = [f"## {HEADLINES[outcome.answer]}", "", f"`{outcome.head}` against `{outcome.base}`.", ""]
    if outcome.failures:
        lines += [*(f"- **{line}**" for line in outcome.failures), ""]
    if outcome.void:
        lines += [f"- {outcome.void}.", ""]
    if outcome.verdicts:
        lines += [
            "| | workload | change | 90% interval | detectable | blocks | |", "|---|---|--:|--:|--:|--:|---|",
            *(_row(name, verdict) for name, verdict in outcome.verdicts.items()), "",
        ]  # fmt: skip
    lines += _counts(outcome)
    lines += [f"- {note}" for note in _notes(outcome)]
    return "\n".join(lines).rstrip() + "\n"


def _row(name: str, verdict: TimeVerdict) -> str:
    interval = f"{percent(verdict.low)} to {percent(verdict.high)}" if math.isfinite(verdict.high) else "–"
    blocks = " + ".join(map(str, verdict.blocks))
    words = verdict.kind + (f": {verdict.note}" if verdict.note else "")
    cells = [
        SIGNS[verdict.kind], name, percent(verdict.change), interval, percent(verdict.detectable), blocks, words
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _counts(outcome: GateOutcome) -> list[str]:
    if not outcome.counted:
        return []
    expected = [difference for difference in outcome.differences if difference.expected]
    unexpected = len(outcome.differences) - len(expected)
    changes = f"{unexpected} unexpected and {len(expected)} expected changes" if outcome.differences else "no change"
    workloads = "1 workload" if len(outcome.counted) == 1 else f"{len(outcome.counted)} workloads"
    lines = [f"Exact counts of {workloads}: {changes}."]
    lines += [f"- expected: {difference.text}" for difference in expected]
    if unexpected:
        lines.append("- If the change is intended: `timing gate --write-counts`, and commit counts.json with it.")
    return [*lines, ""]


def _notes(outcome: GateOutcome) -> list[str]:
    settings, notes = outcome.settings, list(outcome.notes)
    if outcome.new:
        notes.append(f"New, not in the base: {', '.join(outcome.new)}.")
    for name, log_ratios in outcome.control.items():
        notes.append(f"Control {name}: {', '.join(percent(math.expm1(ratio)) for ratio in log_ratios)}.")
    if outcome.verdicts:
        notes.append(
            f"Slower means a change above {percent(settings.threshold)} whose one-sided "
            f"{100 * (1 - outcome.alpha):.0f}% bound is above zero, in two independent rounds. Detectable: the "
            f"slow-down that is found with a probability of {POWER:.0%} at this noise."
        )
    notes.append(f"Took {outcome.seconds / 60:.1f} minutes." if outcome.seconds >= 60 else
                 f"Took {outcome.seconds:.0f} s.")  # fmt: skip
    return notes


def as_json(outcome: GateOutcome) -> dict[str, Any]:
    """Everything as JSON values, with infinities and NaN as null."""
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
        "times": [{"workload": name, **_finite(vars(verdict))} for name, verdict in outcome.verdicts.items()],
        "control": outcome.control,
        "counted": outcome.counted,
        "counts": [vars(difference) for difference in outcome.differences],
        "missing": outcome.missing,
        "new": outcome.new,
        "notes": outcome.notes,
        "seconds": round(outcome.seconds, 1),
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
