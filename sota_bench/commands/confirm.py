"""``confirm GRID.toml``: the winner and the baseline again, with fresh seeds, judged by images that chose nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from sota_bench.commands.options import grid_options, load_grid, machine_of, parse_seeds
from sota_bench.engine.worker_pool import shared_worker_pool


@click.command()
@grid_options
@click.option("--cell", help="The cell to confirm (default: the best on the select split).")
@click.option("--fresh-seeds", help="Seeds to train with, none of them the grid's (default: as many as the grid has).")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def command(
    grid: Path, out: Path | None, store: Path, overrides: tuple[str, ...], device: str, workers: int, seeds: str | None,
    only: str | None, cell: str | None, fresh_seeds: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Train the winner and the baseline with fresh seeds and judge them on the test split."""
    click.get_current_context().with_resource(shared_worker_pool())
    from sota_bench.commands.execution import EngineOptions, command_line, confirmed_name, execute
    from sota_bench.commands.report import stored_run
    from sota_bench.errors import UserError
    from sota_bench.grid.expand import Trial
    from sota_bench.plan.make import make_plan
    from sota_bench.report.collect import Collector
    from sota_bench.report.output import write
    from sota_bench.store import Store

    question = load_grid(grid, overrides, seeds, out)
    fresh = parse_seeds(fresh_seeds) if fresh_seeds else _fresh(question.seeds)
    used = sorted(set(fresh) & set(question.seeds))
    if used or len(set(fresh)) < 2:
        problem = f"{used[0]} took part in choosing" if used else "fewer than two seeds give no interval"
        raise UserError("--fresh-seeds", "", problem, f"write for example {','.join(map(str, _fresh(question.seeds)))}")
    machine = machine_of(store, device, workers, grid=question)
    shelf = Store(store)
    stored = stored_run(question, grid, machine)
    question = stored.plan.grid  # with the schedules of cells that were compared at equal cost
    selected = stored.trial_table()
    if only:
        selected = selected[selected["trial"].isin([trial.id for trial in question.only(only)])]
    baseline, winner = _pair(question, selected, cell, grid)
    if winner == baseline:
        words = [f"{baseline}, the baseline, is the best cell: there is no gain to confirm"]
        answer: dict[str, Any] = {"baseline": baseline, "winner": winner, "words": words}
        click.echo(json.dumps(answer) if as_json else words[0])
        return 0
    cells = [one for one in question.cells() if one.id in (baseline, winner)]
    trials = [Trial(f"{one.id}-s{seed}", one, seed) for one in cells for seed in fresh]
    plan, count = make_plan(question, machine, trials=trials, split="test")
    with shelf.hold(command_line()):
        before = _looks(shelf, confirmed_name(question.name), set(plan.stages))
        done = execute(plan, shelf, EngineOptions(count), name=confirmed_name(question.name))
        if done.interrupted:
            click.echo(f"interrupted; go on with: {command_line()}", err=True)
            return 130
        collector = Collector(plan, shelf)
        tested = collector.trial_table()
        answer = _answer(question, selected, tested, baseline, winner, before)
        answer["test"]["over_images"] = _over_images(collector.correct_images(), baseline, winner, fresh)
        shelf.end_run(done.run, {**done.about, "confirmation": answer})
        _write(question.out, tested, answer)
        stored.entry = {**stored.entry, "confirmation": answer}
        write(question.out, stored.tables())
    click.echo(json.dumps(answer) if as_json else "\n".join(answer["words"]))
    return 1 if (tested["status"] != "done").any() else 0


def _looks(shelf: Any, name: str, keys: set[str]) -> int:
    """How often the test images have judged other trials of this grid before."""
    looks = 0
    for row in shelf.runs():
        made = set(row["summary"].get("keys", {}).values())
        looks += row["grid"] == name and bool(made) and made & keys != keys
    return looks


def _over_images(predictions: dict[str, Any], baseline: str, winner: str, seeds: list[int]) -> dict[str, float] | None:
    """The same difference with its uncertainty over images, in percentage points; None where a trial is missing."""
    import numpy as np

    from sota_bench.stats import image_uncertainty

    pairs = [(f"{baseline}-s{seed}", f"{winner}-s{seed}") for seed in seeds]
    if not all(one in predictions and other in predictions for one, other in pairs):
        return None
    found = image_uncertainty(
        np.stack([predictions[one] for one, _ in pairs]), np.stack([predictions[other] for _, other in pairs])
    )
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def _fresh(seeds: tuple[int, ...]) -> list[int]:
    """As many seeds as the grid has, three at least, all above its own."""
    first = max(seeds) + 1
    return list(range(first, first + max(3, len(seeds))))


