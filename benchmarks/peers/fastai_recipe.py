"""fastai as its own Imagenette example uses it: item transforms, a learner, and ``fit_one_cycle``."""

from __future__ import annotations

import time

import common
import timm
from fastai.vision.all import (
    Callback,
    CrossEntropyLossFlat,
    FlipItem,
    ImageDataLoaders,
    Learner,
    Normalize,
    RandomResizedCrop,
    accuracy,
    imagenet_stats,
    set_seed,
)


class Clock(Callback):
    """Notes when each training step of the first epoch ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_batch(self) -> None:
        if self.training and self.epoch == 0:
            self.ends.append(time.perf_counter())


def main() -> None:
    options = common.options(__doc__).parse_args()
    set_seed(options.seed)
    loaders = ImageDataLoaders.from_folder(
        options.images, train="train", valid="val", bs=options.batch, num_workers=common.cores(),
        item_tfms=[RandomResizedCrop(options.size, min_scale=common.CROP_SCALE[0]), FlipItem(0.5)],
        batch_tfms=Normalize.from_stats(*imagenet_stats), device="cpu",
    )  # fmt: skip
    model = timm.create_model(options.backbone, num_classes=10)
    clock = Clock()
    learner = Learner(loaders, model, loss_func=CrossEntropyLossFlat(), metrics=accuracy, cbs=clock)
    learner.fit_one_cycle(options.epochs, options.lr, wd=common.WEIGHT_DECAY)
    common.write(
        options.result, clock.ends, options.batch, 100 * float(learner.recorder.values[-1][-1]), precision="fp32"
    )


if __name__ == "__main__":
    main()
