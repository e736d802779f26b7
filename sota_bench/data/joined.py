"""Several sources as one: the grid's own, and others whose classes base models are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sota_bench.data.manifest import Manifest
from sota_bench.data.source import Progress, Source, source_from_spec

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

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> JoinedSource:
        """The source that :attr:`spec` describes."""
        others = {name: source_from_spec(other) for name, other in spec["others"].items()}
        return cls(source_from_spec(spec["main"]), others)

    def scan(self, progress: Progress | None = None) -> Manifest:
        """All images. Contents that an earlier source has are left out of a later one, so that no image is trained on
        here and judged by there; a class of a later source whose name is taken gets the source's name behind its own.

        Raises:
            UserError: one of them cannot be read.
        """
        import pandas as pd

        whole = self.main.scan(progress)
        items, left_out = [whole.items], [whole.left_out]
        seen, taken = set(whole.items["sha256"]), set(whole.items["label"])
        for name, source in self.others.items():
            found = source.scan(progress)
            labels = {label: f"{label} ({name})" if label in taken else label for label in found.classes}
            prefix = name + SEPARATOR
            renamed = found.items.assign(path=prefix + found.items["path"], label=found.items["label"].map(labels))
            known = renamed["sha256"].isin(seen)
            copies = pd.DataFrame({"path": renamed.loc[known, "path"], "reason": "another source has the same content"})
            items.append(renamed[~known])
            left_out += [found.left_out.assign(path=prefix + found.left_out["path"]), copies]
            seen |= set(renamed["sha256"])
            taken |= set(labels.values())
        rows = pd.concat(items).sort_values("path", kind="stable", ignore_index=True)
        return Manifest(self.name, rows, pd.concat(left_out, ignore_index=True))

    def decode(self, path: str, size: int, sha256: str = "") -> np.ndarray:
        """Decodes by the source that the path names."""
        source, inside = self._within(path)
        return source.decode(inside, size, sha256)

    def leave_out(self, left_out: Iterable[tuple[str, str]]) -> None:
        """Has each source note its own images."""
        listed = [(*self._within(path), reason) for path, reason in left_out]
        for source in (self.main, *self.others.values()):
            if own := [(path, reason) for owner, path, reason in listed if owner is source]:
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
