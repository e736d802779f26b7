"""Caches that decode each time: packed JPEGs, and the source itself."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lab import write_images
from PIL import Image

from sota_bench.data.build import build_cache
from sota_bench.data.cache import PixelCache
from sota_bench.data.find import open_source
from sota_bench.data.packed import MOST_PIXEL_BYTES, QUALITY, JpegCache, SourceCache, kind_of, open_cache
from sota_bench.data.source import Source
from sota_bench.errors import UserError

SIZE = 32


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(f"folder:{write_images(tmp_path_factory.mktemp('packed') / 'images')}")


@pytest.fixture(scope="module")
def items(source: Source) -> pd.DataFrame:
    return source.scan().items


@pytest.mark.parametrize("processes", [1, 2])
def test_a_packed_image_is_pillows_jpeg_of_the_stored_pixels(
    source: Source, items: pd.DataFrame, tmp_path: Path, processes: int
) -> None:
    build_cache(tmp_path / "pixels", source, items, SIZE, processes)
    built = build_cache(tmp_path / "jpegs", source, items, SIZE, processes, kind="jpeg")
    pixels, jpegs = open_cache(tmp_path / "pixels"), open_cache(tmp_path / "jpegs")
    assert (type(pixels), type(jpegs)) == (PixelCache, JpegCache)
    assert built["bytes"] < pixels.data.size / 2
    assert jpegs.contents.tolist() == pixels.contents.tolist()
    for row in range(len(pixels)):
        encoded = io.BytesIO()
        Image.fromarray(pixels.image(row)).save(encoded, "JPEG", quality=QUALITY)
        again = np.asarray(Image.open(encoded))
        assert np.array_equal(jpegs.image(row), again)
        assert jpegs.image(row).shape == (jpegs.heights[row], jpegs.widths[row], 3)


def test_without_a_cache_the_source_gives_the_same_bits(source: Source, items: pd.DataFrame, tmp_path: Path) -> None:
    build_cache(tmp_path / "pixels", source, items, SIZE, 1)
    built = build_cache(tmp_path / "none", source, items, SIZE, 1, kind="none")
    pixels, none = open_cache(tmp_path / "pixels"), open_cache(tmp_path / "none")
    assert (built["bytes"], type(none)) == (0, SourceCache)
    assert isinstance(none, SourceCache)
    files = {content: (path, None) for content, path in zip(items["sha256"], items["path"], strict=True)}
    none.read_from(source, files)
    for row in range(len(pixels)):
        assert np.array_equal(none.image(row), pixels.image(row))
    none.read_from(source, dict.fromkeys(files, (items["path"].iloc[0], None)))
    with pytest.raises(OSError, match="changed since it was listed"):
        none.image(len(none) - 1)


@pytest.mark.parametrize("kind", ["jpeg", "none"])
def test_damage_is_noticed(source: Source, items: pd.DataFrame, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / kind
    build_cache(folder, source, items, SIZE, 1, kind=kind)  # type: ignore[arg-type]
    file = folder / open_cache(folder).file
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(UserError, match="made again"):
        open_cache(folder)
    with pytest.raises(UserError, match="made again"):
        PixelCache.open(folder)  # another kind


def test_auto_is_pixels_where_they_fit() -> None:
    assert kind_of("auto", 13_394, 224) == "pixels"
    assert kind_of("auto", 1_331_167, 256) == "jpeg"  # ImageNet: about 350 GB of pixels
    assert kind_of("none", 1_331_167, 256) == "none"
    largest = MOST_PIXEL_BYTES // (4 * 128 * 128)
    assert [kind_of("auto", count, 128) for count in (largest, largest + 1)] == ["pixels", "jpeg"]
