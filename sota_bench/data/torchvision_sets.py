"""Data sets that torchvision reads, by their names there: ``torchvision:CIFAR10``, from where torchvision stored them.

Images that torchvision keeps as files are read as these files; those in arrays (CIFAR, MNIST, SVHN and others) become
PNG, without loss.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sota_bench.data.files import FileReader, FileSource
from sota_bench.data.formats import HEAD_BYTES
from sota_bench.data.listing import Listing
from sota_bench.data.options import ReadingOptions
from sota_bench.data.tables import LabelTable
from sota_bench.errors import UserError

Arguments = Mapping[str, str | bool]


def _by_flag() -> dict[str, Arguments]:
    return {"train": {"train": True}, "test": {"train": False}}


def _by_name(**names: str) -> dict[str, Arguments]:
    return {split: {"split": name} for split, name in names.items()}


SETS: Mapping[str, Mapping[str, Arguments]] = {
    **{name: _by_flag() for name in ("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "QMNIST", "USPS")},
    **{name: _by_name(train="train", test="test") for name in ("Food101", "GTSRB", "STL10", "StanfordCars", "SVHN")},
    **{name: _by_name(train="train", val="val", test="test") for name in ("DTD", "FGVCAircraft", "Flowers102", "PCAM",
                                                                          "RenderedSST2")},
    "Country211": _by_name(train="train", val="valid", test="test"),
    "Imagenette": _by_name(train="train", val="val"),
    "OxfordIIITPet": _by_name(train="trainval", test="test"),
    **{name: {"": {}} for name in ("Caltech101", "Caltech256", "EuroSAT", "SEMEION", "SUN397")},
}  # fmt: skip
"""Name -> split ("" for the whole of an undivided set) -> arguments of its class in ``torchvision.datasets``."""

WHOLE = "all"
"""In paths, the split of an undivided set."""

_FILES = ("_image_files", "_images", "_samples", "samples")
_LABELS = ("targets", "labels", "_labels", "y")
_CLASS_NAMES = ("classes", "categories")
"""Attributes in which torchvision's classes keep files, labels and names."""


class TorchvisionSource(FileSource):
    """One of ``SETS``, from the folder that its class calls ``root``."""

    kind = "torchvision"

    def remembered(self, what: str) -> Path | None:
        return super().remembered(f"{what}-{self.name}")

    def listing(self) -> Listing:
        import pandas as pd

        files: list[tuple[str, int, int]] = []
        rows: list[tuple[str, str]] = []
        for split in SETS[self.name]:
            dataset = opened(self.name, str(self.root), split)
            labels, newest = _labels(dataset), 0 if _file(dataset, 0) else _newest(self.root)
            for number in range(len(labels)):
                file = _file(dataset, number)
                status = Path(file).stat() if file else None
                size, changed = (status.st_size, status.st_mtime_ns) if status else (0, newest)
                files.append((f"{split or WHOLE}/{number:07d}", size, changed))
            rows += [(label, split) for label in labels]
        paths = [path for path, _, _ in files]
        columns = ["label", "split"] if "" not in SETS[self.name] else ["label"]
        table = pd.DataFrame(rows, columns=["label", "split"], dtype=object)[columns]
        return Listing(files, tables=[LabelTable(f"torchvision's {self.name}", table, paths, paths)])

    def reader(self) -> FileReader:
        return TorchvisionReader(self.name, str(self.root))


class TorchvisionReader:
    """Reads images by split and number."""

    def __init__(self, name: str, root: str) -> None:
        self.name, self.root = name, root

    def __call__(self, path: str) -> bytes:
        split, _, number = path.partition("/")
        try:
            dataset = opened(self.name, self.root, "" if split == WHOLE else split)
        except UserError as error:  # gone since it was listed
            raise OSError(str(error)) from None
        file = _file(dataset, int(number))
        return Path(file).read_bytes() if file else _as_png(dataset[int(number)][0])

    def head(self, path: str) -> bytes:
        """The first bytes of an image."""
        return self(path)[:HEAD_BYTES]


