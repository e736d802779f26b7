"""A network as a row of blocks, from the stem to the head: what mitigations freeze or train more slowly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from timm.models import group_parameters
from torch import nn


@dataclass(frozen=True)
class Block:
    """One step of depth, by timm's own grouping of the architecture (stem, stages or transformer blocks, head).

    Attributes:
        index: 0 is the stem; the last is the head.
        parameters: names in ``model.named_parameters()``.
        modules: names in ``model.named_modules()`` whose mode (batch norm, dropout) belongs to this block.
    """

    index: int
    parameters: tuple[str, ...]
    modules: tuple[str, ...]


def _only_group(module: str, by_parameter: Mapping[str, int]) -> int | None:
    """The one group of a module: that of its parameters, or of its nearest ancestor that has any (dropout has none)."""
    while module:
        groups = {group for name, group in by_parameter.items() if name.startswith(f"{module}.")}
        if groups:
            return groups.pop() if len(groups) == 1 else None
        module = module.rpartition(".")[0]
    return None


def blocks_of(model: nn.Module) -> list[Block]:
    """The blocks of a timm model; every parameter is in exactly one of them."""
    matcher = model.group_matcher(coarse=True)  # type: ignore[operator]
    by_parameter: dict[str, int] = group_parameters(model, matcher, reverse=True)  # type: ignore[assignment]
    order = {old: new for new, old in enumerate(sorted(set(by_parameter.values())))}
    parameters: dict[int, list[str]] = {index: [] for index in order.values()}
    modules: dict[int, list[str]] = {index: [] for index in order.values()}
    for name, group in by_parameter.items():
        parameters[order[group]].append(name)
    for name, _ in model.named_modules():
        only = _only_group(name, by_parameter)
        if only is not None:
            modules[order[only]].append(name)
    return [Block(index, tuple(parameters[index]), tuple(modules[index])) for index in sorted(parameters)]
