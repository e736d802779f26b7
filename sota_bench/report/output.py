"""The files of a run's folder: tables, provenance and the page, each replaced at once or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sota_bench.errors import UserError
from sota_bench.files import write_text
from sota_bench.report.drawn import Drawn
from sota_bench.report.page import render
from sota_bench.report.tables import RunTables
from sota_bench.stats import Analysis, analyze, nothing_to_compare


def analysis_of(tables: RunTables) -> Analysis:
    """The analysis of accuracy over a run's trials, with the grid's own baselines, delta and within-run factors.

    A factor with one level is a setting; a grid of such factors alone has one cell, and nothing to compare.
    """
    run = tables.run
    factors = {name: levels for name, levels in run["grid"]["factors"].items() if len(levels) > 1}
    if not factors:
        return nothing_to_compare(tables.trials, "accuracy", run["grid"]["smallest_effect"])
    return analyze(
        tables.trials,
        response="accuracy",
        factors=factors,
        block="seed",
        within=[name for name in run["within"] if name in factors],
        delta=run["grid"]["smallest_effect"],
        added_seeds=run["added_seeds"],
        shares="shared_with" if "shared_with" in tables.trials else None,
        judged="judged_on",
        unit="pp",
        place="trials.csv",
    )


def write(out: Path, tables: RunTables, figures: Path | None = None) -> Analysis:
    """Analyses a run and writes its files into ``out``.

    Args:
        out: the folder.
        tables: what the ledger holds.
        figures: file that keeps figures, so that those that would be the same are not drawn again; None draws all.

    Returns:
        The analysis that the page shows.

    Raises:
        UserError: the folder cannot be written.
    """
    analysis, drawn = analysis_of(tables), Drawn(figures)
    files = {
        "trials.csv": _csv(tables.trials),
        "contrasts.csv": _csv(analysis.table()),
        "evaluations.csv": _csv(tables.evaluations),
        "stages.csv": _csv(tables.stages),
        "curves.csv": _csv(tables.curves),
        "analysis.json": analysis.to_json() + "\n",
        "run.json": json.dumps(plain(tables.run), indent=1, allow_nan=False) + "\n",
        "report.html": render(tables, analysis, drawn),
    }
    write_files(out, files)
    drawn.save()
    return analysis


def write_files(out: Path, files: Mapping[str, str]) -> None:
    """Writes texts into a folder, each file replaced at once or not at all.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_text(out / name, text)
    except OSError as error:
        raise UserError(str(out), "", f"cannot be written: {error}", "name another folder with --out") from error


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


def plain(value: Any) -> Any:
    """JSON values: NaN and infinities become null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
