"""What every technique must do at every level, in a small CNN and a small transformer, alone and in pairs.

Techniques and levels come from where they are defined, so a new file is tested by being there.
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab import Lab, Ran
from safetensors.torch import load_file

from sota_bench import randomness, registry
from sota_bench.grid.fields import Field, recipe_fields
from sota_bench.plan.plan import Plan
from sota_bench.regression.measure import counted_waits
from sota_bench.stages.protocol import RunContext
from sota_bench.stages.stage import Stage
from sota_bench.technique import Card, Technique
from sota_bench.training import hooks, train
from sota_bench.training.execute import execute

RATES = {"test_resnet": 0.004, "test_vit": 0.0006}
BACKBONES = tuple(RATES)
RECIPE = """
backbone = "{}"
lr = {}
resize = "16x2 32x2"
batch_size = 20
crop_scale = 0.8
"""
"""Two phases with a rise; 48 images make three batches of 16."""

Setting = tuple[Field, Any]


def settings() -> Iterator[Setting]:
    """Every level of every technique's fields but the default, which every other test here has."""
    for field in recipe_fields():
        if field.technique:
            yield from ((field, level) for level in field.levels if level != field.default)


def factor(setting: Setting) -> str:
    """A line of ``[factors]``."""
    return f"{setting[0].name} = [{json.dumps(setting[1])}]"


def technique_of(setting: Setting) -> type[Technique]:
    """The technique that a level switches on."""
    field, level = setting
    techniques = registry.techniques().values()
    shared = [technique for technique in techniques if technique.field == field.name and technique.level == level]
    return (shared or [registry.techniques()[field.technique]])[0]


def name(setting: Setting) -> str:
    return f"{setting[0].name}={setting[1]}"


def pairs() -> list[tuple[Setting, Setting]]:
    """Every two levels of two fields."""
    found = itertools.combinations(settings(), 2)
    return [(one, other) for one, other in found if one[0].name != other[0].name]


def covering() -> list[tuple[Setting, ...]]:
    """Rows of one level per field, so that every two levels of two fields are together in some row (pairwise tests).

    Greedy: each row takes, field by field, the level that is in most pairs not met yet with those taken before it.
    """
    fields: dict[str, list[Setting]] = {}
    for setting in settings():
        fields.setdefault(setting[0].name, []).append(setting)
    left = {frozenset(map(name, pair)) for pair in pairs()}
    rows = []
    while left:
        seed = min(left, key=sorted)
        row: list[Setting] = []
        for levels in fields.values():
            meets = [
                (name(level) in seed, sum(frozenset({name(level), name(taken)}) in left for taken in row), level)
                for level in levels
            ]
            row.append(max(meets, key=lambda one: one[:2])[2])
        rows.append(tuple(row))
        left -= {frozenset(map(name, pair)) for pair in itertools.combinations(row, 2)}
    return rows


def alternating(cases: Sequence[Any]) -> list[Any]:
    """(backbone, case): the backbones in turn; ``--run-slow`` runs each case with all of them."""
    found = []
    for number, case in enumerate(cases):
        for place, backbone in enumerate(BACKBONES):
            marks = () if place == number % len(BACKBONES) else (pytest.mark.slow,)
            label = name(case) if isinstance(case[0], Field) else str(number)
            found.append(pytest.param(backbone, case, marks=marks, id=f"{backbone}-{label}"))
    return found


ALONE = pytest.mark.parametrize(("backbone", "setting"), alternating(list(settings())))
PLANS: dict[tuple[str, str], Plan] = {}


def alone(lab: Lab, backbone: str, *chosen: Setting, more: str = "") -> Ran:
    """One trial with these levels: its training and its own evaluation."""
    settings = tomllib.loads(RECIPE.format(backbone, RATES[backbone])) | tomllib.loads(more)
    for setting in chosen:  # what its technique needs in a small trial
        settings |= technique_of(setting).example
    recipe = "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    factors = "\n".join(map(factor, chosen)) or "flip = [true]"
    plan = PLANS.setdefault((recipe, factors), lab.plan(recipe, factors))
    wanted = {plan.trials[0].final.key, *plan.trials[0].training, *plan.trials[0].computed}
    for key, stage in plan.stages.items():
        if key in wanted or not stage.parents:
            lab.run_stage(stage)
    return Ran(plan, lab.folders, lab.outcomes)


