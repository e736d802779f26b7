"""ImageNet's own archives, made here of few images: the same data set as its folders, read in place."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from lab import CLASSES, write_images
from scipy.io import savemat

from sota_bench.data.counts import count_images
from sota_bench.data.find import open_source
from sota_bench.data.imagenet_tars import KIT, SYNSETS, TRAIN, TRUTH, VALIDATION, ImageNetTars
from sota_bench.data.specs import source_from_spec
from sota_bench.errors import UserError

WNIDS = dict(zip(CLASSES, ("n02979186", "n01440764", "n03000684", "n02102040"), strict=True))


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def jpeg(file: Path) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.open(file).save(out, "JPEG", quality=95)
    return out.getvalue()


def write_imagenet(images: Path, folder: Path) -> Path:
    """The archives, from an image folder with the classes of the laboratory."""
    folder.mkdir()
    with tarfile.open(folder / TRAIN, "w") as train:
        for label in CLASSES:
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as archive:
                for number, file in enumerate(sorted((images / "train" / label).iterdir())):
                    add(archive, f"{WNIDS[label]}_{number}.JPEG", jpeg(file))
            add(train, f"{WNIDS[label]}.tar", inner.getvalue())
    files = sorted((images / "val").rglob("*.png"), key=lambda file: (file.stem, file.parent.name))
    with tarfile.open(folder / VALIDATION, "w") as validation:
        for number, file in enumerate(files, 1):
            add(validation, f"ILSVRC2012_val_{number:08d}.JPEG", jpeg(file))
    ids = {label: number for number, label in enumerate(sorted(CLASSES), 1)}
    synsets = np.array(
        [(ids[label], WNIDS[label]) for label in CLASSES], dtype=[("ILSVRC2012_ID", "i4"), ("WNID", object)]
    )
    table = io.BytesIO()
    savemat(table, {"synsets": synsets})
    with tarfile.open(folder / f"{KIT}.tar.gz", "w:gz") as kit:
        add(kit, f"{KIT}/{TRUTH}", "".join(f"{ids[file.parent.name]}\n" for file in files).encode())
        add(kit, f"{KIT}/{SYNSETS}", table.getvalue())
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images") / "images")


@pytest.fixture
def imagenet(images: Path, tmp_path: Path) -> Path:
    return write_imagenet(images, tmp_path / "imagenet")


def test_the_same_data_set_as_its_folders(images: Path, imagenet: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for label in CLASSES:
            (tmp_path / "folders" / split / WNIDS[label]).mkdir(parents=True)
            for file in (images / split / label).iterdir():
                (tmp_path / "folders" / split / WNIDS[label] / f"{file.stem}.jpg").write_bytes(jpeg(file))
    source, folders = open_source("imagenet", imagenet), open_source(f"folder:{tmp_path / 'folders'}")
    assert isinstance(source, ImageNetTars)
    manifest, expected = source.scan(), folders.scan()
    assert manifest.digest == expected.digest
    paths = dict(zip(expected.items["sha256"], expected.items["path"], strict=True))
    again = source_from_spec(pickle.loads(pickle.dumps(source.spec)))  # as a worker opens it
    for path, content in zip(manifest.items["path"], manifest.items["sha256"], strict=True):
        assert np.array_equal(again.decode(path, 24, content), folders.decode(paths[content], 24, content))


def test_it_is_found_in_the_folder_of_data_sets(imagenet: Path) -> None:
    source = open_source("imagenet", environ={"SOTA_BENCH_DATA": str(imagenet.parent)})
    counts = count_images(source)
    assert (counts.train, counts.classes) == (12 * len(CLASSES), len(CLASSES))


@pytest.mark.parametrize(
    ("name", "problem"), [(f"{KIT}.tar.gz", f"there is no {KIT}"), (VALIDATION, ""), (TRAIN, "does not hold imagenet")]
)
def test_missing_archives(imagenet: Path, name: str, problem: str) -> None:
    (imagenet / name).unlink()
    if not problem:  # without validation images, some of the others judge
        assert set(open_source("imagenet", imagenet).scan().items["split"]) == {"train", "select", "test"}
        return
    with pytest.raises(UserError, match=problem) as caught:
        open_source("imagenet", imagenet).scan()
    assert "\n" not in str(caught.value)


def test_damaged_archives(imagenet: Path) -> None:
    content = bytearray((imagenet / TRAIN).read_bytes())
    content[512 : 512 + 100] = b"x" * 100  # the first header of the first class
    (imagenet / TRAIN).write_bytes(content)
    with pytest.raises(UserError, match=r"no readable \.tar"):
        open_source("imagenet", imagenet).scan()
    (imagenet / f"{KIT}.tar.gz").write_bytes(b"no archive")
    with pytest.raises(UserError):
        open_source("imagenet", imagenet).scan()
