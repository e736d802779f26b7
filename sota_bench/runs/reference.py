"""Reference runs of a grid, kept in a file that is committed, and the comparison of a later run with them.

The file holds the accuracy of each cell for each seed, at the epochs that the recipe declares, with the images,
versions and hardware that they were measured with. It speaks of one recipe on one set of images: a run of anything else
is refused, not compared. Precision, processor and versions may differ; that they do not move the accuracy, by more than
the grid's smallest effect of interest, is what the comparison finds out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from sota_bench.errors import UserError
from sota_bench.files import write_text
from sota_bench.stats import convergence
from sota_bench.stats.convergence import AGREES, LEAST_REFERENCES, TOO_LOW, Comparison
from sota_bench.units import counted

if TYPE_CHECKING:
    import pandas as pd

    from sota_bench.grid import Grid
    from sota_bench.plan.plan import Plan

USUAL_MARGIN_PP = 1.0
"""Margin of a grid that declares no smallest effect on accuracy, in percentage points."""

REMEDY = "compare with a reference of this grid, or write one with `--write-reference`"

OVERALL = "the mean over all cells"

FREE_FIELDS = frozenset({"precision", "layout", "compile", "eval_batch_size"})
"""Recipe fields that say how a machine computes, not what: a run may differ from its reference in them."""


@dataclass(frozen=True)
class ReferenceCell:
    """One cell of a grid.

    Attributes:
        levels: factor -> level as text.
        epochs: that a training of it declares.
        judged_on: digest of the images that judge it.
        accuracy: seed -> percent, on the images that judge.
    """

    levels: Mapping[str, str]
    epochs: int
    judged_on: str
    accuracy: Mapping[int, float]

    @property
    def key(self) -> frozenset[tuple[str, str]]:
        """What finds it in another run of the grid."""
        return frozenset(self.levels.items())

    @property
    def title(self) -> str:
        """The levels for people: ``mixup 0.2, resize 64x3``."""
        return ", ".join(f"{factor} {level}" for factor, level in self.levels.items()) or "the only cell"


@dataclass(frozen=True)
class Reference:
    """The content of a reference file.

    Attributes:
        grid: its name.
        command: that wrote the file.
        device: ``kind``, ``name`` and what else identifies it.
        precision: what ``auto`` was there.
        versions: package -> version.
        data_digest: of the list of all images.
        recipe: every field of the baseline.
        margin_pp: what a run may differ by for other reasons than its seeds: the smallest effect of interest.
        cells: all that were trained.
    """

    grid: str
    command: str
    device: Mapping[str, str | int]
    precision: str
    versions: Mapping[str, str]
    data_digest: str
    recipe: Mapping[str, Any]
    margin_pp: float
    cells: tuple[ReferenceCell, ...]


@dataclass(frozen=True)
class Checked:
    """A run beside its reference.

    Attributes:
        names: what each comparison is about: a cell, or the mean over cells.
        comparisons: in the same order.
    """

    names: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    reference: Reference

    @property
    def failures(self) -> list[str]:
        """A sentence for each comparison that failed."""
        return [
            failure_sentence(name, comparison)
            for name, comparison in zip(self.names, self.comparisons, strict=True)
            if comparison.outcome != AGREES
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        rows = [
            {"what": name, **asdict(comparison)} for name, comparison in zip(self.names, self.comparisons, strict=True)
        ]
        return {"margin_pp": self.reference.margin_pp, "alpha": convergence.ALPHA, "comparisons": rows}

    def summary(self) -> str:
        """What was compared, and how strictly, in one sentence."""
        cells = counted(sum(name != OVERALL for name in self.names), "cell")
        seeds = min(comparison.reference_n for comparison in self.comparisons)
        device = f"{self.reference.device.get('name', 'unknown device')}, {self.reference.precision}"
        return (
            f"Compared {cells} with reference runs of {seeds} seeds ({device}). A cell fails if it is more than "
            f"{self.reference.margin_pp:g} pp off, beyond the noise of its seeds (one-sided t tests; a sound run fails "
            f"with a probability of {100 * convergence.ALPHA:g}% at most)."
        )


def failure_sentence(name: str, comparison: Comparison) -> str:
    """What is wrong with a cell, and what to look at."""
    p = min(comparison.p_low, comparison.p_high)
    expected = f"{comparison.reference_mean:.1f}% (standard deviation {comparison.reference_sd:.1f})"
    numbers = (
        f"{comparison.mean:.1f}% over {counted(comparison.n, 'seed')}, where the reference has {expected} over "
        f"{counted(comparison.reference_n, 'seed')} ({'p < 0.0001' if p < 0.0001 else f'p = {p:.2g}'} after correction)"
    )
    if comparison.outcome == TOO_LOW:
        return f"{name} is too low: {numbers}. Something trains worse than before; compare code, versions and data."
    return (
        f"{name} is suspiciously high for its epochs: {numbers}. Check that no evaluation image is trained on, and "
        "that it trained for as many epochs as the grid says."
    )


def reference_from(plan: Plan, trials: pd.DataFrame, command: str) -> Reference:
    """Reference runs from a finished plan.

    Args:
        plan: that was run.
        trials: its table of trials.
        command: to be kept with them.

    Raises:
        UserError: a cell has too few finished seeds, or each of them is judged on other images.
    """
    grid, cells = plan.grid, []
    asked = trials[~trials["status"].isin(["not_applicable", "not_asked"])]
    for cell in grid.cells():
        rows = asked[asked["cell"] == cell.id]
        if rows.empty:
            continue
        epochs, judged_on = int(rows["epochs"].iloc[0]), str(rows["judged_on"].iloc[0])
        reference = ReferenceCell(cell.text, epochs, judged_on, _accuracy_by_seed(rows))
        if rows["judged_on"].nunique() > 1:
            problem = f"{reference.title} is judged on other images with each seed"
            raise UserError("--write-reference", "", problem, 'leave "split" out of grid.vary')
        if len(reference.accuracy) < LEAST_REFERENCES:
            finished = counted(len(reference.accuracy), "finished seed")
            problem = f"{reference.title} has {finished}; a reference needs {LEAST_REFERENCES}"
            raise UserError("--write-reference", "", problem, "run the grid with `--seeds 0,1,2,3,4,5,6,7,8,9` first")
        cells.append(reference)
    return Reference(
        grid=grid.name,
        command=command,
        device=dict(plan.environment.identity),
        precision=plan.environment.precision,
        versions=dict(plan.environment.versions),
        data_digest=plan.images.manifest.digest,
        recipe=grid.recipe.model_dump(mode="json"),
        margin_pp=grid.smallest_effects.get("accuracy", USUAL_MARGIN_PP),
        cells=tuple(cells),
    )


def write_reference(file: Path, reference: Reference) -> None:
    """Write a reference file that a person can read and a difference can be read from.

    Raises:
        UserError: it cannot be written.
    """
    text = json.dumps(asdict(reference), indent=1, ensure_ascii=False) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    except OSError as error:
        problem = f"{str(file)!r} cannot be written: {error.strerror}"
        raise UserError("--write-reference", "", problem, "name another file") from None


def read_reference(file: Path) -> Reference:
    """The content of a reference file.

    Raises:
        UserError: it cannot be read, or is no reference file.
    """
    written = "name a file that `verify --write-reference` wrote"
    try:
        return TypeAdapter(Reference).validate_json(file.read_bytes())
    except OSError as error:
        raise UserError("--reference", "", f"{str(file)!r} cannot be read: {error.strerror}", written) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(str(file), key, str(first["msg"]), written) from None


def check(plan: Plan, trials: pd.DataFrame, reference: Reference, file: Path) -> Checked:
    """Compare the finished trials of a plan with reference runs of the same recipe on the same images.

    Args:
        plan: that was run.
        trials: its table of trials.
        reference: the reference runs.
        file: that they come from, for messages.

    Raises:
        UserError: the reference speaks of another recipe or of other images, or shares no cell with the run.
    """
    _must_be_comparable(plan, reference, file)
    known = {cell.key: cell for cell in reference.cells}
    pairs = list[tuple[ReferenceCell, dict[int, float]]]()
    for cell in plan.grid.cells():
        expected = known.get(frozenset(cell.text.items()))
        rows = trials[(trials["cell"] == cell.id) & (trials["status"] == "done")]
        if rows.empty or expected is None:
            continue
        if set(rows["judged_on"]) != {expected.judged_on} or set(rows["epochs"]) != {expected.epochs}:
            problem = f"{expected.title} was trained for other epochs or judged on other images"
            raise UserError(str(file), "cells", problem, REMEDY)
        pairs.append((expected, _accuracy_by_seed(rows)))
    if not pairs:
        raise UserError(str(file), "cells", "none of its cells is a finished cell of this run", "run the grid first")
    names = [expected.title for expected, _ in pairs]
    runs = [list(accuracy.values()) for _, accuracy in pairs]
    references = [list(expected.accuracy.values()) for expected, _ in pairs]
    overall = _means_by_seed([accuracy for _, accuracy in pairs])
    overall_reference = _means_by_seed([expected.accuracy for expected, _ in pairs])
    if len(pairs) > 1 and overall and len(overall_reference) >= LEAST_REFERENCES:
        names.append(OVERALL)
        runs.append(overall)
        references.append(overall_reference)
    comparisons = convergence.compare_with_reference(runs, references, reference.margin_pp)
    return Checked(tuple(names), tuple(comparisons), reference)


def _accuracy_by_seed(rows: pd.DataFrame) -> dict[int, float]:
    """Seed -> percent, of the finished trials of one cell."""
    done = rows[rows["status"] == "done"]
    return {int(seed): round(float(value), 4) for seed, value in zip(done["seed"], done["accuracy"], strict=True)}


def _means_by_seed(cells: Sequence[Mapping[int, float]]) -> list[float]:
    """The mean over cells for each seed that all of them have."""
    seeds = set(cells[0]).intersection(*cells)
    return [sum(cell[seed] for cell in cells) / len(cells) for seed in sorted(seeds)]


def _must_be_comparable(plan: Plan, reference: Reference, file: Path) -> None:
    """Refuse a reference of another recipe or of other images.

    Raises:
        UserError: saying what differs.
    """
    for field, value, expected in _differences(plan.grid, reference):
        raise UserError(str(file), f"recipe.{field}", f"it is {expected!r} there and {value!r} in this grid", REMEDY)
    if plan.images.manifest.digest != reference.data_digest:
        raise UserError(str(file), "data_digest", "the reference was trained on other images", REMEDY)


def _differences(grid: Grid, reference: Reference) -> list[tuple[str, Any, Any]]:
    """Fields of the baseline's recipe that differ: name, here, in the reference.

    A field that the reference does not know is newer than it, and differs where it is not at its default.
    """
    model, here = type(grid.recipe), grid.recipe.model_dump(mode="json")
    defaults = model().model_dump(mode="json")
    expected = {**defaults, **reference.recipe}
    free = FREE_FIELDS | grid.factors.keys()
    compared = [field for field in here if field not in free]
    return [(field, here[field], expected[field]) for field in compared if here[field] != expected[field]]
