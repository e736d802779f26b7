"""The blocks of a network from the stem to the head, which mitigations freeze or train more slowly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from timm.models import group_parameters
from torch import nn


@dataclass(frozen=True)
class Block:
    """A part of a network's depth, by timm's own grouping of the architecture where it has one (stem, stages or
    transformer blocks, head).

    Attributes:
        index: 0 is the stem; the last is the head.
        parameters: names in ``model.named_parameters()``.
        modules: names in ``model.named_modules()`` whose mode (batch norm, dropout) belongs to this block.
    """

    index: int
    parameters: tuple[str, ...]
    modules: tuple[str, ...]


def _only_group(module: str, by_parameter: Mapping[str, int]) -> int | None:
    """Returns the group of a module's parameters, or of its nearest ancestor with any (dropout has none); None where
    they are in several groups."""
    while module:
        groups = {group for name, group in by_parameter.items() if name.startswith(f"{module}.")}
        if groups:
            return groups.pop() if len(groups) == 1 else None
        module = module.rpartition(".")[0]
    return None


def _groups(model: nn.Module) -> dict[str, int]:
    """Returns parameter -> group, from the stem to the head.

    A network that timm does not group is grouped by its children in order: each stage of a sequence of stages is a
    group, and so is the last child, the head.
    """
    if hasattr(model, "group_matcher"):
        try:
            matcher = model.group_matcher(coarse=True)  # type: ignore[operator]
        except (AssertionError, NotImplementedError):  # RDNet has one grouping, which is by stages already
            matcher = model.group_matcher()  # type: ignore[operator]
        grouped: dict[str, int] = group_parameters(model, matcher, reverse=True)  # type: ignore[assignment]
        return grouped
    children = dict(model.named_children())
    head = next(name for name, child in reversed(children.items()) if any(True for _ in child.parameters()))
    sequences = {name for name, child in children.items() if isinstance(child, nn.Sequential | nn.ModuleList)} - {head}
    groups: dict[str, int] = {}
    units: dict[tuple[str, ...], int] = {}
    for name, _ in model.named_parameters():
        path = name.split(".")
        unit = tuple(path[: 2 if path[0] in sequences else 1])
        groups[name] = units.setdefault(unit, len(units))
    return groups


def blocks_of(model: nn.Module) -> list[Block]:
    """Returns the blocks of a timm model; every parameter is in exactly one of them."""
    by_parameter = _groups(model)
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
