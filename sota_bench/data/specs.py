"""Opens a source from its ``spec``, the JSON values that a stage's context holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sota_bench.data.curated import CuratedSource
from sota_bench.data.files import FolderSource, TarSource, UnpackedSource
from sota_bench.data.imagenet_tars import ImageNetTars
from sota_bench.data.joined import JoinedSource
from sota_bench.data.options import ReadingOptions
from sota_bench.data.rendered import KnownEffects
from sota_bench.data.source import Source
from sota_bench.data.torchvision_sets import TorchvisionSource


def source_from_spec(spec: Mapping[str, Any]) -> Source:
    """The source whose ``spec`` this is.

    Raises:
        ValueError: there is no such kind of source.
    """
    kind = spec["kind"]
    if kind == "known-effects":
        return KnownEffects()
    if kind == "joined":
        others = {name: source_from_spec(other) for name, other in spec["others"].items()}
        return JoinedSource(source_from_spec(spec["main"]), others)
    if kind == "curated":
        return CuratedSource(Path(spec["file"]), source_from_spec(spec["source"]))
    cache = Path(spec["cache"]) if spec.get("cache") else None
    options = ReadingOptions.from_json(spec.get("options", {}))
    if kind == "folder":
        return FolderSource(spec["name"], Path(spec["path"]), cache, options, spec.get("only", ()))
    if kind == "unpacked":
        return UnpackedSource(spec["name"], Path(spec["path"]), cache, options, Path(spec.get("archive", spec["path"])))
    if kind == "torchvision":
        return TorchvisionSource(spec["name"], Path(spec["path"]), cache, options)
    if kind == "imagenet-tars":
        return ImageNetTars(spec["name"], Path(spec["path"]), cache, options)
    if kind == "tar":
        return TarSource(spec["name"], Path(spec["path"]), cache, options)
    raise ValueError(f"unknown kind of source {kind!r}")
