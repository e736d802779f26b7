"""Predictions in a world whose clock is known: measured on a few stages, exact for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from world import World

from sota_bench.engine import run_stages as engine
from sota_bench.engine.events import Summary
from sota_bench.forecast.additive import AdditiveModel, to_measure
from sota_bench.forecast.calibrate import stages_by_combination, startup_combination
from sota_bench.forecast.calibration import Calibration
from sota_bench.forecast.combination import Combinations
from sota_bench.forecast.describe import as_json, as_lines
from sota_bench.forecast.goal import Advice
from sota_bench.forecast.predict import Prediction, predict
from sota_bench.forecast.predictor import Predictor
from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.runs.execute import RunOptions, execute
from sota_bench.runs.history import earlier_minutes
from sota_bench.stages.stage import Stage
from sota_bench.store import Store

STARTUP_S = 7.0
TRAIN = 48
"""Images that train."""


def predicted(plan: Plan, combinations: Combinations, world: World, to_run: Sequence[str] | None = None) -> Prediction:
    """The prediction from measurements of the fewest combinations."""
    stages = stages_by_combination(plan, combinations)
    model = AdditiveModel({measured: world.measure(stages[measured][0]) for measured in to_measure(stages, [])})

    def calibration_of(stage: Stage) -> Calibration | None:
        return model.calibration_of(combinations.of(stage))

    return predict(plan, combinations, calibration_of, list(plan.stages) if to_run is None else to_run, STARTUP_S)


def judged(plan: Plan) -> int:
    """Images that judge."""
    return plan.images.subset(plan.stages[plan.trials[0].final.key].choice).sizes()["select"]


def work_s(world: World, plan: Plan, stage: Stage) -> float:
    """What a stage's steps take on the world's clock."""
    if stage.kind == "train":
        return 0.5 + stage.epochs * TRAIN * world.image_s(stage)
    return 0.1 + judged(plan) * world.image_s(stage) if stage.kind == "evaluate" else TRAIN * world.image_s(stage)


def alone_s(world: World, plan: Plan, trial: TrialPlan) -> float:
    """What a trial takes by itself on the world's clock."""
    keys = (*trial.computed, *trial.training, trial.final.key)
    return sum(work_s(world, plan, plan.stages[key]) for key in keys)


def played(plan: Plan, seconds: dict[str, float], workers: int) -> float:
    """The run on a clock that ticks: a free worker takes a child of what it just did, else the next that is ready."""
    position = {key: number for number, key in enumerate(plan.stages)}
    left, done = dict.fromkeys(plan.stages, True), set[str]()
    busy: dict[int, tuple[float, str]] = {}
    last = dict.fromkeys(range(workers), "")
    now = 0.0
    while left or busy:
        for worker in range(workers):
            if worker in busy:
                continue
            ready = [key for key in left if all(parent in done for parent in plan.stages[key].parents.values())]
            children = [key for key in ready if last[worker] in plan.stages[key].parents.values()]
            if ready:
                key = min(children or ready, key=position.__getitem__)
                del left[key]
                busy[worker] = (now + seconds[key], key)
        now, worker = min((ends, worker) for worker, (ends, _) in busy.items())
        last[worker] = busy.pop(worker)[1]
        done.add(last[worker])
    return now


def test_an_iteration_is_its_own_steps_with_shared_phases_in_full(
    plan: Plan, combinations: Combinations, world: World
) -> None:
    prediction = predicted(plan, combinations, world)
    applicable = [trial for trial in plan.trials if trial.inapplicable is None]
    assert set(prediction.trial_minutes) == {trial.trial.id for trial in applicable}
    for trial in applicable:
        assert 60 * prediction.trial_minutes[trial.trial.id] == pytest.approx(alone_s(world, plan, trial), rel=1e-9)
    assert not prediction.unknown


def test_training_is_told_apart_from_evaluation(plan: Plan, combinations: Combinations, world: World) -> None:
    prediction = predicted(plan, combinations, world)
    with_tta = next(trial for trial in plan.trials if trial.trial.cell.text["tta"] == "flip")
    without = next(trial for trial in plan.trials if trial.trial.cell.text["tta"] == "off")
    ids = with_tta.trial.id, without.trial.id
    assert prediction.training_minutes[ids[0]] == prediction.training_minutes[ids[1]]
    extra = judged(plan) * 0.3 * world.pixel_s * 32**2
    assert 60 * (prediction.trial_minutes[ids[0]] - prediction.trial_minutes[ids[1]]) == pytest.approx(extra)


def test_one_worker_takes_the_sum_of_all_stages(plan: Plan, world: World) -> None:
    prediction = predicted(plan, Combinations(plan, 1), world)
    assert prediction.run_minutes is not None
    assert 60 * prediction.run_minutes == pytest.approx(STARTUP_S + sum(prediction.stage_s.values()))
    overheads = {"prepare": 3.0, "train": 1.0}
    for key, stage in plan.stages.items():
        if stage.kind != "prepare":
            seconds = overheads.get(stage.kind, 0.25) + work_s(world, plan, stage)
            assert prediction.stage_s[key] == pytest.approx(seconds)


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_several_workers_are_scheduled_as_the_engine_does(plan: Plan, world: World, workers: int) -> None:
    prediction = predicted(plan, Combinations(plan, workers), world)
    assert prediction.run_minutes is not None
    assert 60 * prediction.run_minutes == pytest.approx(STARTUP_S + played(plan, prediction.stage_s, workers))


