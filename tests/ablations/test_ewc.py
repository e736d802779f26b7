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
        self.earlier: Mapping[str, Tensor] = {}

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


def test_after_one_step_it_pulls_back_with_its_own_gradient() -> None:
    """The trap: a penalty that is silently zero. Through the technique and a network, against finite differences."""
    from sota_bench.grid.recipe import recipe_type
    from sota_bench.technique import Outputs, Step
    from sota_bench.training.phase import Phase

    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=4, zero_init_last=False)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    fisher = {name: torch.rand_like(value) for name, value in start.items()}
    recipe = recipe_type()(ewc_lambda=50.0, ewc_batch_norm="free")
    phase = Phase(32, 1, True, (16,), model, start, {"ewc": fisher})
    acting = ElasticWeights(recipe)
    acting.on_phase_start(phase)
    none = torch.zeros(())
    outputs = Outputs(none, none, none, none, phase, Step(0, 0, 0, 0.0))
    assert float(acting.loss(torch.tensor(2.0), outputs).detach()) == 2.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    F.cross_entropy(model(torch.randn(4, 3, 64, 64)), torch.arange(4)).backward()
    optimizer.step()
    optimizer.zero_grad()
    penalty = acting.loss(torch.tensor(0.0), outputs)
    assert float(penalty.detach()) > 0
    penalty.backward()
    for name in ("conv1.0.weight", "layer4.0.conv1.weight", "fc.bias"):
        parameter = model.get_parameter(name)
        gradient = parameter.grad
        assert gradient is not None
        place = np.unravel_index(int(gradient.abs().argmax()), gradient.shape)
        found, step, values = float(gradient[place]), 1e-2, []
        for sign in (1, -1):
            with torch.no_grad():
                parameter[place] += sign * step
                values.append(float(elastic_penalty(acting._terms, 50.0)))
                parameter[place] -= sign * step
        assert found == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-3), name
        assert found != 0


@pytest.mark.parametrize("batch", [8, 24])
def test_its_strength_does_not_depend_on_the_batch_size(lab: Lab, batch: int) -> None:
    ran = lab.run(f"{RISE.format('test_resnet')}\nbatch_size = {batch}", 'mitigation = ["ewc"]\newc_lambda = [100.0]')
    stage = next(stage for stage in ran.plan.stages.values() if stage.kind == "fisher")
    assert "batch_size" not in stage.params.recipe
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


def test_batch_norm_statistics_are_held_or_not_by_name(lab: Lab) -> None:
    """Held firmly enough, the network answers at the old size as it did; statistics that drift undo that."""
    drift = {}
    for statistics in ("fixed", "free"):
        lines = f'{RISE.format("test_resnet")}\newc_batch_norm = "{statistics}"'
        ran = lab.run(lines, 'mitigation = ["ewc"]\newc_lambda = [100000000.0]')
        before, after = (load_file(ran.checkpoint(phase) / "model.safetensors") for phase in (0, 1))
        buffers = [name for name in before if "running" in name]
        same = [torch.equal(before[name], after[name]) for name in buffers]
        assert len(buffers) > 10
        assert all(same) if statistics == "fixed" else not any(same)
        nll = {e.phase: ran.evaluated(e)["nll"] for e in ran.trial.evaluations if e.size == 16}
        drift[statistics] = abs(nll[1] - nll[0])
    assert drift["fixed"] < drift["free"] / 5


LONG = 'resize = "16x1 24x1 32x1"\nbackbone = "test_resnet"\newc_images = 16'


def of_rise(lab: Lab, ran: Any, trial: int, rise: int) -> dict[str, Tensor]:
    """What the Fisher stage before a rise computed."""
    key = ran.plan.stages[ran.plan.trials[trial].training[rise]].parents["ewc"]
    return load_file(lab.folders[key] / "computed.safetensors")


def test_the_second_rise_is_held_to_all_before_it(lab: Lab) -> None:
    """Online EWC over three phases: anchored at the latest weights, with the Fisher information of both old sizes."""
    ran = lab.run(LONG, 'mitigation = ["ewc"]\newc_lambda = [1000.0]\newc_decay = [1.0, 0.5, 0.0]')
    first = of_rise(lab, ran, 0, 1)
    alone = of_rise(lab, ran, 2, 2)  # with a decay of 0 it is that of the second size
    for trial, decay in enumerate((1.0, 0.5, 0.0)):
        found = of_rise(lab, ran, trial, 2)
        for name, value in first.items():
            assert torch.equal(of_rise(lab, ran, trial, 1)[name], value), name
            torch.testing.assert_close(found[name], alone[name] + decay * value)
        before, after = (load_file(ran.checkpoint(phase, trial) / "model.safetensors") for phase in (1, 2))
        terms = [(found[name] * (after[name] - before[name]).square()).sum() for name in found]
        expected = 1000 / 2 * float(torch.stack(terms).sum())
        assert ran.trained(2, trial).values["techniques"]["ewc"]["penalty"] == pytest.approx(expected, rel=1e-3)
    assert any(bool((value > 0).any()) for value in first.values())


def test_the_second_size_alone_is_a_fresh_fisher_information(lab: Lab) -> None:
    """Against the definition, on the checkpoint after the second phase and the images as the stage crops them."""
    from sota_bench.training.crop import central_boxes
    from sota_bench.training.decoded import decoded_subset
    from sota_bench.training.loaded import load_network

    ran = lab.run(LONG, 'mitigation = ["ewc"]\newc_lambda = [1000.0]\newc_decay = [1.0, 0.5, 0.0]')
    stage = ran.plan.stages[ran.plan.stages[ran.plan.trials[2].training[2]].parents["ewc"]]
    assert (stage.params.size, set(stage.parents)) == (24, {"data", "checkpoint", "earlier"})
    model, about = load_network(lab.folders[stage.parents["checkpoint"]], 24, "main", torch.device("cpu"))
    data = decoded_subset(lab.folders[stage.parents["data"]], stage.context, stage.params.data)
    images = data.images("train", torch.device("cpu"), 3)
    chosen = np.linspace(0, len(images) - 1, 16).round().astype(np.int64)
    boxes = central_boxes(images.heights[chosen], images.widths[chosen], 1.0)
    mean, std = (about.techniques["normalization"][key].view(1, 3, 1, 1) for key in ("mean", "std"))
    inputs = Inputs("test_resnet")
    inputs.model = model
    inputs.images = (images.batch(chosen, boxes, np.zeros(16, bool), 24).double() - mean) / std
    inputs.labels = images.labels[torch.from_numpy(chosen)]
    found = of_rise(lab, ran, 2, 2)
    for name, expected in looped(inputs, exact=True).items():
        scale = float(expected.max())
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-2, atol=1e-3 * scale, msg=name)


def test_the_head_of_an_earlier_task_holds_nothing_later(lab: Lab) -> None:
    """A base model's head has the name and the shape of the new one; its Fisher information is not the new one's."""
    recipe = 'resize = "24x1 32x1"\nbase_resize = "24x1"\nbase = "fixed"\newc_images = 16'
    ran = lab.run(recipe, 'mitigation = ["ewc"]\newc_decay = [1.0, 0.0]')
    base, both, alone = of_rise(lab, ran, 0, 1), of_rise(lab, ran, 0, 2), of_rise(lab, ran, 1, 2)
    assert float(base["fc.weight"].max()) > 0
    torch.testing.assert_close(both["fc.weight"], alone["fc.weight"])
    torch.testing.assert_close(
        both["layer4.0.conv1.weight"], alone["layer4.0.conv1.weight"] + base["layer4.0.conv1.weight"]
    )
