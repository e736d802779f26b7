"""Backbones from timm: created for an image size, resized to another, loaded from the hub or from local files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.models import adapt_input_conv, load_state_dict, model_entrypoint
from torch import Tensor, nn

from sota_bench.errors import UserError
from sota_bench.technique import ShapesNetwork, Technique
from sota_bench.training.architecture import build
from sota_bench.training.initialization import drawn_by_name

if TYPE_CHECKING:
    from sota_bench.grid.recipe import CoreRecipe


def family_of(name: str) -> str:
    """Returns timm's module of a model (``resnet``, ``vision_transformer``), which decides what its width is called."""
    return model_entrypoint(name.split(".")[0]).__module__.rpartition(".")[2]


def create(
    recipe: CoreRecipe, techniques: Sequence[Technique], classes: int, size: int, seed: int, weights: str = ""
) -> tuple[nn.Module, dict[str, Any]]:
    """Creates a network for ``size`` x ``size`` images, its weights drawn by name (see ``initialization``) or loaded.

    Args:
        recipe: ``backbone``, ``in_chans``, ``drop_path`` and ``dropout`` are used.
        techniques: asked for constructor arguments (width, depth).
        classes: outputs of the head.
        size: pixels of both sides.
        seed: of the trial.
        weights: "" for none, ``timm`` for the hub's, or a local file or folder in timm's format.

    Returns:
        The network, and the description from which :func:`rebuild` makes the same network without weights.

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
        if isinstance(technique, ShapesNetwork):
            arguments.update(technique.backbone_arguments(name, family_of(name)))
    if weights:
        model, arguments = _with_weights(name, weights, arguments, seed)
    else:
        try:
            with drawn_by_name(seed, lambda: build(name, **arguments)):
                model = build(name, **arguments)
        except TypeError as error:
            raise _refused(name, error) from error
    resize(model, size)
    return model, {"name": name, "arguments": arguments}


def _refused(name: str, error: TypeError) -> UserError:
    """Returns the error of an argument that an architecture does not take, with the recipe field it comes from."""
    for argument, field in {"drop_rate": "dropout", "drop_path_rate": "drop_path"}.items():
        if f"'{argument}'" in str(error):
            return UserError(f"recipe.{field}", name, "does not support it", "leave it out, or choose another backbone")
    remedy = "choose another backbone or leave those settings out"
    return UserError("recipe.backbone", name, f"does not take these settings: {error}", remedy)


def rebuild(built: Mapping[str, Any], classes: int, size: int) -> nn.Module:
    """Makes the same architecture again, its weights to be loaded by the caller."""
    model = build(built["name"], **{**built["arguments"], "num_classes": classes})
    resize(model, size)
    return model


def _with_weights(name: str, weights: str, arguments: dict[str, Any], seed: int) -> tuple[nn.Module, dict[str, Any]]:
    """Creates a network with weights that are read; a head of another number of classes is drawn."""
    if weights == "timm":
        try:
            with drawn_by_name(seed, lambda: build(name, **arguments)):
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
            with drawn_by_name(seed, lambda: build(name, **arguments)):
                return timm.create_model(f"local-dir:{path}", pretrained=True, **arguments), arguments
        if not path.is_file():
            raise FileNotFoundError("there is no such file or folder")
        with drawn_by_name(seed, lambda: build(name, **arguments)):
            model = build(name, **arguments)
        _load(model, dict(load_state_dict(str(path), use_ema=False, weights_only=True)))
        return model, arguments
    except Exception as error:
        reason = str(error) or type(error).__name__
        remedy = "give a .safetensors or weights-only .pth file of this backbone, or a folder with config.json"
        raise UserError("recipe.weights", str(weights), f"cannot be used for {name}: {reason[:300]}", remedy) from error


def _load(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Loads all but a head of another number of classes.

    Raises:
        ValueError: a tensor of the body is missing or has another shape.
    """
    own = model.state_dict()
    head = classifier_names(model)
    for key in _first_layers(model):  # of other channels: as timm does it for weights from its hub
        if key in state and state[key].shape[1] != own[key].shape[1]:
            state[key] = adapt_input_conv(own[key].shape[1], state[key])
    wrong = [
        key for key in own if key not in head and (key not in state or state[key].shape != own[key].shape)
    ]  # fmt: skip
    if wrong:
        raise ValueError(f"{len(wrong)} of {len(own)} tensors are missing or of another shape, such as {wrong[0]}")
    fits = {key: value for key, value in state.items() if key in own and value.shape == own[key].shape}
    model.load_state_dict(fits, strict=False)


def classifier_names(model: nn.Module) -> set[str]:
    """Returns the names in ``state_dict`` of the classifier, the layer that depends on the number of classes."""
    prefixes = _declared(model, "classifier")
    return {key for key in model.state_dict() if any(key.startswith(f"{prefix}.") for prefix in prefixes)}


