"""Photographs of Imagenette in every layout and every kind of cache: the same images, to the bit."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sota_bench.data.build import build_cache
from sota_bench.data.find import open_source
from sota_bench.data.manifest import parse_scale
from sota_bench.data.packed import CacheKind, SourceCache, open_cache
from sota_bench.data.source import Source

pytestmark = pytest.mark.real_data

EACH, CLASSES, SIZE = 6, 4, 160
Photographs = dict[str, bytes]
"""``split/class/name`` -> the file."""


@pytest.fixture(scope="module")
def photographs() -> Photographs:
    """A few photographs of some classes, as they are stored."""
    source = open_source("imagenette", download=False)
    items = source.scan().items
    read = source.reader()  # type: ignore[attr-defined]
    chosen = items[items["label"].isin(sorted(set(items["label"]))[:CLASSES])]
    rows = chosen.groupby(["split", "label"]).head(EACH)
    return {
        f"{'train' if row.split == 'train' else 'val'}/{row.label}/{Path(row.path).name}": read(row.path)
        for row in rows.itertuples()
    }


def as_folder(photographs: Photographs, folder: Path) -> str:
    for path, content in photographs.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return f"folder:{folder}"


def as_tar(photographs: Photographs, folder: Path) -> str:
    as_folder(photographs, folder / "files")
    with tarfile.open(folder / "images.tar", "w") as archive:
        archive.add(folder / "files", ".")
    return f"archive:{folder / 'images.tar'}"


def as_webdataset(photographs: Photographs, folder: Path) -> str:
    classes = sorted({path.split("/")[1] for path in photographs})
    for split in ("train", "val"):
        own = [path for path in photographs if path.startswith(split)]
        for shard in range(2):
            (folder / "parts").mkdir(parents=True, exist_ok=True)
            (folder / "shards").mkdir(exist_ok=True)
            with tarfile.open(folder / "shards" / f"{split}-{shard:06d}.tar", "w") as archive:
                for number, path in enumerate(own[shard::2]):
                    sample = folder / "parts" / f"{split}{shard}{number:04d}"
                    sample.with_suffix(".jpg").write_bytes(photographs[path])
                    sample.with_suffix(".cls").write_text(str(classes.index(path.split("/")[1])))
                    for part in (".jpg", ".cls"):
                        archive.add(sample.with_suffix(part), f"{number:06d}{part}")
    return f"folder:{folder / 'shards'}"


def as_parquet(photographs: Photographs, folder: Path) -> str:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (folder / "data").mkdir(parents=True)
    for split, name in (("train", "train"), ("val", "validation")):
        own = [path for path in photographs if path.startswith(split)]
        images = [{"bytes": photographs[path], "path": Path(path).name} for path in own]
        table = pa.table({"image": images, "label": [path.split("/")[1] for path in own]})
        parquet.write_table(table, folder / "data" / f"{name}-00000-of-00001.parquet")
    return f"folder:{folder / 'data'}"


def cached(source: Source, folder: Path, kind: CacheKind) -> dict[str, np.ndarray]:
    """Content -> its pixels out of a cache."""
    items = source.scan().items
    build_cache(folder, source, items, SIZE, 1, kind=kind)
    cache = open_cache(folder)
    if isinstance(cache, SourceCache):
        columns = zip(items["sha256"], items["path"], items["scale"], strict=True)
        cache.read_from(source, {content: (path, parse_scale(scale)) for content, path, scale in columns})
    return {str(content): cache.image(row) for row, content in enumerate(cache.contents)}


@pytest.mark.parametrize("layout", [as_folder, as_tar, as_webdataset, as_parquet], ids=lambda layout: layout.__name__)
def test_every_layout_in_every_cache(
    photographs: Photographs, layout: Callable[[Photographs, Path], str], tmp_path: Path
) -> None:
    plain = open_source(as_folder(photographs, tmp_path / "plain"))
    expected = cached(plain, tmp_path / "expected", "pixels")
    source = open_source(layout(photographs, tmp_path / "layout"))
    assert source.scan().sizes() == plain.scan().sizes()
    pixels = cached(source, tmp_path / "pixels", "pixels")
    none = cached(source, tmp_path / "none", "none")
    jpegs = cached(source, tmp_path / "jpegs", "jpeg")
    assert pixels.keys() == none.keys() == jpegs.keys() == expected.keys()
    for content, image in expected.items():
        assert np.array_equal(pixels[content], image)
        assert np.array_equal(none[content], image)
        difference = np.abs(jpegs[content].astype(int) - image)
        assert difference.mean() < 4  # grey levels, at quality 90
    assert min(min(image.shape[:2]) for image in expected.values()) == SIZE
