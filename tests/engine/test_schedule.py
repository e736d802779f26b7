"""The order of stages: depth first, as given, and what a failure or a lost file changes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from fake_stages import make

from sota_bench.engine.schedule import Schedule
from sota_bench.plan.stage import Stage


def schedule(stages: list[Stage], done: set[str] = frozenset(), pruned: set[str] = frozenset()) -> Schedule:
    return Schedule(stages, done.__contains__, lambda key: key in done and key not in pruned)


def names(plan: Schedule, *, follow: bool = True) -> list[str]:
    order, last = [], ""
    while (stage := plan.next_for(last if follow else "")) is not None:
        order.append(stage.title)
        plan.finish(stage.key)
        last = stage.key
    return order


def test_one_worker_goes_down_before_it_goes_on() -> None:
    data = make("data")
    first, second = make("first", data), make("second", data)
    leaf_1, leaf_2 = make("leaf 1", first), make("leaf 2", second)
    assert names(schedule([data, first, second, leaf_1, leaf_2])) == ["data", "first", "leaf 1", "second", "leaf 2"]
    given = [data, second, leaf_2, first, leaf_1]
    assert names(schedule(given), follow=False) == [stage.title for stage in given]


def test_done_stages_do_not_run_and_pruned_ones_only_for_a_child() -> None:
    data = make("data")
    train = make("train", data)
    evaluate, late = make("evaluate", train), make("late", train)
    stages = [data, train, evaluate, late]
    keys = {stage.key for stage in stages}
    assert names(schedule(stages, keys, pruned={data.key, train.key})) == []
    assert names(schedule(stages, keys - {late.key})) == ["late"]
    assert names(schedule(stages, keys - {late.key}, pruned={train.key})) == ["train", "late"]
    assert names(schedule(stages, keys - {late.key}, pruned={data.key, train.key})) == ["data", "train", "late"]
    assert names(schedule(stages, keys - {late.key}, pruned={data.key})) == ["late"]


def test_a_failure_blocks_everything_below_and_nothing_else() -> None:
    a, other = make("a"), make("other")
    b = make("b", a)
    c = make("c", b, other)
    plan = schedule([a, other, b, c])
    taken = plan.next_for()
    assert taken is a
    assert plan.fail(a.key) == [b, c]
    assert names(plan) == ["other"] and plan.left() == 0
    assert plan.state[c.key] == "blocked"


def test_a_lost_parent_runs_again_with_its_own_lost_parents() -> None:
    data = make("data")
    train = make("train", data)
    evaluate = make("evaluate", train)
    done = {data.key, train.key}
    plan = Schedule([data, train, evaluate], done.__contains__, lambda key: key == train.key and key in done)
    assert plan.next_for() is evaluate
    done.discard(train.key)
    assert plan.redo(train.key)
    plan.give_back(evaluate.key)
    assert names(plan) == ["data", "train", "evaluate"]
    assert not plan.redo("f" * 64), "a stage that is not part of the run cannot run again"


def test_needed_are_the_unfinished_and_what_they_read() -> None:
    data = make("data")
    train = make("train", data)
    evaluate = make("evaluate", train)
    plan = schedule([data, train, evaluate], {data.key, train.key})
    assert plan.needed() == {train.key, evaluate.key}


def test_nonsense_is_refused() -> None:
    a = make("a")
    with pytest.raises(ValueError, match="twice"):
        schedule([a, a])
    with pytest.raises(ValueError, match="before its parent"):
        schedule([make("b", a), a])
    with pytest.raises(ValueError, match="neither planned nor in the store"):
        schedule([make("b", a)])
    assert names(schedule([make("b", a)], {a.key})) == ["b"]


def test_any_graph_runs_each_stage_once_after_its_parents() -> None:
    generator = np.random.default_rng(0)
    for _ in range(30):
        stages: list[Stage] = []
        for index in range(40):
            count = int(generator.integers(0, min(3, index) + 1))
            parents = [stages[n] for n in generator.choice(index, count, replace=False)] if count else []
            stages.append(make(str(index), *parents))
        plan, ran, running = schedule(stages), [], []
        while plan.left():
            while len(running) < 3 and (stage := plan.next_for(ran[-1] if ran else "")) is not None:
                assert set(stage.parents.values()) <= set(ran)
                running.append(stage.key)
            key = running.pop(int(generator.integers(len(running))))
            plan.finish(key)
            ran.append(key)
        assert sorted(ran) == sorted(stage.key for stage in stages)


def test_ten_thousand_stages_take_little_time() -> None:
    data = make("data")
    trains = [make(f"train {n}", data) for n in range(5000)]
    stages = [data, *trains, *(make(f"evaluate {n}", train) for n, train in enumerate(trains))]
    began = time.process_time()
    assert len(names(schedule(stages))) == 10_001
    assert time.process_time() - began < 2.0
