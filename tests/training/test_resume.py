"""A phase that is stopped or killed goes on as if nothing had happened: weights, moments, schedule, curve and draws."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab import Lab, Ran, ignore
from safetensors.torch import load_file
from torch import Tensor

from sota_bench.stages.protocol import Diverged, Progress, RunContext, Stopped
from sota_bench.stages.stage import Stage
from sota_bench.technique import Batch, Settings, Technique
from sota_bench.training import optimizer as optimizers
from sota_bench.training import train
from sota_bench.training.execute import execute

RECIPE = 'backbone = "{}"\nresize = "16x3 32x3"\nbatch_size = 20\ndropout = 0.2\ndrop_path = 0.1\ngradient_clip = 1.0'
STEPS = 9
"""48 images in batches of 20, 20 and 8, three times."""


def same(one: Path, other: Path) -> bool:
    files = ("model.safetensors", "optimizer.safetensors", "techniques.safetensors")
    pairs = [(load_file(one / file), load_file(other / file)) for file in files]
    return all(a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in pairs)


def phases(lab: Lab, more: str = "", backbone: str = "test_resnet") -> tuple[Ran, list[Stage]]:
    ran = lab.run(RECIPE.format(backbone) + more)
    return ran, [ran.plan.stages[key] for key in ran.trial.training]


@pytest.mark.parametrize("stops", [(1,), (4, 1, 3), (3,), (STEPS,), (2,) * 4])
@pytest.mark.parametrize("phase", [0, 1])
def test_stopped_anywhere(lab: Lab, phase: int, stops: tuple[int, ...]) -> None:
    """In the middle of an epoch, between two, again and again, and after the last step."""
    ran, stages = phases(lab)
    folder, outcome = lab.run_apart(stages[phase], stops)
    assert same(folder, lab.folders[stages[phase].key])
    whole = ran.trained(phase).values
    for part in ("steps", "steps_at_size", "pixels", "input", "techniques", "trained_parameters"):
        assert outcome.values[part] == whole[part], part
    for again, before in zip(outcome.values["curve"], whole["curve"], strict=True):
        for column in ("epoch", "size", "loss", "lr"):
            assert again[column] == before[column], column
    assert not list(folder.glob("partial.*"))


@pytest.mark.parametrize("span", ["phase", "run"])
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_the_schedule_goes_on_where_it_stood(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, schedule: str, span: str
) -> None:
    _, stages = phases(lab, f'\nschedule = "{schedule}"\nschedule_span = "{span}"')
    rates: list[float] = []
    original = optimizers.set_learning_rate

    def noted(optimizer: torch.optim.Optimizer, rate: float) -> None:
        rates.append(rate)
        original(optimizer, rate)

    monkeypatch.setattr(train.optimizers, "set_learning_rate", noted)
    lab.run_apart(stages[1])
    whole, rates[:] = list(rates), []
    lab.run_apart(stages[1], stops=(4, 2))
    assert len(whole) == STEPS
    assert rates == whole
    assert len(set(whole)) == STEPS


def test_a_kill_between_two_writes_costs_time_and_no_number(lab: Lab) -> None:
    """Whatever of the partial checkpoint is missing or damaged, the phase ends with the same bits."""
    _, stages = phases(lab)
    stage = stages[0]
    damages = ("no tensors", "half tensors", "a bit of the tensors", "half position", "empty position",
               "a digit of the position", "stray file")  # fmt: skip
    for damage in damages:
        folder = lab.folder / "damaged" / damage
        folder.mkdir(parents=True)
        inputs = {role: lab.folders[key] for role, key in stage.parents.items()}
        with pytest.raises(Stopped):
            execute(stage, RunContext(inputs, folder, "cpu", _stop_after(5)))
        position, (tensors,) = folder / "partial.json", folder.glob("partial.*.safetensors")
        assert json.loads(position.read_text())["tensors"] == tensors.name
        if damage == "no tensors":
            tensors.unlink()
        elif damage == "half tensors":
            tensors.write_bytes(tensors.read_bytes()[:1000])
        elif damage == "a bit of the tensors":
            content = bytearray(tensors.read_bytes())
            content[-100] ^= 4
            tensors.write_bytes(content)
        elif damage == "a digit of the position":
            position.write_text(position.read_text().replace('"step": 2', '"step": 1'))
        elif damage == "half position":
            position.write_bytes(position.read_bytes()[:40])
        elif damage == "empty position":
            position.write_text("")
        else:
            (folder / "partial.9-9.safetensors").write_bytes(b"left by a kill")
        execute(stage, RunContext(inputs, folder, "cpu", ignore))
        assert same(folder, lab.folders[stage.key]), damage


def _stop_after(steps: int) -> Callable[[Progress], None]:
    left = steps

    def progress(told: Progress) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Stopped

    return progress


class Momentum(Technique[Settings]):
    """A technique whose state evolves: it moves each batch by a running mean of the batches before."""

    name = "momentum"

    def __init__(self, recipe: Any) -> None:
        super().__init__(recipe)
        self.mean, self.steps = torch.zeros(3), torch.zeros((), dtype=torch.int64)

    def on_batch(
        self, images: Tensor, targets: Tensor, batch: Batch, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        moved = (images + rng.normal() * self.mean.view(1, 3, 1, 1)).clamp(0, 255)
        self.mean = 0.9 * self.mean + 0.1 * images.mean(dim=(0, 2, 3))
        self.steps = self.steps + 1
        return moved, targets

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "steps": self.steps}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.steps = state["mean"].clone(), state["steps"].clone()


@pytest.mark.parametrize("stops", [(1,), (4, 1, 3), (STEPS,)])
@pytest.mark.parametrize("phase", [0, 1])
def test_a_state_that_evolves_goes_on_where_it_stood(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, phase: int, stops: tuple[int, ...]
) -> None:
    """Within a phase, in the middle of an epoch, and from one phase to the next."""
    _, stages = phases(lab)  # before the technique is added: what it is compared with must not have it
    original = train.instances

    def with_momentum(names: Any, recipe: Any, files: Any) -> list[Technique]:
        return [*original(names, recipe, files), Momentum(recipe)]

    monkeypatch.setattr(train, "instances", with_momentum)
    first, _ = lab.run_apart(stages[0])
    monkeypatch.setitem(lab.folders, stages[0].key, first)
    whole, _ = lab.run_apart(stages[phase])
    folder, _ = lab.run_apart(stages[phase], stops)
    assert same(folder, whole)
    state = load_file(folder / "techniques.safetensors")
    assert int(state["momentum/steps"]) == STEPS * (phase + 1)
    plain = load_file(lab.folder / "artifacts" / stages[phase].key / "model.safetensors")
    assert any(not torch.equal(plain[key], value) for key, value in load_file(folder / "model.safetensors").items())


def test_checkpoints_by_the_clock_change_nothing(lab: Lab) -> None:
    _, stages = phases(lab, backbone="test_vit")
    often = replace(stages[0], context=replace(stages[0].context, checkpoint_s=0.0))
    folder, _ = lab.run_apart(often)
    assert same(folder, lab.folders[stages[0].key])


@pytest.mark.parametrize("kept", ["keep", "reset"])
def test_moments_at_a_switch(lab: Lab, kept: str) -> None:
    """``keep`` goes on with the moments of the phase before; ``reset`` counts steps from the start."""
    ran, _ = phases(lab, f'\noptimizer_at_switch = "{kept}"')
    steps = {name: int(value) for name, value in load_file(ran.checkpoint(1) / "optimizer.safetensors").items()
             if name.endswith("/step")}  # fmt: skip
    assert set(steps.values()) == {2 * STEPS if kept == "keep" else STEPS}


def test_divergence_is_said_and_never_a_number(lab: Lab) -> None:
    lines = 'backbone = "test_vit"\noptimizer = "sgd"\nresize = "32x3"\nschedule = "constant"'
    with pytest.raises(Diverged, match=r"the loss is .*; try a smaller lr"):
        lab.run(lines, "lr = [100.0]")


def test_a_last_step_that_spoils_the_weights_is_no_result(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    _, stages = phases(lab)
    original, count = optimizers.set_learning_rate, 0

    def spoil(optimizer: torch.optim.Optimizer, rate: float) -> None:
        nonlocal count
        count += 1
        original(optimizer, rate if count < STEPS else float("inf"))

    monkeypatch.setattr(train.optimizers, "set_learning_rate", spoil)
    with pytest.raises(Diverged, match=r"is not finite after the last step"):
        lab.run_apart(stages[0])
