"""How many images a data set has, from its listing alone: no image is read."""

from __future__ import annotations

from dataclasses import dataclass

from sota_bench.data.files import FileSource
from sota_bench.data.reading import read_listing
from sota_bench.data.source import Source

DRAWN_FOR_TRAINING = 0.7
"""Share of a data set without splits that trains."""


@dataclass(frozen=True)
class ImageCounts:
    """The size of a data set.

    Attributes:
        train: images that train.
        select: images that choose.
        classes: how many.
    """

    train: int
    select: int
    classes: int


# Russakovsky et al. 2015, ImageNet Large Scale Visual Recognition Challenge (https://arxiv.org/abs/1409.0575), and
# fastai/imagenette, whose validation images are halved: one half chooses, the other confirms.
PUBLISHED = {
    "imagenet": ImageCounts(1_281_167, 25_000, 1000),
    "imagenette": ImageCounts(9_469, 1_962, 10),
    "imagewoof": ImageCounts(9_025, 1_964, 10),
}
"""Data sets known by name."""


def count_images(source: Source) -> ImageCounts:
    """The size of a data set, before damaged images and copies are left out of it.

    Raises:
        UserError: the source cannot be read.
    """
    if not isinstance(source, FileSource):
        manifest = source.scan()
        sizes = manifest.sizes()
        return ImageCounts(sizes["train"], sizes["select"], len(manifest.classes))
    reader = source.reader()
    listing = source.listing()
    members = read_listing(listing, reader, reader.head, source.options, str(source.root)).members.values()
    counts = {split: sum(member.split == split for member in members) for split in ("train", "val", "test")}
    classes = len({member.label for member in members})
    train = counts["train"] or round(DRAWN_FOR_TRAINING * len(members))
    both = counts["val"] and counts["test"]
    return ImageCounts(train, counts["val"] if both else (len(members) - train) // 2, classes)
