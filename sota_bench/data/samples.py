"""Labels in files beside each image, as WebDataset stores them: ``0001.jpg`` with ``0001.cls`` or ``0001.json``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from sota_bench.data.tables import LabelTable

_ENDINGS = (".cls", ".json")
_LEAST_SHARE = 0.9
"""Share of the images beside which such a file must lie."""


def is_sample_file(path: str) -> bool:
    """Whether a file is named as one that holds the label of an image beside it."""
    return path.lower().endswith(_ENDINGS)


def sample_table(images: Sequence[str], others: Mapping[str, int], read: Callable[[str], bytes]) -> LabelTable | None:
    """The labels beside the images as a table, or None where most images have none beside them.

    Args:
        images: paths of all images.
        others: the other files of the source.
        read: reads a file.
    """
    beside = {_key(path): {} for path in images}  # type: dict[str, dict[str, str]]
    for path in others:
        if is_sample_file(path) and _key(path) in beside:
            beside[_key(path)][path.lower().rpartition(".")[2]] = path
    labelled = sum(bool(files) for files in beside.values())
    if not images or labelled < _LEAST_SHARE * len(images):
        return None
    import pandas as pd

    rows = [_values(beside[_key(path)], read) for path in images]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = pd.DataFrame({name: [row.get(name, "") for row in rows] for name in names}, dtype=object)
    return LabelTable("the files beside the images", columns, list(images), list(images)) if names else None


def _key(path: str) -> str:
    """A path up to the first dot of its name: what the files of one sample share."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def _values(files: Mapping[str, str], read: Callable[[str], bytes]) -> dict[str, str]:
    """What the files of one sample say, as text."""
    values: dict[str, str] = {}
    if "json" in files:
        try:
            content = json.loads(read(files["json"]))
        except (ValueError, RecursionError):
            content = {}
        if isinstance(content, dict):
            values |= {str(name): str(value) for name, value in content.items() if isinstance(value, str | int)}
    if "cls" in files:
        values["cls"] = read(files["cls"]).decode("utf-8", "replace").strip()
    return values
