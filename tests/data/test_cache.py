"""The cache of decoded pixels: the reference pipeline's pixels, whole or not there, and checked when opened."""

import errno
import hashlib
import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sota_bench.data import build, files
from sota_bench.data.build import build_cache
from sota_bench.data.cache import PixelCache, channel_statistics
from sota_bench.data.decode import BadImage
from sota_bench.data.files import FolderSource
from sota_bench.data.joined import JoinedSource
from sota_bench.errors import UserError


@pytest.fixture
def source(tmp_path):
    """Eight photographs of four shapes, one of them grayscale, one twice, and one that does not decode."""
    rng = np.random.default_rng(0)
    shapes = [(30, 40), (40, 30), (20, 20), (90, 60)]
    for n in range(8):
        height, width = shapes[n % 4]
        small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        target = tmp_path / "d" / "train" / "ab"[n % 2] / f"{n}.{'png' if n < 4 else 'jpg'}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (small.convert("L") if n == 5 else small).save(target)
    (tmp_path / "d" / "train" / "a" / "twice.png").write_bytes((tmp_path / "d" / "train" / "a" / "0.png").read_bytes())
    return FolderSource("d", tmp_path / "d")


@pytest.fixture
def items(source):
    return source.scan().items


@pytest.mark.parametrize("processes", [1, 2])
def test_cached_pixels_are_decoded_pixels(source, items, tmp_path, monkeypatch, processes):
    monkeypatch.setattr(build, "_CHUNK", 2)
    calls = []
    built = build_cache(tmp_path / "c", source, items, 24, processes, lambda done, total: calls.append((done, total)))
    cache = PixelCache.open(tmp_path / "c", verify=True)
    assert built["count"] == len(cache) == items["sha256"].nunique() == 8
    assert built["left_out"] == []
    assert calls[-1] == (8, 8)
    rows = cache.rows_of(items["sha256"].tolist())
    for path, row in zip(items["path"], rows, strict=True):
        expected = source.decode(path, 24)
        assert np.array_equal(cache.image(int(row)), expected)
        assert (cache.heights[row], cache.widths[row]) == expected.shape[:2]
    with pytest.raises(ValueError, match="read-only"):
        cache.image(0)[0, 0, 0] = 1
    with pytest.raises(KeyError):
        cache.rows_of(["0" * 64])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".c")]


def test_images_that_do_not_decode_are_named(source, items, tmp_path):
    broken = items["path"][0]
    (source.root / broken).write_bytes(b"junk")
    built = build_cache(tmp_path / "c", source, items, 24, 1)
    assert [path for path, _ in built["left_out"]] == [broken]
    assert built["count"] == 7


def folder_with_one_bad(root, seed=0):
    """Six photographs; :func:`fails_at_full_size` has the first one fail where it is decoded, and not where it is
    looked at."""
    rng = np.random.default_rng(seed)
    for n in range(6):
        target = root / "train" / "ab"[n % 2] / f"{n}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(target)
    return root


@pytest.fixture
def fails_at_full_size(monkeypatch):
    """A decoder that finds the images called 0.jpg damaged."""
    real = files.FileSource.decode

    def decode(self, path, size, sha256="", scale=None):
        if path.endswith("/0.jpg"):
            raise BadImage("damaged: by this test")
        return real(self, path, size, sha256, scale)

    monkeypatch.setattr(files.FileSource, "decode", decode)


def test_what_did_not_decode_is_left_out_of_the_next_scan(tmp_path, fails_at_full_size):
    source = FolderSource("d", folder_with_one_bad(tmp_path / "d"), tmp_path / "scans")
    first = source.scan()
    built = build_cache(tmp_path / "c", source, first.items, 16, 1)
    assert [path for path, _ in built["left_out"]] == ["train/a/0.jpg"]
    second = source.scan()
    assert second.left_out[["path", "reason"]].values.tolist() == [list(built["left_out"][0])]
    assert len(second.items) == len(first.items) - 1


def test_what_does_not_decode_in_a_joined_source_is_noted_by_its_part(tmp_path, fails_at_full_size):
    main, other = (
        FolderSource(name, folder_with_one_bad(tmp_path / name, seed), tmp_path / "scans")
        for seed, name in enumerate("mo")
    )
    joined = JoinedSource(main, {"other": other})
    built = build_cache(tmp_path / "c", joined, joined.scan().items, 16, 1)
    bad = ["other//train/a/0.jpg", "train/a/0.jpg"]
    assert sorted(path for path, _ in built["left_out"]) == bad
    assert sorted(joined.scan().left_out["path"]) == bad
    assert build_cache(tmp_path / "c", joined, joined.scan().items, 16, 1)["left_out"] == []


def test_bad_images_that_cannot_be_noted_are_one_line(tmp_path, fails_at_full_size):
    (tmp_path / "scans").write_text("a file where a folder belongs")
    source = FolderSource("d", folder_with_one_bad(tmp_path / "d"), tmp_path / "scans")
    with pytest.raises(UserError, match=r"scans: cannot keep which images do not decode, such as train/a/0\.jpg"):
        build_cache(tmp_path / "c", source, source.scan().items, 16, 1)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_image_that_changed_since_it_was_listed_is_listed_anew(source, tmp_path, monkeypatch, processes):
    """Also where neither its length nor its time shows it, as with a flipped bit."""
    monkeypatch.setattr(build, "_CHUNK", 2)
    source.cache = tmp_path / "scans"
    first, file = source.scan(), source.root / "train/a/2.png"
    status, image = file.stat(), bytearray(file.read_bytes())
    image[-5] ^= 1  # in the checksum of the last chunk, which no decoder reads
    file.write_bytes(image)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    built = build_cache(tmp_path / "c", source, first.items, 24, processes)
    assert built["left_out"] == [("train/a/2.png", "changed since it was listed")]
    again = source.scan()
    assert again.digest != first.digest or "train/a/2.png" in again.left_out["path"].tolist()
    assert build_cache(tmp_path / "c", source, again.items, 24, processes)["left_out"] == []


