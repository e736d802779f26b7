"""``run GRID.toml``: plan, run what is missing, render the report."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of


@click.command()
@grid_options
@click.option("--engine", type=click.Choice(["local"]), default="local", show_default=True, help="Where workers run.")
@click.option("--retry", type=click.Choice(["failed"]), help="Try failed stages once more.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option("--disk-limit", help="Remove checkpoints that nothing needs above this size, such as 2GB.")
@click.option("--stall-minutes", type=click.FloatRange(0.05), default=15.0, show_default=True,
              help="Stop a stage that makes no progress for this long.")
@click.option("--checkpoint-minutes", type=click.FloatRange(0.01), default=5.0, show_default=True,
              help="Minutes between checkpoints inside a phase.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, engine: str, retry: str | None, fail_fast: bool, disk_limit: str | None, stall_minutes: float,
    checkpoint_minutes: float, as_json: bool,
) -> int:  # fmt: skip
    """Plan a grid, run what is missing, and render its report."""
    from sota_bench.commands.sizes import parse_bytes
    from sota_bench.engine.pool import run_stages
    from sota_bench.engine.progress import ProgressView
    from sota_bench.plan.make import make_plan
    from sota_bench.plan.why import Reasons, to_run
    from sota_bench.report.collect import Collector
    from sota_bench.report.output import write
    from sota_bench.report.page import summary_lines
    from sota_bench.store import Store

    question = load_grid(grid, overrides, seeds, out)
    selected = {trial.id for trial in question.only(only)} if only else None
    limit = parse_bytes("--disk-limit", disk_limit) if disk_limit else None
    plan, count = make_plan(question, machine_of(store, device, workers))
    stages = [
        replace(stage, context={**stage.context, "checkpoint_s": 60 * checkpoint_minutes})
        for stage in plan.stages.values()
        if selected is None or selected.intersection(stage.trials)
    ]
    shelf = Store(store)
    command_line = shlex.join(["python", "-m", "sota_bench", *sys.argv[1:]])
    started = time.monotonic()
    with shelf.hold(command_line):
        plan.images.manifest.save(Path(plan.stages[_prepare(plan)].context["manifest"]))
        missing = to_run(plan.stages, shelf.is_done, shelf.has_files)
        reasons = Reasons(shelf.rows(), shelf.is_done, shelf.has_files)
        why = {key: reasons.why(stage, missing) for key, stage in plan.stages.items()}
        run = shelf.begin_run(question.name, str(question.out), command_line)
        again = [key for key in shelf.failed() if key in plan.stages] if retry else []
        with ProgressView(stages, question.out / "run.log", workers=count) as view:
            summary = run_stages(
                stages, shelf, workers=min(count, max(1, len(missing))), device=plan.environment.device,
                threads=int(plan.environment.about.get("threads", 1)), fail_fast=fail_fast, retry=again,
                stall_s=60 * stall_minutes, disk_limit=limit, on_event=view,
            )  # fmt: skip
        about = {
            "run_minutes": (time.monotonic() - started) / 60,
            "git_commit": git_commit(),
            "command": command_line,
            "workers": count,
            "started": shelf.runs()[-1]["started"],
            "reused": sorted(set(plan.stages) - set(missing)),
            "why": why,
        }
        shelf.end_run(run, about)
        if summary.interrupted:
            click.echo(f"interrupted; go on with: {command_line}", err=True)
            return 130
        collector = Collector(plan, shelf, reused=frozenset(about["reused"]), why=why)
        tables = collector.tables(about)
        analysis = write(question.out, tables)
    _tell(question.out, summary_lines(tables, analysis), tables.run, as_json)
    wrong = tables.trials["status"].isin(["failed", "blocked"])
    if selected is not None:
        wrong &= tables.trials["trial"].isin(selected)
    return 1 if wrong.any() else 0


def _prepare(plan: Any) -> str:
    return next(key for key, stage in plan.stages.items() if stage.kind == "prepare")


def _tell(out: Path, lines: list[str], run: dict[str, Any], as_json: bool) -> None:
    if as_json:
        import json

        from sota_bench.report.output import plain

        click.echo(json.dumps({"out": str(out), "summary": lines, "run": plain(run)}, allow_nan=False))
        return
    for line in lines:
        click.echo(line)
    click.echo(f"report: {out / 'report.html'}")


def git_commit() -> str:
    """The commit of the checkout that this code runs from, with ``+`` where it is changed; "" outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        ask = ["git", "-C", str(root)]
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        changed = subprocess.run([*ask, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip()[:12] + ("+" if changed.stdout.strip() else "")
