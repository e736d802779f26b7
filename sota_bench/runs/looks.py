"""A run that goes on until its questions are decided: the looks that it planned, what each has shown, and what is next.

The record of the looks is a file of the store, written after each look. What it says is decided stays decided, so a run
that was killed goes on where it was, and with the same seeds: which trials a look needs follows from the record alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sota_bench import files
from sota_bench.errors import UserError
from sota_bench.grid.grid import Grid
from sota_bench.plan.plan import Plan
from sota_bench.stats.fixed_design import fixed_seeds, narrowed
from sota_bench.stats.power import Precision
from sota_bench.stats.result import ContrastRow
from sota_bench.stats.sequential import Look, LookPlan, plan_looks

if TYPE_CHECKING:
    from sota_bench.stats import Analysis

WORTH_SEEDS = 0.1
"""Share by which endlessly many seeds must narrow an interval for more of them to be worth training."""

ENDS = ("decided", "maximum", "budget", "images")
"""Why a run ended: all is decided; the last look is done; the next one does not fit the budget; more seeds would hardly
narrow what is open, since the images are the limit."""


@dataclass(frozen=True)
class QuestionAtLook:
    """One question at one look: its effect with its repeated confidence interval, in the unit of the response.

    Attributes:
        response: what levels are compared by.
        factor, level, baseline: what is compared.
        estimate, low, high: None where it could not be estimated.
        verdict: one of ``stats.VERDICTS``.
        look: the look that the numbers stem from: this one, or the earlier one that decided it.
        decided: whether it is decided by then.
        images_limit: whether more seeds would hardly narrow it, since its error is mostly that of the images.
    """

    response: str
    factor: str
    level: str
    baseline: str
    estimate: float | None
    low: float | None
    high: float | None
    verdict: str
    look: int
    decided: bool
    images_limit: bool = False


@dataclass(frozen=True)
class LookRecord:
    """What one look has shown.

    Attributes:
        seeds: of the cells that were still needed.
        trainings: trainings so far, of all looks; those that trials share count once.
        undecided: names of the questions that it left open.
        minutes: by the clock so far, of all looks.
        questions: every question.
    """

    seeds: int
    trainings: int
    undecided: tuple[str, ...]
    minutes: float
    questions: tuple[QuestionAtLook, ...]


@dataclass(frozen=True)
class QuestionCost:
    """What a question took, beside a fixed design.

    Attributes:
        response: what levels are compared by.
        factor, level, baseline: what is compared.
        look: the look that decided it, or the last one.
        seeds: of that look.
        trainings: of the cells that it compares, up to that look.
        power: with which the planned looks find an effect of the smallest size of interest; None without one.
        fixed_seeds, fixed_trainings: what a design without looks takes to find it as often; None where it is not known.
    """

    response: str
    factor: str
    level: str
    baseline: str
    look: int
    seeds: int
    trainings: int
    power: float | None = None
    fixed_seeds: int | None = None
    fixed_trainings: int | None = None


@dataclass(frozen=True)
class LookHistory:
    """The looks of one run.

    Attributes:
        planned: seeds at each look, as planned before the first one.
        deltas: response -> smallest effect of interest, as declared then, where one is.
        seeds: numbers of the seeds that may run, in their order.
        looks: those that are done.
        decided: response -> rows of the contrasts that are decided, each as at its look.
        runs: cell -> how many of the seeds it has been asked to run.
        ended: one of `ENDS`, or "" while it goes on.
        costs: what each question took, once it has ended.
        fixed_trainings: those of one fixed design for all questions.
    """

    planned: tuple[int, ...]
    deltas: Mapping[str, float]
    seeds: tuple[int, ...]
    looks: tuple[LookRecord, ...] = ()
    decided: Mapping[str, tuple[ContrastRow, ...]] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    ended: str = ""
    costs: tuple[QuestionCost, ...] = ()
    fixed_trainings: int | None = None

    @property
    def plan(self) -> LookPlan:
        """The planned looks."""
        return LookPlan(self.planned)

    @property
    def next_look(self) -> Look | None:
        """The look that follows; None after the last one."""
        number = len(self.looks) + 1
        return Look(self.plan, number) if number <= len(self.planned) else None

    @property
    def last_look(self) -> Look | None:
        """The look that was done last."""
        return Look(self.plan, len(self.looks)) if self.looks else None

    @property
    def trainings(self) -> int:
        """Trainings of all looks."""
        return self.looks[-1].trainings if self.looks else 0

    @property
    def minutes(self) -> float:
        """Minutes of all looks."""
        return self.looks[-1].minutes if self.looks else 0.0

    @property
    def open(self) -> tuple[tuple[str, str], ...]:
        """Factor and level of the questions that the last look left open and that more seeds may decide."""
        if not self.looks:
            return ()
        return tuple(dict.fromkeys(
            (question.factor, question.level)
            for question in self.looks[-1].questions
            if not (question.decided or question.images_limit) and question.estimate is not None
        ))  # fmt: skip

    def decided_before(self, look: Look, response: str) -> tuple[ContrastRow, ...]:
        """The rows of a response that looks before this one have decided."""
        return tuple(row for row in self.decided.get(response, ()) if (row.look or 0) < look.number)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        decided = {response: [row.to_dict() for row in rows] for response, rows in self.decided.items()}
        return {**asdict(self), "decided": decided}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LookHistory:
        """What :meth:`to_json` gave."""
        looks = tuple(
            LookRecord(**{
                **look,
                "undecided": tuple(look["undecided"]),
                "questions": tuple(QuestionAtLook(**question) for question in look["questions"]),
            })
            for look in values["looks"]
        )  # fmt: skip
        return cls(
            tuple(values["planned"]), values["deltas"], tuple(values["seeds"]), looks,
            {name: tuple(map(ContrastRow.from_dict, rows)) for name, rows in values["decided"].items()},
            values["runs"], values["ended"],
            tuple(QuestionCost(**cost) for cost in values["costs"]), values["fixed_trainings"],
        )  # fmt: skip


def new_history(grid: Grid) -> LookHistory:
    """The looks that a grid asks for, before the first one."""
    planned = plan_looks(len(grid.seeds), grid.max_seeds)
    further = islice(grid.further_seeds, max(0, planned.most - len(grid.seeds)))
    return LookHistory(planned.seeds, dict(grid.smallest_effects), (*grid.seeds, *further))


def declared_plan(plan: Plan, grid: Grid) -> Plan:
    """The part of a plan that the first look needs: all cells with the seeds of the grid.

    Args:
        plan: of all cells with all seeds that may run.
        grid: with the seeds that were declared.
    """
    seeds = new_history(grid).seeds
    first = plan_looks(len(grid.seeds), grid.max_seeds).seeds[0]
    chosen = {trial.trial.id for trial in plan.trials if trial.trial.seed in seeds[:first]}
    return plan.restricted(chosen, grid.with_seeds(seeds[:first]))


def record_file(store: Path, plan: Plan, declared: Sequence[int]) -> Path:
    """Where the store keeps the record of a run: another grid, data, software or set of declared seeds has another."""
    keys = sorted(
        trial.final.key for trial in plan.trials if trial.inapplicable is None and trial.trial.seed in declared
    )
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:24]
    return store / "looks" / f"{digest}.json"


def read_history(file: Path, grid: Grid) -> LookHistory:
    """The record of a run, or a new one.

    Raises:
        UserError: looks were planned for another maximum of seeds or another smallest effect, and some are done. To
            plan anew after a look would break the error that the run promises.
    """
    fresh, history = new_history(grid), _stored_history(file)
    if history is None:
        return fresh
    remedy = "keep the old value, or start a new run with other seeds, such as --seeds "
    remedy += ",".join(map(str, islice(replace_seeds(grid, history.seeds).further_seeds, len(grid.seeds))))
    if history.planned != fresh.planned:
        problem = f"the looks of this run were planned for at most {history.planned[-1]} seeds and have begun"
        raise UserError(str(grid.file), "grid.max_seeds", problem, remedy)
    if history.deltas != fresh.deltas:
        sizes = ", ".join(f"{size:g} on {response}" for response, size in history.deltas.items())
        planned = f"a smallest effect of {sizes}" if sizes else "no smallest effect"
        problem = f"the looks of this run were planned for {planned} and have begun"
        raise UserError(str(grid.file), "grid.smallest_effect", problem, remedy)
    return history


def _stored_history(file: Path) -> LookHistory | None:
    """The record of a run with a look that is done; None without one."""
    try:
        history = LookHistory.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return history if history.looks else None


def with_looks(plan: Plan, store: Path, make_plan: Callable[[Grid], Plan]) -> Plan:
    """The plan of a grid with the seeds that its looks added, where it was run until it is decided; else itself.

    Args:
        plan: of the seeds that the grid declares.
        store: folder of the store.
        make_plan: makes the plan of the grid with other seeds.
    """
    history = _stored_history(record_file(store, plan, plan.grid.seeds))
    if history is None or (last := history.last_look) is None:
        return plan
    wide = make_plan(plan.grid.with_seeds(history.seeds[: last.seeds]))
    return wide.restricted(trials_of_runs(wide, history.seeds, history.runs))


def replace_seeds(grid: Grid, seeds: Sequence[int]) -> Grid:
    """The grid with the seeds of a record, without a repeated one."""
    return grid.with_seeds(tuple(dict.fromkeys(seeds)))


def write_history(file: Path, history: LookHistory) -> None:
    """Keep the record, whole or as it was before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(file, history.to_json())


