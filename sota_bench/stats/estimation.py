"""Estimates of many contrasts under both error terms: which kernel each one needs, given what is missing."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sota_bench.stats import kernels, moderation, split_plot
from sota_bench.stats.contrasts import Contrast
from sota_bench.stats.crossed import ImageError
from sota_bench.stats.design import Design
from sota_bench.stats.image_sets import image_component
from sota_bench.stats.kernels import Array, Estimate, Weights
from sota_bench.stats.result import MODERATED, PAIRED, POOLED

if TYPE_CHECKING:
    from scipy.sparse import csr_array


DENSE = 0.05
"""Contrasts that weigh more than this share of all evaluations are multiplied as one dense matrix."""


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


def over_images(design: Design, contrasts: list[Contrast]) -> ImageError | None:
    """What the sample of images adds to the variance of each contrast [K]; NaN where its predictions are missing.

    Returns:
        None without predictions.
    """
    if not design.image_sets:
        return None
    from scipy.sparse import coo_array

    settings = len(design.settings)
    entries = [_columns(contrast, settings) for contrast in contrasts]
    row = np.repeat(np.arange(len(contrasts)), [len(columns) for columns, _ in entries])
    column, data = (np.concatenate(part) for part in zip(*entries, strict=True))
    shape = (len(contrasts), len(design.cells) * settings)
    weights = coo_array((data, (row, column)), shape=shape).tocsr()
    dense = weights.nnz > DENSE * math.prod(shape)
    component = image_component(design.image_sets, weights.toarray() if dense else weights)
    possible = np.array([contrast.possible for contrast in contrasts])
    return ImageError(*(np.where(possible, part, np.nan) for part in component))


def _columns(contrast: Contrast, settings: int) -> tuple[NDArray[np.intp], Array]:
    """The evaluations that a contrast weighs, as ``cell * settings + setting``, and their weights."""
    if not contrast.possible:
        return np.zeros(0, dtype=np.intp), np.zeros(0)
    cells = contrast.cells
    weights = contrast.weights[cells][:, None] * contrast.inner[cells]
    cell, setting = weights.nonzero()
    return cells[cell] * settings + setting, weights[cell, setting]


def run_values(design: Design, contrast: Contrast) -> Array:
    """One number per run [S, C]: its evaluations weighted as the contrast asks, NaN for cells without a part in it."""
    used = contrast.inner != 0
    values = np.where(used, np.nan_to_num(design.y) * contrast.inner, 0.0).sum(axis=2)
    complete = (np.isfinite(design.y) | ~used).all(axis=2) & used.any(axis=1)
    return np.where(complete, values, np.nan)


def estimate(design: Design, contrasts: list[Contrast]) -> Estimates:
    """Every contrast under the pooled error, with blocks under its own paired error, and under the moderated one.

    The moderated error speaks where noise is compared between runs. Gains inside a run may differ from seed to seed,
    and so may those of trainings with a common first stage, which other cells do not show: there the paired one does.
    """
    count = len(contrasts)
    errors = (POOLED, PAIRED, MODERATED) if design.block else (POOLED, MODERATED)
    by_error = {error: Estimate(np.full(count, np.nan), np.full(count, np.nan), np.zeros(count)) for error in errors}
    differences = np.full((len(design.y), count), np.nan)
    where = [""] * count
    speaks = [PAIRED if design.block else POOLED] * count
    for members in _with_same_runs(contrasts):
        first = contrasts[members[0]]
        y = run_values(design, first)[:, first.own]
        weights = _weights([contrasts[number] for number in members])[:, first.own]
        if design.block:
            if np.isfinite(y).all():
                own = np.asarray(y @ weights.T)
            else:
                own = np.array([_seed_differences(y, contrasts[number], first.own) for number in members]).T
            differences[:, members] = own
            _put(by_error[PAIRED], members, _paired(own, y))
        if design.plots is None or first.within:
            pooled = _pooled(design, y, weights, first.within)
            _put(by_error[POOLED], members, pooled)
            if not first.within and len(y) > 1:
                paired = Estimate(*(part[members] for part in by_error[PAIRED])) if design.block else None
                _put(by_error[MODERATED], members, _moderated(y, weights, pooled, paired))
            continue
        groups = design.plots[first.own]
        for number, row in zip(members, weights.toarray(), strict=True):
            where[number] = split_plot.placed(row, groups)
            pooled = split_plot.pooled(y, row, groups)
            _put(by_error[POOLED], [number], pooled)
            if where[number] == split_plot.BETWEEN and len(y) > 1:
                means, sums = split_plot.plot_means(y, row, groups)
                paired = Estimate(*(part[[number]] for part in by_error[PAIRED]))
                _put(by_error[MODERATED], [number], _moderated(means, sums[None], pooled, paired))
    usable = np.isfinite(by_error[MODERATED].se)
    speaks = [MODERATED if moderated else error for moderated, error in zip(usable, speaks, strict=True)]
    return Estimates(by_error, differences, where, speaks)


def _with_same_runs(contrasts: list[Contrast]) -> list[list[int]]:
    """The numbers of the contrasts that can be estimated, together where they weigh evaluations of the same cells."""
    content: dict[int, bytes] = {}  # contrasts share arrays, which are long: each is read once

    def bytes_of(array: NDArray[Any]) -> bytes:
        if id(array) not in content:
            content[id(array)] = array.tobytes()
        return content[id(array)]

    groups: dict[tuple[bytes, bytes, bool], list[int]] = defaultdict(list)
    for number, contrast in enumerate(contrasts):
        if contrast.possible:
            groups[bytes_of(contrast.inner), bytes_of(contrast.own), contrast.within].append(number)
    return list(groups.values())


def _weights(contrasts: list[Contrast]) -> csr_array:
    """The average weights of contrasts over their contexts [K, C], sparse."""
    from scipy.sparse import csr_array

    row = np.repeat(np.arange(len(contrasts)), [contrast.contexts.nnz for contrast in contrasts])
    column = np.concatenate([contrast.contexts.indices for contrast in contrasts])
    data = np.concatenate([contrast.contexts.data / contrast.contexts.shape[0] for contrast in contrasts])
    return csr_array((data, (row, column)), shape=(len(contrasts), contrasts[0].contexts.shape[1]))


def _seed_differences(y: Array, contrast: Contrast, own: NDArray[np.bool_]) -> Array:
    """Per-seed differences [S] of a contrast where trials are missing, from its own cells alone."""
    column_of = np.cumsum(own) - 1
    return kernels.seed_differences(y[:, column_of[contrast.cells]], contrast.contexts[:, contrast.cells].toarray())


def _paired(differences: Array, y: Array) -> Estimate:
    """Paired errors of the contrasts, each over the seeds that it has."""
    if np.isfinite(differences).all():
        return kernels.from_differences(differences, float(np.nanmax(np.abs(y))))
    parts = [column[np.isfinite(column)] for column in differences.T]
    size = float(np.nanmax(np.abs(y))) if np.isfinite(y).any() else 0.0
    nothing = Estimate(np.full(1, np.nan), np.full(1, np.nan), np.zeros(1))
    each = [kernels.from_differences(part[:, None], size) if len(part) else nothing for part in parts]
    return Estimate(*(np.concatenate(columns) for columns in zip(*each, strict=True)))


def _moderated(y: Array, weights: Weights, pooled: Estimate, paired: Estimate | None) -> Estimate:
    """The moderated error; none for two cells with blocks, where it is the paired one."""
    if paired is None:
        return moderation.moderated_unpaired(y, weights)
    if y.shape[1] < 3:
        return Estimate(pooled.value, np.full(len(pooled.value), np.nan), np.zeros(len(pooled.value)))
    if np.isfinite(y).all():
        return moderation.moderated(y, weights)
    return moderation.moderated_incomplete(y, weights, pooled, paired)


def _put(target: Estimate, members: list[int], part_of: Estimate) -> None:
    for whole, part in zip(target, part_of, strict=True):
        whole[members] = part


def _pooled(design: Design, y: Array, weights: csr_array, within: bool) -> Estimate:
    """The pooled error: closed form on a complete table, least squares on the rest."""
    present = np.isfinite(y)
    if design.block and present.all():
        return kernels.pooled_cells(y, weights) if within else kernels.pooled_blocks(y, weights)
    there = present.any(axis=0)
    nothing = np.full(weights.shape[0], np.nan)
    if not there.any():
        return Estimate(nothing, nothing, np.zeros(len(nothing)))
    seed, cell = present[:, there].nonzero()
    blocks = None
    if design.block and not within:
        blocks = np.unique(seed, return_inverse=True)[1]
    pooled = kernels.pooled_least_squares(y[:, there][seed, cell], cell, blocks, weights[:, there])
    lost = abs(weights[:, ~there]).sum(axis=1) > 0  # no seed has both sides of a difference inside a run
    return Estimate(np.where(lost, np.nan, pooled.value), np.where(lost, np.nan, pooled.se), pooled.df)