def open_torchvision(
    name: str, roots: Sequence[Path], cache: Path | None, options: ReadingOptions | None
) -> TorchvisionSource:
    """A data set by its name in torchvision, from the first folder that holds it.

    Args:
        name: one of ``SETS``.
        roots: folders that torchvision may have stored it in.
        cache: folder for what scans found.
        options: how the user says that it is to be read.

    Raises:
        UserError: none of the folders holds it.
    """
    problems = []
    for root in roots:
        try:
            for split in SETS[name]:
                opened(name, str(root.absolute()), split)
        except UserError as error:
            problems.append(error)
        else:
            return TorchvisionSource(name, root, cache, options)
    raise problems[0]


@lru_cache(maxsize=4)
def opened(name: str, root: str, split: str) -> Any:
    """A split of a data set, as torchvision opens it.

    Raises:
        UserError: it is not there, or torchvision cannot read it.
    """
    from torchvision import datasets

    arguments = SETS[name][split]
    try:
        dataset = getattr(datasets, name)(root, **arguments, download=False)
        if not len(dataset):
            raise ValueError("it holds no images")
        return dataset
    except Exception as error:  # what reads foreign files may raise anything
        text = " ".join(str(error).split()).removesuffix(" You can use download=True to download it")
        problem = f"torchvision's {name} cannot be read in {root}: {text.rstrip('.') or type(error).__name__}"
        given = "".join(f", {key}={value!r}" for key, value in arguments.items())
        code = f"from torchvision.datasets import {name}; {name}({root!r}{given}, download=True)"
        remedy = f'name the folder that holds it, or download it: python -c "{code}"'
        raise UserError("data", "path", problem, remedy) from None


def _labels(dataset: Any) -> list[str]:
    """The class name of each image."""
    numbers = _listed_labels(dataset)
    if numbers is None:
        numbers = [int(dataset[index][1]) for index in range(len(dataset))]
    names = next((getattr(dataset, name) for name in _CLASS_NAMES if getattr(dataset, name, None)), None)
    if names is None or len(names) <= max(numbers):
        return [str(number) for number in numbers]
    return [str(names[number]) for number in numbers]


def _listed_labels(dataset: Any) -> list[int] | None:
    """All labels without decoding images, where an attribute holds them and agrees with what torchvision returns."""
    lists = [getattr(dataset, name) for name in _LABELS if getattr(dataset, name, None) is not None]
    lists += [[entry[1] for entry in getattr(dataset, name)] for name in _FILES if _pairs(getattr(dataset, name, None))]
    samples = sorted({0, len(dataset) // 2, len(dataset) - 1})
    for values in lists:
        try:
            numbers = [int(value) for value in values]
            if len(numbers) == len(dataset) and all(numbers[index] == int(dataset[index][1]) for index in samples):
                return numbers
        except (TypeError, ValueError, RuntimeError):  # no plain numbers
            continue
    return None


def _pairs(entries: Any) -> bool:
    return isinstance(entries, list) and bool(entries) and isinstance(entries[0], tuple) and len(entries[0]) == 2


def _file(dataset: Any, index: int) -> str:
    """The file of an image, or "" where torchvision keeps it in an array."""
    for name in _FILES:
        entries = getattr(dataset, name, None)
        if isinstance(entries, list) and len(entries) == len(dataset):
            entry = entries[index][0] if isinstance(entries[index], tuple) else entries[index]
            if isinstance(entry, str | Path):
                return str(entry)
    return ""


def _as_png(image: Any) -> bytes:
    out = io.BytesIO()
    if image.mode not in ("L", "RGB"):
        image = image.convert("RGB")
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _newest(root: Path) -> int:
    """When the files below a folder were last changed, in ns: a scan is remembered as long as this stays."""
    stamps = [root.stat().st_mtime_ns]
    for folder, _, names in os.walk(root):
        stamps += [Path(folder, name).stat().st_mtime_ns for name in names if Path(folder, name).exists()]
    return max(stamps)
