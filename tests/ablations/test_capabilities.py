"""What a local technique file can do: each hook and each capability, through a grid that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from lab import Lab
from safetensors.torch import load_file, save_file

from sota_bench.data.split import image_ids
from sota_bench.errors import UserError
from sota_bench.stages.params import TrainParams

HEAD = '''
"""A technique of a test."""
from __future__ import annotations
from sota_bench.technique import *
import numpy as np

class OwnSettings(Settings):
    own: float = setting(0.0, "switches it on", scope="train", ge=0, levels=(0.0, 1.0))

class Own(Technique[OwnSettings]{bases}):
    name, field, off, settings_type = "own", "own", 0.0, OwnSettings
    card = Card(name="n", claim="c", response="accuracy", why="w", paper="p", defaults="d", cost="c", fails="f")
'''
ON = "own = [1.0]"


def file(tmp_path: Path, body: str, *bases: str) -> list[Path]:
    """A technique file with these hooks and capabilities."""
    path = tmp_path / "own.py"
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    path.write_text(HEAD.format(bases="".join(f", {base}" for base in bases)) + lines + "\n")
    return [path]


def test_an_optimizer_of_another_library_and_factors_for_some_parameters(lab: Lab, tmp_path: Path) -> None:
    body = """
def create_optimizer(self, groups):
    from timm.optim import Lion
    return Lion(groups)
def parameter_scale(self, name, parameter, phase):
    return ParameterScale(learning_rate=0.0 if name.startswith("fc") else 1.0, weight_decay=0.5)
"""
    techniques = file(tmp_path, body, "CreatesOptimizer", "GroupsParameters")
    ran = lab.run("", ON, techniques=techniques)
    moments = load_file(ran.checkpoint() / "optimizer.safetensors")
    assert moments and all(name.endswith("/exp_avg") for name in moments)
    assert not any(name.startswith("fc.") for name in moments)
    stage = ran.plan.stages[ran.trial.training[0]]
    folder, _ = lab.run_apart(stage, stops=(2,))
    resumed, whole = (load_file(path / "model.safetensors") for path in (folder, ran.checkpoint()))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_a_schedule_of_its_own(lab: Lab, tmp_path: Path) -> None:
    body = """
def learning_rate(self, step, total, peak):
    return peak * (1 - step / total)
"""
    ran = lab.run('resize = "16x2"', ON, techniques=file(tmp_path, body, "SchedulesLearningRate"))
    assert [record["lr"] for record in ran.trained().values["curve"]] == pytest.approx([0.003 * 4 / 6, 0.003 * 1 / 6])


def test_the_share_of_the_training_is_told_to_who_asks_for_it(lab: Lab, tmp_path: Path) -> None:
    """Phases are then shared by trainings of equal length alone."""
    body = """
uses_training_share = True
seen = []
def on_step_start(self, phase, step, rng):
    self.seen.append((step.epoch, step.index, step.number, step.phase_share, step.training_share))
def describe(self):
    return {"seen": self.seen[-6:]}
"""
    files = file(tmp_path, body)
    ran = lab.run('resize = "16x1 32x1"', ON, techniques=files)
    seen = ran.trained(1).values["techniques"]["own"]["seen"]
    assert [entry[:3] for entry in seen] == [[0, 0, 0], [0, 1, 1], [0, 2, 2], [1, 0, 3], [1, 1, 4], [1, 2, 5]]
    assert [entry[3] for entry in seen] == pytest.approx([0, 1 / 3, 2 / 3, 0, 1 / 3, 2 / 3])
    assert [entry[4] for entry in seen] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    lengths = "own = [0.0, 1.0]\nresize = ['16x1 32x1', '16x1 32x2']"
    plan = lab.plan("", lengths, techniques=files)
    first = {trial.trial.cell.text["own"]: set[str]() for trial in plan.trials}
    for trial in plan.trials:
        first[trial.trial.cell.text["own"]].add(trial.training[0])
    assert sorted(map(len, first.values())) == [1, 2]


def test_the_share_of_the_training_needs_a_declaration(lab: Lab, tmp_path: Path) -> None:
    body = """
