"""Estimates of many contrasts under both error terms: which kernel each one needs, given what is missing."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from sota_bench.stats import kernels, split_plot
from sota_bench.stats.contrasts import Contrast
from sota_bench.stats.design import Design
from sota_bench.stats.kernels import Array, Estimate
from sota_bench.stats.result import PAIRED, POOLED


class Estimates(NamedTuple):
    """K contrasts.

    Attributes:
        by_error: the estimates by error term.
        differences: each seed's own difference [S, K], NaN where incomplete.
        where: for each contrast, where it compares if trainings share a part, else ""; see
            `sota_bench.stats.split_plot`.
        speaks: for each contrast, the error term that its verdict is read from.
    """

    by_error: dict[str, Estimate]
    differences: Array
    where: list[str]
    speaks: list[str]


def run_values(design: Design, contrast: Contrast) -> Array:
    """One number per run [S, C]: its evaluations weighted as the contrast asks, NaN for cells without a part in it."""
    used = contrast.inner != 0
    values = np.where(used, np.nan_to_num(design.y) * contrast.inner, 0.0).sum(axis=2)
    complete = (np.isfinite(design.y) | ~used).all(axis=2) & used.any(axis=1)
    return np.where(complete, values, np.nan)


def estimate(design: Design, contrasts: list[Contrast]) -> Estimates:
    """Every contrast under the pooled error and, with blocks, under its own paired error.

    The pooled error speaks where its model is safe. Gains inside a run may differ from seed to seed, and so may those
    of trainings with a common first stage, which a residual pooled over cells does not see: there the paired one does.
    """
    count = len(contrasts)
    pooled = Estimate(np.full(count, np.nan), np.full(count, np.nan), np.zeros(count))
    own = Estimate(np.full(count, np.nan), np.full(count, np.nan), np.zeros(count))
    differences = np.full((len(design.y), count), np.nan)
    where = [""] * count
    alike: dict[tuple[bytes, bytes, bool], list[int]] = defaultdict(list)
    for number, contrast in enumerate(contrasts):
        if len(contrast.contexts):
            alike[contrast.inner.tobytes(), contrast.own.tobytes(), contrast.within].append(number)
    for members in alike.values():
        first = contrasts[members[0]]
        y = run_values(design, first)[:, first.own]
        weights = np.array([contrasts[number].weights[first.own] for number in members])
        if design.plots is None or first.within:
            _put(pooled, members, _pooled(design, y, weights, first.within))
        else:
            groups = design.plots[first.own]
            for number, row in zip(members, weights, strict=True):
                where[number] = split_plot.placed(row, groups)
                _put(pooled, [number], split_plot.pooled(y, row, groups))
        if design.block:
            contexts = [contrasts[number].contexts[:, first.own] for number in members]
            complete = np.isfinite(y).all()
            found = y @ weights.T if complete else np.array([kernels.seed_differences(y, c) for c in contexts]).T
            differences[:, members] = found
            for column, number in zip(found.T, members, strict=True):
                known = column[np.isfinite(column)]
                if len(known):
                    _put(own, [number], kernels.from_differences(known[:, None], float(np.nanmax(np.abs(y)))))
    if not design.block:
        return Estimates({POOLED: pooled}, differences, where, [POOLED] * count)
    speaks = [
        PAIRED if contrast.within or place not in ("", split_plot.BETWEEN) else POOLED
        for contrast, place in zip(contrasts, where, strict=True)
    ]
    return Estimates({POOLED: pooled, PAIRED: own}, differences, where, speaks)


def _put(target: Estimate, members: list[int], found: Estimate) -> None:
    for whole, part in zip(target, found, strict=True):
        whole[members] = part


def _pooled(design: Design, y: Array, weights: Array, within: bool) -> Estimate:
    """The pooled error: closed form on a complete table, least squares on the rest."""
    present = np.isfinite(y)
    if design.block and present.all():
        return kernels.pooled_cells(y, weights) if within else kernels.pooled_blocks(y, weights)
    there = present.any(axis=0)
    nothing = np.full(len(weights), np.nan)
    if not there.any():
        return Estimate(nothing, nothing, np.zeros(len(weights)))
    seed, cell = present[:, there].nonzero()
    blocks = None
    if design.block and not within:
        blocks = np.unique(seed, return_inverse=True)[1]
    found = kernels.pooled_least_squares(y[:, there][seed, cell], cell, blocks, weights[:, there])
    lost = (weights[:, ~there] != 0).any(axis=1)  # no seed has both sides of a difference inside a run
    return Estimate(np.where(lost, np.nan, found.value), np.where(lost, np.nan, found.se), found.df)
