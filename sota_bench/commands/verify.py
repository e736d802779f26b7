"""``verify GRID.toml``: are the stored results those that were computed, would they be computed again, and do they
agree with reference runs?"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of
from sota_bench.commands.sources import each_source
from sota_bench.errors import UserError
from sota_bench.units import counted

if TYPE_CHECKING:
    import pandas as pd

    from sota_bench.plan.plan import Plan, TrialPlan
    from sota_bench.stages.results import StageResult
    from sota_bench.stages.stage import Stage
    from sota_bench.store import Store
    from sota_bench.store.artifacts import ArtifactRecord

TOLERANCE = 1e-6
"""Largest difference between a stored metric and the one recomputed from the stored predictions."""

COMPARED = ("model.safetensors", "predictions.safetensors", "computed.safetensors")
"""Files of a stage that are the same bits when it is run again on the same CPU."""

STANDARD_ERRORS = 3
"""Of a difference of two accuracies: what a training that is repeated on a GPU, which adds in another order each time,
may differ by."""


@click.command()
@grid_options
@click.option(
    "--retrain",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Trials, drawn at random, that are trained again and compared.",
)
@click.option("--draw", type=int, default=0, show_default=True, help="Seed of that draw.")
@click.option(
    "--reference",
    "reference_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also compare the accuracy of each cell with reference runs; exit code 3 if one is too low or too high.",
)
@click.option(
    "--write-reference",
    "new_reference",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the accuracies as reference runs, if all checks pass; needs 5 seeds or more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@each_source()
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, retrain: int, draw: int, reference_file: Path | None, new_reference: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Check a finished run: digests, metrics from stored predictions, trials trained again, reference runs."""
    from sota_bench.forecast.match import settle_schedules
    from sota_bench.plan.make import make_plan
    from sota_bench.report.collect import Collector
    from sota_bench.runs.looks import with_looks
    from sota_bench.runs.provenance import command_line
    from sota_bench.runs.reference import check, read_reference, reference_from, write_reference
    from sota_bench.store import DamagedArtifact, MissingArtifact, Store

    reference = read_reference(reference_file) if reference_file is not None else None
    resolved = load_grid(grid, overrides, seeds, out, writes=False)
    machine = machine_of(store, device, workers, writes=False, grid=resolved)
    plan, n_workers = make_plan(settle_schedules(resolved, machine, measure=False), machine)
    plan = with_looks(plan, store, lambda wide: make_plan(wide, machine)[0])
    selected = {trial.id for trial in plan.grid.only(only)} if only else None
    results = Store(store)
    stages = [stage for stage in plan.stages.values() if selected is None or not selected.isdisjoint(stage.trials)]
    checked, problems = set[str](), list[str]()
    missing: list[Stage] = []
    for stage in stages:
        try:
            problems += _stored_problems(results, stage, results.record(stage.key))
            checked.add(stage.key)
        except DamagedArtifact as error:
            problems.append(f"{stage.title}: {error.reason}")
        except MissingArtifact:
            missing.append(stage)
    if not checked and not problems:
        raise UserError(str(grid), "", f"{store} has no results of this grid", "start with `run`")
    if missing:
        some = f"{len(missing)} of {counted(len(stages), 'stage')}"
        problems.append(f"{some} have no result, such as {missing[0].title}; run the grid to compute them")
    trials = Collector(plan, results).trial_table()
    problems += _table_problems(resolved.out / "trials.csv", trials)
    if selected is not None:
        trials = trials[trials["trial"].isin(selected)]
    checked_against = None
    if reference is not None and reference_file is not None:
        checked_against = check(plan, trials, reference, reference_file)
    finished = [trial for trial in plan.trials if trial.inapplicable is None and trial.final.key in checked]
    drawn = _draw(finished, retrain, draw)
    compared, differing = _retrained(plan, results, drawn, n_workers) if drawn else (0, [])
    problems += differing
    failures = checked_against.failures if checked_against else []
    if new_reference is not None and not problems:
        write_reference(new_reference, reference_from(plan, trials, command_line()))
    outcome: dict[str, Any] = {
        "stages_checked": len(checked),
        "stages_missing": len(missing),
        "retrained": [trial.trial.id for trial in drawn],
        "files_compared": compared,
        "problems": problems,
        "reference": checked_against.to_json() if checked_against else None,
    }
    exit_code = 1 if problems else 3 if failures else 0
    if as_json:
        click.echo(json.dumps(outcome))
        return exit_code
    click.echo(f"Checked {counted(len(checked), 'stage')}: digests of all files, metrics from the stored predictions.")
    if drawn:
        click.echo(f"Trained {', '.join(outcome['retrained'])} again and compared {counted(compared, 'file')}.")
    if checked_against:
        click.echo(checked_against.summary())
    for problem in [*problems, *failures]:
        click.echo(f"PROBLEM {problem}")
    if new_reference is not None:
        click.echo(f"No reference was written: {new_reference}." if problems else f"Reference runs: {new_reference}")
    count = len(problems) + len(failures)
    click.echo(f"{counted(count, 'problem')} found." if count else "All checks passed.")
    return exit_code


