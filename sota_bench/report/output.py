"""The files of a run's folder: tables, provenance and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sota_bench.report.figure_cache import FigureCache
from sota_bench.report.files import write_files
from sota_bench.report.page import render
from sota_bench.report.tables import RunTables
from sota_bench.stats import Analysis, analyze, nothing_to_compare


def analysis_of(tables: RunTables) -> Analysis:
    """The analysis of accuracy over a run's trials, with the grid's own baselines, delta and within-run factors.

    A factor with one level is a setting; a grid of such factors alone has one cell, and nothing to compare.
    """
    run = tables.run
    factors = {name: levels for name, levels in run.grid.factors.items() if len(levels) > 1}
    if not factors:
        return nothing_to_compare(tables.trials, "accuracy", run.grid.smallest_effect)
    return analyze(
        tables.trials,
        response="accuracy",
        factors=factors,
        block="seed",
        within=[name for name in run.within if name in factors],
        delta=run.grid.smallest_effect,
        added_seeds=run.added_seeds,
        shares="shared_with" if "shared_with" in tables.trials else None,
        judged="judged_on",
        images=run.images.select or None,
        unit="pp",
        place="trials.csv",
    )


def write(out: Path, tables: RunTables, figures: Path | None = None) -> Analysis:
    """Analyse a run and write its files into ``out``.

    Args:
        out: the folder.
        tables: what the ledger holds.
        figures: file that keeps figures, so that those that would be the same are not drawn again; None draws all.

    Returns:
        The analysis that the page shows.

    Raises:
        UserError: the folder cannot be written.
    """
    analysis, cache = analysis_of(tables), FigureCache(figures)
    files = {
        "trials.csv": _csv(tables.trials),
        "contrasts.csv": _csv(analysis.table()),
        "evaluations.csv": _csv(tables.evaluations),
        "stages.csv": _csv(tables.stages),
        "curves.csv": _csv(tables.curves),
        "analysis.json": analysis.to_json() + "\n",
        "run.json": json.dumps(tables.run.to_json(), indent=1, allow_nan=False) + "\n",
        "report.html": render(tables, analysis, cache),
    }
    write_files(out, files)
    cache.save()
    return analysis


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")
