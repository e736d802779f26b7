"""Label smoothing: equal to torch's cross-entropy and timm's, and never part of what an evaluation reports."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lab import Lab
from safetensors.numpy import load_file
from timm.loss import LabelSmoothingCrossEntropy

from ablations.label_smoothing import smooth
from sota_bench.training.train import cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_loss_equals_torchs_and_timms(smoothing: float) -> None:
    logits = torch.randn(16, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(16) % 7
    ours = cross_entropy(logits, smooth(F.one_hot(labels, 7).float(), smoothing))
    torch.testing.assert_close(ours, F.cross_entropy(logits, labels, label_smoothing=smoothing))
    torch.testing.assert_close(ours, LabelSmoothingCrossEntropy(smoothing)(logits, labels))


def test_rows_still_sum_to_one_and_hold_the_share_of_every_class() -> None:
    targets = smooth(torch.eye(4), 0.2)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    assert targets[0].tolist() == pytest.approx([0.85, 0.05, 0.05, 0.05])


def test_an_evaluation_scores_plain_labels(lab: Lab) -> None:
    ran = lab.run("label_smoothing = 0.3\nresize = '32x2'")
    stored = load_file(str(ran.folders[ran.trial.final.key] / "predictions.safetensors"))
    each = np.arange(len(stored["labels"]))
    plain = -stored["log_probabilities"][each, stored["labels"]].mean()
    assert ran.evaluated()["nll"] == pytest.approx(float(plain), rel=1e-6)
