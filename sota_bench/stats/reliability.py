"""Confidence bins of several runs, put together: how often the network is right, at each confidence that it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def pool_bins(bins: pd.DataFrame, by: str) -> pd.DataFrame:
    """The bins of each group's runs as one set of bins, each run weighted by its images.

    Args:
        bins: one row per run and bin: ``by``, ``low``, ``high``, ``count`` (images), ``confidence`` and ``accuracy``
            (means in the bin, 0 to 1).
        by: the column that makes a group.

    Returns:
        The same columns, one row per group and bin that holds an image, in ascending order of the group and the bin.
    """
    filled = bins[bins["count"] > 0]
    weighted = filled.assign(
        confidence=filled["confidence"] * filled["count"], accuracy=filled["accuracy"] * filled["count"]
    )
    sums = weighted.groupby([by, "low", "high"], sort=True)[["count", "confidence", "accuracy"]].sum()
    return sums.assign(
        confidence=sums["confidence"] / sums["count"], accuracy=sums["accuracy"] / sums["count"]
    ).reset_index()
