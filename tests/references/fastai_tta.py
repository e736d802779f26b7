"""Writes ``fastai_tta.json``: what fastai's ``Learner.tta`` makes of its own predictions.

Run it in an environment of its own, with fastai 2.8 installed beside torch::

    pip install "fastai==2.8.*"
    python tests/references/fastai_tta.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fastai
import numpy as np
import torch
from fastai.callback.progress import ProgressCallback
from fastai.data.core import Datasets
from fastai.data.transforms import Categorize, ToTensor
from fastai.learner import Learner
from fastai.vision.augment import aug_transforms
from fastai.vision.core import PILImage
from torch import nn

IMAGES, CLASSES, VIEWS = 6, 3, 4


def main() -> None:
    """Predicts six random images with a random network, by ``tta`` with the default beta."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (24, 24, 3), dtype=np.uint8) for _ in range(IMAGES)]
    labels = [i % CLASSES for i in range(IMAGES)]
    pipelines = [[lambda i: PILImage.create(pictures[i])], [lambda i: labels[i], Categorize(list(range(CLASSES)))]]
    data = Datasets(range(IMAGES), pipelines, splits=[[0, 1, 2], list(range(IMAGES))])
    batch = [lambda x: x.float() / 255 if x.ndim == 4 else x, *aug_transforms(min_scale=0.5, size=24)]
    loaders = data.dataloaders(bs=4, after_item=[ToTensor], after_batch=batch, num_workers=0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(24 * 24 * 3, CLASSES))
    learner = Learner(loaders, model, loss_func=nn.CrossEntropyLoss())
    learner.remove_cbs(ProgressCallback)
    learner.loss_func.activation = lambda logits: logits.softmax(-1)

    seen: list[Any] = []
    get_preds = learner.get_preds

    def recorded(*args: Any, **kwargs: Any) -> Any:
        answer = get_preds(*args, **kwargs)
        seen.append(answer[0].double().tolist())
        return answer

    learner.get_preds = recorded
    averaged, _ = learner.tta(n=VIEWS)
    out = {
        "made_with": {"fastai": fastai.__version__, "torch": torch.__version__.split("+")[0]},
        "beta": 0.25,
        "augmented": seen[:VIEWS],
        "plain": seen[VIEWS],
        "tta": averaged.double().tolist(),
    }
    (Path(__file__).parent / "fastai_tta.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
