"""Weights are drawn per name, and from the distributions that timm draws them from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sota_bench.grid.backbones import small_backbones
from sota_bench.training import initialization
from sota_bench.training.architecture import build
from sota_bench.training.initialization import drawn_by_name

OTHER_FAMILIES = ("crossvit_tiny_240", "levit_128s", "hiera_tiny_224", "dla46_c", "xcit_nano_12_p16_224")
"""Several classifiers; a distilled head; embeddings that are drawn until they lie within bounds; a classifier that is a
convolution; weights that are made from other weights."""

LARGEST = 3e6
"""Parameters of the networks of the short list that are tried here: the larger ones are of the same families."""

ENOUGH = 20_000
"""Numbers of a tensor whose distribution is compared."""

NAMES = [*(backbone.name for backbone in small_backbones() if backbone.params < LARGEST), *OTHER_FAMILIES]


def create(name: str, seed: int = 0, **arguments: Any) -> nn.Module:
    with drawn_by_name(seed, lambda: build(name, **arguments)):
        return build(name, **arguments)


def of_equal_shape(first: nn.Module, second: nn.Module) -> list[tuple[str, Tensor, Tensor]]:
    other = second.state_dict()
    return [
        (name, value, other[name])
        for name, value in first.state_dict().items()
        if name in other and other[name].shape == value.shape
    ]


@pytest.mark.parametrize("name", NAMES)
def test_networks_that_differ_in_classes_and_channels_agree_in_all_other_tensors(name: str) -> None:
    """But for a factor in a bias of the first layer, which is drawn within bounds that its number of inputs decides."""
    first, second = create(name, num_classes=10), create(name, num_classes=4, in_chans=1)
    pairs = of_equal_shape(first, second)
    assert len(pairs) >= 0.8 * len(first.state_dict())
    for key, value, other in pairs:
        if not torch.equal(value, other):
            ratio = other / value
            assert key.endswith(".bias") and key.startswith(("patch_embed", "stem")), key
            torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)


def test_networks_of_other_width_and_depth_agree_in_what_they_share() -> None:
    shallow, deep = create("test_vit", depth=3), create("test_vit", depth=5)
    assert len(of_equal_shape(shallow, deep)) == len(shallow.state_dict())
    assert all(torch.equal(value, other) for _, value, other in of_equal_shape(shallow, deep))
    narrow, wide = create("mobilenetv2_035"), create("mobilenetv2_035", channel_multiplier=1.3)
    drawn = [(key, value, other) for key, value, other in of_equal_shape(narrow, wide) if value.ndim > 1]
    assert drawn and all(torch.equal(value, other) for _, value, other in drawn)


@pytest.mark.parametrize("name", NAMES)
def test_the_distributions_are_timms(name: str) -> None:
    """Tensor by tensor: constants are the same, and quantiles of what is drawn differ by chance alone."""
    torch.manual_seed(1)
    theirs, ours = build(name, num_classes=10).state_dict(), create(name, num_classes=10).state_dict()
    assert theirs.keys() == ours.keys()
    for key, value in theirs.items():
        if not value.is_floating_point() or value.numel() < 2:
            continue
        if value.unique().numel() == 1:  # norms, and what a residual block starts from
            assert torch.equal(ours[key], value), key
        else:
            first, second = (tensor.flatten()[:ENOUGH].numpy() for tensor in (value, ours[key]))
            distance = ks_2samp(first, second, method="asymp").statistic
            assert distance < 2.7 / np.sqrt(len(first) / 2), key  # by chance once in two million


def test_tensors_are_drawn_independently_of_each_other() -> None:
    """Two blocks have tensors of the same shapes, and their values are not correlated."""
    weights = create("test_vit").state_dict()
    shapes: dict[torch.Size, list[Tensor]] = {}
    for value in weights.values():
        if value.ndim > 1:
            shapes.setdefault(value.shape, []).append(value.flatten())
    alike = [values for values in shapes.values() if len(values) > 1]
    assert alike
    for values in alike:
        correlation = torch.corrcoef(torch.stack(values)) - torch.eye(len(values))
        assert correlation.abs().max() < 6 / values[0].numel() ** 0.5


def test_another_seed_draws_all_anew_and_torchs_own_generator_stays_where_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = create("test_vit"), create("test_vit"), create("test_vit", seed=1)
    assert torch.equal(torch.rand(1), expected)
    drawn = {name for name, value in first.state_dict().items() if value.unique().numel() > 2}
    assert drawn
    assert all(torch.equal(value, same) for _, value, same in of_equal_shape(first, again))
    assert not any(torch.equal(value, new) for name, value, new in of_equal_shape(first, other) if name in drawn)


class FillsBeside(nn.Module):
    """A network with weights that are drawn before they are registered, orthogonal ones, and one that it replaces."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(8, outputs)
        self.offset = nn.Parameter(0.1 * torch.randn(8))
        self.replaced = nn.Linear(8, 8)
        self.replaced = nn.Linear(8, 4)
        self.body = nn.Linear(8, 8)
        nn.init.orthogonal_(self.body.weight)


def drawn_beside(outputs: int) -> Mapping[str, Tensor]:
    with drawn_by_name(0, lambda: FillsBeside(outputs)):
        return FillsBeside(outputs).state_dict()


def test_what_is_drawn_beside_a_parameter_is_paired_too() -> None:
    few, many = drawn_beside(3), drawn_beside(5)
    for name in ("offset", "replaced.weight", "replaced.bias", "body.weight", "body.bias"):
        assert torch.equal(few[name], many[name]), name
    torch.testing.assert_close(few["body.weight"] @ few["body.weight"].T, torch.eye(8), rtol=0, atol=1e-5)
    assert not torch.equal(few["offset"], few["body.bias"])


class Draws(TorchDispatchMode):
    """Counts random operations."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += torch.Tag.nondeterministic_seeded in function.tags
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_names_are_learned_without_drawing_weights(name: str) -> None:
    """What would be drawn without memory is computed in Python, which takes longer than to create a small network."""
    with Draws() as draws:
        names = initialization._names_in_order(lambda: build(name))
    assert draws.count == 0
    assert names == initialization._registered(lambda: build(name))
