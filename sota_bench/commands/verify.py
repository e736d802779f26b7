"""``verify GRID.toml``: is what the store holds what was computed, and would it be computed again?"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of

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
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, retrain: int, draw: int, as_json: bool,
) -> int:  # fmt: skip
    """Check a finished run: digests, metrics from stored predictions, and a sample of trials trained again."""
    from sota_bench.commands.matching import matched
    from sota_bench.errors import UserError
    from sota_bench.plan.make import make_plan
    from sota_bench.report.collect import Collector
    from sota_bench.store import DamagedArtifact, MissingArtifact, Store

    question = load_grid(grid, overrides, seeds, out, writes=False)
    selected = {trial.id for trial in question.only(only)} if only else None
    machine = machine_of(store, device, workers, writes=False, grid=question)
    plan, count = make_plan(matched(question, machine, may_measure=False), machine)
    shelf = Store(store)
    wanted = {
        key: stage for key, stage in plan.stages.items() if selected is None or selected.intersection(stage.trials)
    }
    done, missing, problems = [], 0, []
    for key, stage in wanted.items():
        try:
            problems += _stored(shelf, stage, shelf.record(key))
            done.append(key)
        except DamagedArtifact as error:
            problems.append(f"{stage.title}: {error.reason}")
        except MissingArtifact:
            missing += 1
    if not done and not problems:
        raise UserError(str(grid), "", f"{store} holds no result of it", "start with run")
    problems += _written(question.out / "trials.csv", Collector(plan, shelf).trial_table())
    finished = [trial for trial in plan.trials if trial.inapplicable is None and trial.final.key in done]
    drawn = _draw(finished, retrain, draw)
    again: list[dict[str, Any]] = []
    if drawn:
        again = _again(plan, shelf, [trial.trial for trial in drawn], count)
        problems += [row["problem"] for row in again if row["problem"]]
    answer: dict[str, Any] = {
        "stages_checked": len(done),
        "stages_missing": missing,
        "retrained": [trial.trial.id for trial in drawn],
        "files_compared": len(again),
        "problems": problems,
    }
    if as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(f"{len(done)} stages checked: digests of all files, metrics from the stored predictions")
        if answer["stages_missing"]:
            click.echo(f"{answer['stages_missing']} stages have no result yet")
        if drawn:
            click.echo(f"trained again: {', '.join(answer['retrained'])} ({len(again)} files compared)")
        for problem in problems:
            click.echo(f"PROBLEM {problem}")
        click.echo(f"{len(problems)} problems" if problems else "all as it was computed")
    return 1 if problems else 0


def _stored(shelf: Any, stage: Any, record: Any) -> list[str]:
    """What is wrong with a stage as it lies in the store."""
    import math

    from safetensors.numpy import load_file

    from sota_bench import metrics
    from sota_bench.report.rows import SCORES
    from sota_bench.store import DamagedArtifact

    folder, problems = shelf.folder(stage.key), []
    for name in record.result.files:
        if name in record.large and not os.path.lexists(folder / name):
            continue  # removed to save disk
        try:
            shelf.checked_file(stage.key, name)
        except DamagedArtifact as error:
            problems.append(f"{stage.title}: {error.reason}")
    if problems or stage.kind != "evaluate":
        return problems
    stored = load_file(folder / "predictions.safetensors")
    found = metrics.summarize(stored["log_probabilities"], stored["labels"])
    values = record.result.values
    return [
        f"{stage.title}: {name} is stored as {values[name]}, its predictions give {found[name]}"
        for name in SCORES
        if not math.isclose(values[name], found[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]


def _written(file: Path, trials: Any) -> list[str]:
    """Metrics of finished trials that a run's ``trials.csv`` tells otherwise than the store."""
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


def _draw(finished: list[Any], count: int, seed: int) -> list[Any]:
    from sota_bench.randomness import generator

    order = generator(seed, "verify").permutation(len(finished))
    return [finished[int(place)] for place in sorted(order[:count])]


def _again(made: Any, shelf: Any, trials: list[Any], workers: int) -> list[dict[str, Any]]:
    """Trains trials of a plan again in an empty store and compares every file that must be the same; off the CPU, where
    bits differ, the accuracies.
    """
    from sota_bench.commands.execution import EngineOptions, execute
    from sota_bench.plan.environment import cores
    from sota_bench.plan.graph import build
    from sota_bench.plan.make import manifest_file
    from sota_bench.store import Store

    with tempfile.TemporaryDirectory(prefix="sota-bench-verify-") as folder:
        grid = made.grid.model_copy(update={"out": Path(folder) / "out"})
        file = manifest_file(Path(folder), made.images.manifest.digest)
        plan = build(grid, made.environment, made.images, file, cores(), trials)
        fresh = Store(Path(folder))
        with fresh.hold("verify"):
            if execute(plan, fresh, EngineOptions(workers), name="verify").interrupted:
                raise KeyboardInterrupt
        rows = []
        for key, stage in plan.stages.items():
            if not fresh.is_done(key):
                rows.append({"problem": f"{stage.title}: did not run again"})
                continue
            if not shelf.is_done(key):
                continue
            old, new = shelf.result(key), fresh.result(key)
            same = _same_files(old, new) if plan.environment.device == "cpu" else _same_accuracy(old, new)
            for name, holds in same.items():
                rows.append({"problem": "" if holds else f"{stage.title}: {name} differs when it is run again"})
        return rows


def _same_files(old: Any, new: Any) -> dict[str, bool]:
    """File -> whether it has the same bits in two results of a stage."""
    return {name: old.files[name] == new.files[name] for name in COMPARED if name in old.files and name in new.files}


def _same_accuracy(old: Any, new: Any) -> dict[str, bool]:
    """Whether the accuracies of two results of an evaluation differ by no more than their images allow."""
    import math

    if "accuracy" not in old.values:
        return {}
    share = (old.values["accuracy"] + new.values["accuracy"]) / 200
    error_pp = 100 * math.sqrt(2 * share * (1 - share) / old.values["images"])
    return {"accuracy": abs(old.values["accuracy"] - new.values["accuracy"]) <= STANDARD_ERRORS * error_pp}
