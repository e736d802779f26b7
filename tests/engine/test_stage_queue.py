"""The order of stages: depth first, as given, and what a failure or a lost file changes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from fake_stages import make

from sota_bench.engine.stage_queue import StageQueue
from sota_bench.stages.stage import Stage


def run_all(queue: StageQueue, *, follow: bool = True) -> list[str]:
    order, last = [], ""
    while (stage := queue.next_for(last if follow else "")) is not None:
        order.append(stage.title)
        queue.finish(stage.key)
        last = stage.key
    return order


def everything(stages: list[Stage]) -> StageQueue:
    """A queue in which nothing is done yet."""
    return StageQueue(stages, {stage.key for stage in stages})


def test_one_worker_finishes_a_branch_before_the_next() -> None:
    data = make("data")
    first, second = make("first", data), make("second", data)
    leaf_1, leaf_2 = make("leaf 1", first), make("leaf 2", second)
    titles = run_all(everything([data, first, second, leaf_1, leaf_2]))
    assert titles == ["data", "first", "leaf 1", "second", "leaf 2"]
    given = [data, second, leaf_2, first, leaf_1]
    assert run_all(everything(given), follow=False) == [stage.title for stage in given]


def test_only_what_must_run_runs() -> None:
    data = make("data")
    train = make("train", data)
    stages = [data, train, make("evaluate", train), make("late", train)]
    assert run_all(StageQueue(stages, ())) == []
    assert run_all(StageQueue(stages, {train.key, stages[-1].key})) == ["train", "late"]


def test_a_failure_blocks_everything_below_and_nothing_else() -> None:
    a, other = make("a"), make("other")
    b = make("b", a)
    c = make("c", b, other)
    queue = everything([a, other, b, c])
    assert queue.next_for() is a
    assert queue.fail(a.key) == [b, c]
    assert run_all(queue) == ["other"] and queue.left() == 0
    assert queue.state[c.key] == "blocked"


def test_a_stage_that_lost_its_files_runs_again_before_its_children() -> None:
    data = make("data")
    train = make("train", data)
    evaluate = make("evaluate", train)
    queue = StageQueue([data, train, evaluate], {evaluate.key})
    assert queue.next_for() is evaluate
    queue.reopen({data.key, train.key, "f" * 64})
    queue.requeue(evaluate.key)
    assert run_all(queue) == ["data", "train", "evaluate"]


def test_needed_are_the_unfinished_and_what_they_read() -> None:
    data = make("data")
    train = make("train", data)
    evaluate = make("evaluate", train)
    assert StageQueue([data, train, evaluate], {evaluate.key}).needed() == {train.key, evaluate.key}


def test_graphs_that_cannot_be_run_are_refused() -> None:
    a = make("a")
    with pytest.raises(ValueError, match="twice"):
        everything([a, a])
    with pytest.raises(ValueError, match="before its parent"):
        everything([make("b", a), a])
    with pytest.raises(ValueError, match="before its parent"):
        everything([make("b", a)])


def test_any_graph_runs_each_stage_once_after_its_parents() -> None:
    generator = np.random.default_rng(0)
    for _ in range(30):
        stages: list[Stage] = []
        for index in range(40):
            count = int(generator.integers(0, min(3, index) + 1))
            parents = [stages[n] for n in generator.choice(index, count, replace=False)] if count else []
            stages.append(make(str(index), *parents))
        queue, ran, running = everything(stages), [], []
        while queue.left():
            while len(running) < 3 and (stage := queue.next_for(ran[-1] if ran else "")) is not None:
                assert set(stage.parents.values()) <= set(ran)
                running.append(stage.key)
            key = running.pop(int(generator.integers(len(running))))
            queue.finish(key)
            ran.append(key)
        assert sorted(ran) == sorted(stage.key for stage in stages)


def test_ten_thousand_stages_take_little_time() -> None:
    data = make("data")
    trains = [make(f"train {n}", data) for n in range(5000)]
    stages = [data, *trains, *(make(f"evaluate {n}", train) for n, train in enumerate(trains))]
    began = time.process_time()
    assert len(run_all(everything(stages))) == 10_001
    assert time.process_time() - began < 2.0
