"""Grids on several data sets: each has a short name, under which it is run as a grid of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from sota_bench.grid.names import safe_name
from sota_bench.grid.tables import PATH_SOURCES

LONGEST = 24


def source_labels(sources: Sequence[str]) -> list[str]:
    """A short name for each source, which can be a folder: ``folder:photos/dogs`` is ``dogs``.

    Args:
        sources: as they are written in ``data.sources``; names that occur again get a number.
    """
    labels: list[str] = []
    for source in sources:
        kind, colon, path = source.partition(":")
        name = PurePath(path.strip()).stem if colon and kind in PATH_SOURCES else path or kind
        label = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-. ")[:LONGEST].rstrip("-. ") or "data"
        try:
            safe_name(label)
        except ValueError:  # a device on some systems
            label = f"data-{label}"
        taken = sum(re.fullmatch(rf"{re.escape(label)}(-\d+)?", other) is not None for other in labels)
        labels.append(f"{label}-{taken + 1}" if taken else label)
    return labels
