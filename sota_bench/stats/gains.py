"""By how much each cell beats the baseline: what winners are chosen by."""

from __future__ import annotations

import pandas as pd


def mean_gains(trials: pd.DataFrame, response: str, baseline: str, higher_is_better: bool = True) -> pd.Series[float]:
    """The mean gain of each finished cell over the baseline, positive where it is better.

    Differences are taken within seeds, so that seeds which only some cells have favour none of them: a run until it is
    decided gives cells different numbers of seeds.

    Args:
        trials: one row per trial (``report.rows.TrialRow``).
        response: what cells are ranked by.
        baseline: id of its cell.
        higher_is_better: direction of the response.

    Returns:
        Cell -> gain, in the unit of the response. Cells with a trial that is not done, and cells that other images
        judge, are left out; nothing is left without a finished baseline.
    """
    done = trials[trials["status"] == "done"]
    done = done[done["judged_on"].isin(done.loc[done["cell"] == baseline, "judged_on"])]
    asked = trials.groupby("cell").size()
    complete = done.groupby("cell").filter(lambda rows: len(rows) == asked[rows.name])
    by_seed = complete.pivot(index="seed", columns="cell", values=response)
    if baseline not in by_seed:
        return pd.Series(dtype=float)
    gains = by_seed.sub(by_seed[baseline], axis=0).mean().dropna()
    return gains if higher_is_better else -gains
