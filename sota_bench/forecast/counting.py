"""A worker's stage with its floating-point operations counted by torch: forward, backward, and what techniques add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from sota_bench.engine import stages
from sota_bench.engine.messages import Outcome, Progress
from sota_bench.plan.stage import Stage

PRELOAD = stages.PRELOAD


def execute(
    stage: Stage, inputs: Mapping[str, Path], workspace: Path, device: str, progress: Callable[[Progress], None]
) -> Outcome:
    """As :func:`sota_bench.engine.stages.execute`; training stages also say ``counted_flops`` (two per multiply-add) of
    all their steps together, and ``counted_images``."""
    if stage.kind != "train":
        return stages.execute(stage, inputs, workspace, device, progress)
    from torch.utils.flop_counter import FlopCounterMode

    from sota_bench.training.small_maps import as_convolutions

    seen = 0

    def tell(done: Progress) -> None:
        nonlocal seen
        seen = done.done
        progress(done)

    with as_convolutions(), FlopCounterMode(display=False) as counter:
        outcome = stages.execute(stage, inputs, workspace, device, tell)
    counted = {"counted_flops": int(counter.get_total_flops()), "counted_images": seen}
    return replace(outcome, values={**outcome.values, **counted})
