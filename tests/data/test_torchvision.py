"""torchvision's data sets by name, as it stores them: IDX files, pickles and folders; nothing is downloaded."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sota_bench.data.find import open_source
from sota_bench.data.manifest import Manifest
from sota_bench.data.source import Source
from sota_bench.data.specs import source_from_spec
from sota_bench.data.torchvision_sets import SETS, opened
from sota_bench.errors import UserError

RNG = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sota_bench.data.find.user_cache", lambda: tmp_path / "user-cache")
    opened.cache_clear()


def digits(root: Path, train: int = 40, test: int = 20) -> dict[str, np.ndarray]:
    """MNIST in its own format, and the images of each split."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = {}
    for split, prefix, count in (("train", "train", train), ("test", "t10k", test)):
        images[split] = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = b"".join(number.to_bytes(4, "big") for number in (0x803, count, 28, 28))
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + images[split].tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8)
        header = b"".join(number.to_bytes(4, "big") for number in (0x801, count))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())
    return images


def check_all(source: Source, manifest: Manifest, expected: dict[str, np.ndarray]) -> None:
    """Each image of the manifest decodes to what was stored, also by a source made from the spec."""
    for opened_source in (source, source_from_spec(source.spec)):
        for path, sha in zip(manifest.items["path"], manifest.items["sha256"], strict=True):
            split, _, number = path.partition("/")
            stored = expected[split][int(number)]
            stored = np.repeat(stored[:, :, None], 3, axis=2) if stored.ndim == 2 else stored
            np.testing.assert_array_equal(opened_source.decode(path, 64, sha), stored)


def test_digits_in_idx_files(tmp_path: Path) -> None:
    images = digits(tmp_path)
    source = open_source("torchvision:MNIST", tmp_path)
    manifest = source.scan()
    assert manifest.name == "MNIST"
    assert manifest.classes[0] == "0 - zero"
    assert manifest.sizes()["train"] == 40
    assert manifest.sizes()["select"] + manifest.sizes()["test"] == 20
    assert manifest.items["label"].value_counts().tolist() == [6] * 10
    check_all(source, manifest, images)
    assert open_source("torchvision:MNIST", environ={"SOTA_BENCH_DATA": str(tmp_path)}).scan().digest == manifest.digest


def test_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    images: dict[str, np.ndarray] = {}

    def write(name: str, content: object) -> list[str]:
        (folder / name).write_bytes(data := pickle.dumps(content))
        return [name, hashlib.md5(data, usedforsecurity=False).hexdigest()]

    for split, names in (("train", ["data_batch_1"]), ("test", ["test_batch"])):
        images[split] = RNG.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
        rows = images[split].transpose(0, 3, 1, 2).reshape(30, -1)
        lists = [write(name, {"data": rows, "labels": [n % 3 for n in range(30)]}) for name in names]
        monkeypatch.setattr(CIFAR10, f"{split}_list", lists)
    name, md5 = write("batches.meta", {"label_names": ["airplane", "automobile", "bird"]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": md5})
    source = open_source("torchvision:CIFAR10", tmp_path)
    manifest = source.scan()
    assert manifest.classes == ["airplane", "automobile", "bird"]
    check_all(source, manifest, images)


def test_files_are_read_as_they_are_and_divided(tmp_path: Path) -> None:
    contents = set()
    for label in ("Forest", "River"):
        for number in range(12):
            path = tmp_path / "eurosat" / "2750" / label / f"{label}_{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(out := io.BytesIO(), "JPEG")
            path.write_bytes(out.getvalue())
            contents.add(hashlib.sha256(out.getvalue()).hexdigest())
    manifest = open_source("torchvision:EuroSAT", tmp_path).scan()
    assert set(manifest.items["sha256"]) == contents
    assert manifest.classes == ["Forest", "River"]
    assert set(manifest.items["split"]) == {"train", "select", "test"}
    path.write_bytes(b"cut off")
    opened.cache_clear()
    damaged = open_source("torchvision:EuroSAT", tmp_path).scan()
    assert damaged.left_out["reason"].tolist() == ["not a readable image: unknown image format"]


def test_every_name_is_one_of_torchvision() -> None:
    from torchvision import datasets

    assert all(hasattr(datasets, name) for name in SETS)


def test_what_is_not_there_says_how_to_download_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data: path: ") as caught:
        open_source("torchvision:CIFAR10", tmp_path)
    command = f"from torchvision.datasets import CIFAR10; CIFAR10('{tmp_path}', train=True, download=True)"
    assert command in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="did you mean CIFAR10"):
        open_source("torchvision:CIFAR")


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    digits(tmp_path)
    images = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:1000])
    with pytest.raises(UserError, match="MNIST cannot be read") as caught:
        open_source("torchvision:MNIST", tmp_path)
    assert "\n" not in str(caught.value)