def test_an_empty_cache_opens(source, items, tmp_path):
    build_cache(tmp_path / "c", source, items.iloc[:0], 24, 1)
    assert len(PixelCache.open(tmp_path / "c", verify=True)) == 0


def damage(path, where):
    data = bytearray(path.read_bytes())
    data[where] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "always"),
    [
        (lambda c: damage(c / "pixels.u8", 1000), False),
        (lambda c: damage(c / "index.npz", 300), True),
        (lambda c: (c / "pixels.u8").write_bytes((c / "pixels.u8").read_bytes()[:-1]), True),
        (lambda c: (c / "pixels.u8").unlink(), True),
        (lambda c: (c / "cache.json").write_text("{"), True),
        (lambda c: (c / "cache.json").write_text("[]"), True),
        (
            lambda c: (c / "cache.json").write_text(
                (c / "cache.json").read_text().replace('"format": 1', '"format": 2')
            ),
            True,
        ),
        (
            lambda c: (c / "cache.json").write_text(
                json.dumps({**json.loads((c / "cache.json").read_text()), "count": 5})
            ),
            True,
        ),
        (lambda c: (c / "cache.json").write_text(json.dumps({"format": 1, "size": None})), True),
        (lambda c: (c / "cache.json").unlink(), True),
    ],
)
def test_damaged_caches_are_refused(source, items, tmp_path, spoil, always):
    folder = tmp_path / "c"
    build_cache(folder, source, items, 24, 1)
    spoil(folder)
    if not always:
        PixelCache.open(folder)  # a flipped pixel is only found by reading them all
    with pytest.raises(UserError, match="made again") as caught:
        PixelCache.open(folder, verify=True)
    assert "\n" not in str(caught.value)


def test_the_size_limit_is_one_line_and_leaves_nothing(source, items, tmp_path):
    with pytest.raises(UserError, match="do not fit"):
        build_cache(tmp_path / "c", source, items, 24, 1, limit_bytes=5000)
    assert not [path for path in tmp_path.iterdir() if path.name != "d"]


def test_a_full_disk_is_one_line_and_keeps_the_old_cache(source, items, tmp_path, monkeypatch):
    build_cache(tmp_path / "c", source, items, 16, 1)

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(build, "_sync", full)
    with pytest.raises(UserError, match="No space left"):
        build_cache(tmp_path / "c", source, items, 24, 1)
    assert PixelCache.open(tmp_path / "c", verify=True).size == 16
    assert {path.name for path in tmp_path.iterdir()} == {"c", "d"}


def test_a_parent_that_cannot_be_made_is_one_line(source, items, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        build_cache(tmp_path / "file" / "c", source, items, 24, 1)


def test_a_new_cache_replaces_the_old(source, items, tmp_path):
    for size in (16, 24):
        build_cache(tmp_path / "c", source, items, size, 1)
    assert PixelCache.open(tmp_path / "c").size == 24
    assert {path.name for path in tmp_path.iterdir()} == {"c", "d"}


def test_statistics_equal_numpy_in_float64(source, items, tmp_path):
    build_cache(tmp_path / "c", source, items, 24, 1)
    cache = PixelCache.open(tmp_path / "c")
    rows = [0, 3, 5, 6]
    pixels = np.concatenate([cache.image(row).reshape(-1, 3) for row in rows]).astype(np.float64)
    mean, deviation = channel_statistics(cache, rows)
    assert np.allclose(mean, pixels.mean(0), rtol=0, atol=1e-6)
    assert np.allclose(deviation, pixels.std(0), rtol=0, atol=1e-6)
    grey = pixels @ [0.299, 0.587, 0.114]
    mean, deviation = channel_statistics(cache, rows, channels=1)
    assert np.allclose([mean[0], deviation[0]], [grey.mean(), grey.std()], rtol=0, atol=1e-6)
    for bad in ({"rows": []}, {"rows": rows, "channels": 2}):
        with pytest.raises(ValueError):
            channel_statistics(cache, **bad)


def test_statistics_of_nearly_constant_images_do_not_cancel(tmp_path):
    (tmp_path / "d/train/a").mkdir(parents=True)
    pixels = np.full((60, 60, 3), 254, np.uint8)
    pixels[0, 0] = 255
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    (tmp_path / "d/train/a/1.png").write_bytes(out.getvalue())
    digest = hashlib.sha256(out.getvalue()).hexdigest()
    items = pd.DataFrame({"path": ["train/a/1.png"], "sha256": [digest], "scale": [""]})
    build_cache(tmp_path / "c", FolderSource("d", tmp_path / "d"), items, 60, 1)
    _, deviation = channel_statistics(PixelCache.open(tmp_path / "c"), [0])
    assert np.allclose(deviation, pixels.reshape(-1, 3).astype(np.float64).std(0), rtol=0, atol=1e-6)


def test_the_data_layer_imports_no_torch():
    modules = "find source cache build manifest split subset known_effects"
    code = "import sys\n" + "".join(f"import sota_bench.data.{name}\n" for name in modules.split())
    code += "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