def runs_of_look(history: LookHistory, look: Look, plan: Plan, cells: Collection[str]) -> dict[str, int]:
    """Cell -> how many seeds a look rests on.

    Args:
        history: with the looks before.
        look: the look.
        plan: of all cells.
        cells: ids of the cells that open questions compare; at the first look all run.
    """
    every = dict.fromkeys(trial.trial.cell.id for trial in plan.trials)
    running = every if look.number == 1 else {cell: None for cell in every if cell in cells}
    return {**history.runs, **dict.fromkeys(running, look.seeds)}


def trials_of_runs(plan: Plan, seeds: Sequence[int], runs: Mapping[str, int]) -> frozenset[str]:
    """Ids of the trials of each cell's first seeds.

    Args:
        plan: of all cells with these seeds or more.
        seeds: in their order.
        runs: cell -> how many seeds.
    """
    place = {seed: number for number, seed in enumerate(seeds)}
    return frozenset(
        trial.trial.id
        for trial in plan.trials
        if place.get(trial.trial.seed, len(seeds)) < runs.get(trial.trial.cell.id, 0)
    )


def trainings_of(plan: Plan, trials: frozenset[str]) -> int:
    """How many trainings some trials take, those that they share counted once."""
    return len({trial.training[-1] for trial in plan.trials if trial.training and trial.trial.id in trials})


