"""``recipe.toml``: the exported trial as a grid of one cell, which runs again as it is."""

from __future__ import annotations

from collections.abc import Iterator

from sota_bench.grid.template import toml_value
from sota_bench.ship.facts import TrialFacts


def recipe_file(facts: TrialFacts) -> str:
    """The text of the grid: every recipe field as it was resolved, and one factor with the one level of the trial."""
    return "\n".join(_lines(facts)).rstrip() + "\n"


def _lines(facts: TrialFacts) -> Iterator[str]:
    factor = next(iter(facts.levels))
    yield f"# Trial {facts.trial} of the grid {facts.grid}, written by `python -m sota_bench export`."
    yield "# Train it again:  python -m sota_bench run recipe.toml"
    yield ""
    yield "[grid]"
    yield f"name = {toml_value(f'{facts.grid}-{facts.cell}'[:64])}"
    yield f"seeds = [{facts.seed}]"
    if facts.files:
        yield f"techniques = {toml_value([str(file) for file in facts.files])}"
    yield ""
    yield "[data]"
    for name, value in {**facts.data, "size": facts.stored_size}.items():
        if value:  # the others are the defaults
            yield f"{name} = {toml_value(value)}"
    yield ""
    yield "[recipe]"
    for name, value in facts.recipe.items():
        if name != factor:
            yield f"{name} = {toml_value(value)}"
    yield ""
    yield "[factors]"
    yield f"{factor} = [{toml_value(facts.recipe[factor])}]"
