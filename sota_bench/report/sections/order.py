"""The order of the page, and its head."""

from __future__ import annotations

from typing import Any

from sota_bench.report.parts import Section
from sota_bench.report.sections import (
    calibration,
    cells,
    diagnostics,
    forest,
    forgetting,
    interactions,
    iteration,
    learning,
    provenance,
    resolution,
    seen,
    sensitivity,
    tradeoff,
    verdict,
)
from sota_bench.report.text import join, plural
from sota_bench.report.view import View

ORDER = (
    verdict,
    forest,
    iteration,
    tradeoff,
    interactions,
    resolution,
    forgetting,
    calibration,
    seen,
    cells,
    learning,
    sensitivity,
    diagnostics,
    provenance,
)
CONTROL = (
    "This run is a control: images that the project renders itself, with effects that are known by construction. "
    "It checks the harness; it says nothing about photographs."
)


def build(view: View) -> list[Section]:
    """The sections that this grid asks for."""
    return [section for module in ORDER if (section := module.section(view)) is not None]


def head(view: View) -> dict[str, Any]:
    """Title, the line of facts under it and the notes that must be read before anything else."""
    run = view.run
    varied = [name for name, levels in view.factors.items() if len(levels) > 1]
    recipe = run["grid"].get("recipe", {})
    facts = [f"{join(varied)} on {run['source']}" if varied else str(run["source"])]
    facts += [str(recipe["backbone"])] if "backbone" in recipe else []
    facts += [
        plural(view.seeds, "seed"),
        str(run["device"].get("name", run["device"].get("kind"))),
        str(run["started"])[:10],
    ]
    notes = [CONTROL] if run["control"] else []
    return {
        "over": "sota_bench report",
        "title": run["name"],
        "facts": facts,
        "notes": [*notes, *(str(note) for note in run.get("notes", []))],
    }