def after_look(
    history: LookHistory, look: Look, runs: Mapping[str, int], analyses: Sequence[Analysis], trainings: int,
    minutes: float,
) -> LookHistory:  # fmt: skip
    """The history with one more look.

    Args:
        history: with the looks before.
        look: the one that was taken.
        runs: cell -> how many seeds it rests on.
        analyses: of the trials that it rests on, one for each response.
        trainings: of these trials.
        minutes: by the clock so far, of all looks.
    """
    from sota_bench.stats.sentences import comparison

    rows = [(analysis.overview.response, row) for analysis in analyses for row in analysis.headlines()]
    questions = tuple(
        QuestionAtLook(
            response, row.factor, row.level, row.baseline, row.estimate, row.low, row.high, row.verdict,
            row.look or look.number, bool(row.decided), _limited_by_images(row),
        )
        for response, row in rows
    )  # fmt: skip
    several = len(analyses) > 1
    undecided = tuple(
        f"{comparison(row)} ({response})" if several else comparison(row) for response, row in rows if not row.decided
    )
    record = LookRecord(look.seeds, trainings, undecided, minutes, questions)
    decided = {
        analysis.overview.response: tuple(row for row in analysis.contrasts if row.decided) for analysis in analyses
    }
    return replace(history, looks=(*history.looks, record), decided=decided, runs=dict(runs))


def ended(
    history: LookHistory, why: str, analyses: Sequence[Analysis], cells: Mapping[tuple[str, str], frozenset[str]],
    plan: Plan,
) -> LookHistory:  # fmt: skip
    """The history of a run that has ended, with what its questions took and what a fixed design would have taken.

    Args:
        history: with all looks.
        why: one of `ENDS`.
        analyses: of the last look, one for each response.
        cells: ids of the cells that each question compares, by factor and level.
        plan: of all cells with all seeds that may run.
    """
    costs = []
    for overview, row in ((analysis.overview, row) for analysis in analyses for row in analysis.headlines()):
        compared = cells.get((row.factor, row.level), frozenset())
        seeds = row.seeds_used or history.planned[0]
        of_one_seed = trainings_of(plan, _trials(plan, compared, history.seeds[:1]))
        cost = QuestionCost(
            overview.response, row.factor, row.level, row.baseline, row.look or len(history.looks), seeds,
            of_one_seed * seeds,
        )  # fmt: skip
        precision = Precision.of_row(row)
        if overview.delta is not None and precision.usable.all():
            fixed, power = fixed_seeds(history.plan, overview.delta, precision, overview.alpha / row.family_size)
            trainings = None if fixed is None else fixed * of_one_seed
            cost = replace(cost, power=power, fixed_seeds=fixed, fixed_trainings=trainings)
        costs.append(cost)
    every = trainings_of(plan, _trials(plan, None, history.seeds[:1]))
    known = [cost.fixed_seeds for cost in costs if cost.fixed_seeds is not None]
    total = max(known) * every if known and len(known) == len(costs) else None
    return replace(history, ended=why, costs=tuple(costs), fixed_trainings=total)


def _limited_by_images(row: ContrastRow) -> bool:
    """Whether any number of seeds would make an undecided interval less than a tenth narrower."""
    precision = Precision.of_row(row)
    if row.decided or not precision.usable.all() or not precision.images.any():
        return False
    return narrowed(precision) > 1 - WORTH_SEEDS


def _trials(plan: Plan, cells: frozenset[str] | None, seeds: Sequence[int]) -> frozenset[str]:
    return frozenset(
        trial.trial.id
        for trial in plan.trials
        if trial.trial.seed in seeds and (cells is None or trial.trial.cell.id in cells)
    )