def losses(ran: Ran) -> list[float]:
    """Training loss per epoch, over all phases."""
    phases = range(len(ran.trial.training))
    return [epoch["loss"] for phase in phases for epoch in ran.trained(phase).values["curve"]]


def same_bits(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same network, optimizer and technique states."""
    for file in ("model.safetensors", "optimizer.safetensors", "techniques.safetensors", "tracked.safetensors"):
        if not (one / file).exists() and not (other / file).exists():
            continue
        left, right = load_file(one / file), load_file(other / file)
        if left.keys() != right.keys() or not all(torch.equal(left[key], right[key]) for key in left):
            return False
    return True


@ALONE
def test_trains_and_lowers_the_loss(lab: Lab, backbone: str, setting: Setting) -> None:
    ran = alone(lab, backbone, setting)
    curve = losses(ran)
    assert all(np.isfinite(curve))
    assert min(curve[1:]) < curve[0]


@ALONE
def test_an_active_level_changes_what_its_technique_declares(lab: Lab, backbone: str, setting: Setting) -> None:
    """Compared with the trial at the field's default: a technique that does nothing fails here."""
    technique = technique_of(setting)
    example = "\n".join(f"{field} = {json.dumps(value)}" for field, value in technique.example.items())
    assert changed(alone(lab, backbone, more=example), alone(lab, backbone, setting)) == technique.changes


def changed(plain: Ran, ran: Ran) -> str:
    """What differs first between two trials: the final weights, the predictions of the same weights, or neither."""
    before, after = (load_file(trial.checkpoint() / "model.safetensors") for trial in (plain, ran))
    shapes = {name: value.shape for name, value in before.items()} == {name: v.shape for name, v in after.items()}
    if not shapes or any(not torch.equal(after[name], value) for name, value in before.items()):
        return "weights"
    scores = [
        load_file(trial.folders[trial.trial.final.key] / "predictions.safetensors")["log_probabilities"]
        for trial in (plain, ran)
    ]
    return "time" if torch.equal(*scores) else "predictions"


IDLE = """
from sota_bench.technique import Card, Settings, Technique, setting

class IdleSettings(Settings):
    idle: bool = setting(False, "switches nothing on", scope="train", levels=(False, True))

class Idle(Technique[IdleSettings]):
    name, field, off, settings_type = "idle", "idle", False, IdleSettings
    card = Card(name="n", claim="c", response="accuracy", why="w", paper="p", defaults="d", cost="c", fails="f")
    def on_batch(self, images, targets, batch, rng):
        return images, targets
"""


def test_a_technique_that_does_nothing_is_noticed(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text(IDLE)
    recipe = RECIPE.format("test_resnet", RATES["test_resnet"])
    plain, idle = (
        lab.run(recipe, f"idle = [{level}]", techniques=[tmp_path / "idle.py"]) for level in ("false", "true")
    )
    assert plain.trial.training != idle.trial.training
    assert changed(plain, idle) == "time"
    assert Technique.changes == "weights"  # what a technique must change unless it says otherwise


@ALONE
def test_resumed_and_unshared_it_leaves_the_same_bits(lab: Lab, backbone: str, setting: Setting) -> None:
    """Trained apart from all others, stopped in the middle of an epoch and at the end of each phase."""
    ran = alone(lab, backbone, setting)
    apart: dict[str, Path] = {}
    for key in ran.trial.training:
        stage = ran.plan.stages[key]
        steps = ran.outcomes[key].values["steps"]
        stops = (2, steps - 2) if steps > 2 else (1,)
        apart[key], outcome = chained(lab, stage, apart, stops)
        assert same_bits(apart[key], lab.folders[key]), stage.title
        assert outcome.values["curve"][-1]["loss"] == ran.outcomes[key].values["curve"][-1]["loss"]
        assert outcome.values["techniques"] == ran.outcomes[key].values["techniques"]


def chained(lab: Lab, stage: Stage, apart: dict[str, Path], stops: tuple[int, ...]) -> Any:
    """Runs a stage apart, on what its own earlier phases left apart."""
    shared = {key: lab.folders[key] for key in stage.parents.values() if key in apart}
    lab.folders.update({key: apart[key] for key in shared})
    try:
        return lab.run_apart(stage, stops)
    finally:
        lab.folders.update(shared)


@pytest.mark.gpu
@ALONE
def test_a_gpu_trains_as_a_cpu_does(lab: Lab, gpu_lab: Lab, backbone: str, setting: Setting) -> None:
    """The same draws and starting weights, so the losses agree until rounding has grown."""
    here, there = losses(alone(lab, backbone, setting)), alone(gpu_lab, backbone, setting)
    found = losses(there)
    assert found[0] == pytest.approx(here[0], rel=0.03)
    assert all(np.isfinite(found))
    assert min(found[1:]) < found[0]
    resumed = gpu_lab.run_apart(there.plan.stages[there.trial.training[-1]], stops=(1,))[1]
    assert resumed.values["curve"][-1]["loss"] == pytest.approx(found[-1], rel=0.1)


@pytest.mark.gpu
@ALONE
def test_between_two_looks_at_the_loss_no_step_waits_for_the_gpu(
    gpu_lab: Lab, tmp_path: Path, backbone: str, setting: Setting
) -> None:
    ran = alone(gpu_lab, backbone, setting, more="batch_size = 7")
    stage = ran.plan.stages[ran.trial.training[-1]]
    inputs = {role: gpu_lab.folders[key] for role, key in stage.parents.items()}
    with counted_waits() as waited:
        ends = list[int]()
        execute(stage, RunContext(inputs, tmp_path, gpu_lab.device, lambda progress: ends.append(len(waited))))
    steps = len(ends) // 2  # of each of two epochs; the last one waits for the loss
    assert steps > 3
    assert ends[steps - 1] > ends[steps - 2]
    assert ends[2 * steps - 2] == ends[steps - 1]


@pytest.mark.parametrize(("backbone", "row"), alternating(covering()))
def test_all_pairs_together_in_bf16(lab: Lab, backbone: str, row: tuple[Setting, ...]) -> None:
    """Every two levels meet in one of these rows: they train, and a resumed phase leaves the same bits."""
    ran = alone(lab, backbone, *row, more='precision = "bf16"')
    assert all(np.isfinite(losses(ran)))
    state = load_file(ran.checkpoint() / "model.safetensors")
    assert all(value.dtype == torch.float32 for value in state.values() if value.is_floating_point())
    assert all(value.isfinite().all() for value in state.values())
    resumed_alike(lab, ran)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("pair", [pytest.param(pair, id=f"{name(pair[0])}-{name(pair[1])}") for pair in pairs()])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_in_all_pairs(lab: Lab, backbone: str, pair: tuple[Setting, Setting], precision: str) -> None:
    ran = alone(lab, backbone, *pair, more=f'precision = "{precision}"')
    curve = losses(ran)
    assert all(np.isfinite(curve))
    assert min(curve[1:]) < curve[0]
    resumed_alike(lab, ran)
    evaluation = ran.plan.stages[ran.trial.final.key]
    assert lab.run_apart(evaluation)[1].values["nll"] == ran.evaluated()["nll"]


def resumed_alike(lab: Lab, ran: Ran) -> None:
    """The last phase, stopped after its first step, leaves the same bits."""
    stage = ran.plan.stages[ran.trial.training[-1]]
    folder, _ = lab.run_apart(stage, stops=(1,))
    assert same_bits(folder, lab.folders[stage.key])


def test_the_rows_hold_all_pairs() -> None:
    rows = covering()
    met = {frozenset(map(name, pair)) for row in rows for pair in itertools.combinations(row, 2)}
    assert met == {frozenset(map(name, pair)) for pair in pairs()}
    assert len(pairs()) > 100
    assert len(rows) < len(pairs()) / 4
    assert {setting[0].technique for setting in settings()} >= {"mitigation"}


Draws = dict[tuple[Any, ...], Any]


class Recorder:
    """Trainings of which every random stream is kept, once for each stage."""

    def __init__(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab, self.taken = lab, dict[str, dict[tuple[Any, ...], np.random.Generator]]()
        self.stage = ""
        monkeypatch.setattr(train, "generator", self.generator)
        monkeypatch.setattr(hooks, "generator", self.generator)

    def generator(self, seed: int, stream: str, epoch: int = 0, step: int = 0) -> np.random.Generator:
        found = randomness.generator(seed, stream, epoch, step)
        self.taken[self.stage][stream, epoch, step] = found
        return found

    def draws(self, *chosen: Setting) -> Draws:
        """(phase, stream, epoch, step) -> how far that stream had been drawn from when the phase ended."""
        recipe = (
            'resize = "16x1 32x1"\nbatch_size = 20\ndropout = 0.01'  # of no other test, so that nothing is done yet
        )
        plan = self.lab.plan(recipe, "\n".join(map(factor, chosen)) or "lr = [0.003]")
        trial = plan.trials[0]
        for key, stage in plan.stages.items():
            if key in (*trial.training, *trial.computed) or not stage.parents:
                self.stage = key
                self.taken.setdefault(key, {})
                self.lab.run_stage(stage)
        return {
            (phase, *place): _state(rng)
            for phase, key in enumerate(trial.training)
            for place, rng in self.taken[key].items()
        }


def _state(rng: np.random.Generator) -> tuple[Any, ...]:
    state: Any = rng.bit_generator.state
    return (*(tuple(part.tolist()) for part in state["state"].values()), state["buffer_pos"], state["has_uint32"])


def pairable() -> list[Setting]:
    """The last level of each field that leaves the images and the phases as they are."""
    kinds = {technique.field: technique.applies_to for technique in registry.techniques().values()}
    found = {field.name: (field, level) for field, level in settings() if kinds.get(field.name) in ("training", "rise")}
    return list(found.values())


def test_nobody_shifts_the_draws_of_another(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, recorder = pairable(), Recorder(lab, monkeypatch)
    single = {name(setting): recorder.draws(setting) for setting in chosen}
    core = ("order", "augment")
    plain = {place: state for place, state in recorder.draws().items() if place[1] in core}
    assert {place[1] for place in plain} == set(core)
    for setting in chosen:
        mine = single[name(setting)]
        assert {place: mine[place] for place in plain} == plain, name(setting)
    streams = {technique.field: set[str]() for technique in registry.techniques().values()}
    for technique in registry.techniques().values():
        streams[technique.field].add(technique.name)
    taking_turns = {technique.field for technique in registry.techniques().values() if technique.exclusive_group}
    for one, other in itertools.combinations(chosen, 2):
        both = recorder.draws(one, other)
        turns = {one[0].name, other[0].name} <= taking_turns
        assert {place: both[place] for place in plain} == plain, (name(one), name(other))
        for setting in (one, other):
            mine = {
                place: state for place, state in single[name(setting)].items() if place[1] in streams[setting[0].name]
            }
            for place, state in mine.items():
                # Techniques that take turns draw nothing when it is not theirs; a step may not be there at all.
                allowed = (state, untouched(place)) if turns else (state,)
                assert both.get(place, state) in allowed, (name(one), name(other), place)


def untouched(place: tuple[Any, ...]) -> Any:
    """The state of a stream from which nothing was drawn."""
    return _state(randomness.generator(0, *place[1:]))


@pytest.mark.parametrize("technique", registry.techniques().values(), ids=lambda technique: technique.name)
def test_card_is_complete(technique: Any) -> None:
    card = technique.card
    for part in Card.model_fields:
        text = getattr(card, part)
        assert text.strip() == text
        assert text, part
    for part in ("claim", "why", "defaults", "cost", "fails"):
        assert getattr(card, part).endswith("."), part
    assert "https://" in card.paper
    assert any(year in card.paper for year in map(str, range(1980, 2030)))
    for field, info in technique.settings_type.model_fields.items():
        assert info.description, field


@pytest.mark.parametrize("technique", registry.techniques().values(), ids=lambda technique: technique.name)
def test_its_field_has_levels(technique: Any) -> None:
    field = next(field for field in recipe_fields() if field.name == technique.field)
    assert len(field.levels) > 1
    assert field.default in field.levels
    if technique.level is not None:
        assert technique.level in field.levels[1:]
