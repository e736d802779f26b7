"""ImageNet as it is downloaded (ILSVRC 2012), read in place: the training tar of one tar per class, the validation tar,
and the development kit, which says the class of each validation image."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from sota_bench.data import facts, tarindex
from sota_bench.data.files import FileReader, FileSource, FolderReader
from sota_bench.data.listing import Listing
from sota_bench.data.members import safe_name
from sota_bench.errors import UserError

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
KIT = "ILSVRC2012_devkit_t12"
TRUTH, SYNSETS = "data/ILSVRC2012_validation_ground_truth.txt", "data/meta.mat"
"""In the development kit: a class number for each validation image in the order of their names, and what the numbers
mean."""

_COLUMNS = ("path", "archive", "offset", "bytes")
Extents = Mapping[str, tuple[str, int, int]]
"""Path as shown (``train/CLASS/NAME``) -> (archive, offset of the data, bytes)."""


class ImageNetTars(FileSource):
    """A folder with the archives of ImageNet; an image's path is ``train/CLASS/NAME`` or ``val/CLASS/NAME``."""

    kind = "imagenet-tars"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "extents"}

    @cached_property
    def extents(self) -> Extents:
        """Where each image lies; remembered between runs.

        Raises:
            UserError: an archive is damaged, or the classes of the validation images are missing.
        """
        present = [self.root / name for name in (TRAIN, VALIDATION) if (self.root / name).is_file()]
        key = "imagenet 1 " + " ".join(f"{file.stat().st_size} {file.stat().st_mtime_ns}" for file in present)
        cache = self.remembered("index")
        remembered = facts.load(cache, key, _COLUMNS) if cache else None
        if remembered is not None:
            return {path: (archive, offset, size) for path, archive, offset, size in zip(*remembered, strict=True)}
        extents = dict(self._training())
        if self.root / VALIDATION in present:
            extents.update(self._validation())
        if cache and extents:
            rows = [(path, *extent) for path, extent in extents.items()]
            facts.save(cache, key, dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)))
        return extents

    def _training(self) -> Iterator[tuple[str, tuple[str, int, int]]]:
        for name, (start, size) in tarindex.read(self.root / TRAIN).members.items():
            if name.endswith(".tar"):
                inside = Path(name).stem
                for image, (offset, length) in self._nested(start, size, name):
                    yield f"train/{inside}/{image}", (TRAIN, start + offset, length)

    def _nested(self, start: int, size: int, name: str) -> list[tuple[str, tuple[int, int]]]:
        """The files of a tar inside the training tar."""
        try:
            with (self.root / TRAIN).open("rb") as whole:
                window = io.BufferedReader(_Window(whole, start, size))
                with tarfile.open(fileobj=window, mode="r:", tarinfo=tarindex.Member) as archive:
                    files = [(member.name, (member.offset_data, member.size)) for member in archive if member.isreg()]
        except (tarfile.TarError, OSError) as error:
            problem = f"{name} in it is no readable .tar ({' '.join(str(error).split())})"
            raise UserError(str(self.root / TRAIN), "", problem, "download it again") from None
        return [(image, extent) for image, extent in files if safe_name(image) == image]

    def _validation(self) -> Iterator[tuple[str, tuple[str, int, int]]]:
        members = tarindex.read(self.root / VALIDATION).members
        images = sorted(name for name in members if name.lower().endswith((".jpeg", ".jpg")))
        classes = validation_classes(self.root)
        if len(classes) != len(images):
            problem = f"{VALIDATION} has {len(images):,} images, and the ground truth {len(classes):,} classes"
            raise UserError(str(self.root), "", problem, f"download it again, with {KIT}.tar.gz")
        for image, label in zip(images, classes, strict=True):
            yield f"val/{label}/{Path(image).name}", (VALIDATION, *members[image])

    def listing(self) -> Listing:
        archives = {archive for archive, _, _ in self.extents.values()}
        times = {archive: (self.root / archive).stat().st_mtime_ns for archive in archives}
        return Listing([(path, size, times[archive]) for path, (archive, _, size) in self.extents.items()])

    def reader(self) -> FileReader:
        return FolderReader(str(self.root), self.extents)


class _Window(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, whole: IO[bytes], start: int, size: int) -> None:
        self._whole, self._start, self._size, self._at = whole, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._whole.seek(self._start + self._at)
        content = self._whole.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def is_imagenet(folder: Path) -> bool:
    """Whether a folder holds the archives of ImageNet."""
    return (folder / TRAIN).is_file()


def validation_classes(folder: Path) -> list[str]:
    """The class of each validation image, such as ``n01440764``, in the order of their names.

    Args:
        folder: with the development kit, as its archive or unpacked.

    Raises:
        UserError: it is missing or damaged.
    """
    remedy = f"put {KIT}.tar.gz beside {VALIDATION}; it says the class of each validation image"
    try:
        truth, synsets = (_from_kit(folder, name) for name in (TRUTH, SYNSETS))
        from scipy.io import loadmat

        rows = loadmat(io.BytesIO(synsets), squeeze_me=True)["synsets"]
        names = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
        return [names[int(line)] for line in truth.decode("ascii").split()]
    except FileNotFoundError:
        raise UserError(str(folder), "", f"there is no {KIT}", remedy) from None
    except Exception as error:  # whatever a damaged archive or table raises
        problem = f"{KIT} cannot be read ({' '.join(str(error).split()) or type(error).__name__})"
        raise UserError(str(folder), "", problem, remedy) from None


def _from_kit(folder: Path, name: str) -> bytes:
    """A file of the development kit.

    Raises:
        FileNotFoundError: neither the kit's folder nor its archive is there.
    """
    if (folder / KIT / name).is_file():
        return (folder / KIT / name).read_bytes()
    with tarfile.open(folder / f"{KIT}.tar.gz") as archive:
        stream = archive.extractfile(f"{KIT}/{name}")
        assert stream is not None
        return stream.read()
