"""``--only``: an expression that selects trials, such as ``mixup=0.2,seed=0|1,tta!=off``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sota_bench.errors import UserError
from sota_bench.grid.nearest import did_you_mean

Selection = Callable[[dict[str, str]], bool]
"""From factor -> level as text (and ``"seed"``) to whether the trial is selected."""


def _as_written(factor: str, level: str) -> str:
    return level


def parse_only(
    expression: str, levels: Mapping[str, Sequence[str]], canonical: Callable[[str, str], str] = _as_written
) -> Selection:
    """Reads an expression: terms joined by ``,`` all hold; ``factor=a|b`` is one of, ``factor!=a|b`` none of.

    Args:
        expression: what was written after ``--only``.
        levels: factor -> its levels as text; ``"seed"`` -> the seeds.
        canonical: turns (factor, level as written) into the level's canonical text.

    Raises:
        UserError: it cannot be read, or names a factor or level that is not there.
    """
    terms = [_term(text, levels, canonical) for text in _split(expression)]

    def selected(trial: dict[str, str]) -> bool:
        return all((trial[factor] in named) != excluded for factor, named, excluded in terms)

    return selected


def _split(expression: str) -> list[str]:
    """The terms; a comma inside a level (``resize=64x3,128x2``) belongs to it, since no term lacks its ``=``."""
    terms: list[str] = []
    for part in expression.split(","):
        if "=" not in part and terms and part.strip():
            terms[-1] += "," + part
        else:
            terms.append(part)
    return terms


def _term(
    text: str, levels: Mapping[str, Sequence[str]], canonical: Callable[[str, str], str]
) -> tuple[str, frozenset[str], bool]:
    name, equals, values = text.partition("=")
    excluded = name.endswith("!")
    factor = name.removesuffix("!").strip()
    if not equals or not factor or not values.strip():
        raise UserError("--only", "", f"{text.strip()[:80]!r} is not factor=level", "write for example seed=0|1")
    if factor not in levels:
        remedy = did_you_mean(factor, levels, "the factors are " + ", ".join(levels))
        raise UserError("--only", factor[:80], "the grid has no such factor", remedy)
    named = set()
    for value in values.split("|"):
        level = value.strip()
        level = level if level in levels[factor] else canonical(factor, level)
        if level not in levels[factor]:
            choices = ", ".join(levels[factor][:20])
            raise UserError("--only", factor, f"there is no level {value.strip()[:80]!r}", f"the levels are {choices}")
        named.add(level)
    return factor, frozenset(named), excluded
