"""Images with more than 8 bits are on one scale, whatever stores them; HEIC is read, or what to install is said."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pillow_heif import register_heif_opener

from sota_bench.data import decode
from sota_bench.data.account import account_of
from sota_bench.data.decode import BadImage, decode_image, inspect_image
from sota_bench.data.find import open_source
from sota_bench.data.source import Source

RNG = np.random.default_rng(23)
SIDE = 24


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sota_bench.data.find.user_cache", lambda: tmp_path / "user-cache")


def tiff(samples: np.ndarray) -> bytes:
    photometric = "rgb" if samples.ndim == 3 else "minisblack"
    tifffile.imwrite(out := io.BytesIO(), samples, photometric=photometric)
    return out.getvalue()


def png16(samples: np.ndarray) -> bytes:
    """A PNG of 16 bits, written chunk by chunk: Pillow writes none in colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if samples.ndim == 3 else 0, 0, 0, 0)
    rows = samples.astype(">u2").reshape(height, -1)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def heic(pixels: np.ndarray) -> bytes:
    register_heif_opener()
    Image.fromarray(pixels).save(out := io.BytesIO(), "HEIF", quality=95)
    return out.getvalue()


def smooth(low: float, high: float, channels: int = 1) -> np.ndarray:
    """Random samples float64 [SIDE, SIDE] or [SIDE, SIDE, channels] between two values."""
    samples = RNG.uniform(low, high, (SIDE, SIDE, channels))
    return samples[:, :, 0] if channels == 1 else samples


def dataset(root: Path, make: Callable[[float], bytes], ending: str, levels: tuple[float, float]) -> Source:
    """Two classes of different brightness."""
    for split, count in (("train", 6), ("val", 4)):
        for label, level in zip(("dark", "light"), levels, strict=True):
            for number in range(count):
                path = root / split / label / f"{number}{ending}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(make(level))
    return open_source(f"folder:{root}")


def grey_levels(source: Source) -> dict[str, float]:
    """The mean grey level of each class, on the scale that the manifest gives."""
    items = source.scan().items
    levels: dict[str, list[float]] = {}
    for path, label, sha, text in items[["path", "label", "sha256", "scale"]].itertuples(index=False):
        low, high = (float(part) for part in text.split(":"))
        levels.setdefault(label, []).append(source.decode(path, SIDE, sha, (low, high)).mean())
    return {label: float(np.mean(values)) for label, values in levels.items()}


