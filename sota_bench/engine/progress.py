"""What a person sees of a run: bars in a terminal, plain lines elsewhere, and the same plain lines in ``run.log``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
from sota_bench.engine.run_progress import Running, RunProgress, duration
from sota_bench.plan.stage import Stage

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
        console: Console | None = None,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from rich.console import Console

        self.run_progress = RunProgress(stages, predicted, workers, clock)
        self.console = console or Console(stderr=True)
        self.every_s, self.clock = every_s, clock
        self._path, self._file = log, None
        self._bars: _Bars | None = None
        self._said = clock()
        self._reused_said = False

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
            self._say_reused()
        if self._file:
            with suppress(OSError):
                self._file.close()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.run_progress.count(event)
        if not (isinstance(event, StageDone) and event.reused):
            self._say_reused()
        match event:
            case StageDone(stage, _, _, False, wall_s):
                self._say(f"done         {stage.title} ({duration(wall_s)}); {self._counts()}")
            case StageFailed(stage, kind, reason, log, earlier):
                when = " in an earlier run, not tried again" if earlier else ""
                self._say(f"FAILED       {stage.title} ({kind}{when}): {reason}" + (f"; log: {log}" if log else ""))
            case StageBlocked(stage, _, reason):
                self._say(f"blocked      {stage.title}: {reason}")
            case StageInterrupted(stage):
                self._say(f"interrupted  {stage.title}")
            case Note(text):
                self._say(f"note         {text}")
        if self._bars:
            self._bars.show()
        if self.clock() - self._said >= self.every_s and self.run_progress.running:
            self._say(f"running      {self._now()}", shown=self._bars is None)

    def _say_reused(self) -> None:
        if not self._reused_said and self.run_progress.reused:
            self._say(f"reused       {self.run_progress.reused} stages from the store; {self._counts()}")
        self._reused_said = True

    def _say(self, line: str, *, shown: bool = True) -> None:
        self._said = self.clock()
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
    """``about 3 min 20 s left``, ``more than ...`` while some kind of stage is unknown, or that nothing is known."""
    seconds, whole = run_progress.left()
    if not whole and not seconds:
        return "time left not known yet"
    return f"{'about' if whole else 'more than'} {duration(seconds)} left"


def job_line(job: Running) -> str:
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
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.run = run
        self.bars: Bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[more]}", markup=False),
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