def on_step_start(self, phase, step, rng):
    step.training_share
"""
    with pytest.raises(RuntimeError, match="uses_training_share"):
        lab.run("", ON, techniques=file(tmp_path, body))


def test_images_have_the_same_number_in_every_subset_seed_and_epoch(lab: Lab, tmp_path: Path) -> None:
    body = """
seen = {}
def on_targets(self, targets, batch, rng):
    for number, label in zip(batch.image_ids.tolist(), batch.labels.tolist()):
        assert self.seen.setdefault(number, label) == label
    assert targets.argmax(1).tolist() == batch.labels.tolist()
    return targets
def describe(self):
    return {"numbers": sorted(self.seen)}
"""
    techniques = file(tmp_path, body)
    ran = lab.run('resize = "16x2"', f"{ON}\nfraction = [0.5]", seeds=(0, 1), techniques=techniques)
    half = ran.trained().values["techniques"]["own"]["numbers"]
    assert len(half) == 24
    ran = lab.run('resize = "16x1"', ON, techniques=techniques)
    numbers = ran.trained().values["techniques"]["own"]["numbers"]
    assert set(half) < set(numbers)
    items = ran.plan.images.manifest.items
    assert numbers == sorted(image_ids(items.loc[items["split"] == "train", "sha256"]))  # as evaluations number them


def test_another_loss_replaces_cross_entropy_and_the_curve_stays_comparable(lab: Lab, tmp_path: Path) -> None:
    body = """
def loss(self, loss, outputs):
    import torch.nn.functional as F
    assert outputs.logits.dtype == outputs.targets.dtype and outputs.images.shape == outputs.pixels.shape
    assert outputs.pixels.max() > 100 and abs(outputs.images.mean()) < 2
    return 0 * loss + F.binary_cross_entropy_with_logits(outputs.logits, outputs.targets)
"""
    ran = lab.run("", ON, techniques=file(tmp_path, body))
    plain = lab.run()
    losses = [trained.values["curve"][0]["loss"] for trained in (ran.trained(), plain.trained())]
    assert losses[0] == pytest.approx(losses[1], rel=0.2)
    assert any(
        not torch.equal(value, load_file(plain.checkpoint() / "model.safetensors")[name])
        for name, value in load_file(ran.checkpoint() / "model.safetensors").items()
    )


def test_the_network_that_is_judged(lab: Lab, tmp_path: Path) -> None:
    body = """
applies_to = "evaluation"
def evaluation_model(self, model):
    import torch
    with torch.no_grad():
        model.get_classifier().weight.zero_(), model.get_classifier().bias.zero_()
    return model
"""
    ran = lab.run("", ON, techniques=file(tmp_path, body))
    assert ran.evaluated()["nll"] == pytest.approx(torch.tensor(4.0).log().item(), rel=1e-4)
    assert len({trial.training for trial in ran.plan.trials}) == 1


TEACHER = """
def teacher(self):
    return Teacher({arguments})
def on_phase_start(self, phase):
    self.predict_teacher = phase.teachers[self.name]
def loss(self, loss, outputs):
    import torch.nn.functional as F
    taught = self.predict_teacher(outputs.pixels)
    assert not taught.requires_grad and taught.dtype == outputs.logits.dtype
    return F.kl_div(outputs.logits.log_softmax(1), taught.softmax(1), reduction="batchmean")
