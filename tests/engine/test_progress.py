"""Counts, time left, plain lines and bars, from events that are made up."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest
from fake_stages import make
from rich.console import Console

from sota_bench.engine import events
from sota_bench.engine.events import Event
from sota_bench.engine.progress import ProgressView
from sota_bench.engine.run_progress import RunProgress
from sota_bench.stages.protocol import Progress
from sota_bench.stages.results import StageResult
from sota_bench.stages.stage import Stage

RESULT = StageResult({}, {}, 0.0, 1, {})


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def needs(stage: Stage, *trials: str, epochs: int = 1) -> Stage:
    return dataclasses.replace(stage, trials=trials, epochs=epochs)


def plan() -> list[Stage]:
    data = make("data", kind="prepare")
    shared = make("shared", data)
    return [
        needs(data, "t0", "t1", "t2"),
        needs(shared, "t0", "t1"),
        needs(make("e0", shared, kind="evaluate"), "t0"),
        needs(make("e1", shared, kind="evaluate"), "t1"),
        needs(make("own", data), "t2", epochs=3),
    ]


def done(stage: Stage, wall_s: float = 1.0, *, reused: bool = False) -> events.StageDone:
    return events.StageDone(stage, -1 if reused else 0, RESULT, reused, wall_s)


def test_a_trial_is_done_with_its_last_stage_and_failed_with_its_first() -> None:
    data, shared, e0, e1, own = plan()
    run_progress = RunProgress(plan())
    assert (run_progress.trials, run_progress.stages) == (3, 5)
    seen = []
    for event in [
        done(data, reused=True),
        done(shared),
        done(e0),
        events.StageFailed(e1, "error", "x", ""),
        events.StageFailed(own, "error", "x", ""),
    ]:
        run_progress.count(event)
        seen.append((run_progress.trials_done, run_progress.trials_failed))
    assert seen == [(0, 0), (0, 0), (1, 0), (1, 1), (1, 2)]
    assert (run_progress.done, run_progress.reused, run_progress.failed) == (3, 1, 2)


def test_the_time_left_is_a_lower_bound_until_each_kind_was_seen() -> None:
    data, shared, e0, e1, own = plan()
    run_progress = RunProgress(plan(), clock=Clock())
    assert run_progress.left() == (0.0, False)
    run_progress.count(done(data, 5.0))
    run_progress.count(done(shared, 10.0))
    assert run_progress.left() == (pytest.approx(3 * 10.0), False), "no evaluation was seen"
    run_progress.count(done(e0, 2.0))
    assert run_progress.left() == (pytest.approx(2.0 + 3 * 10.0), True)
    run_progress.count(events.StageBlocked(e1, own.key, "x"))
    assert run_progress.left() == (pytest.approx(30.0), True)


def test_estimates_are_corrected_by_what_was_measured_and_by_progress() -> None:
    data, shared, _, _, own = plan()
    clock = Clock()
    run_progress = RunProgress(plan(), {stage.key: 10.0 for stage in plan()}, workers=2, clock=clock)
    assert run_progress.left() == (pytest.approx(25.0), True)
    run_progress.count(done(data, 20.0))
    assert run_progress.left() == (pytest.approx(4 * 10.0 / 2), True), "preparing says nothing about training"
    run_progress.count(events.StageStarted(shared, 0, 1))
    run_progress.count(events.StageStarted(own, 1, 2))
    clock.now += 4.0
    assert run_progress.left() == (pytest.approx((6 + 6 + 10 + 10) / 2), True)
    run_progress.count(events.StageProgress(own, 1, Progress(1, 21)))
    assert run_progress.left() == (pytest.approx(80.0), True), "not sooner than the longest stage"
    run_progress.count(done(shared, 15.0))
    clock.now += 40.0
    run_progress.count(events.StageInterrupted(own))
    assert run_progress.left() == (pytest.approx((15 + 10 + 10) / 2), True), "training half as fast as foretold"


def test_a_running_stage_tells_of_others_of_its_kind() -> None:
    _, shared, _, _, own = plan()
    clock = Clock()
    run_progress = RunProgress([shared, own], clock=clock)
    run_progress.count(events.StageStarted(shared, 0, 1))
    clock.now += 6.0
    assert run_progress.left() == (0.0, False)
    run_progress.count(events.StageProgress(shared, 0, Progress(25, 100)))
    assert run_progress.left() == (pytest.approx(18.0 + 3 * 24.0), True), "the other has three epochs"


def story() -> list[Event]:
    data, shared, e0, e1, own = plan()
    return [
        done(data, reused=True),
        events.StageStarted(shared, 0, 1),
        events.StageProgress(shared, 0, Progress(500, 1000, images_per_s=410.4, note="epoch 1 of 2")),
        events.Tick(1.0),
        done(shared, 12.3),
        done(e0),
        events.StageFailed(own, "diverged", "loss is nan [bold]\x1b[31m", "logs/own.log"),
        events.StageBlocked(e1, own.key, "needs 'own'"),
        events.StageInterrupted(e1),
        events.Note("the disk is full"),
    ]


def show(console: Console, log: Path, every_s: float = 10.0) -> str:
    clock = Clock()
    with ProgressView(plan(), log, console=console, every_s=every_s, clock=clock) as view:
        for event in story():
            clock.now += 3.0
            view(event)
            if view._bars:
                view._bars.bars.refresh()
    return log.read_text()


def test_a_terminal_that_is_gone_at_the_end_is_left_alone(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        lost = False

        def write(self, text: str) -> int:
            if self.lost:
                raise OSError(5, "Input/output error")
            return super().write(text)

    file = Gone()
    with ProgressView(plan(), tmp_path / "run.log", console=Console(file=file, force_terminal=True)):
        file.lost = True


def test_plain_lines_and_the_log_say_the_same(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=40)
    log = show(console, tmp_path / "out" / "run.log", every_s=2.0)
    assert isinstance(console.file, io.StringIO) and console.file.getvalue() == log
    lines = [line[10:] for line in log.splitlines()]
    assert lines[0] == "reused       1 stage from the store; trials 0/3, stages 1/5"
    assert any("shared, 50%, 410 images/s, epoch 1 of 2" in line for line in lines)
    assert "done         shared (12 s); trials 0/3, stages 2/5" in lines
    assert "FAILED       own (diverged): loss is nan [bold]?[31m; log: logs/own.log" in lines
    assert "blocked      e1: needs 'own'" in lines and "note         the disk is full" in lines
    assert "\x1b" not in log


def test_lines_on_what_is_going_on_come_only_now_and_then(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=False)
    assert "running" not in show(console, tmp_path / "run.log", every_s=1000.0)


def test_a_terminal_gets_bars_and_the_same_log(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    log = show(console, tmp_path / "run.log")
    assert isinstance(console.file, io.StringIO)
    screen = console.file.getvalue()
    assert "trials" in screen and "worker 0" in screen and "images/s" in screen and "about" not in log.splitlines()[0]
    assert "FAILED       own (diverged)" in log and "\x1b[31m; log" not in screen


def test_a_log_that_cannot_be_written_does_not_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    console = Console(file=io.StringIO(), force_terminal=False)
    with ProgressView(plan(), tmp_path / "file" / "run.log", console=console) as view:
        for event in story():
            view(event)
    assert "done         shared" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_long_stage_text_is_cut_and_the_bars_keep_their_width() -> None:
    data, shared, *_ = plan()
    long = dataclasses.replace(shared, title="train 128 px x3, " + ", ".join(f"technique {n} 0.{n}" for n in range(30)))
    shown = Console(file=io.StringIO(), width=110)
    with ProgressView([data, long], console=Console(file=io.StringIO(), force_terminal=True)) as view:
        view(done(data))
        view(events.StageStarted(long, 0, 1))
        view(events.StageProgress(long, 0, Progress(500, 1000, note="epoch 1 of 2")))
        assert view._bars is not None
        shown.print(view._bars.bars.get_renderable())
    assert isinstance(shown.file, io.StringIO)
    lines = shown.file.getvalue().splitlines()
    for line, count in zip(lines, ("1/3", "1/2", "500/1000"), strict=True):
        assert len(line) <= 110 and line.index(count) >= len("worker 0 ") + 24, line
    assert "s left" in lines[1]
    assert "train 128 px" in lines[2] and lines[2].rstrip().endswith("…")


def test_trials_that_were_not_asked_for_count_neither_as_done_nor_in_all() -> None:
    data, shared, e0, *_ = plan()
    run_progress = RunProgress([data, shared, e0], trials={"t0"})
    for event in (done(data), done(shared)):
        run_progress.count(event)
    assert (run_progress.trials_done, run_progress.trials) == (0, 1)
    run_progress.count(done(e0))
    assert (run_progress.trials_done, run_progress.trials) == (1, 1)
