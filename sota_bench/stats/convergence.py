"""Does a run reach the accuracy of reference runs, neither less nor suspiciously more? One-sided t tests for each cell.

MLPerf Training compares submissions with reference convergence points in the same way: one that converges
significantly faster than the reference is refused (Mattson et al. 2020, MLPerf Training Benchmark, MLSys,
https://arxiv.org/abs/1910.01500; MLCommons' training rules, section on reference convergence points).

Runs and references are compared as independent draws, not paired by seed: under the rounding of another processor the
trainings of a seed drift apart, and where they stay close, fewer sound runs fail. With m reference runs of mean a and
standard deviation s, and n runs of mean b,

    t = (a - margin - b) / (s sqrt(1/m + 1/n)),  m - 1 degrees of freedom

tests whether the run is too low, and the same with the signs turned whether it is too good. The margin is what may
differ for other reasons than seeds, such as the processor's numerics. The spread is that of the reference alone: so a
run of one seed can be judged, and a run cannot hide behind a spread of its own. p-values are corrected for both sides
and all cells by Bonferroni's inequality, which holds however the cells depend on each other. One more comparison is
that of the mean over all cells, which finds a small loss that all have in common.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

AGREES: Literal["agrees"] = "agrees"
TOO_LOW: Literal["too low"] = "too low"
TOO_GOOD: Literal["too good"] = "too good"
Outcome = Literal["agrees", "too low", "too good"]

ALPHA = 0.01
"""Probability that a sound run fails in any comparison, at most."""

LEAST_REFERENCES = 5
"""Reference runs of a cell: fewer say too little about their spread."""

LEAST_SPREAD_PP = 0.1
"""Of a cell's reference runs in percentage points: where all seeds end equally, rounding may still differ elsewhere."""


@dataclass(frozen=True)
class Comparison:
    """One cell, or the mean over cells, against its reference; accuracies in percent, differences in percentage points.

    Attributes:
        mean, n: of the run, over seeds.
        reference_mean, reference_sd, reference_n: of the reference.
        p_low, p_high: one-sided p-values for "too low" and "too good", corrected for all comparisons.
        outcome: of both tests.
    """

    mean: float
    n: int
    reference_mean: float
    reference_sd: float
    reference_n: int
    p_low: float
    p_high: float
    outcome: Outcome

    @property
    def difference(self) -> float:
        """Run minus reference, in percentage points."""
        return self.mean - self.reference_mean


def compare_with_reference(
    runs: Sequence[Sequence[float]],
    references: Sequence[Sequence[float]],
    margin: float,
    alpha: float = ALPHA,
) -> list[Comparison]:
    """Every group of runs against its reference runs; all of them are one family.

    Args:
        runs: for each comparison the accuracies in percent, one a seed; at least one.
        references: the same of the reference; at least two each.
        margin: in percentage points, what may differ for other reasons than seeds.
        alpha: probability that a sound run fails in any comparison, at most.
    """
    tests = 2 * len(runs)
    compared = []
    for values, known in zip(runs, references, strict=True):
        p_low, p_high = (min(1.0, tests * float(p)) for p in one_sided(np.array(values), np.array(known), margin))
        compared.append(
            Comparison(
                mean=float(np.mean(values)),
                n=len(values),
                reference_mean=float(np.mean(known)),
                reference_sd=float(np.std(known, ddof=1)),
                reference_n=len(known),
                p_low=p_low,
                p_high=p_high,
                outcome=TOO_LOW if p_low < alpha else TOO_GOOD if p_high < alpha else AGREES,
            )
        )
    return compared


def one_sided(
    run: NDArray[np.float64], reference: NDArray[np.float64], margin: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """p-values [...] of "the run is lower by more than the margin" and "higher by more than the margin", not corrected.

    Args:
        run: accuracies [..., N] in percent.
        reference: accuracies [..., M] in percent, M at least 2.
        margin: in percentage points.
    """
    from scipy.stats import t

    m, n = reference.shape[-1], run.shape[-1]
    se = np.maximum(reference.std(axis=-1, ddof=1), LEAST_SPREAD_PP) * math.sqrt(1 / m + 1 / n)
    difference = run.mean(axis=-1) - reference.mean(axis=-1)
    return t.sf((-margin - difference) / se, m - 1), t.sf((difference - margin) / se, m - 1)
