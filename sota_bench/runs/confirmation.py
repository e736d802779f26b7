"""The winner of a grid against its baseline: on the images that chose it, and on images that did not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sota_bench.plan.plan import Plan
from sota_bench.units import counted

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ERROR = "paired"
"""The error of both intervals: that of the differences within seeds of the two cells. ``run`` compares all cells, and
its intervals pool the error of the whole grid where the design allows that."""


@dataclass(frozen=True)
class Difference:
    """Accuracy of the winner minus that of the baseline, in percentage points, with its 95% interval.

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

    def sentence(self) -> str:
        """The difference with its interval and its error."""
        if self.estimate is None:
            return self.verdict
        if self.low is None or self.high is None:
            return f"{self.estimate:+.2f} pp"
        seeds = counted(round(self.n), "seed")
        interval = f"95% interval {self.low:.2f} to {self.high:.2f}, {ERROR} error over {seeds}"
        return f"{self.estimate:+.2f} pp ({interval})"


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
        over_images: of ``test``, or None where predictions are missing.
        survived: share of the gain that is left on the test images; None where one of the two is not clear.
        looks_before: how often the test images have judged other choices of this grid.
        words: the outcome in sentences.
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
    grid = plan.grid
    cells = {cell.id: cell.text for cell in grid.cells()}
    levels = {name: level for name, level in cells[winner].items() if level != cells[baseline][name]}
    choosing = _difference(selected, baseline, winner, grid.smallest_effect)
    confirming = _difference(tested, baseline, winner, grid.smallest_effect)
    share = _survived(choosing, confirming)
    candidates = counted(selected.loc[selected["status"] == "done", "cell"].nunique(), "cell")
    words = [
        f"{winner} ({', '.join(f'{name} {level}' for name, level in levels.items())}) vs the baseline {baseline}.",
        f"On the images that chose it: {choosing.sentence()}. It is the best of {candidates}, so this is optimistic.",
        f"On the test images, with fresh seeds: {confirming.sentence()}: {confirming.verdict}.",
        _survival(confirming, share),
    ]
    if looks_before:
        times = "once" if looks_before == 1 else f"{looks_before} times"
        words.append(f"These test images have judged other choices of this grid {times}, so they are no longer fresh.")
    return Confirmation(
        chosen_from=trials_digest(plan),
        baseline=baseline,
        winner=winner,
        levels=levels,
        select=replace(choosing, verdict=""),
        test=confirming,
        over_images=_over_images(correct, baseline, winner, sorted(set(tested["seed"]))),
        survived=share,
        looks_before=looks_before,
        words=tuple(words),
    )


def _difference(trials: pd.DataFrame, baseline: str, winner: str, delta: float | None) -> Difference:
    from sota_bench.stats import analyze

    rows = trials[trials["cell"].isin([baseline, winner])]
    analysis = analyze(rows, response="accuracy", factors={"cell": [baseline, winner]}, delta=delta, unit="pp")
    row = next(row for row in analysis.contrasts if row["error"] == ERROR)
    return Difference(**{name: row[name] for name in ("estimate", "se", "df", "low", "high", "p", "n", "verdict")})


def _survived(choosing: Difference, confirming: Difference) -> float | None:
    clear = all(difference.low is not None and difference.low > 0 for difference in (choosing, confirming))
    if not clear or choosing.estimate is None or confirming.estimate is None:
        return None
    return confirming.estimate / choosing.estimate


def _survival(confirming: Difference, share: float | None) -> str:
    if share is not None:
        return f"About {100 * share:.0f}% of the gain survived."
    if confirming.high is not None and confirming.high <= 0:
        return "The gain did not survive."
    return "It is not settled whether the gain survived: more fresh seeds would tell."


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
