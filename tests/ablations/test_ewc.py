"""EWC: Fisher information against a closed form and a loop over single images; a penalty that is really there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from lab import Lab
from safetensors.torch import load_file
from torch import Tensor

from ablations.ewc import ElasticWeights, elastic_penalty, fisher_diagonal

RISE = 'resize = "16x2 32x3"\nbackbone = "{}"'


def batches(images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(images.split(size), labels.split(size), strict=True)


def test_logistic_regression_in_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    x, labels = torch.randn(41, 6, generator=generator), torch.randint(0, 3, (41,), generator=generator)
    parameters = {"w": torch.randn(3, 6, generator=generator), "b": torch.randn(3, generator=generator)}

    def model(values: Mapping[str, Tensor], images: Tensor) -> Tensor:
        return F.log_softmax(images @ values["w"].T + values["b"], dim=1)

    p = model(parameters, x).exp().double()
    exact = fisher_diagonal(model, parameters, batches(x, labels, 7), exact=True)
    # d log p_j / d z_k = [j = k] - p_k, so the expectation over j of its square is p_k (1 - p_k).
    variance = p * (1 - p)
    torch.testing.assert_close(exact["b"].double(), variance.mean(0), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(exact["w"].double(), variance.T @ x.double().square() / 41, rtol=1e-5, atol=1e-7)

    empirical = fisher_diagonal(model, parameters, batches(x, labels, 7), exact=False)
    error = (F.one_hot(labels, 3) - p).square()
    torch.testing.assert_close(empirical["b"].double(), error.mean(0), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(empirical["w"].double(), error.T @ x.double().square() / 41, rtol=1e-5, atol=1e-7)


class Inputs:
    """What the technique is given, of fixed images in batches of a chosen size."""

    def __init__(self, backbone: str, batch: int | None = None) -> None:
        torch.manual_seed(1)
        self.model = timm.create_model(backbone, num_classes=4)
        for name, value in self.model.named_buffers():  # statistics as after some training
            value.copy_(torch.rand_like(value) + 0.5 if "var" in name else torch.rand_like(value.float()))
        self.model.eval()
        self.size, self.seed, self.batch, self.limits = 32, 0, batch, list[tuple[int | None, int]]()
        if hasattr(self.model, "set_input_size"):
            self.model.set_input_size(img_size=(32, 32))
        self.images, self.labels = torch.randn(9, 3, 32, 32), torch.randint(0, 4, (9,))

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("the Fisher information needs no statistics")

    def batches(self, limit: int | None, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        self.limits.append((limit, batch_size))
        return batches(self.images, self.labels, self.batch or batch_size)


def looped(inputs: Inputs, exact: bool) -> dict[str, Tensor]:
    """The definition, image by image and class by class, with ordinary backward passes, in float64."""
    model = inputs.model.double()
    total = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for image, label in zip(inputs.images.double(), inputs.labels, strict=True):
        p = model(image[None]).softmax(1)[0].detach()
        for k in range(4) if exact else [int(label)]:
            model.zero_grad()
            F.log_softmax(model(image[None]), dim=1)[0, k].backward()
            for name, value in model.named_parameters():
                assert value.grad is not None
                total[name] += (p[k] if exact else 1) * value.grad.square() / len(inputs.images)
    return total


def technique(lab: Lab, lines: str = "") -> ElasticWeights:
    return ElasticWeights(lab.plan(lines).grid.recipe)


@pytest.mark.parametrize("kind", ["exact", "empirical"])
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext"])
def test_networks_against_a_loop_over_single_images(lab: Lab, backbone: str, kind: str) -> None:
    inputs = Inputs(backbone)
    found = technique(lab, f'ewc_fisher = "{kind}"\newc_images = 9').compute(inputs)
    assert inputs.limits[0][0] == 9
    assert found.keys() == dict(inputs.model.named_parameters()).keys()  # parameters and no buffers
    assert all(value.dtype == torch.float32 for value in found.values())
    for name, expected in looped(inputs, kind == "exact").items():
        scale = float(expected.max())
        torch.testing.assert_close(found[name].double(), expected, rtol=2e-3, atol=2e-4 * scale, msg=name)


def test_it_does_not_depend_on_the_batch_size(lab: Lab) -> None:
    found = [technique(lab).compute(Inputs("test_resnet", batch)) for batch in (1, 4, 9)]
    for name, value in found[0].items():
        for other in found[1:]:
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-6 * float(value.max()), msg=name)


def test_penalty_and_its_gradient() -> None:
    generator = torch.Generator().manual_seed(2)
    anchors = [torch.randn(shape, generator=generator) for shape in ((3, 4), (5,))]
    fishers = [torch.rand(anchor.shape, generator=generator) for anchor in anchors]
    values = [anchor.clone().requires_grad_() for anchor in anchors]
    terms = list(zip(values, anchors, fishers, strict=True))
    assert elastic_penalty(terms, 7.0).item() == 0
    with torch.no_grad():
        for value in values:
            value += torch.randn(value.shape, generator=generator)
    penalty = elastic_penalty(terms, 7.0)
    penalty.backward()
    expected = 0.0
    for value, anchor, fisher in terms:
        gap = (value - anchor).detach()
        expected += 3.5 * float((fisher * gap**2).sum())
        torch.testing.assert_close(value.grad, 7.0 * fisher * gap)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def distance(lab: Lab, ran: Any, trial: int) -> float:
    """``1/2 sum F (theta - theta*)^2`` of one rise, from what the stages left."""
    stage = next(stage for stage in ran.plan.stages.values() if stage.kind == "fisher")
    fisher = load_file(lab.folders[stage.key] / "computed.safetensors")
    before = load_file(ran.checkpoint(0, trial) / "model.safetensors")
    after = load_file(ran.checkpoint(1, trial) / "model.safetensors")
    same = [name for name in fisher if fisher[name].shape == after[name].shape]
    return sum(float((fisher[name] * (after[name] - before[name]).square()).sum()) for name in same) / 2


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_it_holds_what_mattered(lab: Lab, backbone: str) -> None:
    ran = lab.run(RISE.format(backbone), 'mitigation = ["none", "ewc"]\newc_lambda = [100000.0]')
    about = ran.trained(1, 1).values["techniques"]["ewc"]
    free, held = distance(lab, ran, 0), distance(lab, ran, 1)
    assert about["penalty"] == pytest.approx(100_000 * held, rel=1e-3)
    assert about["penalty"] > 0
    assert held < 0.5 * free
    parameters = {name: value.numel() for name, value in timm.create_model(backbone, num_classes=4).named_parameters()}
    # A transformer's position embeddings are resampled at the rise, and have no old value.
    expected = sum(count for name, count in parameters.items() if name != "pos_embed")
    assert about["held"] == expected


@pytest.mark.parametrize("batch", [8, 24])
def test_its_strength_does_not_depend_on_the_batch_size(lab: Lab, batch: int) -> None:
    ran = lab.run(f"{RISE.format('test_resnet')}\nbatch_size = {batch}", 'mitigation = ["ewc"]\newc_lambda = [100.0]')
    stage = next(stage for stage in ran.plan.stages.values() if stage.kind == "fisher")
    assert "batch_size" not in stage.params["recipe"]
    penalty = ran.trained(1).values["techniques"]["ewc"]["penalty"]
    assert penalty == pytest.approx(100 * distance(lab, ran, 0), rel=1e-3)


def test_a_resumed_phase_is_still_held_to_the_weights_before_it(lab: Lab) -> None:
    ran = lab.run(RISE.format("test_resnet"), 'mitigation = ["none", "ewc"]\newc_lambda = [100000.0]')
    stage = ran.plan.stages[ran.plan.trials[1].training[1]]
    folder, outcome = lab.run_apart(stage, stops=(1, 1))
    whole, resumed = (load_file(place / "model.safetensors") for place in (ran.checkpoint(1, 1), folder))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert outcome.values["techniques"] == ran.trained(1, 1).values["techniques"]


def test_the_head_of_a_new_task_is_free(lab: Lab) -> None:
    ran = lab.run('resize = "32x1"\nbase_resize = "32x1"\nbase = "fixed"', 'mitigation = ["ewc"]')
    model = timm.create_model("test_resnet", num_classes=2)
    body = sum(value.numel() for name, value in model.named_parameters() if not name.startswith("fc."))
    assert ran.trained(1).values["techniques"]["ewc"]["held"] == body


def test_fisher_information_is_shared_by_all_strengths(lab: Lab) -> None:
    plan = lab.plan(RISE.format("test_resnet"), 'mitigation = ["ewc"]\newc_lambda = [1.0, 10.0]\newc_images = [16, 32]')
    fisher = [stage for stage in plan.stages.values() if stage.kind == "fisher"]
    assert sorted(len(stage.trials) for stage in fisher) == [2, 2]


def test_nothing_to_hold_is_an_error(lab: Lab) -> None:
    from sota_bench.training.phase import Phase

    model = timm.create_model("test_resnet", num_classes=4)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    zero = {name: torch.zeros_like(value) for name, value in start.items()}
    with pytest.raises(ValueError, match="zero everywhere"):
        technique(lab).on_phase_start(Phase(32, 1, True, (16,), model, start, {"ewc": zero}))


@pytest.mark.parametrize("statistics", ["fixed", "free"])
def test_batch_norm_statistics_are_held_or_not_by_name(lab: Lab, statistics: str) -> None:
    """Held firmly enough, the network answers at the old size as it did; statistics that drift undo that."""
    lines = f'{RISE.format("test_resnet")}\newc_batch_norm = "{statistics}"'
    ran = lab.run(lines, 'mitigation = ["ewc"]\newc_lambda = [100000000.0]')
    before, after = (load_file(ran.checkpoint(phase) / "model.safetensors") for phase in (0, 1))
    buffers = [name for name in before if "running" in name]
    same = [torch.equal(before[name], after[name]) for name in buffers]
    assert len(buffers) > 10
    assert all(same) if statistics == "fixed" else not any(same)
    values = {e.phase: ran.evaluated(e)["nll"] for e in ran.trial.evaluations if e.size == 16}
    assert (abs(values[1] - values[0]) < 0.05) == (statistics == "fixed")
