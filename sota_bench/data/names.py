"""Class names: their one spelling and order, and those of Imagenette and Imagewoof (by WordNet 3.0 identifier)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import normalize as to_unicode_form

IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}

IMAGEWOOF = {
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}


def readable(folders: Iterable[str]) -> dict[str, str]:
    """Folder name -> class name: readable where all folders are classes of Imagenette, or all of Imagewoof."""
    folders = set(folders)
    for names in (IMAGENETTE, IMAGEWOOF):
        if folders <= names.keys():
            return {folder: names[folder] for folder in folders}
    return {folder: folder for folder in folders}


def normalized(name: str) -> str:
    """A name in Unicode's form NFC, in which names that look the same are the same."""
    return to_unicode_form("NFC", name)


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts names so that numbers in them count as numbers: 2 before 10."""
    parts = enumerate(re.split(r"([0-9]+)", name))  # every second one is a number
    return [(0, int(part), "") if 0 < len(part) < 1000 and index % 2 else (1, 0, part) for index, part in parts], name


def natural_order(names: Iterable[str]) -> list[str]:
    """Distinct names in their natural order."""
    return sorted(set(names), key=natural_key)


def confusable(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ only by case or outer spaces."""
    first: dict[str, str] = {}
    pairs = []
    for name in sorted(set(names)):
        key = normalized(name).strip().casefold()
        if key in first:
            pairs.append((first[key], name))
        first.setdefault(key, name)
    return pairs
