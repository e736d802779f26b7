"""Which trial is exported, and what the store knows of it. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sota_bench.errors import UserError
from sota_bench.grid.expand import Cell
from sota_bench.grid.grid import Grid
from sota_bench.grid.nearest import did_you_mean
from sota_bench.grid.pretrained import HUB, located
from sota_bench.plan.plan import TrialPlan
from sota_bench.report.answers import answers_of
from sota_bench.report.collect import Collector
from sota_bench.report.effects import effects
from sota_bench.report.view import View
from sota_bench.responses import response_named
from sota_bench.runs.confirmation import Confirmation
from sota_bench.ship.facts import TrialFacts
from sota_bench.stages.params import EvaluateParams, TrainParams
from sota_bench.stages.values import Json

if TYPE_CHECKING:
    import pandas as pd

    from sota_bench.report.tables import RunTables

BEST = "best"


def choose(trials: pd.DataFrame, trial_or_cell: str, response: str = "accuracy") -> str:
    """The id of the trial to export.

    Args:
        trials: one row per trial (``report.rows.TrialRow``).
        trial_or_cell: a trial; a cell, for the best of its trials; or ``best``, for that of the cell with the best mean
            on the select split, among the cells judged by the same images as the first one.
        response: by which trials and cells are ranked.

    Raises:
        UserError: there is no such trial, or none has finished.
    """
    about = response_named(response)
    done = trials[(trials["status"] == "done") & trials[response].notna()]
    if done.empty:
        raise UserError("--trial", "", "no trial of the grid has finished", "start with run")
    if trial_or_cell == BEST:
        first = done["cell"].iloc[0]
        comparable = done[done["judged_on"].isin(done.loc[done["cell"] == first, "judged_on"])]
        by_seed = comparable.pivot(index="seed", columns="cell", values=response)
        means = by_seed.sub(by_seed[first], axis=0).mean()  # within seeds: looks give cells different numbers of them
        trial_or_cell = str(means.idxmax() if about.higher_is_better else means.idxmin())
    chosen = done[(done["trial"] == trial_or_cell) | (done["cell"] == trial_or_cell)]
    if chosen.empty:
        shown = ", ".join(done["trial"].head(8))
        raise UserError(
            "--trial", "", f"there is no finished trial or cell {trial_or_cell!r}", f"choose for example {shown}"
        )
    ranked = chosen.sort_values(response, ascending=not about.higher_is_better, kind="stable")
    return str(ranked["trial"].iloc[0])


def chosen_cell(grid: Grid, tables: RunTables, cell: str | None) -> Cell:
    """The cell to promote: the one that is named, else the confirmed winner, else that of the ``best`` trial.

    Raises:
        UserError: there is no such cell, or none is named and no trial has finished.
    """
    cells = {candidate.id: candidate for candidate in grid.cells()}
    if cell is None and tables.run.confirmation is not None:
        cell = tables.run.confirmation.winner
    if cell is None:
        trial = choose(tables.trials, BEST, grid.response[0])
        cell = str(tables.trials.set_index("trial").at[trial, "cell"])
    if cell not in cells:
        remedy = did_you_mean(cell, cells, f"the cells are {', '.join(list(cells)[:12])}")
        raise UserError("--cell", "", f"there is no cell {cell!r}", remedy)
    return cells[cell]


def trial_facts(collector: Collector, trial_or_cell: str, licence: str = "") -> tuple[TrialFacts, str]:
    """What is known of the chosen trial, and the key of its last training stage.

    Args:
        collector: of the grid's last run.
        trial_or_cell: as :func:`choose` takes it.
        licence: of the weights, "" where nobody has chosen one.

    Raises:
        UserError: as :func:`choose`, or its weights are no longer in the store.
    """
    tables = collector.tables()
    name = choose(tables.trials, trial_or_cell, tables.run.grid.response[0])
    plan, run = collector.plan, tables.run
    trial = next(trial for trial in plan.trials if trial.trial.id == name)
    checkpoint = trial.training[-1]
    if not collector.store.has_files(checkpoint):
        remedy = "run the grid with a larger --disk-limit, and export again"
        raise UserError("--trial", name, "its weights were removed from the store to save disk", remedy)
    row = tables.trials[tables.trials["trial"] == name].iloc[0].to_dict()
    cell = tables.trials[(tables.trials["cell"] == row["cell"]) & (tables.trials["status"] == "done")]
    evaluation = cast(EvaluateParams, plan.stages[trial.final.key].params)
    training = cast(TrainParams, plan.stages[checkpoint].params)
    recipe = trial.trial.cell.recipe
    written = cast(dict[str, Json], recipe.model_dump(mode="json"))
    if recipe.weights and recipe.weights != HUB:
        written["weights"] = str(located(recipe.weights, plan.grid.file))  # recipe.toml lies elsewhere
    confirmation = run.confirmation if run.confirmation and run.confirmation.winner == row["cell"] else None
    facts = TrialFacts(
        grid=plan.grid.name,
        trial=name,
        cell=str(row["cell"]),
        levels=trial.trial.cell.text,
        seed=trial.trial.seed,
        seeds=len(cell),
        vary=plan.grid.vary,
        files=plan.grid.techniques,
        training_recipe=training.recipe,
        recipe=written,
        data=cast(dict[str, Json], {**plan.grid.data.model_dump(mode="json"), "source": plan.grid.source}),
        evaluation=evaluation,
        stored_size=evaluation.data.size,
        classes=_classes(collector, trial),
        scores=collector.results[trial.final.key].scores,
        mean_accuracy=float(cell["accuracy"].mean()),
        minutes=float(row["minutes"]),
        params=int(row["params"]),
        flops=int(row["flops"]),
        confirmed=_gain(confirmation),
        test_accuracy=confirmation.test_accuracy if confirmation else None,
        verdicts=[effect.sentence for effect in effects(View(tables, answers_of(tables)))],
        data_digest=evaluation.data.digest,
        manifest_digest=run.data_digest,
        code_commit=run.git_commit,
        versions=run.versions,
        pretrained=_pretrained(recipe.weights),
        licence=licence,
    )
    return facts, checkpoint


def _gain(confirmation: Confirmation | None) -> str | None:
    """The gain of a winner over the baseline on the test split, with its unit and its 95% interval."""
    if confirmation is None or confirmation.test.estimate is None:
        return None
    test, about = confirmation.test, response_named(confirmation.response)
    digits, unit = about.digits + 1, f" {about.unit}" if about.unit else ""
    interval = ""
    if test.low is not None and test.high is not None:
        interval = f" (95% interval {test.low:.{digits}f} to {test.high:.{digits}f})"
    noun = "" if about.name == "accuracy" else f" in {about.noun}"
    return f"{test.estimate:+.{digits}f}{unit}{noun}{interval}"


def _classes(collector: Collector, trial: TrialPlan) -> list[str]:
    images = collector.plan.images
    return list(images.subset(images.choice(trial.trial.cell.recipe, "main")).classes)


def _pretrained(weights: str) -> str:
    if not weights:
        return ""
    return "the pretrained weights of timm's hub" if weights == HUB else f"the pretrained weights in {weights}"
