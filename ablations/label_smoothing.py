"""Label smoothing: take a little probability from the true class and spread it over all classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from sota_bench.technique import Batch


def smooth(targets: Tensor, smoothing: float) -> Tensor:
    """``(1 - e) t + e / K`` (Szegedy et al. 2016, equation 3 with a uniform prior over all K classes).

    Linear in ``t``, so smoothing before mixing and after mixing are the same.

    Args:
        targets: float [B, K], rows sum to 1; so do the result's.
        smoothing: e, 0 to 1.
    """
    return targets * (1 - smoothing) + smoothing / targets.shape[1]


class LabelSmoothingSettings(Settings):
    label_smoothing: float = setting(
        0.0, "probability that is moved from the target class to all classes evenly; 0 is off",
        scope="train", ge=0, lt=1, levels=(0.0, 0.1),
    )  # fmt: skip


class LabelSmoothing(Technique[LabelSmoothingSettings]):
    """Acts on training targets alone: evaluation scores plain labels, so its NLL is comparable between levels."""

    name = "label-smoothing"
    field = "label_smoothing"
    off = 0.0
    order = 10
    settings_type = LabelSmoothingSettings
    card = Card(
        name="Label smoothing",
        claim="Less overconfident networks and often a little more accuracy on long trainings.",
        response="ece",
        why="Cross-entropy with a hard label is minimal only at infinite logits. A smoothed target is reached at "
        "finite ones, so logits stay small, and a wrong label pulls less.",
        paper="Szegedy, Vanhoucke, Ioffe, Shlens and Wojna 2016, Rethinking the Inception Architecture for "
        "Computer Vision, section 7 (https://arxiv.org/abs/1512.00567); Müller, Kornblith and Hinton 2019, When "
        "Does Label Smoothing Help? (https://arxiv.org/abs/1906.02629)",
        defaults="0.1, from the paper; spread over all classes, the true one included, as torch and timm do.",
        cost="None.",
        fails="In short trainings, which end underconfident anyway, it makes calibration worse. It removes what a "
        "student network could learn from a teacher's errors (Müller et al.).",
    )

    def on_targets(self, targets: Tensor, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Smoothed targets float32 [B, K]."""
        return smooth(targets, self.settings.label_smoothing)