def _stored_problems(store: Store, stage: Stage, record: ArtifactRecord) -> list[str]:
    """What is wrong with a stage as it lies in the store."""
    from safetensors.numpy import load_file

    from sota_bench import metrics
    from sota_bench.report.rows import SCORES
    from sota_bench.store import DamagedArtifact

    folder, problems = store.folder(stage.key), []
    for name in record.result.files:
        if name in record.large and not os.path.lexists(folder / name):
            continue  # removed to save disk
        try:
            store.checked_file(stage.key, name)
        except DamagedArtifact as error:
            problems.append(f"{stage.title}: {error.reason}")
    if problems or stage.kind != "evaluate":
        return problems
    predictions = load_file(folder / "predictions.safetensors")
    computed = metrics.summarize(predictions["log_probabilities"], predictions["labels"])
    values = record.result.values
    return [
        f"{stage.title}: {name} is stored as {values[name]}, its predictions give {computed[name]}"
        for name in SCORES
        if not math.isclose(values[name], computed[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]


def _table_problems(file: Path, trials: pd.DataFrame) -> list[str]:
    """Metrics of finished trials that differ between a run's ``trials.csv`` and the store."""
    import io

    import pandas as pd

    from sota_bench.report.rows import SCORES

    if not file.exists():
        return []
    columns = ["trial", "status", *SCORES]
    try:
        written, stored = (
            pd.read_csv(text, usecols=columns, dtype=str, keep_default_na=False)
            for text in (file, io.StringIO(trials.to_csv(index=False)))
        )
    except (OSError, ValueError) as error:
        return [f"{file}: cannot be read ({error})"]
    both = written.merge(stored, on=["trial", "status"], suffixes=("", " in the store")).query("status == 'done'")
    return [
        f"{file}: {name} of {row['trial']} is {row[name]}, the store has {row[f'{name} in the store']}"
        for row in both.to_dict("records")
        for name in SCORES
        if row[name] != row[f"{name} in the store"]
    ]


def _draw(finished: Sequence[TrialPlan], count: int, seed: int) -> list[TrialPlan]:
    from sota_bench.randomness import generator

    order = generator(seed, "verify").permutation(len(finished))
    return [finished[int(index)] for index in sorted(order[:count])]


def _retrained(plan: Plan, store: Store, trials: Sequence[TrialPlan], workers: int) -> tuple[int, list[str]]:
    """Train trials of a plan again in an empty store, and compare every file that must be the same; off the CPU, where
    bits differ, the accuracies.

    Returns:
        How many were compared, and what differs.
    """
    from sota_bench.plan.environment import cores
    from sota_bench.plan.graph import build
    from sota_bench.plan.make import manifest_file
    from sota_bench.runs.execute import RunOptions, execute
    from sota_bench.store import Store

    with tempfile.TemporaryDirectory(prefix="sota-bench-verify-") as folder:
        grid = plan.grid.model_copy(update={"out": Path(folder) / "out"})
        file = manifest_file(Path(folder), plan.images.manifest.digest)
        again = build(grid, plan.environment, plan.images, file, cores(), [trial.trial for trial in trials])
        fresh = Store(Path(folder))
        with fresh.hold("verify"):
            if execute(again, fresh, RunOptions(workers), name="verify").interrupted:
                raise KeyboardInterrupt
        compared, problems = 0, list[str]()
        for key, stage in again.stages.items():
            if not fresh.is_done(key):
                problems.append(f"{stage.title}: it could not be run again")
            elif store.is_done(key):
                stored, repeated = store.result(key), fresh.result(key)
                on_cpu = again.environment.device == "cpu"
                equal = _same_files(stored, repeated) if on_cpu else _same_accuracy(stored, repeated)
                compared += len(equal)
                problems += [f"{stage.title}: {name} differs when it is run again" for name in equal if not equal[name]]
        return compared, problems


def _same_files(stored: StageResult, repeated: StageResult) -> dict[str, bool]:
    """File -> whether it has the same bits in two results of a stage."""
    old, new = stored.files, repeated.files
    return {name: old[name] == new[name] for name in COMPARED if name in old and name in new}


def _same_accuracy(stored: StageResult, repeated: StageResult) -> dict[str, bool]:
    """Whether the accuracies of two results of an evaluation differ by no more than their images allow."""
    if "accuracy" not in stored.values:
        return {}
    share = (stored.values["accuracy"] + repeated.values["accuracy"]) / 200
    error_pp = 100 * math.sqrt(2 * share * (1 - share) / stored.values["images"])
    difference_pp = abs(stored.values["accuracy"] - repeated.values["accuracy"])
    return {"accuracy": difference_pp <= STANDARD_ERRORS * error_pp}
