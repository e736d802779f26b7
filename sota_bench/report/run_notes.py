"""Sentences that must be read before a run's numbers: what the machine, the data or the weights do to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sota_bench.grid.draws import MEANING, SOURCES, Source
from sota_bench.grid.pretrained import sentences
from sota_bench.plan.plan import Plan
from sota_bench.report.text import first_of
from sota_bench.stages.results import StageResult
from sota_bench.stats.wording import join
from sota_bench.units import counted

if TYPE_CHECKING:
    import pandas as pd

CONTENDED = 0.1
"""Share of the time waiting for a processor above which a run's minutes are marked."""


def run_notes(plan: Plan, results: Collection[StageResult], trials: pd.DataFrame) -> list[str]:
    """All of them, for one run.

    Args:
        plan: what was asked for.
        results: of the stages that are done.
        trials: the table of trials.
    """
    alone = bool(trials["minutes_alone"].notna().any())
    notes = [*memory_notes(trials), *busy_notes(cpu_wait(results), shared_gpu(results), measured_alone=alone)]
    if plan.grid.matched:
        from sota_bench.forecast.match import sentence

        notes.append(sentence(plan.grid.match, plan.grid.matched))
    notes += varied_notes(plan.grid.vary)
    sizes = sorted({phase.size for trial in plan.trials for phase in trial.phases})
    notes += stored_size_notes(plan.images.size, sizes, plan.images.upsampled)
    notes += sentences((cell.recipe for cell in plan.grid.cells()), plan.grid.file)
    if any(cell.recipe.weights for cell in plan.grid.cells()):
        notes.append(
            "This run starts from pretrained weights. Images that the weights were trained on are no fair test: most "
            "validation images of Imagenette and Imagewoof are ImageNet training images."
        )
    if not plan.grid.recipe.eval_size and "eval_size" not in plan.grid.factors:
        judged = sorted({trial.final.size for trial in plan.trials if trial.inapplicable is None})
        notes.append(
            f"Networks are evaluated at {join([f'{size} px' for size in judged])}, the size of the last training "
            "phase; set recipe.eval_size to evaluate at another size."
        )
    return notes


def varied_notes(vary: Sequence[Source]) -> list[str]:
    """What seeds vary, where that is not what they usually do."""
    if set(vary) == {"init", "order", "augment"}:
        return []
    fixed = [MEANING[source] for source in SOURCES if source not in vary and source != "split"]
    text = f"Between seeds, {join([MEANING[source] for source in vary])} {'vary' if len(vary) > 1 else 'varies'}"
    text += f"; {join(fixed)} {'are' if len(fixed) > 1 else 'is'} the same for all" if fixed else ""
    if "split" in vary:
        return [
            f"{text}. Each seed draws its own training and selection images, the same for all cells, so intervals "
            "cover other images too; the test split is always the same."
        ]
    return [f"{text}. Intervals cover only what varies, so they are narrower than those of independent trainings."]


def memory_notes(trials: pd.DataFrame) -> list[str]:
    """Whether batches were computed in parts because memory ran out."""
    parts = trials.loc[trials["status"] == "done", "micro_batch"].dropna()
    if parts.empty:
        return []
    size = f"{parts.min():.0f}" if parts.nunique() == 1 else f"{parts.min():.0f} to {parts.max():.0f}"
    whose = "its" if len(parts) == 1 else "their"
    return [
        f"Memory ran out in {counted(len(parts), 'trial')}, so {whose} batches were computed in parts of at most "
        f"{size} images (gradient accumulation). The gradient is that of the whole batch, but batch norm and dropout "
        "see one part at a time; set a smaller batch_size to avoid it."
    ]


def memory_warnings(trials: pd.DataFrame) -> list[str]:
    """The warning that belongs beside verdicts: cells whose batches were computed in different parts."""
    done = trials[trials["status"] == "done"]
    parts = {str(cell): set(rows.fillna(0)) for cell, rows in done.groupby("cell")["micro_batch"]}
    if len({frozenset(sizes) for sizes in parts.values()}) < 2:
        return []
    cells = [cell for cell, sizes in parts.items() if sizes != {0.0}]
    return [
        f"Memory ran out in some cells only ({first_of(cells, 5)}), and their batches were computed in parts. Networks "
        "with batch norm or dropout train differently that way, so effects on these cells include this difference. Set "
        "a smaller batch_size for all cells."
    ]


def busy_notes(waited: float | None, gpu_is_shared: bool, *, measured_alone: bool = False) -> list[str]:
    """Whether other work made the minutes longer.

    Args:
        waited: share of the training time in which threads had work and no processor.
        gpu_is_shared: whether another process computed on the same GPU.
        measured_alone: whether iterations were measured alone as well.
    """
    causes = []
    if waited is not None and waited > CONTENDED:
        causes.append(f"The CPU was busy with other work for {100 * waited:.0f}% of the training time")
    if gpu_is_shared:
        causes.append("Another process used the same GPU")
    remedy = "Run with --exclusive-timing on an idle machine to measure iterations alone."
    if measured_alone:
        remedy = "The times of iterations measured alone are not affected."
    return [f"{cause}, so the times below are too long. {remedy}" for cause in causes]


def stored_size_notes(stored: int, sizes: Sequence[int], upsampled: Sequence[int]) -> list[str]:
    """What the size at which images are stored does to the pixels that networks see.

    Args:
        stored: pixels of the shorter side of the stored images.
        sizes: sizes that the grid trains at.
        upsampled: sizes in the grid above the stored one.
    """
    notes = []
    if len(sizes) > 1:
        notes.append(
            f"Images are stored at {stored} px (shorter side), as the largest size in this grid needs. In a grid with "
            "other sizes the same recipe sees slightly different pixels, so compare cells within one grid."
        )
    if upsampled:
        notes.append(
            f"Some cells train or evaluate at {join([f'{size} px' for size in upsampled])}, above the stored size: "
            "this adds pixels and no detail. Use larger images to test these sizes."
        )
    return notes


def cpu_wait(results: Collection[StageResult]) -> float | None:
    """Share of the training time in which no processor was free; None where the system does not say."""
    shares = [
        (result.use.cpu_wait, result.seconds.get("train", 0.0)) for result in results if result.use.cpu_wait is not None
    ]
    seconds = sum(spent for _, spent in shares)
    return sum(share * spent for share, spent in shares) / seconds if seconds else None


def shared_gpu(results: Collection[StageResult]) -> bool:
    """Whether another process computed on the GPU of some stage."""
    return any((result.use.gpu_processes or 1) > 1 for result in results)
