"""Smaller models: timm's own narrower and shallower relatives come out, and nothing that cannot be scaled gets by."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from lab import Lab

from ablations.smaller_model import FAMILIES, depth_arguments, scaled, width_arguments
from sota_bench.errors import UserError
from sota_bench.technique import backbone_family
from sota_bench.training.architecture import build
from sota_bench.training.backbone import family_of

SCALED = ("resnet18", "resnet50", "mobilenetv2_100", "mobilenetv3_large_100", "convnext_atto", "vit_tiny_patch16_224",
          "deit_tiny_patch16_224", "efficientnet_b0")  # fmt: skip


def parameters(name: str, **arguments: object) -> int:
    with torch.device("meta"):
        return sum(value.numel() for value in build(name, num_classes=10, **arguments).parameters())


def stored(name: str) -> int:
    with torch.device("meta"):
        return sum(value.numel() for value in timm.create_model(name, num_classes=10).parameters())


def test_rounding() -> None:
    assert [scaled(64, 0.5, 8), scaled(20, 0.5, 8), scaled(3, 0.1), scaled(12, 0.5)] == [32, 8, 1, 6]


@pytest.mark.parametrize(
    ("name", "width", "depth", "relative"),
    [
        # Relatives that timm has itself, made by its own authors' tables.
        ("mobilenetv2_100", 0.5, 1, "mobilenetv2_050"),
        ("mobilenetv2_050", 2.8, 1, "mobilenetv2_140"),
        ("mobilenetv3_small_100", 0.75, 1, "mobilenetv3_small_075"),
        ("convnext_pico", 0.625, 1, "convnext_atto"),
        ("convnext_small", 1, 1 / 3, None),
        ("resnet34", 1, 0.5, None),
        ("vit_tiny_patch16_224", 2, 1, "vit_small_patch16_224"),
        ("vit_base_patch16_224", 0.5, 1, "vit_small_patch16_224"),
        ("deit_small_patch16_224", 0.5, 1, None),
        ("resnet18", 1, 1, "resnet18"),
    ],
)
def test_relatives(name: str, width: float, depth: float, relative: str | None) -> None:
    family = family_of(name)
    arguments = width_arguments(name, family, width) if width != 1 else {}
    arguments |= depth_arguments(name, family, depth) if depth != 1 else {}
    if relative is not None:
        assert parameters(name, **arguments) == stored(relative)
    else:
        expected = {"convnext_small": {"depths": [1, 1, 9, 1]}, "resnet34": {"layers": [2, 2, 3, 2]},
                    "deit_small_patch16_224": {"embed_dim": 192, "num_heads": 3}}  # fmt: skip
        assert arguments == expected[name]


@pytest.mark.parametrize("name", SCALED)
def test_width_and_depth_shrink_every_family(name: str) -> None:
    family = family_of(name)
    assert family == backbone_family(name)
    assert family in FAMILIES
    narrow, shallow = width_arguments(name, family, 0.5), depth_arguments(name, family, 0.5)
    whole = parameters(name)
    assert parameters(name, **narrow) < 0.5 * whole
    assert parameters(name, **shallow) < 0.9 * whole
    assert parameters(name, **narrow, **shallow) < parameters(name, **narrow)
    assert json.loads(json.dumps({**narrow, **shallow})) == {**narrow, **shallow}  # they travel in checkpoints


def test_timm_is_left_as_it_was() -> None:
    before = stored("mobilenetv2_100")
    assert parameters("mobilenetv2_100", channel_multiplier=0.25) < before
    assert stored("mobilenetv2_100") == before
    with pytest.raises(TypeError, match="mobilenetv4_conv_small has no depth_multiplier"):
        build("mobilenetv4_conv_small", depth_multiplier=0.5)
    with pytest.raises(TypeError, match="resnet18 is not made from multipliers"):
        build("resnet18", channel_multiplier=0.5)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_cost_is_in_the_table(lab: Lab, backbone: str) -> None:
    size = 32
    ran = lab.run(f'backbone = "{backbone}"\nresize = "{size}x1"', "width = [1.0, 0.5]\ndepth = [1.0, 0.5]")
    whole, shallow, narrow, both = (ran.evaluated(trial.final) for trial in ran.plan.trials)
    assert narrow["params"] < 0.6 * whole["params"]
    assert narrow["flops"] < 0.6 * whole["flops"]
    assert narrow["layers"] == whole["layers"]
    deeper = backbone in ("test_vit", "test_convnext")  # the others have one block per stage
    assert (shallow["layers"] < whole["layers"]) == deeper
    assert both["layers"] == shallow["layers"]
    for number, trial in enumerate(ran.plan.trials):
        assert ran.trained(0, number).values["trained_parameters"] == ran.evaluated(trial.final)["params"]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ('backbone = "densenet121"', r"width does not know how to scale densenet121 \(densenet\); it knows ResNets"),
        ('backbone = "resnet18"\nweights = "timm"', r"width = 0.5 changes shapes, and pretrained weights keep theirs"),
    ],
)
def test_what_cannot_be_scaled_is_one_line(lab: Lab, recipe: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        lab.plan(recipe, "width = [1.0, 0.5]")
