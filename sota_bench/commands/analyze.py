"""`analyze TABLE`: contrasts, intervals and verdicts for anybody's table of trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from sota_bench.stats.result import SEEDS_AND_IMAGES, Scope

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from rich.console import Console

    from sota_bench.stats import Analysis
    from sota_bench.stats.result import Screening

JUDGED = "judged_on"
"""The column of ``trials.csv`` that names the images which judge a trial."""


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


@click.command(name="analyze")
@click.argument("table", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--response", required=True, help="The column to explain, one number per row (accuracies in percent).")
@click.option("--factors", required=True, help="The columns that varied, separated by commas.")
@click.option(
    "--block", default=None, help="The column that pairs trials, such as seed. Without it, rows are independent."
)
@click.option("--within", default="", help="Those factors that only change how a training is evaluated, such as tta.")
@click.option("--shares", default=None, help="The column that names the training stage that trials of one block share.")
@click.option("--delta", type=float, default=None, help="Smallest effect of interest, in the units of the response.")
@click.option("--unit", default=None, help="Unit of the response (default: pp for accuracies and percentages).")
@click.option("--images", type=int, default=None, help="How many images each accuracy was measured on.")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    default=None,
    help="A folder with a table for each trial, TRIAL.csv, one row per image, with the columns image and correct (1 or "
    "0); or image, label and prediction; or image and value. Intervals then cover seeds and images.",
)
@click.option("--trial", default="trial", show_default=True, help="The column whose values name those tables.")
@click.option(
    "--scope",
    type=click.Choice(get_args(Scope)),
    default=SEEDS_AND_IMAGES,
    show_default=True,
    help="With --predictions, whether verdicts hold for other images like these or for these images alone.",
)
@click.option(
    "--lower-is-better/--higher-is-better",
    "lower_is_better",
    default=None,
    help="The direction of the response (default: lower for losses, errors and times, by the column's name).",
)
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Significance level of each family.")
@click.option(
    "--fractional",
    is_flag=True,
    help="The rows are a fractional factorial design (assumed if there is a column fraction_runs).",
)
@click.option(
    "--sources",
    default=None,
    help="The column that names the data set of each row: effects are averaged over data sets, given on each and "
    "compared between them.",
)
@click.option("--added-seeds", default="", help="Blocks that were added after looking at the results, such as 3,4.")
@click.option("--json", "as_json", is_flag=True, help="Print the analysis as JSON and nothing else.")
def command(
    table: Path,
    response: str,
    factors: str,
    block: str | None,
    within: str,
    shares: str | None,
    delta: float | None,
    unit: str | None,
    images: int | None,
    predictions: Path | None,
    trial: str,
    scope: Scope,
    lower_is_better: bool | None,
    alpha: float,
    fractional: bool,
    sources: str | None,
    added_seeds: str,
    as_json: bool,
) -> None:
    """Verdicts with intervals for TABLE, a file with one row per trial: CSV, Parquet or Excel, or - for CSV on
    standard input.

    The first level of a factor, in order of appearance, is its baseline; false, off or 0 comes first. A column
    named status, where there is one, tells finished trials (done) from the others.
    """
    from sota_bench.stats import analyze
    from sota_bench.stats.reading import STANDARD_INPUT, read_table

    place = "standard input" if str(table) == STANDARD_INPUT else str(table)
    rows = read_table(table)
    analysis = analyze(
        rows,
        response=response,
        factors=_names(factors),
        block=block,
        within=_names(within),
        delta=delta,
        higher_is_better=None if lower_is_better is None else not lower_is_better,
        alpha=alpha,
        added_seeds=_names(added_seeds),
        shares=shares,
        unit=unit,
        images=images,
        predictions=_predictions(predictions, rows, trial, place) if predictions else None,
        trial=trial,
        scope=scope,
        judged=JUDGED if JUDGED in rows.columns else None,
        fractional=fractional,
        sources=sources,
        place=place,
    )
    if as_json:
        click.echo(analysis.to_json())
    else:
        _show(analysis)


def _predictions(folder: Path, rows: pd.DataFrame, trial: str, place: str) -> dict[str, NDArray[Any]]:
    """The predictions of the trials that finished."""
    from sota_bench.stats.levels import label
    from sota_bench.stats.prediction_tables import read_predictions
    from sota_bench.stats.table import require_column

    require_column(rows, trial, place)
    done = rows[rows["status"].astype(str).str.strip() == "done"] if "status" in rows.columns else rows
    sets = done[JUDGED].map(str) if JUDGED in done.columns else [""] * len(done)
    return read_predictions(folder, dict(zip(map(label, done[trial]), sets, strict=True)))


def _show(analysis: Analysis) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sota_bench.stats.sentences import comparison, covered
    from sota_bench.stats.wording import decimals, number

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 120  # a file or a pipe has no width of its own
    overview = analysis.overview
    better = "" if overview.higher_is_better else " (lower is better)"
    console.print(Text(f"{overview.response} by {', '.join(overview.factors)}{better}", style="bold"))
    for row in analysis.contrasts:
        if row.headline:
            console.print(Text(f"- {row.words}"))
    sources = any(row.se_images is not None for row in analysis.contrasts)
    if sources:
        console.print(Text(f"Intervals cover {covered(overview)} ({overview.images:,} images)."))
    grid = Table(title_justify="left", box=box.SIMPLE)
    level = f"{100 * (1 - overview.alpha):g}% CI"
    numbers = ["estimate", *(["se, seeds", "se, images"] if sources else [])]
    for name in ("comparison", "error", *numbers, level, "p (Holm)", "verdict"):
        grid.add_column(name, justify="right" if name in (*numbers, "p (Holm)") else "left")
    for row in [*analysis.contrasts, *analysis.interactions]:
        places = decimals(row, overview.unit)
        estimate = "" if row.estimate is None else number(row.estimate, places, sign=True)
        interval = ""
        if row.low is not None and row.high is not None:
            interval = f"{number(row.low, places)} to {number(row.high, places)}"
        parts = [_number(row.se_seeds), _number(row.se_images)] if sources else []
        cells = [comparison(row), row.error, estimate, *parts, interval, _number(row.p_holm), row.shown_verdict]
        grid.add_row(*(Text(cell) for cell in cells))
    console.print(grid)
    for row in analysis.interactions:
        if row.headline:
            console.print(Text(f"- {row.words}"))
    if analysis.screening:
        _show_screening(console, analysis.screening)
    for note in analysis.notes:
        console.print(Text(f"Note: {note}"))
    for warning in analysis.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"))


def _show_screening(console: Console, screening: Screening) -> None:
    from rich.text import Text

    for stratum in screening.strata:
        title = f"Screening {stratum.stratum}: "
        if stratum.pse is None:
            console.print(Text(f"{title}{stratum.effects} effects are too few"))
        else:
            margins = [_number(value) for value in (stratum.pse, stratum.margin, stratum.simultaneous_margin)]
            console.print(Text(title + "Lenth's PSE {}, margin of error {}, simultaneous {}".format(*margins)))
        effects = [effect for effect in screening.effects if effect.stratum == stratum.stratum]
        for effect in sorted(effects, key=lambda effect: -abs(effect.estimate))[:15]:
            console.print(Text(f"- {effect.term}: {effect.estimate:+.4g} ({effect.outside})"))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
