"""The winner of a grid against its baseline: on the images that chose it, and on images that did not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sota_bench.plan.plan import Plan
from sota_bench.responses import response_named

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sota_bench.stats import ContrastRow, Overview

ERROR = "paired"
"""The error of both intervals: that of the differences within seeds of the two cells. ``run`` compares all cells, and
its intervals also use what the other cells show of the noise."""


@dataclass(frozen=True)
class Difference:
    """The response of the winner minus that of the baseline, in its unit, with its 95% interval.

    Attributes:
        estimate, se, df, low, high, p: as in the rows of an analysis; None where there are too few seeds.
        n: how many seeds.
        verdict: in words, "" where it would promise too much: for the best of many cells, on the images that chose it.
    """

    estimate: float | None
    se: float | None
    df: float | None
    low: float | None
    high: float | None
    p: float | None
    n: float
    verdict: str = ""

    @classmethod
    def from_row(cls, row: ContrastRow) -> Difference:
        """The numbers of a row of an analysis."""
        return cls(row.estimate, row.se, row.df, row.low, row.high, row.p, row.n, row.verdict)


@dataclass(frozen=True)
class OverImages:
    """The same difference, with its uncertainty over images instead of seeds."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Confirmation:
    """The outcome of ``confirm``.

    Attributes:
        chosen_from: digest of the trials that the winner was chosen from; those of an edited grid have another.
        baseline, winner: ids of the cells.
        levels: factor -> level of the winner, where it differs from the baseline.
        select: on the images that chose, with the grid's seeds.
        test: on the images that did not, with fresh seeds.
        response: what chose, and what both are differences in.
        further: the other responses of the grid -> the difference in them on ``test``'s images.
        over_images: of ``test``, or None where predictions are missing or the response is not accuracy.
        survived: share of the gain that is left on the test images; None where one of the two is not clear.
        looks_before: how often the test images have judged other choices of this grid.
        words: the outcome in sentences.
        test_accuracy: mean accuracy of the winner in percent on the test images, over the fresh seeds.
    """

    chosen_from: str
    baseline: str
    winner: str
    levels: Mapping[str, str]
    select: Difference
    test: Difference
    over_images: OverImages | None
    survived: float | None
    looks_before: int
    words: tuple[str, ...]
    test_accuracy: float | None = None
    response: str = "accuracy"
    further: Mapping[str, Difference] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "error": ERROR}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Confirmation | None:
        """What :meth:`to_json` gave; None for that of an earlier version, which does not say what it confirmed."""
        if "chosen_from" not in values:
            return None
        images = values.get("over_images")
        return cls(
            chosen_from=values["chosen_from"],
            baseline=values["baseline"],
            winner=values["winner"],
            levels=values["levels"],
            select=Difference(**values["select"]),
            test=Difference(**values["test"]),
            over_images=OverImages(**images) if images else None,
            survived=values["survived"],
            looks_before=values["looks_before"],
            words=tuple(values["words"]),
            test_accuracy=values.get("test_accuracy"),
            response=values.get("response", "accuracy"),
            further={name: Difference(**part) for name, part in values.get("further", {}).items()},
        )


def trials_digest(plan: Plan) -> str:
    """SHA-256 over the stages that judge the trials of a plan: another grid, seed, software or data gives another."""
    keys = sorted(trial.final.key for trial in plan.trials if trial.inapplicable is None)
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def compare(
    plan: Plan,
    selected: pd.DataFrame,
    tested: pd.DataFrame,
    baseline: str,
    winner: str,
    correct: Mapping[str, np.ndarray],
    looks_before: int,
) -> Confirmation:
    """Compare two cells, on the images that chose and on those that did not.

    Args:
        plan: that the winner was chosen from.
        selected: its table of trials.
        tested: the table of the trials with fresh seeds.
        baseline, winner: ids of the cells.
        correct: trial with a fresh seed -> which of the test images it has right.
        looks_before: how often the test images have judged other choices of this grid.
    """
    from sota_bench.stats import sentences

    grid = plan.grid
    cells = {cell.id: cell.text for cell in grid.cells()}
    levels = {name: level for name, level in cells[winner].items() if level != cells[baseline][name]}
    response = grid.response[0]
    choosing, _ = _paired_row(selected, baseline, winner, response, grid.smallest_effects)
    confirming, overview = _paired_row(tested, baseline, winner, response, grid.smallest_effects)
    further = {
        name: _paired_row(tested, baseline, winner, name, grid.smallest_effects)
        for name in grid.response[1:]
        if tested.loc[tested["status"] == "done", name].notna().any()
    }
    words = sentences.confirmation(
        choosing,
        confirming,
        overview,
        winner=winner,
        changes=", ".join(f"{name} {level}" for name, level in levels.items()),
        baseline=baseline,
        candidates=selected.loc[selected["status"] == "done", "cell"].nunique(),
        earlier_looks=looks_before,
        noun=response_named(response).noun,
        further=[(response_named(name).noun, row, about) for name, (row, about) in further.items()],
    )
    over_images = None
    if response == "accuracy":
        over_images = _over_images(correct, baseline, winner, sorted(set(tested["seed"])))
    return Confirmation(
        chosen_from=trials_digest(plan),
        baseline=baseline,
        winner=winner,
        levels=levels,
        select=replace(Difference.from_row(choosing), verdict=""),
        test=Difference.from_row(confirming),
        over_images=over_images,
        survived=sentences.survived_share(choosing, confirming, overview),
        looks_before=looks_before,
        words=tuple(words),
        test_accuracy=float(tested.loc[(tested["cell"] == winner) & (tested["status"] == "done"), "accuracy"].mean()),
        response=response,
        further={name: Difference.from_row(row) for name, (row, _) in further.items()},
    )


def _paired_row(
    trials: pd.DataFrame, baseline: str, winner: str, response: str, deltas: Mapping[str, float]
) -> tuple[ContrastRow, Overview]:
    """The winner against the baseline in one response, with their own paired error."""
    from sota_bench.stats import analyze

    rows, about = trials[trials["cell"].isin([baseline, winner])], response_named(response)
    analysis = analyze(
        rows,
        response=response,
        factors={"cell": [baseline, winner]},
        delta=deltas.get(response),
        higher_is_better=about.higher_is_better,
        allow_missing=response != "accuracy",
        unit=about.unit,
    )
    return next(row for row in analysis.contrasts if row.error == ERROR), analysis.overview


def _over_images(
    correct: Mapping[str, np.ndarray], baseline: str, winner: str, seeds: Sequence[int]
) -> OverImages | None:
    import numpy as np

    from sota_bench.stats import image_uncertainty

    rows = {cell: [f"{cell}-s{seed}" for seed in seeds] for cell in (baseline, winner)}
    if not all(trial in correct for trials in rows.values() for trial in trials):
        return None
    old, new = (np.stack([correct[trial] for trial in rows[cell]]) for cell in (baseline, winner))
    uncertainty = image_uncertainty(old, new)
    return OverImages(uncertainty.estimate, uncertainty.low, uncertainty.high)
