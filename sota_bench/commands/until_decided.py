"""The loop of ``run --until-decided``: look, see what is open, train more seeds where they are needed, look again."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sota_bench.errors import UserError
from sota_bench.forecast.predict import Prediction
from sota_bench.forecast.predictor import Predictor
from sota_bench.plan.plan import Plan
from sota_bench.report.answers import asked_analyses, cells_of_questions
from sota_bench.report.collect import Collector
from sota_bench.runs import looks
from sota_bench.runs.execute import Execution, RunOptions, execute, must_plan_again
from sota_bench.runs.looks import LookHistory
from sota_bench.stats import Analysis, sentences
from sota_bench.stats.sequential import Look
from sota_bench.store import Store
from sota_bench.units import counted, duration_text

Cells = Mapping[tuple[str, str], frozenset[str]]
"""Factor and level of a question -> ids of the cells that it compares."""


@dataclass(frozen=True)
class Setting:
    """What the loop works with.

    Attributes:
        declared: the seeds of the grid.
        budget: minutes by the clock, or None.
        store: held by the caller.
        options: how stages are run.
        predictor: of the time of a look.
        make_plan: makes the plan of all cells with all seeds that may run.
        started: when the command started, by the monotonic clock.
        log: takes lines of progress.
        alone: what each trial takes as measured with nothing else running, for the ledger.
    """

    declared: tuple[int, ...]
    budget: float | None
    store: Store
    options: RunOptions
    predictor: Predictor
    make_plan: Callable[[], Plan]
    started: float
    log: Callable[[str], None]
    alone: Prediction | None = None


@dataclass(frozen=True)
class LoopOutcome:
    """How the loop ended.

    Attributes:
        plan: of the trials that ran, with the seeds that were used.
        run: the last execution, with the record of the looks.
        failed: stages that failed or were blocked, at any look.
    """

    plan: Plan
    run: Execution
    failed: int


@dataclass(frozen=True)
class _Answer:
    """What the trials of a look show."""

    analyses: tuple[Analysis, ...]
    cells: Cells


def run_until_decided(wide: Plan, setting: Setting) -> LoopOutcome:
    """Look by look, until every question is decided, the budget is spent, or the last look is done.

    Looks that an earlier command has done are not decided again.

    Args:
        wide: the plan of all cells with all seeds that may run.
        setting: all else.

    Raises:
        UserError: the looks were planned otherwise, or the first one alone exceeds the budget.
    """
    return _Loop(wide, setting).run()


class _Loop:
    def __init__(self, wide: Plan, setting: Setting) -> None:
        self.wide, self.setting = wide, setting
        self.file = looks.record_file(setting.store.root, wide, setting.declared)
        self.history = looks.read_history(self.file, wide.grid.with_seeds(setting.declared))
        self.minutes_before, self.failed = self.history.minutes, 0

    def run(self) -> LoopOutcome:
        answer: _Answer | None = None
        if (last := self.history.last_look) is not None:
            plan, run = self._train(last, self.history.runs)
            if run.interrupted:
                return LoopOutcome(plan, run, self.failed)
            answer = self._answer(plan, run, last)
        while answer is None or (why := self._reason_to_end(answer)) is None:
            look = self.history.next_look
            assert look is not None  # else the last look is a reason to end
            runs = looks.runs_of_look(self.history, look, self.wide, self._open_cells(answer))
            if answer is not None and self._exceeds_budget(look, runs):
                why = "budget"
                break
            plan, run = self._train(look, runs, announce=True)
            if run.interrupted or (run.failed and self.setting.options.fail_fast):
                return LoopOutcome(plan, run, self.failed)  # the same command takes this look again
            answer = self._answer(plan, run, look)
            minutes = self.minutes_before + self._elapsed_minutes()
            trainings = looks.trainings_of(plan, frozenset(trial.trial.id for trial in plan.trials))
            self.history = looks.after_look(self.history, look, runs, answer.analyses, trainings, minutes)
            looks.write_history(self.file, self.history)
            self.setting.log(looked_line(self.history, answer.analyses))
        self.history = looks.ended(self.history, why, answer.analyses, answer.cells, self.wide)
        looks.write_history(self.file, self.history)
        run = replace(run, entry=replace(run.entry, looks=self.history))
        self.setting.store.end_run(run.id, run.entry.to_json())
        return LoopOutcome(plan, run, self.failed)

    def _plan(self, look: Look, runs: Mapping[str, int]) -> Plan:
        """The plan of the first seeds of each cell."""
        trials = looks.trials_of_runs(self.wide, self.history.seeds, runs)
        return self.wide.restricted(trials, self.wide.grid.with_seeds(self.history.seeds[: look.seeds]))

    def _train(self, look: Look, runs: Mapping[str, int], announce: bool = False) -> tuple[Plan, Execution]:
        """Runs what is missing of a look, and enters the looks before it in the ledger."""
        store, options = self.setting.store, self.setting.options
        plan = self._plan(look, runs)
        prediction = self._predict(plan)
        if announce:
            if look.number == 1:
                self._check_first_look(prediction)
            self.setting.log(look_line(look, self._new_trainings(plan), prediction))
        run = execute(plan, store, options, prediction=prediction, alone=self.setting.alone)
        if must_plan_again(plan, store) and not run.interrupted:
            self.wide = self.setting.make_plan()
            self.file = looks.record_file(store.root, self.wide, self.setting.declared)
            plan = self._plan(look, runs)
            run = execute(plan, store, options, prediction=prediction, alone=self.setting.alone)
        self.failed += run.failed
        run = replace(run, entry=replace(run.entry, looks=self.history))
        store.end_run(run.id, run.entry.to_json())
        return plan, run

    def _answer(self, plan: Plan, run: Execution, look: Look) -> _Answer:
        """What the trials of a look show, with what was decided before it."""
        tables = Collector(plan, self.setting.store, run.entry).tables()
        return _Answer(asked_analyses(tables, look), cells_of_questions(tables))

    def _open_cells(self, answer: _Answer | None) -> Collection[str]:
        cells = {} if answer is None else answer.cells
        return {cell for question in self.history.open for cell in cells.get(question, ())}

    def _reason_to_end(self, answer: _Answer) -> str | None:
        """Why no further look is needed or possible; None where one follows. Any budget is asked elsewhere."""
        if not self.history.open:
            questions = self.history.looks[-1].questions
            return "images" if any(question.images_limit for question in questions) else "decided"
        return None if self.history.next_look else "maximum"

    def _predict(self, plan: Plan) -> Prediction | None:
        return self.setting.predictor.predict(plan, self.setting.options.workers)

    def _elapsed_minutes(self) -> float:
        return (time.monotonic() - self.setting.started) / 60

    def _new_trainings(self, plan: Plan) -> int:
        """Trainings of a look that the looks before it did not have."""
        return looks.trainings_of(plan, frozenset(trial.trial.id for trial in plan.trials)) - self.history.trainings

    def _check_first_look(self, prediction: Prediction | None) -> None:
        """Makes sure that the first look fits the budget, as far as that is known.

        Raises:
            UserError: it does not.
        """
        budget, minutes = self.setting.budget, prediction.run_minutes if prediction else None
        if budget is None or minutes is None or minutes <= budget - self._elapsed_minutes():
            return
        raise UserError(
            "--budget", "", f"the first look takes about {duration_text(60 * minutes)}, and the budget is "
            f"{duration_text(60 * budget)}", "give a larger --budget, or use fewer cells, seeds or epochs",
        )  # fmt: skip

    def _exceeds_budget(self, look: Look, runs: Mapping[str, int]) -> bool:
        """Whether a look is predicted to take longer than what is left of the budget; says so."""
        budget = self.setting.budget
        if budget is None:
            return False
        plan = self._plan(look, runs)
        prediction, trainings = self._predict(plan), self._new_trainings(plan)
        minutes = prediction.run_minutes if prediction else None
        if minutes is None:  # as long a training as those before
            minutes = trainings * self.history.minutes / max(1, self.history.trainings)
        left = budget - self.minutes_before - self._elapsed_minutes()
        if minutes <= left:
            return False
        self.setting.log(
            f"The next look ({counted(look.seeds, 'seed')}, {counted(trainings, 'more training')}) would take about "
            f"{duration_text(60 * minutes)}, but of the budget of {duration_text(60 * budget)} only "
            f"{duration_text(60 * max(left, 0.0))} is left, so it is not started. To continue from here, run the same "
            "command with a larger --budget."
        )
        return True


def look_line(look: Look, trainings: int, prediction: Prediction | None) -> str:
    """What a look is going to train, and how long that is predicted to take."""
    minutes = None if prediction is None else prediction.run_minutes
    time_text = "" if minutes is None else f", about {duration_text(60 * minutes)}"
    seeds = counted(look.seeds, "seed")
    noun = "training" if look.number == 1 else "more training"
    return f"Look {look.number} of {len(look.plan.seeds)}, {seeds}: {counted(trainings, noun)}{time_text}."


def looked_line(history: LookHistory, analyses: Sequence[Analysis]) -> str:
    """What a look has decided, and what is open."""
    number, record = len(history.looks), history.looks[-1]
    heads = [
        f"{sentences.comparison(row)} {sentences.head(row, analysis.overview)}"
        for analysis in analyses
        for row in analysis.headlines()
        if row.decided and row.look == number
    ]
    done = sum(question.decided for question in record.questions)
    text = f"Look {number}: {done} of {counted(len(record.questions), 'question')} decided"
    text += f" ({'; '.join(heads)})" if heads else ""
    return f"{text}; open: {', '.join(record.undecided)}." if record.undecided else f"{text}."
