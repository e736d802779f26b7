"""What an ablation does not show of the training that its winner is promoted to. No torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sota_bench.data.counts import ImageCounts
from sota_bench.grid.expand import Cell
from sota_bench.grid.grid import Grid
from sota_bench.grid.levels import level_text
from sota_bench.report.effects import Effect
from sota_bench.runs.confirmation import Confirmation
from sota_bench.stats import verdicts
from sota_bench.technique import TracksWeights
from sota_bench.units import counted

UNDECIDED = (verdicts.UNDETECTED, verdicts.NOT_ESTIMABLE)


def gaps(
    grid: Grid,
    cell: Cell,
    changed: Mapping[str, object],
    effects: list[Effect],
    confirmation: Confirmation | None,
    ablation: ImageCounts,
    full: ImageCounts | None,
) -> list[str]:
    """Sentences that say where the evidence ends.

    Args:
        grid: the ablation.
        cell: that is promoted.
        changed: recipe fields that the production has otherwise, scaled fields apart.
        effects: the ablation's verdicts.
        confirmation: of the grid's winner, or None.
        ablation, full: sizes of the data sets; None where the full one is not known.
    """
    decided, tried = _verdicts(grid, cell, effects, confirmation), _changes(grid, cell, changed)
    return [*decided, *tried, *_averages(grid, cell), *_images(ablation, full)]


def _verdicts(grid: Grid, cell: Cell, effects: list[Effect], confirmation: Confirmation | None) -> Iterator[str]:
    if grid.source == "known-effects":
        yield "The ablation's images were rendered as a control, so nothing was measured on photographs."
    first = {factor: level_text(levels[0]) for factor, levels in grid.factors.items()}
    chosen = {factor: level for factor, level in cell.text.items() if level != first[factor]}
    for effect in effects:
        row = effect.row
        if chosen.get(row.factor) == row.level and row.verdict in UNDECIDED:
            yield f"Not decided: {effect.short_sentence} The first level, {row.baseline}, is the simpler choice."
        if chosen.get(row.factor) == row.level and row.verdict == verdicts.HURTS:
            yield f"A level that hurts: {effect.short_sentence}"
    if chosen and (confirmation is None or confirmation.winner != cell.id):
        yield f"{cell.id} was not confirmed on the test split: `confirm --cell {cell.id}` measures it with fresh seeds."


def _changes(grid: Grid, cell: Cell, changed: Mapping[str, object]) -> Iterator[str]:
    cells = grid.cells()
    for field, value in changed.items():
        if field == "resize":
            continue
        tried = sorted({level_text(getattr(other.recipe, field)) for other in cells})
        if level_text(value) not in tried:
            yield f"{field} {level_text(value)}: the grid tried {', '.join(tried)}; its verdicts may not hold for it."
    if "resize" in changed:
        new = type(cell.recipe).model_validate({**cell.recipe.model_dump(), "resize": changed["resize"]})
        sizes = {phase.size for other in cells for phase in other.recipe.phases}
        if unseen := sorted({phase.size for phase in new.phases} - sizes):
            trained = ", ".join(map(str, sorted(sizes)))
            yield (
                f"{', '.join(map(str, unseen))} px: the grid trained at {trained} px, so its verdicts may not hold at "
                "another resolution."
            )


def _averages(grid: Grid, cell: Cell) -> Iterator[str]:
    for technique in grid.active(cell.recipe):
        if isinstance(technique, TracksWeights):
            level = level_text(getattr(cell.recipe, technique.field))
            yield (
                f"{technique.field} {level} averages weights over optimizer steps. More images give more steps, but "
                f"this value was not scaled; to scale it, give --change {technique.field}=VALUE."
            )


def _images(ablation: ImageCounts, full: ImageCounts | None) -> Iterator[str]:
    if full is None:
        yield (
            "The size of the full data set is unknown, so batch size and learning rate are not scaled to it; "
            "--batch-size sets them."
        )
        return
    if full.train > ablation.train or full.classes != ablation.classes:
        yield (
            f"The verdicts come from {ablation.train:,} training images of "
            f"{counted(ablation.classes, 'class', 'classes')}, not from {full.train:,} of {full.classes:,}: "
            "regularization that helps with few images can hurt with many."
        )
