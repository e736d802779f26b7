"""Which images belong together, such as those of one patient or video: by a column of a table or a part of the path."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from sota_bench.data.layout import Layout
from sota_bench.data.tables import LabelTable
from sota_bench.errors import UserError
from sota_bench.grid.nearest import did_you_mean

KEY = "data.group"
_EXAMPLE = "(patient[0-9]+)"


def read_groups(layout: Layout, tables: Sequence[LabelTable], group: str, origin: str) -> list[str]:
    """Note in a layout what its images belong to.

    Args:
        layout: whose members are looked up; gets ``groups``, a note, and an alarm where images have no group.
        tables: those whose rows name images of the source.
        group: ``data.group``: a column of the tables, or a regular expression; what its parentheses match in the path
            of an image inside the source names the image's group.
        origin: the source as the user knows it, for errors.

    Returns:
        Names of the tables that say it.

    Raises:
        UserError: neither a column nor a valid expression, no image has a group, or an image is in two.
    """
    with_column = [table for table in tables if group in table.columns.columns]
    if with_column:
        groups, how = _by_column(with_column, group, layout, origin), f"column {group} of {with_column[0].name}"
    else:
        groups, how = _by_pattern(group, layout.members, tables, origin), f"the pattern {group}"
    layout.groups = {path: groups[path] for path in layout.members if groups.get(path)}
    if not layout.groups:
        example = next(iter(layout.members), "")
        raise UserError(origin, KEY, f"{how} gives no image a group, such as {example}", "correct it, or leave it out")
    sizes = Counter(layout.groups.values())
    largest, size = max(sizes.items(), key=lambda entry: entry[1])
    count = "1 group" if len(sizes) == 1 else f"{len(sizes):,} groups"
    images = "1 image" if size == 1 else f"{size:,} images"
    layout.notes.append(f"{how} makes {count}, each in one split (the largest, {largest!r}, has {images})")
    if size == 1:
        layout.alarms.append(
            f"{KEY}: {how} gives each image a group of its own, so nothing is kept together; name what images share."
        )
    alone = [path for path in layout.members if path not in layout.groups]
    if alone:
        are = "1 image belongs" if len(alone) == 1 else f"{len(alone):,} images belong"
        layout.alarms.append(
            f"{are} to no group by {how}, such as {alone[0]}, and may be in a different split from related images; "
            f"correct {KEY}, or the table."
        )
    return [table.name for table in with_column]


def _by_column(tables: Sequence[LabelTable], column: str, layout: Layout, origin: str) -> dict[str, str]:
    groups: dict[str, str] = {}
    for table in tables:
        for path, value in zip(table.files, table.columns[column].tolist(), strict=True):
            own = value.strip()
            if own and path in layout.members and groups.setdefault(path, own) != own:
                problem = f"{path} is in two groups of {column}, {groups[path]!r} and {own!r}"
                raise UserError(origin, KEY, problem, f"correct {table.name}")
    return groups


def _by_pattern(group: str, paths: Mapping[str, object], tables: Sequence[LabelTable], origin: str) -> dict[str, str]:
    columns = sorted({str(name) for table in tables for name in table.columns.columns})
    shown = f" (columns: {', '.join(columns[:12])})" if columns else ""
    try:
        pattern = re.compile(group)
    except (re.error, RecursionError, OverflowError) as error:
        problem = f"{group!r} is no column of a table{shown} and no regular expression: {error}"
        raise UserError(origin, KEY, problem, f'name a column, or write a pattern such as "{_EXAMPLE}"') from None
    if not pattern.groups:
        problem = f"{group!r} is no column of a table{shown}, and no pattern with parentheses"
        remedy = did_you_mean(group, columns, f'name a column, or put what images share into parentheses: "{_EXAMPLE}"')
        raise UserError(origin, KEY, problem, remedy)
    matches = {path: match.groups("") for path in paths if (match := pattern.search(path))}
    return {path: "/".join(parts) for path, parts in matches.items() if any(parts)}
