"""Backbones from timm: made for a size, moved to another one, read from the hub or from a local file or folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_state_dict, model_entrypoint
from torch import nn

from sota_bench.errors import UserError
from sota_bench.randomness import derive
from sota_bench.technique import Technique


def family_of(name: str) -> str:
    """timm's module of a model (``resnet``, ``vision_transformer``), which decides what its width and depth are called."""
    return model_entrypoint(name.split(".")[0]).__module__.rpartition(".")[2]


def create(
    recipe: Any, techniques: Sequence[Technique], classes: int, size: int, seed: int, weights: str = ""
) -> tuple[nn.Module, dict[str, Any]]:
    """A network for ``size`` x ``size`` images, its weights drawn from the stream ``init`` or read from a file.

    Args:
        recipe: ``backbone``, ``in_chans``, ``drop_path`` and ``dropout`` are used.
        techniques: asked for constructor arguments (width, depth).
        classes: outputs of the head.
        size: pixels of both sides.
        seed: of the trial.
        weights: "" for none, ``timm`` for the hub's, or a local file or folder in timm's format.

    Returns:
        The network, and the description from which :func:`rebuild` makes its like without weights.

    Raises:
        UserError: weights that cannot be read or do not fit the backbone, or arguments that it does not take.
    """
    name = recipe.backbone
    arguments: dict[str, Any] = {"num_classes": classes, "in_chans": recipe.in_chans}
    if recipe.dropout:
        arguments["drop_rate"] = recipe.dropout
    if recipe.drop_path:
        arguments["drop_path_rate"] = recipe.drop_path
    for technique in techniques:
        arguments.update(technique.backbone_arguments(name, family_of(name)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        if weights:
            model, arguments = _with_weights(name, weights, arguments)
        else:
            try:
                model = timm.create_model(name, pretrained=False, **arguments)
            except TypeError as error:
                remedy = "choose another backbone or leave those settings out"
                raise UserError("recipe.backbone", name, f"does not take them: {error}", remedy) from error
    resize(model, size)
    return model, {"name": name, "arguments": arguments}


def rebuild(built: Mapping[str, Any], classes: int, size: int) -> nn.Module:
    """The same architecture again, its weights to be loaded by the caller."""
    model = timm.create_model(built["name"], pretrained=False, **{**built["arguments"], "num_classes": classes})
    resize(model, size)
    return model


def _with_weights(name: str, weights: str, arguments: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    if weights == "timm":
        try:
            return timm.create_model(name, pretrained=True, **arguments), arguments
        except Exception as error:
            remedy = "check the network, or name a local file or folder in recipe.weights"
            raise UserError("recipe.weights", "timm", f"could not load {name}: {error}", remedy) from error
    path = Path(weights).expanduser()
    try:
        if path.is_dir():
            declared = json.loads((path / "config.json").read_text())
            if declared["architecture"] != name.split(".")[0]:
                raise ValueError(f"its config.json says {declared['architecture']}")
            arguments = {**declared.get("model_args", {}), **arguments}
            return timm.create_model(f"local-dir:{path}", pretrained=True, **arguments), arguments
        if not path.is_file():
            raise FileNotFoundError("there is no such file or folder")
        model = timm.create_model(name, pretrained=False, **arguments)
        _load(model, dict(load_state_dict(str(path), use_ema=False, weights_only=True)))
        return model, arguments
    except Exception as error:
        reason = str(error) or type(error).__name__
        remedy = "give a .safetensors or weights-only .pth file of this backbone, or a folder with config.json"
        raise UserError("recipe.weights", str(weights), f"cannot be used for {name}: {reason[:300]}", remedy) from error


def _load(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Loads all but a head of another number of classes.

    Raises:
        ValueError: a tensor of the body is missing or has another shape.
    """
    own = model.state_dict()
    head = classifier_names(model)
    wrong = [
        key for key in own if key not in head and (key not in state or state[key].shape != own[key].shape)
    ]  # fmt: skip
    if wrong:
        raise ValueError(f"{len(wrong)} of {len(own)} tensors are missing or of another shape, such as {wrong[0]}")
    fits = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    model.load_state_dict(fits, strict=False)


def classifier_names(model: nn.Module) -> set[str]:
    """Names in ``state_dict`` of the classifier, the layer that depends on the number of classes."""
    declared = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    prefixes = (declared,) if isinstance(declared, str) else tuple(declared)
    return {key for key in model.state_dict() if any(key.startswith(f"{prefix}.") for prefix in prefixes)}


def resize(model: nn.Module, size: int) -> None:
    """Makes a network take ``size`` x ``size`` images: position embeddings are resampled (bicubic, antialiased, timm's
    ``resample_abs_pos_embed``); convolutional networks take any size as they are.

    Raises:
        UserError: the backbone cannot take this size.
    """
    if not hasattr(model, "set_input_size"):
        return
    try:
        model.set_input_size(img_size=(size, size))
    except Exception as error:
        name = type(model).__name__
        raise UserError("recipe.resize", str(size), f"{name} cannot take it: {error}", "choose another size") from error


def statistics(model: nn.Module) -> tuple[Sequence[float], Sequence[float]]:
    """The backbone's own mean and standard deviation per channel, in units of 0..1."""
    config: Mapping[str, Any] = getattr(model, "pretrained_cfg", {})
    return tuple(config.get("mean") or (0.5, 0.5, 0.5)), tuple(config.get("std") or (0.5, 0.5, 0.5))
