"""Base model: train a base on half of the classes first, then fine-tune it on the other half, with or without a rise of
resolution inside the base training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import field_validator

from sota_bench.technique import Card, Settings, Technique, TrainsBaseModel, read_schedule, setting

if TYPE_CHECKING:
    from sota_bench.technique import SizePhase


SMALLEST = 16
"""Pixels below which no default schedule goes."""


def base_schedule(base: str, written: str, resize: Sequence[SizePhase]) -> tuple[SizePhase, ...]:
    """The phases in which a base model is trained.

    Args:
        base: ``none``, ``progressive`` (the schedule as it is) or ``fixed`` (as many epochs, all at its last size).
        written: the schedule; empty for one that ends at half of the first size of ``resize`` and has as many epochs,
            half of them at half of that again.
        resize: the phases (``size``, ``epochs``) of the fine-tuning.
    """
    if base == "none":
        return ()
    phases = read_schedule(written) if written else _default(resize)
    if base == "fixed":
        return read_schedule(f"{phases[-1].size}x{sum(phase.epochs for phase in phases)}")
    return phases


def _default(resize: Sequence[SizePhase]) -> tuple[SizePhase, ...]:
    epochs = sum(phase.epochs for phase in resize)
    last = _half(resize[0].size)
    first = max(1, epochs // 2)
    return read_schedule(f"{_half(last)}x{first} {last}x{max(1, epochs - first)}")


def _half(size: int) -> int:
    """Half of a size, rounded to what patches of 16 px divide."""
    return max(SMALLEST, size // 2 // SMALLEST * SMALLEST)


class BaseModelSettings(Settings):
    base: Literal["none", "fixed", "progressive"] = setting(
        "none",
        "whether to train a base model first, on half of the classes or on `base_source`: none, at one size (fixed) or "
        "at rising sizes (progressive); `resize` is then the schedule of the fine-tuning",
        scope="train",
        levels=("none", "fixed", "progressive"),
    )
    base_resize: str = setting(
        "",
        "resize schedule of the base training with `progressive`; `fixed` trains as many epochs at its last size. By "
        "default it ends at half of the first size of `resize`",
        scope="train",
    )
    base_source: str = setting(
        "",
        "data source of the base training, as in `data.source`; the model is then fine-tuned on all classes of the "
        "grid's own source. By default the base is trained on the first half of those classes",
        scope="train",
    )

    @field_validator("base_resize")
    @classmethod
    def _canonical(cls, text: str) -> str:
        return " ".join(f"{phase.size}x{phase.epochs}" for phase in read_schedule(text)) if text.strip() else ""


class BaseModel(Technique[BaseModelSettings], TrainsBaseModel):
    """The phases and the classes of the base are the core's to train; this says which they are."""

    name = "base-model"
    field = "base"
    off = "none"
    applies_to = "phases"
    example: ClassVar = {"base_resize": "16x2 32x4"}
    settings_type = BaseModelSettings
    card = Card(
        name="Schedule of the base model",
        claim="Whether a base model must itself be trained progressively when its fine-tuning raises the resolution.",
        response="stability",
        why="A base trained at a single size has filters and batch-norm statistics for objects of that size; one "
        "trained at rising sizes has met the change of scale before, and may lose less when it meets it again.",
        paper="Touvron, Vedaldi, Douze and Jégou 2019, Fixing the train-test resolution discrepancy "
        "(https://arxiv.org/abs/1906.06423), for the change of scale; no paper answers the question itself",
        defaults="Half of the classes make the base, the other half the new task. Both bases train for as many "
        "epochs and end at the same size, half of the size at which fine-tuning begins.",
        cost="The base training, shared by all trials that fine-tune the same base; a progressive one is cheaper "
        "than a fixed one.",
        fails="Accuracies are measured on half of the classes, so do not compare them with `none`; compare fixed with "
        "progressive. With few classes the halves differ much in difficulty.",
    )

    def problem(self) -> str | None:
        """A progressive base needs a rise inside it."""
        phases = self.base_phases()
        sizes = [phase.size for phase in phases]
        if self.settings.base == "progressive" and max(sizes) == sizes[0]:
            shown = " ".join(f"{phase.size}x{phase.epochs}" for phase in phases)
            return f"the base schedule {shown} never rises; write base_resize with rising sizes, or use fixed"
        return None

    def base_data(self) -> str:
        """The base's own source, if it has one."""
        return self.settings.base_source

    def base_phases(self) -> tuple[SizePhase, ...]:
        """Phases (``size``, ``epochs``) of the base training."""
        return base_schedule(self.settings.base, self.settings.base_resize, self.recipe.phases)
