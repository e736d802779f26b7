"""A worker's stage with its floating-point operations counted by torch: forward, backward, and what techniques add."""

from __future__ import annotations

from dataclasses import replace

from sota_bench.stages.protocol import Progress, RunContext, StageOutcome
from sota_bench.stages.stage import Stage
from sota_bench.training import execute as stages

PRELOAD = stages.PRELOAD


def execute(stage: Stage, run: RunContext) -> StageOutcome:
    """As :func:`sota_bench.training.execute.execute`; training stages also say ``counted_flops`` (two per multiply-add)
    of all their steps together, and ``counted_images``."""
    if stage.kind != "train":
        return stages.execute(stage, run)
    from torch.utils.flop_counter import FlopCounterMode

    from sota_bench.training.small_maps import as_convolutions

    images = 0

    def progress(report: Progress) -> None:
        nonlocal images
        images = report.done
        run.progress(report)

    with as_convolutions(), FlopCounterMode(display=False) as counter:
        outcome = stages.execute(stage, replace(run, progress=progress))
    counted = {"counted_flops": int(counter.get_total_flops()), "counted_images": images}
    return replace(outcome, values={**outcome.values, **counted})
