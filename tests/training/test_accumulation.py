"""Where memory runs out a step is computed in parts: the same draws, the same gradient, counted once, and marked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lab import Lab
from safetensors.torch import load_file
from torch import Tensor, nn

from sota_bench.stages.stage import Stage
from sota_bench.training import backbone, log, train
from sota_bench.training.accumulation import Accumulation

STEPS = 6
"""48 images in batches of 16, twice."""

PLAIN = "\nmixup = 0.4\nlabel_smoothing = 0.1"


class HostMemory(RuntimeError):
    """What torch raises on a CPU, word for word."""

    def __init__(self) -> None:
        super().__init__("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory")


def fits_only(
    monkeypatch: pytest.MonkeyPatch, most: int, error: Callable[[], Exception], late: bool = False, calls: int = 0
) -> list[int]:
    """Lets the network run out of memory above ``most`` images, before or (``late``) after all of its layers and once
    ``calls`` batches have fitted; returns the list that will hold the size of each part that it got."""
    original, seen = backbone.create, list[int]()

    def hungry(*arguments: Any) -> Any:
        model, built = original(*arguments)

        def look(module: nn.Module, inputs: tuple[Tensor, ...], *output: Tensor) -> None:
            if module.training:
                seen.append(len(inputs[0]))
                if len(inputs[0]) > most and len(seen) > calls:
                    raise error()

        if late:
            model.register_forward_hook(look)
        else:
            model.register_forward_pre_hook(look)
        return model, built

    monkeypatch.setattr(backbone, "create", hungry)
    return seen


def phase(lab: Lab, network: str, more: str = "") -> Stage:
    ran = lab.run(f'backbone = "{network}"\nresize = "32x2"\nbatch_size = 20' + more)
    return ran.plan.stages[ran.trial.training[0]]


ERRORS = [HostMemory, MemoryError, lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")]


@pytest.mark.parametrize("error", ERRORS)
def test_parts_halve_until_they_fit_and_give_the_same_training(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]
) -> None:
    """A network without batch norm and dropout: the weights agree but for the order of sums."""
    stage = phase(lab, "test_vit", PLAIN)
    seen = fits_only(monkeypatch, 6, error)
    folder, outcome = lab.run_apart(stage)
    assert seen == [16, 8] + [4] * 4 * STEPS
    assert outcome.values["accumulated"] == {"micro_batch": 4, "steps": STEPS}
    whole, parts = (load_file(path / "model.safetensors") for path in (lab.folders[stage.key], folder))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=2e-3, atol=2e-4)
    before = lab.outcomes[stage.key].values
    assert before["accumulated"] is None
    for part in ("steps", "batch_size", "steps_at_size", "pixels", "input", "techniques"):
        assert outcome.values[part] == before[part], part  # counted once, and drawn alike
    for again, once in zip(outcome.values["curve"], before["curve"], strict=True):
        assert again["loss"] == pytest.approx(once["loss"], rel=1e-4)
        assert again["lr"] == once["lr"]


def test_the_gradient_is_that_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    model, images = nn.Linear(12, 3), torch.randn(7, 12)
    targets = F.softmax(torch.randn(7, 3), dim=1)
    train.cross_entropy(model(images), targets).backward()
    expected = model.weight.grad
    assert expected is not None
    for micro_batch in (1, 2, 3, 5, 7, 0):
        model.zero_grad()
        memory = Accumulation(model, micro_batch, True)
        for attempt in memory.attempts(images):
            with attempt:
                for part, share in memory.parts():
                    (share * train.cross_entropy(model(images[part]), targets[part])).backward()
        torch.testing.assert_close(model.weight.grad, expected, rtol=1e-6, atol=1e-7)
        sizes = [part.stop - part.start for part, _ in memory.parts()]
        assert sum(sizes) == 7 and max(sizes) <= (micro_batch or 7)


@pytest.mark.parametrize("calls", [0, 1, 4])
def test_attempts_that_fail_leave_no_trace(lab: Lab, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Batch norm's statistics move once a part that counted: failing behind all layers is failing before the first,
    also where batches of the same shape have fitted before."""
    stage, states = phase(lab, "test_resnet"), []
    for late in (False, True):
        with monkeypatch.context() as patch:
            fits_only(patch, 10, HostMemory, late, calls)
            folder, outcome = lab.run_apart(stage)
        states.append(load_file(folder / "model.safetensors"))
    early, later = states
    counted = STEPS + outcome.values["accumulated"]["steps"]  # each in two parts
    assert {int(v) for name, v in early.items() if name.endswith("num_batches_tracked")} == {counted}
    assert all(torch.equal(later[name], value) for name, value in early.items())