KINDS: dict[str, tuple[Callable[[float], bytes], str, tuple[float, float], str]] = {
    "grey TIFF of 16 bits": (lambda level: tiff(smooth(level, level + 200).astype(np.uint16)), ".tif",
                             (300, 3000), "0.0:4095.0"),
    "colour TIFF of 16 bits": (lambda level: tiff(smooth(level, level + 200, 3).astype(np.uint16)), ".tiff",
                               (300, 3000), "0.0:4095.0"),
    "colour PNG of 16 bits": (lambda level: png16(smooth(level, level + 200, 3).astype(np.uint16)), ".png",
                              (3000, 30000), "0.0:65535.0"),
    "float TIFF from 0 to 1": (lambda level: tiff(smooth(level, level + 0.1).astype(np.float32)), ".tif",
                               (0.1, 0.8), "0.0:1.0"),
    "float colour TIFF": (lambda level: tiff(smooth(level, level + 0.1, 3).astype(np.float32)), ".tif",
                          (0.1, 0.8), "0.0:1.0"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_one_scale_for_the_whole_data_set(tmp_path: Path, kind: str) -> None:
    make, ending, levels, scale = KINDS[kind]
    source = dataset(tmp_path / "d", make, ending, levels)
    manifest = source.scan()
    assert not len(manifest.left_out)
    assert set(manifest.items["scale"]) == {scale}
    low, high = (float(part) for part in scale.split(":"))
    width = float(np.subtract(*levels[::-1])) / (high - low) * 255
    measured = grey_levels(source)
    assert measured["light"] - measured["dark"] == pytest.approx(width, abs=3)
    assert f"images with more than 8 bits: {low:g} is black and {high:g} is white" in manifest.notes


def test_signed_samples_are_stretched_over_all_that_occur(tmp_path: Path) -> None:
    """Such as Hounsfield units: from the lowest to the highest of the data set, not of each image."""
    make = lambda level: tiff(smooth(level, level + 100).astype(np.int16))  # noqa: E731
    source = dataset(tmp_path / "d", make, ".tif", (-1000, 1000))
    manifest = source.scan()
    [scale] = set(manifest.items["scale"])
    low, high = (float(part) for part in scale.split(":"))
    assert -1000 <= low < -990
    assert 1090 < high <= 1100
    measured = grey_levels(source)
    assert measured["light"] - measured["dark"] == pytest.approx(2000 / (high - low) * 255, abs=3)


def test_the_same_samples_are_the_same_pixels_in_every_format() -> None:
    samples = smooth(0, 4095, 3).astype(np.uint16)
    expected = np.rint(samples / 4095 * 255)
    for data in (tiff(samples), png16(samples), tiff(samples.astype(np.float32))):
        np.testing.assert_array_equal(decode_image(data, SIDE, (0.0, 4095.0)), expected)
    grey = samples[:, :, 0]
    for data in (tiff(grey), png16(grey), tiff(grey.astype(np.float32)), tiff(grey.astype(np.int32))):
        np.testing.assert_array_equal(decode_image(data, SIDE, (0.0, 4095.0))[:, :, 1], expected[:, :, 0])


def test_samples_that_are_no_numbers_are_black_and_not_the_scale() -> None:
    samples = smooth(0.2, 0.8).astype(np.float32)
    samples[0, :3] = np.nan, np.inf, -np.inf
    facts = inspect_image(tiff(samples))
    assert 0.2 <= facts.low < facts.high <= 0.8
    assert decode_image(tiff(samples), SIDE, (0.0, 1.0))[0, :3, 0].tolist() == [0, 255, 0]
    with pytest.raises(BadImage, match="it holds no number"):
        inspect_image(tiff(np.full((SIDE, SIDE), np.nan, np.float32)))


def test_heic_is_read_by_content_whatever_its_name(tmp_path: Path) -> None:
    pixels = np.asarray(Image.fromarray(RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((64, 64), 2))
    assert np.abs(decode_image(heic(pixels), 64).astype(int) - pixels).mean() < 4
    source = dataset(tmp_path / "d", lambda level: heic(np.full((64, 64, 3), level, np.uint8)
                     + RNG.integers(0, 40, (64, 64, 1), dtype=np.uint8)), ".HEIC", (30, 180))  # fmt: skip
    misnamed = tmp_path / "d" / "train" / "dark" / "5.HEIC"
    misnamed.rename(misnamed.with_suffix(".jpg"))
    manifest = source.scan()
    assert len(manifest.items) == 20
    assert set(manifest.items["scale"]) == {""}
    assert source.decode("train/dark/5.jpg", 32).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("package", "ending", "make"),
    [
        ("pillow_heif", ".heic", lambda level: heic(RNG.integers(level, level + 9, (64, 64, 3), dtype=np.uint8))),
        ("tifffile", ".tif", lambda level: tiff(RNG.integers(level, level + 900, (64, 64, 3), dtype=np.uint16))),
    ],
)
def test_what_an_extra_would_read_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, ending: str, make: Callable[[float], bytes]
) -> None:
    root = tmp_path / "d"
    dataset(root, lambda level: tiff(smooth(level, level + 9).astype(np.uint8)), ".tif", (30, 180))
    (root / f"train/dark/rare{ending}").write_bytes(make(100))
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(decode, "_heic_registered", False)
    account = account_of(open_source(f"folder:{root}").scan())
    [file] = account.left_out_files
    name = package.replace("_", "-")
    assert file["path"] == f"train/dark/rare{ending}"
    assert file["reason"].startswith(f"needs {name}: ")
    assert file["reason"].endswith('python -m pip install "sota-bench[formats]"')
