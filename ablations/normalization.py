"""Input normalization: which mean and standard deviation are taken off the pixels before the first layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sota_bench.technique import Card, NormalizesInput, Precompute, Precomputes, Settings, Technique, setting

if TYPE_CHECKING:
    from torch import Tensor

    from sota_bench.technique import CoreRecipe, Phase, PrecomputeInputs


CONSTANT = 0.01
"""Standard deviation in grey levels below which a channel counts as the same in every pixel of every image, such as an
empty blue channel: what is left is rounding."""

CHANNELS = {1: ("luminance",), 3: ("red", "green", "blue")}


def divisors(deviations: Sequence[float]) -> list[float]:
    """Returns what each channel is divided by: its standard deviation, or 1 where it is constant."""
    return [1.0 if deviation < CONSTANT else deviation for deviation in deviations]


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """``(images - mean) / std`` per channel.

    Args:
        images: float [B, C, H, W].
        mean, std: float [C], in the units of ``images``.
    """
    return (images - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


def _for_channels(statistics: Sequence[float], channels: int) -> list[float]:
    """Statistics in units of 0..1 to those of so many channels in units of 0..255.

    timm adds up the first layer's weights over red, green and blue where a network is to see luminance, so the mean of
    the three stands for all of them.
    """
    if len(statistics) == channels:
        return [255 * value for value in statistics]
    return [255 * sum(statistics) / len(statistics)] * channels


class NormalizationSettings(Settings):
    normalize: Literal["none", "unit", "symmetric", "dataset", "pretrained"] = setting(
        "dataset",
        "none (0..255), unit (0..1), symmetric (-1..1), dataset (mean 0, standard deviation 1 over the whole training "
        "split) or pretrained (the statistics of the backbone's pretrained weights; the default with `weights`)",
        scope="train",
        levels=("none", "unit", "symmetric", "dataset", "pretrained"),
    )


class Normalization(Technique[NormalizationSettings], Precomputes, NormalizesInput):
    """Runs at every level, as the last step before the network, in training and in evaluation, exactly once."""

    name = "normalization"
    field = "normalize"
    off = "none"
    with_weights = "pretrained"
    always = True
    order = 90
    settings_type = NormalizationSettings
    precompute = Precompute("statistics", "data", ("normalize", "in_chans"))
    card = Card(
        name="Input normalization",
        claim="Inputs with mean 0 and standard deviation 1 train faster and more reliably than raw pixels.",
        response="accuracy",
        why="A first layer without normalization passes the scale and offset of its input on to every "
        "gradient: with pixels of 0..255 the useful learning rate is many times smaller. Batch norm after the "
        "first layer cancels scale and offset, so little is left to gain there. Pretrained weights expect the "
        "statistics they were trained with.",
        paper="LeCun, Bottou, Orr and Müller 1998, Efficient BackProp, section 4.3 "
        "(https://doi.org/10.1007/978-3-642-35289-8_3)",
        defaults="dataset: mean and deviation per channel over the whole training split; pretrained for pretrained "
        "weights.",
        cost="One multiply and add per pixel; the statistics are one pass over the decoded training images, cached.",
        fails="No measurable effect with batch norm after the first layer; a mismatch with pretrained weights hurts. A "
        "channel that is the same everywhere (an empty blue channel) has a deviation of 0: its input becomes 0, "
        "and the notes in stages.csv name it.",
    )

    def __init__(self, recipe: CoreRecipe) -> None:
        super().__init__(recipe)
        # The levels that look at the data or at the weights learn theirs later; until then there are none.
        offset, scale = {"none": (0.0, 1.0), "unit": (0.0, 255.0), "symmetric": (127.5, 127.5)}.get(
            self.settings.normalize, (None, None)
        )
        self.mean = [] if offset is None else [offset] * recipe.in_chans
        self.std = [] if scale is None else [scale] * recipe.in_chans
        self._tensors: tuple[Tensor, Tensor] | None = None

    def needs_precompute(self) -> bool:
        """Only the level ``dataset`` looks at the data."""
        return self.settings.normalize == "dataset"

    def compute(self, inputs: PrecomputeInputs) -> dict[str, Tensor]:
        """Returns mean and standard deviation per channel of the decoded training images, in units of 0..255; a
        constant channel has a deviation of 1."""
        import torch

        mean, deviations = inputs.statistics()
        std = divisors(deviations.tolist())
        return {"mean": torch.as_tensor(mean, dtype=torch.float64), "std": torch.as_tensor(std, dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes the statistics from a checkpoint; they are never computed again, whatever the weights train on next."""
        self.mean, self.std = state["mean"].double().tolist(), state["std"].double().tolist()
        self._tensors = None

    def on_phase_start(self, phase: Phase) -> None:
        """Looks up the statistics of the data (``dataset``) or the backbone's own (``pretrained``), unless the weights
        came with theirs."""
        if self.mean:
            return
        if self.needs_precompute():
            self.load_state(phase.computed[self.name])
        else:
            config: Any = phase.model.pretrained_cfg  # in units of 0..1
            channels = self.recipe.in_chans
            self.mean, self.std = (_for_channels(config[key], channels) for key in ("mean", "std"))

    def on_input(self, images: Tensor) -> Tensor:
        """Normalized images float32 [B, C, H, W]."""
        import torch

        if self._tensors is None or self._tensors[0].device != images.device:
            self._tensors = (
                torch.tensor(self.mean, dtype=torch.float32, device=images.device),
                torch.tensor(self.std, dtype=torch.float32, device=images.device),
            )
        return normalize(images, *self._tensors)

    def input_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The statistics used, for an export."""
        return tuple(self.mean), tuple(self.std)

    def state(self) -> dict[str, Tensor]:
        """The statistics used travel with the checkpoint."""
        import torch

        return {name: torch.tensor(values, dtype=torch.float64) for name, values in self._named()}

    def describe(self) -> dict[str, Any]:
        """Returns the statistics used, in units of 0..255, and which channels carry no information."""
        described: dict[str, Any] = {name: [round(value, 4) for value in values] for name, values in self._named()}
        if self.settings.normalize == "dataset" and 1.0 in self.std:
            names = zip(CHANNELS[self.recipe.in_chans], self.std, strict=True)
            described["constant_channels"] = [name for name, std in names if std == 1.0]
        return described

    def _named(self) -> tuple[tuple[str, list[float]], ...]:
        return ("mean", self.mean), ("std", self.std)
