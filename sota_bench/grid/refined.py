"""The second step of a fractional design: the full factorial of its clear factors, as a grid file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sota_bench.grid.grid import Grid
from sota_bench.grid.names import MAX_LENGTH
from sota_bench.grid.pretrained import located
from sota_bench.grid.read import apply_overrides, parse
from sota_bench.grid.tables import PATH_SOURCES
from sota_bench.grid.template import toml_value

SUFFIX = "-refined"

TABLES = ("grid", "data", "recipe", "factors")


def refined_text(grid: Grid, clear: Sequence[str], size: int) -> str:
    """The text of a grid with every combination of some factors' levels, and the others at their baseline.

    It says all that the first grid says, with absolute paths, so that it can lie anywhere; images are stored at the
    same size, so that it shares the stages that are done.

    Args:
        grid: the fractional design, with its options applied.
        clear: the factors that are kept, in the grid's order.
        size: pixels at which the first step stored its images.
    """
    tables = parse(grid.text, str(grid.file))
    apply_overrides(tables, grid.overrides)
    head, data, recipe, factors = (dict(tables.get(name, {})) for name in TABLES)
    for key in ("resolution", "refine"):
        head.pop(key, None)
    data.pop("sources", None)
    held = [name for name in factors if name not in clear]
    head |= {
        "name": grid.name[: MAX_LENGTH - len(SUFFIX)] + SUFFIX,
        "design": "full",
        "notes": "\n\n".join(filter(None, [grid.notes.strip(), _note(grid, clear, held)])),
        "seeds": [seed for seed in grid.seeds if seed not in grid.added_seeds],
        "added_seeds": list(grid.added_seeds),
        "techniques": [str(file) for file in grid.techniques],
    }
    data |= {"source": grid.source, "size": size, **({"path": str(grid.data_path)} if grid.data_path else {})}
    recipe |= {name: factors.pop(name)[0] for name in held}
    for name in data.keys() & recipe.keys():  # a baseline that was named in [data] may be named once only
        data.pop(name)
    written = (head, data, recipe, factors)
    return "\n".join(_lines(grid, dict(zip(TABLES, (_anywhere(table, grid.file) for table in written), strict=True))))


def _note(grid: Grid, clear: Sequence[str], held: Sequence[str]) -> str:
    text = f"Second step of {grid.name}: the full factorial of {', '.join(clear)}"
    text += f", with {', '.join(held)} at their baseline." if held else "."
    return f"{text} The results of the same seeds chose these factors, so confirm what they show with fresh seeds."


def _lines(grid: Grid, tables: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield f"# Written by `python -m sota_bench run` as the second step of the grid {grid.name} (refine = true)."
    for name, table in tables.items():
        yield from ("", f"[{name}]")
        yield from (f"{key} = {toml_value(value)}" for key, value in table.items())
    yield ""


def _anywhere(value: Any, file: Path) -> Any:
    """The value with paths that are meant from the grid's folder written in full."""
    if isinstance(value, dict):
        return {key: _anywhere(part, file) for key, part in value.items()}
    if isinstance(value, list):
        return [_anywhere(part, file) for part in value]
    if not isinstance(value, str):
        return value
    kind, colon, path = value.partition(":")
    if colon and kind in PATH_SOURCES:
        return f"{kind}:{located(path.strip(), file)}"
    is_path = ("/" in value or "." in value) and "\n" not in value and len(value) < 1000
    return str(located(value, file)) if is_path and located(value, file).exists() else value
