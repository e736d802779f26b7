"""Builds timm's architectures without weights, and with width and depth multipliers where timm fixes them."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

import timm
from timm.models import model_entrypoint
from torch import nn

MULTIPLIERS = ("channel_multiplier", "depth_multiplier")


def build(name: str, **arguments: Any) -> nn.Module:
    """Builds a model as timm's ``create_model`` does, which also takes ``channel_multiplier`` and ``depth_multiplier``.

    timm makes its MobileNets and EfficientNets from a table of blocks and these two numbers. Each entry point fixes
    them (``mobilenetv2_050`` is 0.5 and 1) and refuses others; here they multiply what it fixes.

    Raises:
        TypeError: the architecture does not take one of the arguments.
    """
    multipliers = {key: float(arguments.pop(key)) for key in MULTIPLIERS if key in arguments}
    if not multipliers:
        return timm.create_model(name, pretrained=False, **arguments)
    return _multiplied(name, multipliers)(pretrained=False, **arguments)  # type: ignore[no-any-return]


def _multiplied(name: str, multipliers: dict[str, float]) -> FunctionType:
    """Returns the entry point of a model with the arguments of timm's generator (``_gen_mobilenet_v2``) multiplied.

    It is a copy of the function with its own globals, since the entry point passes the multipliers on by position; timm
    itself is not changed.
    """
    entry: Any = model_entrypoint(name.split(".")[0])
    generators = [called for called in entry.__code__.co_names if called.startswith("_gen_")]
    if len(generators) != 1:
        raise TypeError(f"{name} is not made from multipliers")
    original = entry.__globals__[generators[0]]
    signature = inspect.signature(original)
    for key in multipliers:
        if key not in signature.parameters:
            raise TypeError(f"{name} has no {key}")

    def generator(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for key, factor in multipliers.items():
            bound.arguments[key] *= factor
        return original(*bound.args, **bound.kwargs)

    return FunctionType(entry.__code__, {**entry.__globals__, generators[0]: generator}, entry.__name__,
                        entry.__defaults__, entry.__closure__)  # fmt: skip
