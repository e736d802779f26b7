"""Smaller model: the same architecture with fewer channels (``width``) or fewer blocks (``depth``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from sota_bench.technique import Card, Settings, ShapesNetwork, Technique, backbone_family, setting

if TYPE_CHECKING:
    from sota_bench.technique import CoreRecipe


FAMILIES = ("convnext", "deit", "efficientnet", "mobilenetv3", "resnet", "vision_transformer")
"""timm's modules whose models can be scaled; ``efficientnet`` and ``mobilenetv3`` hold the MobileNets."""

MULTIPLIERS = ("efficientnet", "mobilenetv3")
"""Of these, the ones that timm builds from a table of blocks and two multipliers."""


def scaled(value: int, factor: float, step: int = 1) -> int:
    """``value * factor``, rounded to a multiple of ``step``, at least one ``step``."""
    return max(1, round(value * factor / step)) * step


@lru_cache(maxsize=16)
def shape_of(name: str, family: str) -> Mapping[str, Sequence[int]]:
    """Channels and blocks of a timm model as its constructor takes them, read off an instance without memory.

    Returns:
        ``blocks`` and ``channels`` per stage (transformers are one stage), ``heads`` and ``stem`` where there are such.
    """
    import timm
    import torch

    with torch.device("meta"):
        model: Any = timm.create_model(name, pretrained=False)
    if family == "resnet":
        stages = [getattr(model, f"layer{i}") for i in range(1, 5)]
        outputs = [info["num_chs"] for info in model.feature_info[1:]]
        channels = [count // stage[-1].expansion for count, stage in zip(outputs, stages, strict=True)]
        shape = {"blocks": [len(stage) for stage in stages], "channels": channels}
        deep = len(list(model.conv1.children())) > 1  # of several layers; timm fixes the width of a single one
        return {**shape, "stem": [model.feature_info[0]["num_chs"] // 2]} if deep else shape
    if family == "convnext":
        return {"blocks": [len(stage.blocks) for stage in model.stages],
                "channels": [info["num_chs"] for info in model.feature_info]}  # fmt: skip
    return {"blocks": [len(model.blocks)], "channels": [model.embed_dim], "heads": [model.blocks[0].attn.num_heads]}


def width_arguments(name: str, family: str, factor: float) -> dict[str, Any]:
    """Constructor arguments for ``factor`` times the channels: multiples of 8, or whole attention heads."""
    if family in MULTIPLIERS:
        return {"channel_multiplier": factor}
    shape = shape_of(name, family)
    if "heads" in shape:
        each = shape["channels"][0] // shape["heads"][0]
        heads = scaled(shape["heads"][0], factor)
        return {"embed_dim": heads * each, "num_heads": heads}
    arguments: dict[str, Any] = {"stem_width": scaled(shape["stem"][0], factor, 8)} if "stem" in shape else {}
    channels = [scaled(count, factor, 8) for count in shape["channels"]]
    return arguments | {"dims" if family == "convnext" else "channels": channels}


def depth_arguments(name: str, family: str, factor: float) -> dict[str, Any]:
    """Constructor arguments for ``factor`` times the blocks of each stage, at least one."""
    if family in MULTIPLIERS:
        return {"depth_multiplier": factor}
    shape = shape_of(name, family)
    blocks = [scaled(count, factor) for count in shape["blocks"]]
    if "heads" in shape:
        return {"depth": blocks[0]}
    return {"depths" if family == "convnext" else "layers": blocks}


def _problem(recipe: CoreRecipe, field: str) -> str | None:
    family = backbone_family(recipe.backbone)
    if family not in FAMILIES:
        scalable = "ResNets, MobileNets, EfficientNets, ConvNeXts and vision transformers"
        return f"{field} does not know how to scale {recipe.backbone} ({family}); it knows {scalable}"
    if recipe.weights:
        return f"{field} = {getattr(recipe, field)} changes shapes, and pretrained weights keep theirs; leave one out"
    return None


class WidthSettings(Settings):
    width: float = setting(1.0, "multiplier of the backbone's channels", scope="train", gt=0, le=8, levels=(1.0, 0.5))


class Narrower(Technique[WidthSettings], ShapesNetwork):
    name = "width"
    field = "width"
    off = 1.0
    settings_type = WidthSettings
    card = Card(
        name="Fewer channels",
        claim="Much less time and memory for a little accuracy: half the channels need about a quarter of the FLOPs.",
        response="minutes",
        why="Work and parameters of a convolution or a linear layer grow with the square of the channels. Small data "
        "needs less capacity, and an iteration gets shorter.",
        paper="Howard et al. 2017, MobileNets, section 3.3 (https://arxiv.org/abs/1704.04861)",
        defaults="1, the backbone as it is. Channels are rounded to multiples of 8, transformers to whole heads; a "
        "ResNet whose first layer is a single convolution keeps its 64 channels there.",
        cost="Negative: parameters, FLOPs and peak memory fall.",
        fails="Smaller layers may not keep a CPU or GPU busy, so time falls less than FLOPs.",
    )

    def problem(self) -> str | None:
        """Families that cannot be scaled, and pretrained weights."""
        return _problem(self.recipe, self.field)

    def backbone_arguments(self, name: str, family: str) -> dict[str, Any]:
        """Fewer channels."""
        return width_arguments(name, family, self.settings.width)


class DepthSettings(Settings):
    depth: float = setting(
        1.0,
        "multiplier of the number of blocks in each stage of the backbone",
        scope="train",
        gt=0,
        le=8,
        levels=(1.0, 0.5),
    )


class Shallower(Technique[DepthSettings], ShapesNetwork):
    name = "depth"
    field = "depth"
    off = 1.0
    example: ClassVar = {"backbone": "test_vit", "lr": 6e-4}  # one block per stage cannot become fewer
    settings_type = DepthSettings
    card = Card(
        name="Fewer blocks",
        claim="Time and memory fall in proportion; on small data accuracy may not fall at all.",
        response="minutes",
        why="Each block refines the features of the one before it; on small data the last refinements overfit first.",
        paper="Tan and Le 2019, EfficientNet, section 3 (https://arxiv.org/abs/1905.11946)",
        defaults="1, the backbone as it is. Each stage keeps at least one block.",
        cost="Negative: parameters, FLOPs and peak memory fall.",
        fails="A backbone with one block per stage cannot get shallower.",
    )

    def problem(self) -> str | None:
        """Families that cannot be scaled, and pretrained weights."""
        return _problem(self.recipe, self.field)

    def backbone_arguments(self, name: str, family: str) -> dict[str, Any]:
        """Fewer blocks."""
        return depth_arguments(name, family, self.settings.depth)
