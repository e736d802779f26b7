"""Freeze: frozen blocks keep their weights and batch-norm statistics bit for bit, in a CNN and in a transformer."""

from __future__ import annotations

import pytest
import timm
import torch
from lab import Lab
from safetensors.torch import load_file
from torch import nn

from ablations.freeze import frozen_blocks
from sota_bench.training import optimizer as optimizers
from sota_bench.training.phase import Phase

RISE = 'resize = "16x1 32x1"\nbackbone = "{}"\nweight_decay = 0.3'
TRAINED = {"test_resnet": ("layer4.", "fc."), "test_vit": ("blocks.5.", "norm.", "head.")}
"""By timm's own names: the head and the block before it."""


def test_it_names_what_would_freeze_nothing() -> None:
    assert frozen_blocks(["stem", "body", "head"], 1) == ["stem", "body"]
    with pytest.raises(ValueError, match="freezes nothing: this network has 3 blocks"):
        frozen_blocks(["stem", "body", "head"], 3)


@pytest.mark.parametrize("backbone", TRAINED)
def test_only_the_last_blocks_move(lab: Lab, backbone: str) -> None:
    ran = lab.run(RISE.format(backbone), 'mitigation = ["freeze", "none"]')
    before = load_file(ran.checkpoint(0) / "model.safetensors")
    after = load_file(ran.checkpoint(1) / "model.safetensors")
    free = load_file(ran.checkpoint(1, trial=1) / "model.safetensors")
    model = timm.create_model(backbone, num_classes=4)
    expected = sum(p.numel() for name, p in model.named_parameters() if name.startswith(TRAINED[backbone]))
    assert ran.trained(1).values["trained_parameters"] == expected
    total = sum(value.numel() for value in dict(model.named_parameters()).values())
    assert expected < total / (1.3 if backbone == "test_resnet" else 6)
    for name in before.keys() - {"pos_embed"}:  # which is resampled at the rise, before anything is trained
        same = torch.equal(before[name], after[name])
        assert same != name.startswith(TRAINED[backbone]), name
        assert not torch.equal(before[name], free[name]), f"{name} would not have moved anyway"


def test_frozen_stays_frozen_after_an_evaluation_and_a_resume(lab: Lab) -> None:
    plan = lab.run(RISE.format("test_resnet"), 'mitigation = ["freeze", "none"]').plan
    stage = plan.stages[plan.trials[0].training[1]]
    folder, _ = lab.run_apart(stage, stops=(1, 2))
    whole = load_file(lab.folders[stage.key] / "model.safetensors")
    resumed = load_file(folder / "model.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert lab.run_apart(stage)[1].values["trained_parameters"] == lab.outcomes[stage.key].values["trained_parameters"]


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_vit"])
def test_batch_norm_and_dropout_of_frozen_blocks_are_told(backbone: str) -> None:
    model = timm.create_model(backbone, num_classes=4, drop_path_rate=0.2)
    phase = Phase(32, 1, True, (16,), model)
    for block in frozen_blocks(phase.blocks, 2):
        phase.freeze(block)
    kept = {name: value.clone() for name, value in model.named_buffers()}
    images = torch.rand(4, 3, 160, 160)
    for _ in range(2):  # a second epoch, after an evaluation has put all of it into evaluation mode
        phase.training_mode()
        model(images)
        model.eval()
    frozen = {name for block in phase.blocks[:-2] for name in block.modules}
    moved = {name for name, value in model.named_buffers() if not torch.equal(value, kept[name])}
    assert not {name for name in moved if name.rpartition(".")[0] in frozen}
    has_batch_norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    assert bool(moved) == has_batch_norm  # those of the trained blocks do move
    phase.training_mode()
    assert not any(model.get_submodule(name).training for name in frozen)
    assert model.get_submodule(phase.blocks[-1].modules[-1]).training


def test_frozen_parameters_are_in_no_group(lab: Lab) -> None:
    recipe = lab.plan().grid.recipe
    phase = Phase(32, 1, True, (16,), timm.create_model("test_resnet", num_classes=4))
    trained = {name for group in optimizers.create(recipe, phase).param_groups for name in group["names"]}
    assert trained == {name for name, _ in phase.model.named_parameters()}
    for block in phase.blocks[:-1]:
        phase.freeze(block)
    optimizer = optimizers.create(recipe, phase)
    assert {name for group in optimizer.param_groups for name in group["names"]} == {"fc.weight", "fc.bias"}


def test_it_refuses_to_freeze_nothing(lab: Lab) -> None:
    from ablations.freeze import Freeze

    recipe = lab.plan("freeze_trained = 6").grid.recipe
    technique = Freeze(recipe)
    with pytest.raises(ValueError, match="freeze_trained = 6 freezes nothing"):
        technique.on_phase_start(Phase(32, 1, True, (16,), timm.create_model("test_resnet", num_classes=4)))
