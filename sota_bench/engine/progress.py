"""What a person sees of a run: bars in a terminal, plain lines elsewhere, and the same plain lines in ``run.log``."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from sota_bench.engine.events import (
    Event,
    Note,
    StageBlocked,
    StageDone,
    StageFailed,
    StageInterrupted,
)
from sota_bench.engine.run_progress import RunningStage, RunProgress
from sota_bench.stages.stage import Stage
from sota_bench.units import counted, duration_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class ProgressView:
    """Shows the events of a run; use as a context manager and give it to ``run_stages`` as ``on_event``.

    Args:
        stages: all stages of the run.
        log: file that plain lines are added to (``<out>/run.log``), ``None`` for none.
        predicted: key -> seconds, where the planner has an estimate.
        workers: how many stages run at once.
        trials: ids of the trials that were asked for; all that the stages belong to by default.
        console: where to show it; standard error unless given.
        every_s: seconds between plain lines on what is going on.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        log: Path | None = None,
        *,
        predicted: Mapping[str, float] | None = None,
        workers: int = 1,
        trials: Collection[str] | None = None,
        console: Console | None = None,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from rich.console import Console

        self.run_progress = RunProgress(stages, predicted, workers, clock, trials)
        self.console = console or Console(stderr=True)
        self.every_s, self.clock = every_s, clock
        self._path, self._file = log, None
        self._bars: _Bars | None = None
        self._printed_at = clock()
        self._reused_shown = False

    _file: TextIO | None

    def __enter__(self) -> ProgressView:
        if self._path is not None:
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("a", encoding="utf-8")
        if self.console.is_terminal:
            self._bars = _Bars(self.console, self.run_progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal may be gone; what was computed is not
            if self._bars:
                self._bars.close()
            self._show_reused()
        if self._file:
            with suppress(OSError):
                self._file.close()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.run_progress.count(event)
        if not (isinstance(event, StageDone) and event.reused):
            self._show_reused()
        match event:
            case StageDone(stage, _, _, False, wall_s):
                self._print(f"done         {stage.title} ({duration_text(wall_s)}); {self._counts()}")
            case StageFailed(stage, kind, reason, log, earlier):
                when = " in an earlier run; --retry failed tries it again" if earlier else ""
                when = ", tried again by the next run" if kind == "environment" else when
                self._print(f"FAILED       {stage.title} ({kind}{when}): {reason}" + (f"; log: {log}" if log else ""))
            case StageBlocked(stage, _, reason):
                self._print(f"blocked      {stage.title}: {reason}")
            case StageInterrupted(stage):
                self._print(f"interrupted  {stage.title}")
            case Note(text):
                self._print(f"note         {text}")
        if self._bars:
            self._bars.show()
        if self.clock() - self._printed_at >= self.every_s and self.run_progress.running:
            self._print(f"running      {self._now()}", shown=self._bars is None)

    def _show_reused(self) -> None:
        if not self._reused_shown and self.run_progress.reused:
            self._print(f"reused       {counted(self.run_progress.reused, 'stage')} from the store; {self._counts()}")
        self._reused_shown = True

    def _print(self, line: str, *, shown: bool = True) -> None:
        self._printed_at = self.clock()
        text = "".join(character if character.isprintable() else "?" for character in line)
        stamped = f"{datetime.now():%H:%M:%S}  {text}"
        if shown:
            self.console.print(stamped, markup=False, highlight=False, soft_wrap=True)
        if self._file:
            with suppress(OSError):  # a full disk must not end the run for the sake of its log
                self._file.write(stamped + "\n")
                self._file.flush()

    def _counts(self) -> str:
        run = self.run_progress
        failed = f", {run.trials_failed} failed" if run.trials_failed else ""
        return f"trials {run.trials_done}/{run.trials}{failed}, stages {run.done}/{run.stages}"

    def _now(self) -> str:
        jobs = "; ".join(job_line(job) for _, job in sorted(self.run_progress.running.items()))
        return f"{self._counts()}, {time_left(self.run_progress)}: {jobs}"


def time_left(run_progress: RunProgress) -> str:
    """``about 3.3 min left``, or ``more than ...`` while nothing is known of some kind of stage."""
    seconds, complete = run_progress.left()
    if not complete and not seconds:
        return "time left unknown"
    return f"{'about' if complete else 'more than'} {duration_text(seconds)} left"


def job_line(job: RunningStage) -> str:
    """One running stage in a few words."""
    progress = job.progress
    parts = [job.stage.title]
    if progress.total:
        parts.append(f"{100 * progress.done // progress.total}%")
    if progress.images_per_s:
        parts.append(f"{progress.images_per_s:.0f} images/s")
    if progress.note:
        parts.append(progress.note)
    return ", ".join(parts)


class _Bars:
    """Live bars: trials, stages, and one line per worker."""

    def __init__(self, console: Console, run: RunProgress) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
        from rich.table import Column
        from rich.text import Text

        class CutText(ProgressColumn):
            """Text in the room that the other columns leave."""

            def render(self, task: Task) -> Text:
                return Text(task.fields["more"], no_wrap=True, overflow="ellipsis")

        self.run = run
        self.bars: Bars = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24, table_column=Column(width=24)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            CutText(),
            console=console,
            refresh_per_second=4,
            transient=True,
        )
        self.trials = self.bars.add_task("trials", total=run.trials, more="")
        self.stages = self.bars.add_task("stages", total=run.stages, more="")
        self.workers: dict[int, TaskID] = {}
        self.bars.start()

    def show(self) -> None:
        """Bring the bars up to date."""
        run = self.run
        lost = f"{run.trials_failed} failed" if run.trials_failed else ""
        self.bars.update(self.trials, completed=run.trials_done, more=lost)
        self.bars.update(
            self.stages,
            completed=run.done + run.failed + run.blocked,
            more=time_left(run),
        )
        for worker, job in run.running.items():
            if worker not in self.workers:
                self.workers[worker] = self.bars.add_task(f"worker {worker}", total=1, more="")
            progress = job.progress
            self.bars.update(
                self.workers[worker], total=progress.total or None, completed=progress.done, more=job_line(job)
            )
        for worker in set(self.workers) - set(run.running):
            self.bars.remove_task(self.workers.pop(worker))

    def close(self) -> None:
        """Take the bars off the screen."""
        self.bars.stop()
