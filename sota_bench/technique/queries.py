"""Questions that a technique asks about a recipe while a grid is read, answered without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sota_bench.grid.resize_schedule import SizePhase


def backbone_family(name: str) -> str:
    """timm's module of a backbone (``resnet``, ``vision_transformer``); "" for an unknown one."""
    from sota_bench.grid.backbones import backbone_families

    return backbone_families().get(name.split(".", 1)[0], "")


def backbone_mentions(name: str, word: str) -> bool:
    """Whether timm's module of a backbone contains a word (a constructor's argument, a method)."""
    from sota_bench.grid.backbones import family_source

    return word in family_source(backbone_family(name))


def read_schedule(text: str) -> tuple[SizePhase, ...]:
    """Phases (``size``, ``epochs``) of a resize schedule such as ``64x3 128x2``.

    Raises:
        ValueError: it is no schedule, as ``problem; remedy``.
    """
    from sota_bench.grid.resize_schedule import parse_schedule

    return parse_schedule(text)
