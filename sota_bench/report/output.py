"""The files of a run's folder: tables, provenance and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sota_bench.report.answers import Answers, answers_of
from sota_bench.report.figure_cache import FigureCache
from sota_bench.report.files import write_files
from sota_bench.report.page import render
from sota_bench.report.tables import RunTables


def write(out: Path, tables: RunTables, figures: Path | None = None) -> Answers:
    """Analyse a run and write its files into ``out``.

    Args:
        out: the folder.
        tables: what the ledger holds.
        figures: file that keeps figures, so that those that would be the same are not drawn again; None draws all.

    Returns:
        The analyses that the page shows.

    Raises:
        UserError: the folder cannot be written.
    """
    answers, cache = answers_of(tables), FigureCache(figures)
    files = {
        "trials.csv": _csv(tables.trials),
        "contrasts.csv": _csv(answers.table()),
        "evaluations.csv": _csv(tables.evaluations),
        "stages.csv": _csv(tables.stages),
        "curves.csv": _csv(tables.curves),
        "analysis.json": json.dumps(answers.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "run.json": json.dumps(tables.run.to_json(), indent=1, allow_nan=False) + "\n",
        "report.html": render(tables, answers, cache),
    }
    write_files(out, files)
    cache.save()
    return answers


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")
