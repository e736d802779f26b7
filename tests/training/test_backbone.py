"""Networks go to another size and back without loss; backbones that take one size only say so."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from lab import Lab
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from sota_bench.errors import UserError
from sota_bench.grid.recipe import recipe_type
from sota_bench.training import backbone, checkpoint
from sota_bench.training.architecture import build
from sota_bench.training.backbone import resize
from sota_bench.training.evaluate import cost
from sota_bench.training.loaded import LoadedCheckpoint, load_checkpoint, load_network

CPU = torch.device("cpu")


def network(name: str = "test_vit", size: int = 64) -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=4).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            if "pos" in key:
                value.normal_()
    resize(model, size)
    return model


def logits(model: torch.nn.Module, size: int) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size)))


@pytest.mark.parametrize("name", ["test_vit", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_the_old_size_gives_the_old_logits_back(name: str) -> None:
    model = network(name)
    old = logits(model, 64)
    for size in (96, 160, 64):
        resize(model, size)
        new = logits(model, size)
    assert torch.equal(new, old)


def test_a_convolutional_network_takes_any_size_as_it_is() -> None:
    model = network("test_resnet")
    old = {name: value.clone() for name, value in model.state_dict().items()}
    logits(model, 64)
    resize(model, 96)
    logits(model, 96)
    assert all(torch.equal(value, old[name]) for name, value in model.state_dict().items())


def test_position_embeddings_are_resampled_as_timm_does() -> None:
    model = network()
    patch = 64 // int((model.pos_embed.shape[1] - model.num_prefix_tokens) ** 0.5)
    expected = resample_abs_pos_embed(
        model.pos_embed.detach(), [96 // patch, 96 // patch], num_prefix_tokens=model.num_prefix_tokens
    )
    resize(model, 96)
    torch.testing.assert_close(model.pos_embed.detach(), expected)


def test_what_was_trained_at_the_new_size_is_where_the_next_one_starts() -> None:
    model = network()
    resize(model, 96)
    with torch.no_grad():
        model.pos_embed += 1
    trained = model.pos_embed.detach().clone()
    resize(model, 64)
    resize(model, 128)
    resize(model, 96)
    assert torch.equal(model.pos_embed, trained)


def test_networks_of_one_size_say_so() -> None:
    model = timm.create_model("mixer_s32_224", num_classes=4)
    resize(model, 224)
    with pytest.raises(UserError, match="224 px and nothing else"):
        resize(model, 64)


def test_sizes_that_patches_do_not_fill_are_refused() -> None:
    with pytest.raises(UserError, match="40: it cannot be cut into the 16 px patches"):
        resize(network(), 40)
    with pytest.raises(ValueError, match="72 px cannot be cut into the 16 px patches of vit_tiny_patch16_224"):
        recipe_type()(backbone="vit_tiny_patch16_224", resize="64x1 72x1")
    with pytest.raises(ValueError, match="eval_size"):
        recipe_type()(backbone="eva02_tiny_patch14_224", resize="56x1", eval_size=64)
    assert recipe_type()(backbone="eva02_tiny_patch14_224", resize="56x1", eval_size=70).eval_size == 70


def test_evaluations_of_one_checkpoint_do_not_depend_on_their_order(lab: Lab) -> None:
    """A worker keeps the network of the last checkpoint: its sizes must not leave traces in each other."""
    ran = lab.run('backbone = "test_vit"\nresize = "16x1 32x1"', "lr = [0.0031]")
    folder = ran.checkpoint()
    seen: dict[int, torch.Tensor] = {}
    for size in (32, 16, 64, 16, 32, 64):
        model, _ = load_network(folder, size, "main", CPU)
        now = logits(model, size)
        assert torch.equal(seen.setdefault(size, now), now)


def test_a_rise_starts_from_the_network_before_it(lab: Lab) -> None:
    """The logits at the old size, after the network has gone to the new one and before it trains, are the old ones."""
    ran = lab.run('backbone = "test_vit"\nresize = "16x1 32x1"', "lr = [0.0031]")
    before = checkpoint.read(ran.checkpoint(0))
    model = backbone.rebuild(before.metadata["backbone"], 4, 16).eval()
    model.load_state_dict(before.weights.model)
    old = logits(model, 16)
    resize(model, 32)
    assert model.pos_embed.shape == checkpoint.read(ran.checkpoint(1)).weights.model["pos_embed"].shape
    resize(model, 16)
    assert torch.equal(logits(model, 16), old)


def test_what_a_freeze_keeps_from_training_gives_the_old_logits_after_phases_in_files(lab: Lab) -> None:
    """Position embeddings of 2 x 2 patches lose detail when they go to 4 x 4 and back, and none of it was training."""
    ran = lab.run('backbone = "test_vit"\nresize = "32x1 64x1 96x1"\nupsample = true', 'mitigation = ["freeze"]')
    first = checkpoint.read(ran.checkpoint(0)).weights.model["pos_embed"]
    for phase in (1, 2):
        assert checkpoint.read(ran.checkpoint(phase)).metadata["source_size"] == 32
        model, _ = load_network(ran.checkpoint(phase), 32, "main", CPU)
        assert torch.equal(model.pos_embed.detach(), first)  # type: ignore[operator,union-attr]


def test_trained_embeddings_are_resampled_as_they_are(lab: Lab) -> None:
    ran = lab.run('backbone = "test_vit"\nresize = "32x1 64x1"\nupsample = true', "lr = [0.0031]")
    trained = checkpoint.read(ran.checkpoint(1))
    assert trained.source == {} and trained.metadata["source_size"] == 64


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_local_weights_fit_images_of_one_channel_as_timm_makes_them_fit(name: str, tmp_path: Path) -> None:
    whole = timm.create_model(name, num_classes=4)
    file = tmp_path / "weights.safetensors"
    save_file(whole.state_dict(), str(file))
    overlay = {"file": str(file), "num_classes": 4}
    theirs = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=4, in_chans=1)
    recipe = recipe_type()(backbone=name, resize="64x1", in_chans=1)
    ours, _ = backbone.create(recipe, [], 4, 64, 0, str(file))
    resize(theirs, 64)
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())


def test_first_weights_depend_on_the_seed_alone(lab: Lab) -> None:
    recipe = lab.plan().trials[0].trial.cell.recipe
    first, again, other = (backbone.create(recipe, [], 4, 32, seed)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])


HEADS = {
    "test_resnet": 64,
    "test_vit": 64,
    "lcnet_035": 64,
    "convnext_atto": 64,
    "dla46_c": 64,
    "crossvit_tiny_240": 240,
    "levit_128s": 224,
    "deit_tiny_distilled_patch16_224": 64,
    "efficientvim_m1": 224,
    "repvit_m0_9": 64,
}
"""A size for networks that end in a linear layer, in a convolution, in the mean of two classifiers or in several."""


@pytest.mark.parametrize("name", HEADS)
def test_logits_of_a_network_in_bf16_are_not_rounded_to_bf16(name: str) -> None:
    model = timm.create_model(name, num_classes=50).eval()
    for key, value in model.named_parameters():  # a new network's logits are often near 0
        if key in backbone.classifier_names(model):
            torch.nn.init.normal_(value, std=2.0)
    images = torch.randn(4, 3, HEADS[name], HEADS[name], generator=torch.Generator().manual_seed(0))

    def in_bf16() -> torch.Tensor:
        resize(model, HEADS[name])
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            logits: torch.Tensor = model(images)
        return logits

    rounded = in_bf16()
    backbone.classify_in_fp32(model)
    exact = in_bf16()
    assert exact.dtype == torch.float32
    assert (exact == exact.bfloat16().float()).float().mean() < 0.1
    torch.testing.assert_close(exact, rounded.float(), rtol=0.05, atol=0.05 * float(exact.abs().max()))


def test_checkpoints_are_opened_with_a_classifier_in_fp32(lab: Lab) -> None:
    """So evaluations, test-time augmentation, probes and Fisher information all have one."""
    model, _ = load_network(lab.run().checkpoint(), 32, "main", CPU)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.rand(2, 3, 32, 32)).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "macs", "params"), [("resnet18", 1.814e9, 11.69e6), ("vit_tiny_patch16_224", 1.258e9, 5.72e6)]
)
def test_operations_are_twice_the_multiply_adds_that_timm_publishes(name: str, macs: float, params: float) -> None:
    """At 224 px; for a vision transformer they include those of the attention."""
    counted = cost(LoadedCheckpoint(build(name, num_classes=1000).eval(), [], None, 3, name), 224)
    assert counted["flops"] == pytest.approx(2 * macs, rel=0.01)
    assert counted["params"] == pytest.approx(params, rel=0.01)


def test_the_cost_of_a_checkpoint(lab: Lab) -> None:
    folder, model = lab.run().checkpoint(), network("test_resnet")

    def at(size: int) -> dict[str, int]:
        return cost(load_checkpoint(folder, size, None, (), CPU), size)

    small, large = at(32), at(64)
    assert small["params"] == sum(value.numel() for value in model.parameters())
    assert small["layers"] == sum(isinstance(module, torch.nn.Conv2d | torch.nn.Linear) for module in model.modules())
    assert large["flops"] == pytest.approx(4 * small["flops"], rel=0.02)
