"""Questions that a technique asks about a recipe while a grid is read, answered without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from sota_bench.grid.resize_schedule import SizePhase


def backbone_family(name: str) -> str:
    """timm's module of a backbone (``resnet``, ``vision_transformer``); "" for an unknown one."""
    from sota_bench.grid.backbones import backbone_families

    return backbone_families().get(name.split(".", 1)[0], "")


def read_schedule(text: str) -> tuple[SizePhase, ...]:
    """Phases (``size``, ``epochs``) of a resize schedule such as ``64x3 128x2``.

    Raises:
        ValueError: it is no schedule, as ``problem; remedy``.
    """
    from sota_bench.grid.resize_schedule import parse_schedule

    return parse_schedule(text)


def uniform_by_id(seed: int, stream: str, ids: np.ndarray, count: int) -> np.ndarray:
    """Numbers that follow from (seed, stream, id) alone, such as those of an image whatever batch it is in.

    Args:
        seed: names the draws.
        stream: the technique's name.
        ids: int64 [N], such as ``batch.image_ids``.
        count: numbers for each id.

    Returns:
        float64 [N, count], uniform in 0 to 1 (1 excluded).
    """
    from sota_bench import randomness

    return randomness.uniform_by_id(seed, stream, ids, count)
