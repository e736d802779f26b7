"""The winner of a grid against its baseline: on the images that chose it, and on images that did not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sota_bench.plan.plan import Plan
from sota_bench.responses import response_named
from sota_bench.stats.result import THESE_IMAGES, Scope

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

    from sota_bench.grid import Grid
    from sota_bench.stats import ContrastRow, Overview

    PerImage = Callable[[str], Mapping[str, ArrayLike]]

ERROR = "paired"
"""The error of both intervals: that of the differences within seeds of the two cells. ``run`` compares all cells, and
its intervals also use what the other cells show of the noise."""


@dataclass(frozen=True)
class Difference:
    """The response of the winner minus that of the baseline, in its unit, with its 95% interval.

    Attributes:
        estimate, se, df, low, high, p: as in the rows of an analysis; None where there are too few seeds.
        n: how many seeds.
        scope: what the interval covers: seeds and images, or these images.
        se_seeds, se_images: the standard error's two sources; None where predictions are missing.
        verdict: in words, "" where it would promise too much: for the best of many cells, on the images that chose it.
    """

    estimate: float | None
    se: float | None
    df: float | None
    low: float | None
    high: float | None
    p: float | None
    n: float
    scope: Scope = THESE_IMAGES
    se_seeds: float | None = None
    se_images: float | None = None
    verdict: str = ""

    @classmethod
    def from_row(cls, row: ContrastRow) -> Difference:
        """The numbers of a row of an analysis."""
        return cls(row.estimate, row.se, row.df, row.low, row.high, row.p, row.n, row.scope, row.se_seeds,
                   row.se_images, row.verdict)  # fmt: skip


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
        return cls(
            chosen_from=values["chosen_from"],
            baseline=values["baseline"],
            winner=values["winner"],
            levels=values["levels"],
            select=Difference(**values["select"]),
            test=Difference(**values["test"]),
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
    selected_images: PerImage,
    tested_images: PerImage,
    looks_before: int,
) -> Confirmation:
    """Compare two cells, on the images that chose and on those that did not.

    Args:
        plan: that the winner was chosen from.
        selected: its table of trials.
        tested: the table of the trials with fresh seeds.
        baseline, winner: ids of the cells.
        selected_images: from a response to trial -> the numbers of single images whose mean it is, where images chose.
        tested_images: the same for the trials with fresh seeds, on the test images.
        looks_before: how often the test images have judged other choices of this grid.
    """
    from sota_bench.stats import confirmation_sentences

    grid = plan.grid
    cells = {cell.id: cell.text for cell in grid.cells()}
    levels = {name: level for name, level in cells[winner].items() if level != cells[baseline][name]}
    response = grid.response[0]
    choosing, _ = _paired_row(selected, selected_images, baseline, winner, response, grid)
    confirming, overview = _paired_row(tested, tested_images, baseline, winner, response, grid)
    further = {
        name: _paired_row(tested, tested_images, baseline, winner, name, grid)
        for name in grid.response[1:]
        if tested.loc[tested["status"] == "done", name].notna().any()
    }
    words = confirmation_sentences.confirmation(
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
    return Confirmation(
        chosen_from=trials_digest(plan),
        baseline=baseline,
        winner=winner,
        levels=levels,
        select=replace(Difference.from_row(choosing), verdict=""),
        test=Difference.from_row(confirming),
        survived=confirmation_sentences.survived_share(choosing, confirming, overview),
        looks_before=looks_before,
        words=tuple(words),
        test_accuracy=float(tested.loc[(tested["cell"] == winner) & (tested["status"] == "done"), "accuracy"].mean()),
        response=response,
        further={name: Difference.from_row(row) for name, (row, _) in further.items()},
    )


def _paired_row(
    trials: pd.DataFrame,
    images: PerImage,
    baseline: str,
    winner: str,
    response: str,
    grid: Grid,
) -> tuple[ContrastRow, Overview]:
    """The winner against the baseline in one response, with their own paired error."""
    from sota_bench.stats import analyze

    rows, about = trials[trials["cell"].isin([baseline, winner])], response_named(response)
    analysis = analyze(
        rows,
        response=response,
        factors={"cell": [baseline, winner]},
        delta=grid.smallest_effects.get(response),
        higher_is_better=about.higher_is_better,
        allow_missing=response != "accuracy",
        unit=about.unit,
        predictions=images(response),
        scope=grid.scope,
    )
    return next(row for row in analysis.contrasts if row.error == ERROR), analysis.overview
