"""Smaller data: fewer images or fewer classes, so that an iteration takes minutes and its answer still carries over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import field_validator

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    from sota_bench.technique import CoreRecipe


class SmallerDataSettings(Settings):
    fraction: float = setting(
        1.0, "share of each class's training images; smaller shares are subsets of larger ones", scope="data",
        gt=0, le=1, levels=(1.0, 0.5),
    )  # fmt: skip
    classes: tuple[str, ...] | int = setting(
        0, "number of classes (the first in alphabetical order) or a list of their names; 0 for all", scope="data"
    )
    per_class: int = setting(0, "at most this many training images per class; 0 for all", scope="data", ge=0, le=10**7)
    eval_images: int = setting(
        0, "approximate limit on the evaluation images, the same number per class; 0 for all", scope="data",
        ge=0, le=10**7,
    )  # fmt: skip
    keep: str = setting(
        "", "a manifest file from the store: only its training images are trained on; empty for all", scope="data"
    )
    curation: str = setting(
        "", "a manifest.csv that `curate` wrote: training images are those that it keeps, with the classes that it "
        "gives; evaluation images stay as they are; empty to use all images", scope="data",
    )  # fmt: skip
    train_labels: str = setting(
        "", "column of the table of labels from which the training images take theirs, such as one with noisy labels; "
        "evaluation images keep their own; empty to use the same column for all", scope="data",
    )  # fmt: skip

    @field_validator("classes")
    @classmethod
    def _two_or_more(cls, classes: tuple[str, ...] | int) -> tuple[str, ...] | int:
        count = classes if isinstance(classes, int) else len(set(classes))
        if count < 0 or count == 1 or classes == ():
            raise ValueError(f"{count} classes leave nothing to tell apart; write 2 or more, or 0 for all")
        return classes


class SmallerData(Technique[SmallerDataSettings]):
    """Its fields choose the images before any stage begins; it has no hook."""

    name = "smaller-data"
    field = "fraction"
    off = 1.0
    applies_to = "data"
    settings_type = SmallerDataSettings
    card = Card(
        name="Smaller data",
        claim="Many more iterations per hour, with mostly the same ranking of techniques.",
        response="minutes",
        why="A difference between two techniques often shows on part of the data. The subsets are stratified by class "
        "and nested, so a larger one contains the images of a smaller one.",
        paper="Bornschein, Visin and Osindero 2020, Small Data, Big Decisions: Model Selection in the Small-Data "
        "Regime (https://arxiv.org/abs/2009.12583)",
        defaults="All images. `fraction` and `per_class` never reduce the evaluation images.",
        cost="None: training time falls in proportion.",
        fails="Regularizers gain with less data and capacity gains with more, so the ranking may change: confirm the "
        "winner on all of the data.",
    )

    @classmethod
    def active(cls, recipe: CoreRecipe) -> bool:
        """Whether any of its fields limits the images."""
        return any(getattr(recipe, name) != info.default for name, info in cls.settings_type.model_fields.items())
