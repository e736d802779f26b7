"""The order of the page, and its head."""

from __future__ import annotations

from sota_bench.report.parts import Head, Section
from sota_bench.report.sections import (
    calibration,
    cells,
    classes,
    diagnostics,
    forest,
    forgetting,
    interactions,
    iteration,
    learning,
    looks,
    provenance,
    resolution,
    seen,
    sensitivity,
    tradeoff,
    verdict,
)
from sota_bench.report.view import View
from sota_bench.stats.wording import join
from sota_bench.units import counted

ORDER = (
    verdict,
    forest,
    looks,
    iteration,
    tradeoff,
    interactions,
    resolution,
    forgetting,
    calibration,
    classes,
    seen,
    cells,
    learning,
    sensitivity,
    diagnostics,
    provenance,
)
CONTROL = (
    "This is a control run on synthetic images whose effects are known by construction. It checks the benchmark "
    "itself; it says nothing about photographs."
)


def build(view: View) -> list[Section]:
    """The sections that this grid asks for."""
    return [section for module in ORDER if (section := module.section(view)) is not None]


def head(view: View) -> Head:
    """Title, the line of facts, the user's question and remarks, and the notes to read before anything else."""
    run = view.run
    facts = [f"{join(view.varied)} on {run.source}" if view.varied else run.source]
    facts += [str(run.grid.recipe["backbone"])] if "backbone" in run.grid.recipe else []
    facts += [counted(view.seeds, "seed"), run.device_name, run.started[:10]]
    return Head(
        over="sota_bench report",
        title=run.name,
        facts=[fact for fact in facts if fact],
        question=run.question.strip(),
        remarks=[paragraph for paragraph in run.grid.notes.strip().split("\n\n") if paragraph.strip()],
        notes=[*([CONTROL] if run.control else []), *run.notes],
    )
