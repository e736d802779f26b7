"""Trainings on caches that decode each time: to the same bits as on pixels, alone or stopped within an epoch."""

from __future__ import annotations

import numpy as np
import torch
from lab import Lab, Ran
from safetensors.torch import load_file

from sota_bench.data.packed import JpegCache, SourceCache
from sota_bench.stages.stage import Stage
from sota_bench.training import images as module
from sota_bench.training.checkpoint import MODEL
from sota_bench.training.decoded import decoded_subset
from sota_bench.training.images import Images


def training(ran: Ran) -> Stage:
    return ran.plan.stages[ran.trial.training[0]]


def test_without_a_cache_the_same_weights_under_the_same_key(lab: Lab) -> None:
    pixels, none = lab.run(), lab.run(data='cache = "none"')
    assert none.plan.prepare.key != pixels.plan.prepare.key
    assert training(none).key == training(pixels).key
    folder, _ = lab.run_apart(training(none), stops=(2,))
    own, again = (load_file(place / MODEL) for place in (pixels.checkpoint(), folder))
    assert own.keys() == again.keys()
    assert all(torch.equal(own[name], again[name]) for name in own)


def test_jpegs_train_to_other_weights_that_a_stop_does_not_change(lab: Lab) -> None:
    pixels, jpegs = lab.run(), lab.run(data='cache = "jpeg"')
    assert training(jpegs).key != training(pixels).key
    folder, _ = lab.run_apart(training(jpegs), stops=(1, 2))
    own, again, other = (load_file(place / MODEL) for place in (jpegs.checkpoint(), folder, pixels.checkpoint()))
    assert all(torch.equal(own[name], again[name]) for name in own)
    assert any(not torch.equal(own[name], other[name]) for name in own)


def test_batches_decoded_ahead_are_the_same(lab: Lab) -> None:
    for kind, cache_type in (("jpeg", JpegCache), ("none", SourceCache)):
        ran = lab.run(data=f'cache = "{kind}"')
        stage, folder = training(ran), ran.folders[ran.plan.prepare.key]
        cache = decoded_subset(folder, stage.context, stage.params.data).cache  # type: ignore[arg-type,attr-defined]
        assert isinstance(cache, cache_type)
        rows = np.arange(len(cache))
        images = Images(cache, rows, np.zeros(len(rows)), torch.device("cpu"))
        positions = [np.array([5, 0, 3, 3]), np.arange(module.PART * 2 + 1), np.array([1])]
        boxes = [np.tile([0, 0, 20, 20], (len(some), 1)) for some in positions]
        plain = [
            images.batch(some, box, np.zeros(len(some), bool), 16) for some, box in zip(positions, boxes, strict=True)
        ]
        for some in positions[::-1]:  # in any order, and one that is asked for twice
            images.expect(some)
        for some, box, expected in zip(positions, boxes, plain, strict=True):
            for _ in range(2):
                assert torch.equal(images.batch(some, box, np.zeros(len(some), bool), 16), expected)
