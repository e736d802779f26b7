"""The moving average of the weights is timm's, and all averages that a grid asks for come from one training."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from lab import Lab
from safetensors.torch import load_file
from timm.utils import ModelEmaV3
from torch import nn

from ablations.ema import decay_at, move_average
from sota_bench.plan.graph import build
from sota_bench.plan.plan import Plan
from sota_bench.stages.params import EvaluateParams, TrainParams
from sota_bench.technique import Step
from sota_bench.training import checkpoint, tracking
from sota_bench.training.checkpoint import nested
from sota_bench.training.loaded import load_network


@pytest.mark.parametrize("warmup", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99, 0.9998])
def test_the_decay_is_timms(decay: float, warmup: bool) -> None:
    reference = ModelEmaV3(nn.Linear(2, 2), decay=decay, use_warmup=warmup)
    for update in range(1, 300):
        assert decay_at(update, decay, warmup) == pytest.approx(reference.get_decay(update), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("warmup", [False, True])
def test_the_average_is_timms_over_a_training(warmup: bool) -> None:
    """Parameters, running statistics and counts of batch norm, to the bit."""
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=4).train()
    reference = ModelEmaV3(model, decay=0.9, use_warmup=warmup)
    average = {name: value.clone() for name, value in copy.deepcopy(model).state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for update in range(1, 8):
        model(torch.randn(4, 3, 32, 32)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        reference.update(model, step=update)
        move_average(average, model.state_dict(), decay_at(update, 0.9, warmup))
        for name, value in reference.module.state_dict().items():
            assert torch.equal(average[name], value), name
    moved = [name for name, value in model.state_dict().items() if not torch.equal(average[name], value)]
    assert len(moved) > 10


FACTORS = "ema = [0.0, 0.9, 0.5]"


def test_off_on_and_every_decay_share_one_training(lab: Lab) -> None:
    """Which weights are judged is chosen by the evaluation alone."""
    ran = lab.run('resize = "32x2"', FACTORS)
    assert len({trial.training for trial in ran.plan.trials}) == 1
    scores = [ran.evaluated(trial.final)["nll"] for trial in ran.plan.trials]
    assert len(set(scores)) == 3
    tracked = nested(load_file(ran.checkpoint() / "tracked.safetensors"))
    assert len(tracked) == 2
    assert all(name.startswith("ema-") for name in tracked)


def test_a_part_of_the_grid_plans_the_same_training(lab: Lab) -> None:
    """Also where no trial that is asked for judges an average."""
    whole = lab.plan('resize = "32x2"', FACTORS)
    for number, cell in enumerate(whole.grid.cells()):
        (trial,) = (trial for trial in whole.grid.trials() if trial.cell.id == cell.id)
        part = build(whole.grid, whole.environment, whole.images, lab.folder / "manifest.csv", 1, [trial])
        assert part.trials[0].training == whole.trials[number].training


def test_trainings_that_no_cell_averages_track_nothing(lab: Lab) -> None:
    """One factor at a time: only the baseline's training is judged in two ways."""
    plan = lab.plan('resize = "16x1 32x1"', "ema = [0.0, 0.9]\nmitigation = ['none', 'low-lr']")
    trials = {(trial.trial.cell.text["ema"], trial.trial.cell.text["mitigation"]): trial for trial in plan.trials}
    assert trials["0.0", "low-lr"].training == trials["0.9", "low-lr"].training
    alone = lab.plan('resize = "16x1 32x1"', "mitigation = ['none', 'low-lr']")
    for trial in alone.trials:
        assert all(plan_params(alone, key).trackers is None for key in trial.training)


def plan_params(plan: Plan, key: str) -> TrainParams:
    params = plan.stages[key].params
    assert isinstance(params, TrainParams)
    return params


def test_the_tracked_weights_are_timms_through_the_loop(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over two phases: timm's average of the weights after each step, started at the initial weights."""
    references: list[ModelEmaV3] = []
    original = tracking.Trackers.__init__

    def spied(self: tracking.Trackers, trackers: Any, model: nn.Module, earlier: Any) -> None:
        original(self, trackers, model, earlier)
        if not references:
            references.append(ModelEmaV3(model, decay=0.9))
        follow = self.track

        def track(step: Step) -> None:
            references[0].update(model, step=step.number + 1)
            follow(step)

        self.track = track  # type: ignore[method-assign]

    monkeypatch.setattr(tracking.Trackers, "__init__", spied)
    ran = lab.run('resize = "16x1 32x2"\nlr = 0.0029', "ema = [0.9]")
    (tracked,) = nested(load_file(ran.checkpoint() / "tracked.safetensors")).values()
    expected = references[0].module.state_dict()
    own = load_file(ran.checkpoint() / "model.safetensors")
    for name, value in expected.items():
        assert torch.equal(tracked[f"model/{name}"], value), name
    assert sum(not torch.equal(own[name], value) for name, value in expected.items()) > 10


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_it_resumes_to_the_bit_in_each_phase(lab: Lab, backbone: str) -> None:
    ran = lab.run(f'backbone = "{backbone}"\nresize = "16x1 32x2"', "ema = [0.9]\nema_warmup = [true]")
    for key in ran.trial.training:
        folder, _ = lab.run_apart(ran.plan.stages[key], stops=(1, 1))
        resumed = load_file(folder / "tracked.safetensors")
        whole = load_file(lab.folders[key] / "tracked.safetensors")
        assert resumed.keys() == whole.keys()
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_an_evaluation_judges_the_tracked_weights(lab: Lab) -> None:
    """By hand: the average in timm's network gives the stored log-probabilities; so does each size of a rise."""
    ran = lab.run('backbone = "test_vit"\nresize = "16x1 32x2"', "ema = [0.9]")
    (label,) = nested(load_file(ran.checkpoint() / "tracked.safetensors"))
    for evaluation in ran.trial.evaluations:
        folder = ran.checkpoint(evaluation.phase)
        trained, _ = load_network(folder, evaluation.size, "main", torch.device("cpu"))
        average, _ = load_network(folder, evaluation.size, "main", torch.device("cpu"), label)
        stage = ran.plan.stages[evaluation.key]
        assert isinstance(stage.params, EvaluateParams)
        assert stage.params.techniques == ("ema",)
        pixels = torch.rand(2, 3, evaluation.size, evaluation.size)
        assert not torch.equal(average(pixels), trained(pixels))
        assert ran.evaluated(evaluation)["images"] > 0


def test_a_base_model_is_averaged_with_its_own_head(lab: Lab) -> None:
    """A new task's head starts anew in the average as in the network; the base's is kept for its own evaluations."""
    ran = lab.run('base = "fixed"\nbase_resize = "32x1"\nresize = "32x1"', "ema = [0.5]")
    base, main = (checkpoint.read(ran.checkpoint(phase)) for phase in (0, 1))
    (before,), (after,) = base.tracked.values(), main.tracked.values()
    assert all(torch.equal(after.earlier_head[name], before.model[name]) for name in ("fc.weight", "fc.bias"))
    assert not torch.equal(after.model["fc.weight"], main.weights.model["fc.weight"])
    assert {evaluation.task for evaluation in ran.trial.evaluations} == {"base", "base-probe", "main"}
