"""Which split a name means: ``train``, ``Training_Set``, ``seg_test``, ``valid-000003.tar`` and the like."""

from __future__ import annotations

import re
from dataclasses import dataclass

SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train", "trainval": "train",
    "trains": "train", "vals": "val", "tests": "test",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val",
    "test": "test", "testing": "test", "tst": "test", "eval": "test", "evaluation": "test", "holdout": "test",
}  # fmt: skip

_PLAIN_WORDS = frozenset({
    "set", "sets", "data", "dataset", "image", "images", "img", "imgs", "photos", "pictures", "samples", "split",
    "folder", "dir", "files", "full", "all", "tar", "parquet", "of", "labels", "label", "metadata", "csv", "tsv",
    "jsonl", "json", "txt", "list", "part", "shard",
})  # fmt: skip
"""Words beside a split's that change nothing about its meaning."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_FOLD = re.compile(r"(?:fold|cv|kfold|k)[ _-]?([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True)
class SplitName:
    """What a name says about a split.

    Attributes:
        split: train, val or test.
        plain: whether the name has no other meaning: ``train_images``, and not ``bullet_train`` or ``seg_train``.
        pattern: the name with the split's word replaced, which names of one family share.
    """

    split: str
    plain: bool
    pattern: str


def split_name(name: str) -> SplitName | None:
    """The split that a name means, or None."""
    words = [(match.start(), match.group()) for match in _WORD.finditer(name)]
    meanings = [(start, word, split) for start, word in words if (split := _meaning(word))]
    if len(meanings) != 1:
        return None
    start, word, split = meanings[0]
    others = [other.lower() for position, other in words if position != start]
    covered = sum(len(other) for _, other in words) == sum(char.isalnum() for char in name)
    plain = covered and all(other in _PLAIN_WORDS or other.isdigit() for other in others)
    if not plain and (start, word) not in (words[0], words[-1]):
        return None
    return SplitName(split, plain, f"{name[:start]}*{name[start + len(word) :]}".lower())


def split_of_words(text: str) -> str:
    """The split that a value in a table means: "" where it means none."""
    meaning = split_name(text)
    return meaning.split if meaning and meaning.plain else ""


def split_of_path(path: str) -> str:
    """The split that the outermost folder with such a name means."""
    for name in path.split("/")[:-1]:
        if meaning := split_name(name):
            return meaning.split
    return ""


def fold_number(name: str) -> int | None:
    """The number of a folder of cross-validation, such as ``fold_3``."""
    match = _FOLD.fullmatch(name)
    return int(match.group(1)) if match else None


def _meaning(word: str) -> str:
    lower = word.lower()
    for ending in ("", "set", "data", "images", "imgs"):
        if lower.endswith(ending) and (split := SPLIT_WORDS.get(lower.removesuffix(ending))):
            return split
    return ""
