"""The embedded data set as a source: images that the project renders itself."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from sota_bench.data import known_effects
from sota_bench.data.assembly import assemble
from sota_bench.data.decode import BadImage, scale_down
from sota_bench.data.manifest import Manifest, ScannedImage
from sota_bench.data.source import Progress, Scale, Source


class KnownEffects(Source):
    """The embedded data set of rendered images; see ``sota_bench.data.known_effects``."""

    name = "known-effects"
    control = True

    @property
    def spec(self) -> dict[str, Any]:
        return {"kind": "known-effects"}

    def scan(self, progress: Progress | None = None) -> Manifest:
        fingerprint = known_effects.fingerprint()
        total = sum(known_effects.COUNTS.values())
        images = []
        for index in range(total):
            path = known_effects.path_of(index)
            split, label, _ = path.split("/")
            sha = hashlib.sha256(f"{fingerprint}:{index}".encode()).hexdigest()
            images.append(
                ScannedImage(path, "val" if split == "select" else split, label, sha, known_effects.SIDE**2 * 3)
            )
        if progress:
            progress(total, total)
        return assemble(self.name, images, [], self.name)

    def decode(self, path: str, size: int, sha256: str = "", scale: Scale = None) -> np.ndarray:
        from PIL import Image

        stem = PurePosixPath(path).stem
        if not (stem.isascii() and stem.isdigit() and int(stem) < sum(known_effects.COUNTS.values())):
            raise BadImage(f"known-effects has no image {path!r}")
        # The effects are constructed for the gain of a triangle filter (``known_effects``).
        return scale_down(Image.fromarray(known_effects.render(int(stem))), size, Image.Resampling.BILINEAR)