def test_it_goes_on_in_parts_after_a_stop(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = phase(lab, "test_resnet")
    seen = fits_only(monkeypatch, 10, MemoryError)
    whole, once = lab.run_apart(stage)
    seen.clear()
    folder, outcome = lab.run_apart(stage, stops=(2, 2))
    assert seen.count(16) == 1  # what fits is part of what is saved
    expected, resumed = (load_file(path / "model.safetensors") for path in (whole, folder))
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert outcome.values["accumulated"] == once.values["accumulated"] == {"micro_batch": 8, "steps": STEPS}


def test_what_never_fits_fails_as_it_did(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = phase(lab, "test_resnet")
    seen = fits_only(monkeypatch, 1, MemoryError)  # batch norm needs two images
    with pytest.raises(MemoryError):
        lab.run_apart(stage)
    assert seen == [16, 8, 4, 2]


def test_it_can_be_turned_off_and_other_errors_are_no_matter_of_memory(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = phase(lab, "test_resnet")
    with monkeypatch.context() as patch:
        seen = fits_only(patch, 10, MemoryError)
        with pytest.raises(MemoryError):
            lab.run_apart(replace(stage, context=replace(stage.context, accumulate=False)))
        assert seen == [16]
    seen = fits_only(monkeypatch, 10, lambda: RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        lab.run_apart(stage)
    assert seen == [16]


def test_steps_that_were_tried_again_are_not_among_the_times_of_steps(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = phase(lab, "test_resnet")
    fits_only(monkeypatch, 10, MemoryError)
    positions: list[int] = []
    original = log.step_times

    def noted(step_ms: Any) -> Any:
        positions.append(len(step_ms))
        return original(step_ms)

    monkeypatch.setattr(log, "step_times", noted)
    lab.run_apart(stage)
    assert positions == [STEPS - 1]


@pytest.mark.gpu
def test_a_gpu_that_runs_out_of_memory_trains_in_parts(gpu_lab: Lab) -> None:
    device = torch.device(gpu_lab.device)
    ran = gpu_lab.run('backbone = "test_vit"\nresize = "160x2"\nbatch_size = 48\nupsample = true')
    stage = ran.plan.stages[ran.trial.training[0]]
    whole = gpu_lab.outcomes[stage.key]
    assert whole.values["accumulated"] is None
    torch.cuda.empty_cache()
    kept = torch.cuda.memory_reserved(device) / 2**20
    total = torch.cuda.get_device_properties(device).total_memory / 2**20
    torch.cuda.set_per_process_memory_fraction((kept + 0.6 * whole.peak_memory_mb) / total, device)
    try:
        _, outcome = gpu_lab.run_apart(stage)
        with pytest.raises(torch.OutOfMemoryError):
            gpu_lab.run_apart(replace(stage, context=replace(stage.context, accumulate=False)))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert outcome.values["accumulated"]["micro_batch"] in (6, 12, 24)
    assert outcome.values["accumulated"]["steps"] == outcome.values["steps"] == 2
    for again, once in zip(outcome.values["curve"], whole.values["curve"], strict=True):
        assert again["loss"] == pytest.approx(once["loss"], rel=0.02)
