"""The classes of Imagenette and Imagewoof by names that people read (by WordNet 3.0 identifier)."""

from __future__ import annotations

from collections.abc import Iterable

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