def classify_in_fp32(model: nn.Module) -> None:
    """Makes the classifier compute in fp32 whatever the precision of the rest.

    In bf16 logits of 8 to 16 are multiples of 1/16: classes tie, the first of them wins, and NLL and ECE are blurred.
    A network has one classifier or several, which are linear layers or convolutions of one pixel.
    """
    layers = dict(model.named_modules())
    for name in _declared(model, "classifier"):
        if name in layers:
            layers[name].forward = partial(_forward_in_fp32, layers[name])  # type: ignore[method-assign]


def _forward_in_fp32(layer: nn.Module, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        features = features.float() if features.dtype == torch.bfloat16 else features
        logits: Tensor = type(layer).forward(layer, features)
    return logits


def _first_layers(model: nn.Module) -> list[str]:
    """Returns the names of the weights that see the image's channels."""
    return [f"{name}.weight" for name in _declared(model, "first_conv") if f"{name}.weight" in model.state_dict()]


def _declared(model: nn.Module, role: str) -> tuple[str, ...]:
    """Returns the names of the layers that timm declares as ``classifier`` or ``first_conv``."""
    names = getattr(model, "pretrained_cfg", {}).get(role) or ()
    return (names,) if isinstance(names, str) else tuple(names)


@dataclass(frozen=True)
class _Sized:
    """The size that a network takes, and the tensors that were resampled for it.

    Attributes:
        size: pixels.
        source_size: the size that ``source`` belongs to.
        source: tensors by name before they were resampled; empty where nothing was.
        resampled: the same tensors afterwards.
    """

    size: int
    source_size: int
    source: Mapping[str, Tensor]
    resampled: Mapping[str, Tensor]


def resize(model: nn.Module, size: int) -> None:
    """Makes a network take ``size`` x ``size`` images: timm resamples position embeddings (bicubic, antialiased);
    convolutional networks take any size as they are.

    Resampling loses detail, so it always starts from the embeddings as they were last trained: a network that goes to
    another size and back without training gives its old logits, bit for bit.

    Raises:
        UserError: the backbone cannot take this size.
    """
    if not hasattr(model, "set_input_size"):
        _check_fixed(model, size)
        return
    last: _Sized | None = model.__dict__.get("_sized")
    if last is None:
        _set_size(model, size)
        model.__dict__["_sized"] = _Sized(size, size, {}, {})
        return
    if last.size == size:
        return
    source_size = last.size
    if untrained := untrained_source(model):
        source_size, source = untrained
        _set_size(model, source_size)
        model.load_state_dict(source, strict=False)
    before = model.state_dict()
    if size != source_size:
        _set_size(model, size)
    after = model.state_dict()
    changed = [name for name, value in after.items() if value.shape != before[name].shape]
    model.__dict__["_sized"] = _Sized(
        size,
        source_size,
        {name: before[name].detach().clone() for name in changed},
        {name: after[name].detach().clone() for name in changed},
    )


def untrained_source(model: nn.Module) -> tuple[int, dict[str, Tensor]] | None:
    """Returns the size and values of the tensors that were resampled, as they were before; None where nothing was
    resampled, or where it was trained since."""
    last: _Sized | None = model.__dict__.get("_sized")
    if last is None or not last.source:
        return None
    state = model.state_dict()
    if any(not torch.equal(state[name].cpu(), value.cpu()) for name, value in last.resampled.items()):
        return None
    return last.source_size, dict(last.source)


def resampled_from(model: nn.Module, source_size: int, source: Mapping[str, Tensor]) -> None:
    """Records in a rebuilt network what was resampled for its size, as :func:`untrained_source` returned it."""
    state, size = model.state_dict(), model.__dict__["_sized"].size
    now = {name: state[name].detach().clone() for name in source}
    model.__dict__["_sized"] = _Sized(size, source_size, dict(source), now)


def _set_size(model: Any, size: int) -> None:
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
    patch = patch if isinstance(patch, int) else patch[0]
    if size % patch:
        problem = f"it cannot be cut into the {patch} px patches of this {type(model).__name__}"
        raise UserError("recipe.resize", str(size), problem, f"write a multiple of {patch}")
    try:
        model.set_input_size(img_size=(size, size))
    except Exception as error:
        name = type(model).__name__
        raise UserError("recipe.resize", str(size), f"{name} cannot take it: {error}", "choose another size") from error


def _check_fixed(model: nn.Module, size: int) -> None:
    config: Mapping[str, Any] = getattr(model, "pretrained_cfg", {})
    own = (config.get("input_size") or (3, size, size))[-1]
    if config.get("fixed_input_size") and own != size:
        problem = f"{type(model).__name__} takes {own} px and nothing else"
        raise UserError("recipe.resize", str(size), problem, "train at that size, or choose another backbone")
