"""`analyze TABLE.csv`: contrasts, intervals and verdicts for anybody's table of trials."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sota_bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from sota_bench.stats import Analysis


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


@click.command(name="analyze")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--response", required=True, help="The column to explain, one number per row (accuracies in percent).")
@click.option("--factors", required=True, help="The columns that varied, separated by commas.")
@click.option(
    "--block", default=None, help="The column that pairs trials, such as seed. Without it: a plain factorial."
)
@click.option("--within", default="", help="Those factors that are evaluations of one and the same run, such as tta.")
@click.option(
    "--shares", default=None, help="The column that names what trials of one block have in common, such as a stage."
)
@click.option("--delta", type=float, default=None, help="Smallest effect of interest, in the units of the response.")
@click.option("--lower-is-better", is_flag=True, help="For losses, errors and times.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Level of intervals and of each family.")
@click.option("--added-seeds", default="", help="Blocks that were added after a look at the results.")
@click.option("--json", "as_json", is_flag=True, help="Print the analysis as JSON and nothing else.")
def command(
    table: Path,
    response: str,
    factors: str,
    block: str | None,
    within: str,
    shares: str | None,
    delta: float | None,
    lower_is_better: bool,
    alpha: float,
    added_seeds: str,
    as_json: bool,
) -> None:
    """Verdicts with intervals for TABLE, a CSV file with one row per trial.

    The first level of a factor, in order of appearance, is its baseline; false, off or 0 comes first. A column
    named status, where there is one, tells finished trials (done) from the rest.
    """
    from sota_bench.stats import analyze

    analysis = analyze(
        read_table(table),
        response=response,
        factors=_names(factors),
        block=block,
        within=_names(within),
        delta=delta,
        higher_is_better=not lower_is_better,
        alpha=alpha,
        added_seeds=_names(added_seeds),
        shares=shares,
        place=str(table),
    )
    if as_json:
        click.echo(analysis.to_json())
    else:
        _show(analysis)


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file as a frame; only an empty field is missing, so that a level may be called none or NA.

    Raises:
        UserError: where there is no such file, or it is no table.
    """
    import pandas as pd

    if not path.is_file():
        raise UserError(str(path), "", "there is no such file", "give the path of a CSV file")
    try:
        with warnings.catch_warnings():
            # With index_col=False, rows longer than the header are a warning and lose their tail: here a mistake.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                dtype=str,  # levels stay as they were written: 0 is not shown as 0.0
                keep_default_na=False,
                na_values=[""],
                index_col=False,
                encoding="utf-8-sig",
                skipinitialspace=True,
            )
    except pd.errors.EmptyDataError:
        raise UserError(str(path), "", "the file is empty", "give a header line and one row per trial") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError, OSError) as error:
        raise UserError(str(path), "", f"not a CSV file ({error})", "give comma-separated text in UTF-8") from None
    # Row numbers as an editor shows them: the header is line 1.
    table.index = pd.RangeIndex(2, 2 + len(table))
    return table


def _show(analysis: Analysis) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sota_bench.stats.words import subject, told

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 120  # a file or a pipe has no width of its own
    about = analysis.about
    console.print(Text(f"{about['response']} by {', '.join(about['factors'])}", style="bold"))
    for row in analysis.contrasts:
        if row["headline"]:
            console.print(Text(f"- {row['words']}"))
    grid = Table(title_justify="left", box=box.SIMPLE)
    for name in ("comparison", "error", "estimate", f"{100 * (1 - about['alpha']):g}% interval", "p (Holm)", "verdict"):
        grid.add_column(name, justify="right" if name in ("estimate", "p (Holm)") else "left")
    for row in [*analysis.contrasts, *analysis.interactions]:
        interval = "" if row["low"] is None else f"{_number(row['low'])} to {_number(row['high'])}"
        cells = [subject(row), row["error"], _number(row["estimate"]), interval, _number(row["p_holm"]), told(row)]
        grid.add_row(*(Text(cell) for cell in cells))
    console.print(grid)
    for row in analysis.interactions:
        if row["headline"]:
            console.print(Text(f"- {row['words']}"))
    if analysis.screening:
        _show_screening(console, analysis.screening)
    for warning in analysis.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"))


def _show_screening(console: Console, screening: dict[str, Any]) -> None:
    from rich.text import Text

    for stratum in screening["strata"]:
        margins = [_number(stratum[name]) for name in ("pse", "margin", "simultaneous_margin")]
        said = "Lenth's PSE {}, margin of error {}, simultaneous {}".format(*margins)
        few = f"{stratum['effects']} effects are too few"
        console.print(Text(f"Screening {stratum['stratum']}: {said if stratum['pse'] is not None else few}"))
        effects = [effect for effect in screening["effects"] if effect["stratum"] == stratum["stratum"]]
        for effect in sorted(effects, key=lambda effect: -abs(effect["estimate"]))[:15]:
            console.print(Text(f"- {effect['term']}: {effect['estimate']:+.4g} ({effect['outside']})"))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
