"""A network as a row of blocks, from the stem to the head: what mitigations freeze or train more slowly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from timm.models import group_parameters
from torch import nn


@dataclass(frozen=True)
class Block:
    """One step of depth, by timm's own grouping of the architecture (stem, stages or transformer blocks, head) where it
    has one.

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


def _groups(model: nn.Module) -> dict[str, int]:
    """Parameter -> its group, from the stem to the head.

    A network that timm does not group is taken as its children in order, each stage of a row of stages by itself, and
    the last child, the head, whole.
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
    rows = {name for name, child in children.items() if isinstance(child, nn.Sequential | nn.ModuleList)} - {head}
    found: dict[str, int] = {}
    units: dict[tuple[str, ...], int] = {}
    for name, _ in model.named_parameters():
        path = name.split(".")
        unit = tuple(path[: 2 if path[0] in rows else 1])
        found[name] = units.setdefault(unit, len(units))
    return found


def blocks_of(model: nn.Module) -> list[Block]:
    """The blocks of a timm model; every parameter is in exactly one of them."""
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
