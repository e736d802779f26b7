"""``recipe.toml``: the exported trial as a grid of one cell, which runs again as it is."""

from __future__ import annotations

from sota_bench.ship.facts import TrialFacts
from sota_bench.ship.grid_file import GridFile


def recipe_file(facts: TrialFacts) -> str:
    """The text of the grid: every recipe field as it was resolved, and one factor with the one level of the trial."""
    factor = next(iter(facts.levels))
    return GridFile(
        comments=(
            f"Trial {facts.trial} of the grid {facts.grid}, written by `python -m sota_bench export`.",
            "Train it again:  python -m sota_bench run recipe.toml",
        ),
        name=f"{facts.grid}-{facts.cell}",
        seeds=(facts.seed,),
        files=facts.files,
        data={**facts.data, "size": facts.stored_size},
        recipe=facts.recipe,
        levels={factor: (facts.recipe[factor],)},
        notes={},
        vary=facts.vary,
    ).text()
