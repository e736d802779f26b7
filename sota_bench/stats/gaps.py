"""What is missing from a table of trials: levels without any result, empty combinations, and incomplete blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sota_bench.stats import warning_sentences
from sota_bench.stats.kernels import Array
from sota_bench.stats.levels import NUMBER, Factor, is_missing, key
from sota_bench.stats.table import missing_in_any
from sota_bench.stats.warning_sentences import Lost

if TYPE_CHECKING:
    import pandas as pd

ASKED = ("done", "failed", "blocked")
"""Statuses of trials that were run, or would have been."""

MOST_LEVELS = 5
"""Levels that lack blocks are named one by one up to this number; then only how much is missing is told."""


def lost_levels(table: pd.DataFrame, rows: pd.DataFrame, factors: tuple[Factor, ...]) -> dict[tuple[str, str], Lost]:
    """The levels whose trials were run, and none of which gave a result."""
    if "status" not in table.columns:
        return {}
    status = table["status"].astype(str).str.strip()
    ran = table[~status.isin(("not_applicable", "not_asked")).to_numpy()]
    lost = {}
    for factor in factors:
        present = {key(value) for value in rows[factor.name]}
        for level in factor.levels:
            if key(level) in present:
                continue
            at = [not is_missing(value) and key(value) == key(level) for value in ran[factor.name]]
            counts = status[ran.index[at]].value_counts(sort=False)
            if len(counts):
                statuses = {str(name): int(count) for name, count in counts.items()}
                lost[factor.name, level] = Lost(factor.name, level, statuses)
    return lost


def empty_cell_notes(
    table: pd.DataFrame,
    factors: tuple[Factor, ...],
    codes: Mapping[str, Sequence[int]],
    fractional: bool = False,
) -> list[str]:
    """A sentence about combinations of levels without any result: nothing can stand in for them.

    A column ``status`` says which ones were asked for; without it every combination that the levels allow is meant, but
    for a fractional design, which leaves most of them out.
    """
    with_result = set(zip(*(codes[factor.name] for factor in factors), strict=True))
    if "status" not in table.columns:
        possible = math.prod(len(factor.levels) for factor in factors)
        some = 0 < len(with_result) < possible and not fractional
        return [warning_sentences.missing_combinations(len(with_result), possible)] if some else []
    names = [factor.name for factor in factors]
    asked = table[table["status"].astype(str).str.strip().isin(ASKED).to_numpy()]
    asked = asked[~missing_in_any(asked, names)]
    code = {factor.name: {key(level): number for number, level in enumerate(factor.levels)} for factor in factors}
    asked_codes = set(zip(*([code[name].get(key(value), -1) for value in asked[name]] for name in names), strict=True))
    empty = asked_codes - with_result
    if not empty:
        return []
    first = ", ".join(
        f"{factor.name} = {factor.levels[level]}" for factor, level in zip(factors, min(empty), strict=True)
    )
    return [warning_sentences.empty_combinations(first, len(empty) - 1)]


def block_notes(
    y: Array,
    labels: tuple[str, ...],
    block: str,
    factors: tuple[Factor, ...],
    cells: tuple[tuple[int, ...], ...],
    planned: bool = False,
) -> list[str]:
    """Sentences about blocks: labels that are words, blocks that a level lacks, results missing here and there.

    Args:
        y: response [S, C, W], NaN where missing.
        labels: of the blocks.
        block: their column.
        factors: all factors.
        cells: levels of each cell.
        planned: whether cells have fewer blocks on purpose, which needs no sentence.
    """
    notes = []
    words = [text for text in labels if not NUMBER.fullmatch(text)]
    if words and (len(words) < len(labels) or "seed" in block.lower()):
        notes.append(warning_sentences.word_blocks(block, words, all_words=len(words) == len(labels)))
    occurs = np.asarray(np.isfinite(y).any(axis=0))
    expected, present = int(occurs.sum()) * len(y), int(np.isfinite(y).sum())
    if planned or present == expected:
        return notes
    explained, unpaired = 0, []
    between = [factor for factor in factors if not factor.within]
    has_run = np.asarray(np.isfinite(y).any(axis=2))
    for position, factor in enumerate(between):
        level_of = np.array([cell[position] for cell in cells])
        for number, level in enumerate(factor.levels):
            at = np.asarray(level_of == number)
            absent = np.flatnonzero(~has_run[:, at].any(axis=1) & has_run[:, ~at].any(axis=1))
            if at.any() and len(absent):
                gone = [labels[seed] for seed in absent]
                unpaired.append(warning_sentences.unpaired_blocks(block, gone, factor.name, level))
                explained += int(occurs[at].sum()) * len(absent)
    if len(unpaired) <= MOST_LEVELS:
        notes += unpaired
    if explained < expected - present or len(unpaired) > MOST_LEVELS:
        lost = [text for text, part in zip(labels, y, strict=True) if not np.isfinite(part[occurs]).all()]
        notes.append(warning_sentences.missing_results(expected - present, expected, block, lost))
    return notes


def unequal_run_notes(y: Array) -> list[str]:
    """A sentence where cells without blocks hold different numbers of runs."""
    runs = np.isfinite(y).sum(axis=0)
    runs = runs[runs > 0]
    unequal = len(runs) and runs.min() < runs.max()
    return [warning_sentences.unequal_runs(int(runs.min()), int(runs.max()))] if unequal else []