"""


def test_a_teacher_is_trained_once_for_all_that_agree_on_it(lab: Lab, tmp_path: Path) -> None:
    """Students that differ in a technique, or in nothing but their own backbone's settings, share it."""
    body = TEACHER.format(arguments='"test_efficientnet"')
    factors = "own = [0.0, 1.0]\nmixup = [0.0, 0.2]"
    ran = lab.run('resize = "16x1 32x1"', factors, techniques=file(tmp_path, body, "NeedsTeacher"))
    taught = [stage for stage in ran.plan.stages.values() if "own teacher" in stage.parents]
    assert len(taught) == 4  # two phases, with and without Mixup
    assert len({stage.parents["own teacher"] for stage in taught}) == 1
    teacher = ran.plan.stages[taught[0].parents["own teacher"]]
    assert isinstance(teacher.params, TrainParams)
    assert teacher.params.recipe["backbone"] == "test_efficientnet" and teacher.params.phase.size == 32
    assert "mixup" not in teacher.params.recipe and teacher.title.startswith("train teacher 32 px")
    assert set(teacher.trials) == {trial.trial.id for trial in ran.plan.trials if trial.trial.cell.text["own"] == "1.0"}
    assert all(
        teacher.key in trial.computed for trial in ran.plan.trials if trial.trial.cell.text["own"] == "1.0"
    )  # its minutes are part of each iteration that learns from it


def test_a_teacher_from_weights_is_used_as_it_is(lab: Lab, tmp_path: Path) -> None:
    """Its content is in the key; weights without a head for the classes are refused."""
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet", num_classes=4)
    weights = tmp_path / "teacher.safetensors"
    save_file(model.state_dict(), str(weights))
    body = TEACHER.format(arguments=f'"test_efficientnet", "{weights}", trained=False')
    files = file(tmp_path, body, "NeedsTeacher")
    ran = lab.run("", ON, techniques=files)
    (student,) = (stage for stage in ran.plan.stages.values() if "own teacher" in stage.parents)
    folder = ran.folders[student.parents["own teacher"]]
    kept = load_file(folder / "model.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in model.state_dict().items())
    save_file({name: value + 1.0 for name, value in model.state_dict().items()}, str(weights))
    (again,) = (stage for stage in lab.plan("", ON, techniques=files).stages.values() if "own teacher" in stage.parents)
    assert again.key != student.key
    save_file(timm.create_model("test_efficientnet", num_classes=7).state_dict(), str(weights))
    with pytest.raises(UserError, match="have no head for the classes"):
        lab.run("", ON, techniques=files)


def test_two_techniques_that_take_the_step_are_refused_while_planning(lab: Lab, tmp_path: Path) -> None:
    body = """
def step(self, optimizer, closure):
    closure()
    optimizer.step()
"""
    with pytest.raises(UserError, match=r"own and sam both override the optimizer step .*; switch one of them off"):
        lab.plan("", f"{ON}\nsam = [0.05]", techniques=file(tmp_path, body))


MISTAKES = {
    "return targets * 0.9, batch": "returned targets whose rows sum to 0.9 to 0.9 from on_targets",
    "return targets[:, :2]": "returned targets of shape",
    "return targets.double()": "returned targets of type torch.float64",
    "return targets / 0": "returned targets that are not finite",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_targets_that_are_no_probabilities_are_blamed_on_the_technique(lab: Lab, tmp_path: Path, line: str) -> None:
    body = f"def on_targets(self, targets, batch, rng):\n    {line.replace(', batch', '')}"
    with pytest.raises(ValueError, match=f"the technique own {MISTAKES[line]}"):
        lab.run("", ON, techniques=file(tmp_path, body))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("return images[:, :, 1:], targets", "returned images of shape"),
        ("return images * float('nan'), targets", "returned images that are not finite from on_batch"),
        ("return images, targets * 2", "returned targets whose rows sum to 2 to 2 from on_batch"),
    ],
)
def test_images_that_cannot_be_trained_on_are_blamed_on_the_technique(
    lab: Lab, tmp_path: Path, line: str, problem: str
) -> None:
    body = f"def on_batch(self, images, targets, batch, rng):\n    {line}"
    with pytest.raises(ValueError, match=problem):
        lab.run("", ON, techniques=file(tmp_path, body))


def test_a_loss_that_is_no_number_is_blamed_on_the_technique(lab: Lab, tmp_path: Path) -> None:
    body = "def loss(self, loss, outputs):\n    return loss / 0"
    with pytest.raises(ValueError, match="the technique own returned a loss that is inf from loss"):
        lab.run("", ON, techniques=file(tmp_path, body))
