"""``curate SOURCE --out DIR``: what should not be in a data set, and a small part of it for fast iterations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from sota_bench.commands.options import machine_of, must_be_folder
from sota_bench.commands.reading import reading_options, source_of
from sota_bench.errors import UserError
from sota_bench.runs.provenance import command_line
from sota_bench.units import counted, duration_text

if TYPE_CHECKING:
    from sota_bench.curate.budget import Budget, Cost
    from sota_bench.curate.curation import Curation, Findings, Request
    from sota_bench.curate.embedder import Embedder
    from sota_bench.data.curated import Origin
    from sota_bench.data.options import ReadingOptions

AIMS = ("random", "easy", "hard", "representative")
DROPPABLE = ("wrong-label", "outlier", "near-copy", "leak", "tiny")


@click.command()
@click.argument("source")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the manifest and its page.")
@click.option("--classes", type=click.IntRange(2), help="Keep this many classes (default: all).")
@click.option("--per-class", type=click.IntRange(1), help="Keep at most this many training images of each class.")
@click.option(
    "--aim",
    type=click.Choice(AIMS),
    default="random",
    show_default=True,
    help="How classes and images are chosen: at random; easy or hard to tell apart; or representative of the whole.",
)
@click.option(
    "--minutes-per-iteration",
    type=click.FloatRange(0, min_open=True),
    help="Keep the largest set on which one training and its evaluation take no longer than this.",
)
@click.option(
    "--backbone",
    default="resnet18",
    show_default=True,
    help="Backbone of the training that --minutes-per-iteration is about.",
)
@click.option("--resize", default="128x5", show_default=True, help="Resize schedule of that training.")
@click.option(
    "--drop",
    default="",
    metavar="REASON,...",
    help=f"Do not keep training images flagged for these reasons: {', '.join(DROPPABLE)}.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of every random choice.")
@click.option(
    "--weights",
    default="",
    help="Weights of the network that computes image features: a folder or file in timm's format, `timm` to download "
    "them, or `none` to train a probe (default: weights on this machine).",
)
@click.option("--probe", default="", metavar="BACKBONE", help="Architecture of that network, a timm backbone.")
@click.option("--path", type=click.Path(path_type=Path), help="Where a data set known by name is stored.")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path(".sota_bench"),
    show_default=True,
    help="Folder for the timings that --minutes-per-iteration predicts from.",
)
@reading_options
def command(
    source: str, out: Path, classes: int | None, per_class: int | None, aim: str, minutes_per_iteration: float | None,
    backbone: str, resize: str, drop: str, seed: int, weights: str, probe: str, path: Path | None, store: Path,
    reading: ReadingOptions,
) -> int:  # fmt: skip
    """Find what should not be in a data set, and keep a small part of it for fast iterations.

    SOURCE is a folder, an archive, or any value of data.source. Writes manifest.csv and report.html: likely wrong
    labels, outliers, copies within and across splits, tiny and unreadable images, each with its reason and score.
    Flagged training images are kept unless --drop names their reason. To change what is kept, edit the column keep, by
    hand or on the page. To train on the result, set source = "manifest:DIR/manifest.csv".
    """
    from sota_bench.engine.worker_pool import shared_worker_pool

    if minutes_per_iteration is not None and per_class is not None:
        problem = "it sets the number of images, and so does --minutes-per-iteration"
        raise UserError("--per-class", "", problem, "leave one of them out")
    if minutes_per_iteration is not None:
        click.get_current_context().with_resource(shared_worker_pool())
    from sota_bench.curate.budget import Budget
    from sota_bench.curate.choose import Aim
    from sota_bench.curate.curation import Request

    request = Request(cast(Aim, aim), classes or 0, per_class or 0, seed, _reasons(drop))
    budget = Budget(minutes_per_iteration, backbone, resize) if minutes_per_iteration is not None else None
    must_be_folder("--out", out, True)
    _curate(source, out, request, budget, weights, probe, path, store, reading)
    return 0


def _curate(
    source: str, out: Path, request: Request, budget: Budget | None, weights: str, probe: str, path: Path | None,
    store: Path, options: ReadingOptions,
) -> None:  # fmt: skip
    from dataclasses import replace

    from sota_bench.curate import budget as budgets
    from sota_bench.curate import sheet
    from sota_bench.curate.curation import chosen_classes, curate, examine, training_counts, write
    from sota_bench.curate.embedder import find_embedder
    from sota_bench.data.curated import Origin
    from sota_bench.data.find import open_source
    from sota_bench.plan.environment import cores

    started = time.perf_counter()
    embedder = find_embedder(weights, probe)
    origin = Origin(_absolute(source_of(source)), path.absolute() if path else None, options)
    opened = open_source(origin.text, origin.path, options=options)
    with _bars() as show:
        findings = examine(opened, embedder, request.seed, cores(), show)
    cost: Cost | None = None
    if budget is not None:
        names = chosen_classes(findings, request)
        cost = budgets.measure(budget, origin, names, machine_of(store, "cpu", 1), partial(click.echo, err=True))
        request = replace(request, per_class=budgets.fit(budget, training_counts(findings, request, names), cost))
    curation = curate(findings, request, origin, embedder, out, _versions(), _budget_record(budget, cost))
    with _bars() as show:
        facts = _facts(curation, findings, embedder, origin)
        page = sheet.render(findings, curation, opened, facts, cores(), partial(show, "thumbnails"))
    write(curation, page, out)
    _tell(curation, findings, embedder, budget, cost, out, time.perf_counter() - started)


def _reasons(text: str) -> tuple[str, ...]:
    """The reasons that ``--drop`` names.

    Raises:
        UserError: one of them is none.
    """
    from sota_bench.grid.nearest import did_you_mean

    words = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in words:
        if word not in DROPPABLE:
            remedy = did_you_mean(word, DROPPABLE, f"the reasons are {', '.join(DROPPABLE)}")
            raise UserError("--drop", "", f"{word!r} is not a reason", remedy)
    return words


def _absolute(source: str) -> str:
    """A source whose path is absolute: the manifest may be read from another folder."""
    from sota_bench.data.curated import PATH_KINDS

    kind, _, location = source.partition(":")
    return f"{kind}:{Path(location).expanduser().absolute()}" if kind in PATH_KINDS and location else source


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """Bars in a terminal, and a line at the end of each part elsewhere; the function takes (part, done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def show(part: str, done: int, total: int) -> None:
            if part not in tasks:
                tasks[part] = bars.add_task(part, total=total)
            bars.update(tasks[part], completed=done, total=total)
            if done == total and not console.is_terminal:
                click.echo(f"{part}: {done:,} of {total:,}", err=True)

        yield show


def _versions() -> dict[str, str]:
    """Of the software that decides the result; "absent" for what is not installed."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for package in ("sota-bench", "numpy", "pillow", "torch", "timm", "cleanlab"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return versions


def _budget_record(budget: Budget | None, cost: Cost | None) -> dict[str, Any] | None:
    if budget is None or cost is None:
        return None
    return {
        "minutes_per_iteration": budget.minutes, "backbone": budget.backbone, "resize": budget.resize,
        "seconds_per_image": cost.image_s, "fixed_seconds": cost.fixed_s,
    }  # fmt: skip


def _facts(curation: Curation, findings: Findings, embedder: Embedder, origin: Origin) -> list[tuple[str, str]]:
    """How the manifest was made, for the page."""
    request, budget = curation.record["request"], curation.record["budget"]
    asked = [f"aim {request['aim']}", f"seed {request['seed']}"]
    asked += [f"{request['classes']} classes"] if request["classes"] else []
    asked += [f"{request['per_class']:,} training images of each class"] if request["per_class"] else []
    asked += [f"dropped: {', '.join(request['drop'])}"] if request["drop"] else []
    facts = [
        ("Source", f"{origin.text}, digest {findings.manifest.digest[:12]}"),
        ("Request", ", ".join(asked)),
        ("Features", f"{embedder.text}; cross-validated accuracy {100 * findings.accuracy:.1f}%"),
        ("Manifest", f"SHA-256 {curation.record['manifest']['sha256'][:12]}"),
        ("Command", command_line()),
    ]
    if budget:
        text = f"{budget['minutes_per_iteration']:g} min per iteration of {budget['backbone']} at {budget['resize']}"
        facts.insert(2, ("Budget", text))
    if set(curation.classes) != set(findings.manifest.classes):
        facts.insert(2, ("Classes", ", ".join(curation.classes)))
    return facts


def _tell(
    curation: Curation, findings: Findings, embedder: Embedder, budget: Budget | None, cost: Cost | None, out: Path,
    seconds: float,
) -> None:  # fmt: skip
    """What was found and kept, in a few lines."""
    from sota_bench.curate.curation import reason_counts

    kept = curation.record["manifest"]["kept"]
    splits = ", ".join(f"{count:,} {split}" for split, count in kept.items())
    click.echo(
        f"{findings.manifest.name}: {sum(kept.values()):,} of {counted(len(curation.rows), 'file')} are kept, in "
        f"{counted(len(curation.classes), 'class', 'classes')}: {splits}."
    )
    click.echo(
        f"Compared by the features of {embedder.text} in {duration_text(seconds)}; a classifier on these has a "
        f"cross-validated accuracy of {100 * findings.accuracy:.1f}%."
    )
    for reason, count in reason_counts(curation.rows).items():
        if count:
            click.echo(f"  {count:>8,}  {reason}")
    if budget is not None and cost is not None:
        minutes = cost.minutes(kept["train"])
        click.echo(
            f"One iteration of {budget.backbone} at {budget.resize} on the kept images is predicted to take "
            f"{duration_text(60 * minutes)}; the budget is {duration_text(60 * budget.minutes)}."
        )
    for note in findings.notes:
        click.secho(f"{note[0].upper()}{note[1:]}", fg="yellow", err=True)
    click.echo(f"wrote {out / 'manifest.csv'} and {out / 'report.html'}")
    click.echo(f'to train on it, write under [data]: source = "manifest:{out / "manifest.csv"}"')