def test_only_what_is_left_costs(plan: Plan, combinations: Combinations, world: World) -> None:
    last = list(plan.stages)[-3:]
    prediction = predicted(plan, combinations, world, last)
    assert prediction.run_minutes is not None
    assert 60 * prediction.run_minutes <= STARTUP_S + sum(prediction.stage_s[key] for key in last)
    nothing = predicted(plan, combinations, world, [])
    assert (nothing.run_minutes, nothing.disk_bytes, nothing.memory_mb) == (0.0, 0.0, 0.0)
    assert nothing.trial_minutes == prediction.trial_minutes


def test_disk_and_memory_are_counted(plan: Plan, combinations: Combinations, world: World) -> None:
    prediction = predicted(plan, combinations, world)
    kinds = [stage.kind for stage in plan.stages.values()]
    pixels = 80 * 3.0 * 80 * 80  # 48 training and 32 validation images
    others = len(kinds) - kinds.count("train")
    assert prediction.disk_bytes == pytest.approx(pixels + kinds.count("train") * 5e6 + others * 1e4)
    assert prediction.memory_mb == 2 * 900.0
    on_gpu = replace(plan, environment=replace(plan.environment, device="cuda:0"))  # each worker holds its own network
    assert predicted(on_gpu, combinations, world).memory_mb == 2 * 900.0


def test_the_goal_is_missed_by_cells_and_the_slowest_is_named(
    plan: Plan, combinations: Combinations, world: World
) -> None:
    prediction = predicted(plan, combinations, world)
    assert prediction.slowest is not None
    cell, minutes = prediction.slowest
    assert minutes == max(prediction.cell_minutes.values())
    assert next(iter(prediction.missed(0.0))) == cell
    assert prediction.missed(minutes) == {}


def test_cells_that_cannot_be_predicted_are_named(plan: Plan, combinations: Combinations, world: World) -> None:
    def calibration_of(stage: Stage) -> Calibration | None:
        return None if "mixup" in getattr(stage.params, "techniques", ()) else world.measure(stage)

    prediction = predict(plan, combinations, calibration_of, list(plan.stages), STARTUP_S)
    assert prediction.run_minutes is None and prediction.unknown
    mixed = {trial.trial.id for trial in plan.trials if trial.trial.cell.text["mixup"] == "0.2"}
    assert prediction.trial_minutes and not mixed & prediction.trial_minutes.keys()
    applicable = [trial.trial for trial in plan.trials if trial.inapplicable is None]
    cells = sorted({trial.cell.id for trial in applicable if trial.id in mixed})
    with_goal = replace(plan, grid=plan.grid.model_copy(update={"minutes_per_iteration": 1000.0}))
    assert as_json(with_goal, prediction, Advice({}, ()))["cells_not_predicted"] == cells
    lines = as_lines(with_goal, prediction, Advice({}, ()), 2, Path())
    assert any(line.endswith(f": {', '.join(cells)}.") for line in lines)
    assert lines[-1] == "Every other cell meets the goal of 17 h."


def test_a_calibration_on_a_busy_machine_is_marked_and_says_what_to_do(
    plan: Plan, combinations: Combinations, world: World
) -> None:
    prediction = predicted(plan, combinations, world)
    quiet, busy = (
        as_lines(plan, replace(prediction, cpu_wait=wait), Advice({}, ()), 2, Path("store/calibrations"))
        for wait in (0.05, 0.4)
    )
    assert [line for line in busy if line not in quiet] == [
        "The CPU was busy with other work during calibration, so these times may be too long: on an idle machine, "
        "remove the folder store/calibrations and plan again."
    ]


def test_each_part_of_a_run_is_predicted_as_what_it_did(
    plan: Plan, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, combinations, done = Store(tmp_path / "store"), Combinations(plan, 1), set[str]()
    predictor = Predictor(store)
    predictor.cache.put(startup_combination(combinations), Calibration(0.0, 0.0, STARTUP_S, 0.0, 0.0))
    for combination, stages in stages_by_combination(plan, combinations).items():
        predictor.cache.put(combination, world.measure(stages[0]))
    monkeypatch.chdir(tmp_path)
    for name in ("is_done", "has_files"):
        monkeypatch.setattr(Store, name, lambda self, key: key in done)

    def part(most: int, selected: set[str] | None = None) -> tuple[list[float], float]:
        """The parts that are predicted after a command that is interrupted, and what its stages take."""
        before, prediction = set(done), predictor.predict(plan, 1, selected)
        assert prediction is not None

        def run_stages(stages: Sequence[Stage], *arguments: object, **options: object) -> Summary:
            ran = [stage.key for stage in stages if stage.key not in done][:most]
            done.update(ran)
            return Summary(ran=ran, interrupted=True)

        monkeypatch.setattr(engine, "run_stages", run_stages)
        with store.hold("test"):
            entry = execute(plan, store, RunOptions(1), selected, prediction).entry
            parts = earlier_minutes(store, plan.grid.name, plan)
        took = STARTUP_S + sum(prediction.stage_s[key] for key in done - before)
        predicted = [60 * (part.predicted or 0.0) for part in parts]
        total = entry.total_minutes
        assert total is not None and 60 * (total.predicted or 0.0) == pytest.approx(sum(predicted))
        return predicted, took

    first, took = part(100, {trial.trial.id for trial in plan.trials if trial.trial.seed == 0})
    assert first == pytest.approx([took])
    second, again = part(3)
    assert second == pytest.approx([took, again])
    third, last = part(100)
    assert third == pytest.approx([took, again, last]) and done == set(plan.stages)