def _pair(question: Any, trials: Any, cell: str | None, place: Path) -> tuple[str, str]:
    """The baseline's and the winner's cell."""
    from sota_bench.errors import UserError

    if question.baseline_cell is None:
        problem = f"{question.design} with several factors has no baseline cell to confirm against"
        raise UserError(str(place), "grid.design", problem, "use full or one-at-a-time")
    baseline = question.baseline_cell.id
    done = trials[trials["status"] == "done"]
    # accuracies on other images do not compare
    done = done[done["judged_on"].isin(done.loc[done["cell"] == baseline, "judged_on"])]
    whole = done.groupby("cell").filter(lambda rows: len(rows) == len(question.seeds))
    means = whole.groupby("cell")["accuracy"].mean()
    if baseline not in means.index:
        raise UserError(str(place), "", "its baseline cell has not all its seeds yet", "start with run")
    if cell is not None and cell not in means.index:
        raise UserError(
            "--cell", "", f"there is no finished cell {cell!r}", f"choose among {', '.join(means.index[:12])}"
        )
    return baseline, cell or str(means.idxmax())


def _answer(question: Any, selected: Any, tested: Any, baseline: str, winner: str, looks: int) -> dict[str, Any]:
    """Both differences, on the images that chose and on those that confirm, and how much of the gain survived."""
    from sota_bench.stats import analyze

    def contrast(table: Any) -> dict[str, Any]:
        rows = table[table["cell"].isin([baseline, winner])]
        found = analyze(
            rows, response="accuracy", factors={"cell": [baseline, winner]}, delta=question.smallest_effect, unit="pp"
        )
        row = next(row for row in found.contrasts if row["error"] == "paired")
        return {name: row[name] for name in ("estimate", "se", "df", "low", "high", "p", "verdict", "n")}

    chosen, confirmed = contrast(selected), contrast(tested)
    levels = next(cell.text for cell in question.cells() if cell.id == winner)
    changed = {name: level for name, level in levels.items() if level != _text(question, name)}
    clear = all(row["low"] is not None and row["low"] > 0 for row in (chosen, confirmed))
    survived = confirmed["estimate"] / chosen["estimate"] if clear else None
    differs = ", ".join(f"{name} {level}" for name, level in changed.items())
    candidates = selected.loc[selected["status"] == "done", "cell"].nunique()
    words = [
        f"{winner} ({differs}) against the baseline {baseline}",
        f"on the images that chose: {_said(chosen)}; picked as the best of {candidates} cells, so this is optimistic",
        f"on the test images, with fresh seeds: {_said(confirmed)}: {confirmed['verdict']}",
        _survival(chosen, confirmed, survived),
    ]
    if looks:
        words.append(f"the test images have judged {looks} other choices of this grid before: they are no longer fresh")
    del chosen["verdict"]  # of the best of many it would promise too much
    return {"baseline": baseline, "winner": winner, "levels": changed, "select": chosen, "test": confirmed,
            "survived": survived, "looks_before": looks, "words": words}  # fmt: skip


def _survival(chosen: dict[str, Any], confirmed: dict[str, Any], survived: float | None) -> str:
    if survived is not None:
        return f"about {100 * survived:.0f}% of the gain survived"
    if confirmed["high"] is not None and confirmed["high"] <= 0:
        return "the gain did not survive"
    return "whether the gain survived is not settled: more fresh seeds would tell"


def _text(question: Any, name: str) -> str:
    from sota_bench.grid import level_text

    return level_text(question.factors[name][0])


def _said(row: dict[str, Any]) -> str:
    if row["estimate"] is None:
        return str(row["verdict"])
    if row["low"] is None:
        return f"{row['estimate']:+.2f} pp"
    return f"{row['estimate']:+.2f} pp, 95% interval {row['low']:.2f} to {row['high']:.2f}, {row['n']:.0f} seeds"


def _write(out: Path, tested: Any, answer: dict[str, Any]) -> None:
    from sota_bench.report.files import write_files

    table = tested.to_csv(index=False, lineterminator="\n")
    write_files(out, {"confirmation.csv": table, "confirmation.json": json.dumps(answer, indent=1) + "\n"})
