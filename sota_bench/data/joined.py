"""Several sources as one: the grid's own, and others whose classes base models are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sota_bench.data.manifest import COPY, LABELS, LEFT_OUT_COLUMNS, Manifest
from sota_bench.data.source import Progress, Scale, Source

SEPARATOR = "//"
"""Between the name of another source and a path inside it; no path inside a source holds it."""


class JoinedSource(Source):
    """One source with the images of several.

    Args:
        main: the grid's own; its paths stay as they are.
        others: what a grid calls a further source -> it; its paths get that name in front.
    """

    def __init__(self, main: Source, others: Mapping[str, Source]) -> None:
        self.main, self.others = main, dict(others)
        self.name = " + ".join(source.name for source in (main, *self.others.values()))
        self.control = main.control

    @property
    def spec(self) -> dict[str, Any]:
        others = {name: source.spec for name, source in self.others.items()}
        return {"kind": "joined", "main": self.main.spec, "others": others}

    def scan(self, progress: Progress | None = None) -> Manifest:
        """All images. Contents that an earlier source has are left out of a later one, so that no image is trained on
        here and judged by there; a class of a later source whose name is taken gets the source's name behind its own.

        Raises:
            UserError: one of them cannot be read.
        """
        import pandas as pd

        main = self.main.scan(progress)
        items, left_out = [main.items], [main.left_out]
        contents, class_names = set(main.items["sha256"]), set(main.items["label"])
        others: list[Manifest] = []
        for name, source in self.others.items():
            other = source.scan(progress)
            others.append(other)
            labels = {label: f"{label} ({name})" if label in class_names else label for label in other.classes}
            prefix = name + SEPARATOR
            renamed = other.items.assign(path=prefix + other.items["path"], label=other.items["label"].map(labels))
            repeated = renamed["sha256"].isin(contents)
            reason = f"{COPY}: another source has the same content"
            copies = renamed.loc[repeated, ["path", "split", "label"]].assign(reason=reason)
            items.append(renamed[~repeated])
            left_out += [other.left_out.assign(path=prefix + other.left_out["path"]), copies]
            contents |= set(renamed["sha256"])
            class_names |= set(labels.values())
        rows = pd.concat(items).sort_values("path", kind="stable", ignore_index=True)
        for name in rows.columns:
            if name.startswith(LABELS):  # of one source alone
                rows[name] = rows[name].fillna(rows["label"])
        manifests = [main, *others]
        notes = [note for manifest in manifests for note in manifest.notes]
        alarms = [alarm for manifest in manifests for alarm in manifest.alarms]
        junk = sum(manifest.junk for manifest in manifests)
        skipped = pd.concat(left_out, ignore_index=True)[list(LEFT_OUT_COLUMNS)]
        return Manifest(self.name, rows, skipped, junk, tuple(notes), tuple(alarms))

    def decode(self, path: str, size: int, sha256: str = "", scale: Scale = None) -> np.ndarray:
        """Decodes by the source that the path names."""
        source, inside = self._within(path)
        return source.decode(inside, size, sha256, scale)

    def leave_out(self, left_out: Iterable[tuple[str, str]]) -> None:
        """Has each source record its own images."""
        entries = [(*self._within(path), reason) for path, reason in left_out]
        for source in (self.main, *self.others.values()):
            if own := [(path, reason) for owner, path, reason in entries if owner is source]:
                source.leave_out(own)

    def _within(self, path: str) -> tuple[Source, str]:
        """The source that a path names, and the path inside it."""
        name, separator, inside = path.rpartition(SEPARATOR)
        return (self.others[name], inside) if separator and name in self.others else (self.main, path)


def is_joined(manifest: Manifest) -> bool:
    """Whether a manifest lists several sources."""
    return bool(manifest.items["path"].str.contains(SEPARATOR, regex=False).any())


def classes_of(manifest: Manifest, name: str) -> list[str]:
    """Class names, sorted, of one source in a joined manifest; ``name`` is "" for the main one."""
    items = manifest.items
    parts = items["path"].str.rpartition(SEPARATOR)
    names = parts[0].where(parts[1] == SEPARATOR, "")
    return sorted(set(items.loc[names == name, "label"]))
