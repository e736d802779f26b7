"""What a phase records: samples and throughput are read only where the device is waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lab import Lab, write_images
from safetensors.torch import load_file

from sota_bench.grid.recipe import recipe_type
from sota_bench.stages.params import PhaseParams
from sota_bench.technique import Step
from sota_bench.training import log as module
from sota_bench.training.accumulation import Accumulation
from sota_bench.training.log import CHECK_STEPS, PhaseLog
from sota_bench.training.samples import FILE, Samples

PHASE = PhaseParams(0, 8, 1, 0, (), False)


def test_samples_are_chosen_when_they_are_settled_and_not_before(tmp_path: Path, monkeypatch: Any) -> None:
    samples, hard = Samples(tmp_path), torch.eye(4)
    with monkeypatch.context() as patch:
        for wait in ("item", "tolist", "cpu", "__float__"):
            patch.setattr(torch.Tensor, wait, lambda *_: pytest.fail("this would make a GPU wait"))
        for number, share in enumerate((1.0, 0.6, 0.9)):
            targets = share * hard + (1 - share) / 3 * (1 - hard)
            samples.offer(torch.full((4, 3, 8, 8), float(number)), targets)
    assert not (tmp_path / FILE).exists()
    assert samples.settle(-1.0) == pytest.approx(0.4)
    assert load_file(tmp_path / FILE)["images"].unique().tolist() == [1]
    samples.offer(torch.full((4, 3, 8, 8), 9.0), hard)
    assert samples.settle(0.4) == 0.4
    assert load_file(tmp_path / FILE)["images"].unique().tolist() == [1]


def test_a_gpu_shows_the_rate_that_was_measured_where_it_was_waited_for(tmp_path: Path, monkeypatch: Any) -> None:
    """Between two looks at the loss the host only enqueues: 100 steps of 10 ms of work, enqueued in 1 ms each."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    cpu, recipe = torch.device("cpu"), recipe_type()(resize="8x1", batch_size=4)
    log = PhaseLog(recipe, PHASE, cpu, Samples(tmp_path))
    log._device = torch.device("cuda")
    monkeypatch.setattr(module.devices, "synchronize", lambda device: now.__setitem__(0, now[0] + 0.009 * CHECK_STEPS))
    memory = Accumulation(torch.nn.Linear(1, 1), 0, True)
    log.begin(4 * 3 * CHECK_STEPS)
    rates = []
    for index in range(2 * CHECK_STEPS):
        now[0] += 0.001
        for _ in memory.attempts(torch.zeros(4, 3, 8, 8)):
            with memory:
                pass
        log.end_step(Step(0, index, index, 0.0), torch.zeros(()), torch.zeros(4, 3, 8, 8), 0.1, memory, False)
        rates.append(log.progress().images_per_s)
        log.begin_step()
    assert rates[: CHECK_STEPS - 1] == [0.0] * (CHECK_STEPS - 1)
    assert rates[CHECK_STEPS - 1 :] == pytest.approx([400.0] * (CHECK_STEPS + 1))


def test_an_image_that_moved_to_another_class_uses_the_decoded_pixels_again(tmp_path: Path) -> None:
    """The decoded images are filed by content alone; splits and classes come from the manifest of the plan."""
    lab = Lab(tmp_path, write_images(tmp_path / "images"))
    before = lab.run('resize = "16x1"')
    (tmp_path / "images" / "train" / "bars" / "000.png").rename(tmp_path / "images" / "train" / "dots" / "moved.png")
    (tmp_path / "images" / "val" / "bars" / "000.png").rename(tmp_path / "images" / "train" / "checks" / "moved.png")
    after = lab.run('resize = "16x1"')
    assert after.stage("prepare").key == before.stage("prepare").key
    assert after.trial.training != before.trial.training
    assert sorted(after.plan.images.subset(after.stage("train").choice).sizes().values())[-1] == 49
    assert after.trained().values["steps"] == 4  # 49 images in batches of 16
