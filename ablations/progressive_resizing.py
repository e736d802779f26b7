"""Progressive resizing: train on small images first, then on larger ones.

The schedule is the recipe field ``resize``. The core trains its phases one after the other, so there is no hook here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sota_bench.technique import Card, Settings, Technique

if TYPE_CHECKING:
    from sota_bench.technique import CoreRecipe


class ProgressiveResizing(Technique[Settings]):
    name = "progressive-resizing"
    field = "resize"
    off = "one phase"
    applies_to = "phases"
    card = Card(
        name="Progressive resizing",
        claim="The accuracy of training at the final size, in less time, and sometimes slightly more.",
        response="minutes",
        why="The time of a convolutional network's step grows with the number of pixels, so epochs at half the "
        "size cost about a quarter. Shapes and colours are learned there; what only the larger images show is "
        "learned last. Images whose objects come at several apparent sizes also act as augmentation.",
        paper="Howard and others 2018, DAWNBench entry of fast.ai "
        "(https://www.fast.ai/posts/2018-08-10-fastai-diu-imagenet.html); Touvron, Vedaldi, Douze and Jégou 2019, "
        "Fixing the train-test resolution discrepancy (https://arxiv.org/abs/1906.06423); Tan and Le 2021, "
        "EfficientNetV2, section 4 (https://arxiv.org/abs/2104.00298)",
        defaults="One phase. A usual schedule gives more than half of the epochs to half of the size, such as "
        "`64x3 128x2`; each phase has its own learning-rate cycle (`schedule_span`) and keeps the optimizer's "
        "moments (`optimizer_at_switch`). Evaluation has its own size (`eval_size`), by default the last phase's.",
        cost="Less than one phase at the last size: `64x3 128x2` trains on 55% of the pixels of `128x5`. Position "
        "embeddings are resampled at each switch.",
        fails="Where the classes differ in detail that small images do not show, the epochs at the small size are "
        "lost; accuracy at the small size is forgotten while the large one is learned (see the mitigations). Small "
        "images may not fill a GPU, so the time saved is smaller than the pixels saved.",
    )

    @classmethod
    def active(cls, recipe: CoreRecipe) -> bool:
        """A schedule of more than one phase."""
        return len(recipe.phases) > 1
