"""``verify GRID.toml``: is what the store holds what was computed, and would it be computed again?"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of

TOLERANCE = 1e-6
"""Largest difference between a stored metric and the one recomputed from the stored predictions."""

COMPARED = ("model.safetensors", "predictions.safetensors", "computed.safetensors")
"""Files of a stage that are the same bits when it is run again on the same CPU."""


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
    from sota_bench.errors import UserError
    from sota_bench.plan.make import make_plan
    from sota_bench.store import Store

    question = load_grid(grid, overrides, seeds, out)
    selected = {trial.id for trial in question.only(only)} if only else None
    machine = machine_of(store, device, workers)
    plan, count = make_plan(question, machine)
    shelf = Store(store)
    wanted = {
        key: stage for key, stage in plan.stages.items() if selected is None or selected.intersection(stage.trials)
    }
    done = [key for key in wanted if shelf.is_done(key)]
    if not done:
        raise UserError(str(grid), "", f"{store} holds no result of it", "start with run")
    problems = [problem for key in done for problem in _stored(shelf, plan.stages[key])]
    finished = [trial for trial in plan.trials if trial.inapplicable is None and trial.final.key in done]
    drawn = _draw(finished, retrain, draw)
    again: list[dict[str, Any]] = []
    if drawn:
        again = _again(plan, shelf, [trial.trial for trial in drawn], count)
        problems += [row["problem"] for row in again if row["problem"]]
    answer: dict[str, Any] = {
        "stages_checked": len(done),
        "stages_missing": len(wanted) - len(done),
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


def _stored(shelf: Any, stage: Any) -> list[str]:
    """What is wrong with a stage as it lies in the store."""
    import math

    from safetensors.numpy import load_file

    from sota_bench import metrics

    if not shelf.has_files(stage.key):
        return []  # its large files were removed to save disk; result.json was checked when it was read
    if not shelf.verify(stage.key):
        return [f"{stage.title}: its files are not what was written"]
    if stage.kind != "evaluate":
        return []
    stored = load_file(shelf.folder(stage.key) / "predictions.safetensors")
    found = metrics.summarize(stored["log_probabilities"], stored["labels"])
    values = shelf.result(stage.key).values
    return [
        f"{stage.title}: {name} is stored as {values[name]}, its predictions give {found[name]}"
        for name in ("accuracy", "nll", "ece", "brier", "confidence")
        if not math.isclose(values[name], found[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]


def _draw(finished: list[Any], count: int, seed: int) -> list[Any]:
    from sota_bench.randomness import generator

    order = generator(seed, "verify").permutation(len(finished))
    return [finished[int(place)] for place in sorted(order[:count])]


def _again(made: Any, shelf: Any, trials: list[Any], workers: int) -> list[dict[str, Any]]:
    """Trains trials of a plan again in an empty store and compares every file that must be the same."""
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
            old = shelf.result(key).files if shelf.is_done(key) else {}
            new = fresh.result(key).files
            for name in COMPARED:
                if name in old and name in new:
                    same = old[name] == new[name]
                    rows.append({"problem": "" if same else f"{stage.title}: {name} differs when it is run again"})
        return rows
