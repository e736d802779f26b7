"""Networks as rows of blocks: every parameter in one of them, from the stem to the head, for every kind of backbone."""

from __future__ import annotations

import pytest
import timm
import torch

from sota_bench.training.blocks import blocks_of

FIRST_AND_LAST = {
    "test_resnet": ("conv1.", "fc."),
    "test_vit": ("cls_token", "head."),
    "test_convnext": ("stem.", "head."),
    "test_efficientnet": ("conv_stem", "classifier."),
    "poolformer_s12": ("stem.", "head."),  # timm does not group this one
    "csatv2": ("stem_dct.", "head."),
    "rdnet_tiny": ("stem.", "head."),  # timm groups this one in one way only
}


@pytest.mark.parametrize("name", FIRST_AND_LAST)
def test_from_the_stem_to_the_head(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=4)
    blocks = blocks_of(model)
    first, last = FIRST_AND_LAST[name]
    assert any(parameter.startswith(first) for parameter in blocks[0].parameters)
    assert any(parameter.startswith(last) for parameter in blocks[-1].parameters)
    assert [block.index for block in blocks] == list(range(len(blocks)))
    assert len(blocks) > 4
    names = [parameter for block in blocks for parameter in block.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    modules = [module for block in blocks for module in block.modules]
    assert len(modules) == len(set(modules))
    norms = {name for name, module in model.named_modules() if "BatchNorm" in type(module).__name__}
    assert norms <= set(modules)
