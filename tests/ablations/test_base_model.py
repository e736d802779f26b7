"""The base model question: two bases on the same classes, one fine-tuning, and what is kept of the base task."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from lab import CLASSES, Lab, draw, write_images
from safetensors.torch import load_file

from ablations.base_model import base_schedule
from sota_bench.data.specs import source_from_spec
from sota_bench.data.subset import class_split
from sota_bench.errors import UserError
from sota_bench.grid.resize_schedule import parse_schedule
from sota_bench.stats.forgetting import forgetting
from sota_bench.training.checkpoint import read

RECIPE = 'resize = "32x2"\nbase_resize = "16x1 32x2"\nbackbone = "{}"'
FACTORS = 'base = ["fixed", "progressive"]\nmitigation = ["none", "freeze"]'


@pytest.mark.parametrize(
    ("base", "written", "resize", "expected"),
    [
        ("none", "32x2 64x2", "128x3", ""),
        ("progressive", "32x2 64x1", "128x3", "32x2 64x1"),
        ("fixed", "32x2 64x1", "128x3", "64x3"),
        ("progressive", "", "128x3", "32x1 64x2"),
        ("fixed", "", "128x2 192x2", "64x4"),
        ("fixed", "", "16x1", "16x2"),
    ],
)
def test_schedules(base: str, written: str, resize: str, expected: str) -> None:
    found = base_schedule(base, written, parse_schedule(resize))
    assert " ".join(map(str, found)) == expected


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_bases_are_shared_and_judged_on_their_own_classes(lab: Lab, backbone: str) -> None:
    ran = lab.run(RECIPE.format(backbone), FACTORS)
    fixed, frozen, progressive, _ = ran.plan.trials
    assert [(phase.task, phase.size, phase.epochs, phase.rise) for phase in fixed.phases] == [
        ("base", 32, 3, False),
        ("main", 32, 2, True),
    ]
    assert [phase.rise for phase in progressive.phases] == [False, False, True]  # the base trains without
    assert fixed.training[0] == frozen.training[0]
    assert fixed.training[1] != frozen.training[1]
    base, main = class_split(ran.plan.images.manifest, 2)
    metadata = [read(ran.checkpoint(phase)).metadata for phase in (0, 1)]
    assert [metadata[0]["classes"], metadata[1]["classes"]] == [base, main]
    measured = [(e.phase, e.task, e.size, e.final) for e in progressive.evaluations]
    assert measured == [
        (0, "base", 16, False), (0, "base", 32, False),
        (1, "base", 16, False), (1, "base", 32, False), (1, "base-probe", 32, False),
        (2, "base", 16, False), (2, "base", 32, False), (2, "main", 32, True), (2, "base-probe", 32, False),
    ]  # fmt: skip
    images = ran.plan.images
    for trial in ran.plan.trials:
        for evaluation in trial.evaluations:
            values = ran.evaluated(evaluation)
            task = "main" if evaluation.task == "main" else "base"
            judging = images.subset(images.choice(trial.trial.cell.recipe, task))
            assert len(judging.classes) == 2
            assert values["images"] == judging.sizes()["select"]  # each image of its classes once
            assert math.isfinite(values["nll"])


def test_every_phase_of_the_fine_tuning_is_mitigated(lab: Lab) -> None:
    recipe = RECIPE.format("test_resnet").replace('resize = "32x2"', 'resize = "16x1 32x1"', 1)
    found = lab.plan(recipe, 'base = ["fixed"]\nmitigation = ["none", "freeze"]').trials[1]
    assert [(phase.task, phase.size, phase.rise) for phase in found.phases] == [
        ("base", 32, False), ("main", 16, True), ("main", 32, True),
    ]  # fmt: skip


def test_the_head_of_a_new_task_starts_without_the_moments_of_the_old_one(lab: Lab) -> None:
    ran = lab.run(RECIPE.format("test_resnet"), FACTORS)
    base, main = (read(ran.checkpoint(phase)) for phase in (0, 1))
    assert base.weights.model["fc.weight"].shape == main.weights.model["fc.weight"].shape
    steps = [ran.trained(phase).values["steps"] for phase in (0, 1)]
    assert main.optimizer["fc.weight/step"] == steps[1]
    assert main.optimizer["conv1.0.weight/step"] == sum(steps)


def test_the_base_head_travels_and_the_body_is_the_fine_tuned_one(lab: Lab) -> None:
    ran = lab.run(RECIPE.format("test_resnet"), FACTORS)
    before, after = read(ran.checkpoint(0)), read(ran.checkpoint(1))
    assert set(after.weights.earlier_head) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, before.weights.model[name]) for name, value in after.weights.earlier_head.items())
    assert not torch.equal(after.weights.model["layer4.0.conv1.weight"], before.weights.model["layer4.0.conv1.weight"])
    # By hand: the fine-tuned body under the base's head gives the stored log-probabilities.
    from sota_bench.training.backbone import rebuild

    model = rebuild(after.metadata["backbone"], 2, 32)
    model.load_state_dict({**after.weights.model, **after.weights.earlier_head})
    evaluation = next(e for e in ran.plan.trials[0].evaluations if (e.phase, e.task) == (1, "base"))
    stored = load_file(ran.folders[evaluation.key] / "predictions.safetensors")
    images = _central(lab, ran, evaluation.key)
    statistics = after.techniques["normalization"]
    pixels = (images - statistics["mean"].float().view(1, 3, 1, 1)) / statistics["std"].float().view(1, 3, 1, 1)
    with torch.inference_mode():
        expected = torch.log_softmax(model.eval()(pixels), dim=1)
    torch.testing.assert_close(stored["log_probabilities"], expected, rtol=1e-4, atol=1e-5)


def _central(lab: Lab, ran: object, key: str) -> torch.Tensor:
    """Central crops of the images of an evaluation, by the project's own reader."""
    from sota_bench.training.crop import central_boxes
    from sota_bench.training.decoded import decoded_subset

    stage = ran.plan.stages[key]  # type: ignore[attr-defined]
    data = decoded_subset(lab.folders[stage.parents["data"]], stage.context, stage.params.data)
    images = data.images("select", torch.device("cpu"), 3)
    boxes = central_boxes(images.heights, images.widths, 1.0)
    return images.batch(np.arange(len(images)), boxes, np.zeros(len(images), bool), 32)


def test_the_statistics_of_the_base_stay_with_the_fine_tuned_network(lab: Lab) -> None:
    ran = lab.run(RECIPE.format("test_resnet"), FACTORS)
    before, after = read(ran.checkpoint(0)), read(ran.checkpoint(1))
    assert all(torch.equal(value, after.techniques["normalization"][key])
               for key, value in before.techniques["normalization"].items())  # fmt: skip


def test_forgetting_follows_from_the_matrix(lab: Lab) -> None:
    from sota_bench.report.trial_rows import retention
    from sota_bench.stages.results import StageResult

    ran = lab.run(RECIPE.format("test_resnet"), FACTORS)
    trial = ran.plan.trials[0]
    value = {(e.phase, e.task): ran.evaluated(e)["accuracy"] for e in trial.evaluations}

    results = {
        key: StageResult(outcome.values, outcome.seconds, outcome.peak_memory_mb, 1, {})
        for key, outcome in ran.outcomes.items()
    }
    row = retention(trial, results)
    assert row["stability"] == value[1, "base"]
    assert row["forgetting"] == value[0, "base"] - value[1, "base"]
    assert row["plasticity"] == value[1, "main"]
    by_hand = forgetting([[value[0, "base"], np.nan], [value[1, "base"], value[1, "main"]]])
    assert row["backward_transfer"] == by_hand.backward_transfer


@pytest.mark.parametrize(
    ("recipe", "factors", "data", "said"),
    [
        ('resize = "32x2"', 'base = ["progressive"]', "", r"base schedule 16x1 16x1 never rises; write base_resize"),
        ('resize = "32x2"\nbase_resize = "sixteen"', 'base = ["fixed"]', "", r"base_resize: 'sixteen' is not SIZE"),
        ('resize = "32x2"', 'base = ["fixed"]', "classes = 3", r"3 classes cannot be divided into 2 parts"),
    ],
)
def test_mistakes_are_one_line(lab: Lab, recipe: str, factors: str, data: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        lab.plan(recipe, factors, data=data)


def test_the_chosen_classes_are_the_ones_divided(lab: Lab) -> None:
    data = 'classes = ["dots", "bars", "discs", "checks"]'
    plan = lab.plan('resize = "32x1"\nbase_resize = "32x1"', 'base = ["fixed"]', data=data)
    recipe = plan.grid.recipe
    assert plan.images.choice(recipe, "base").classes == ("bars", "checks")
    assert plan.images.choice(recipe, "main").classes == ("discs", "dots")


def test_a_source_of_its_own(lab: Lab, tmp_path: Path) -> None:
    """The base is trained on other images, with class names that the grid's own has too, and judged on them."""
    rng = np.random.default_rng(3)
    other = write_images(tmp_path / "other", 10, 6, lambda label, _: draw((label + 1) % 4, rng))
    copied = lab.images / "train" / "bars" / "000.png"
    (other / "train" / "dots" / "copy.png").write_bytes(copied.read_bytes())
    recipe = f'{RECIPE.format("test_resnet")}\nbase_source = "folder:{other}"'
    ran = lab.run(recipe, 'base = ["fixed", "none"]')
    name = f"folder:{other}"
    base = [f"{label} ({name})" for label in CLASSES]
    assert read(ran.checkpoint(0)).metadata["classes"] == base
    assert read(ran.checkpoint(1)).metadata["classes"] == list(CLASSES)
    assert read(ran.checkpoint(0, trial=1)).metadata["classes"] == list(CLASSES)
    by_task = {(e.phase, e.task): ran.evaluated(e)["images"] for e in ran.trial.evaluations}
    images = ran.plan.images
    trained, own = (images.subset(images.choice(ran.trial.trial.cell.recipe, task)) for task in ("base", "main"))
    judged = dict.fromkeys([(0, "base"), (0, "base-probe"), (1, "base"), (1, "base-probe")], trained.sizes()["select"])
    assert by_task == {**judged, (1, "main"): own.sizes()["select"]}
    assert trained.sizes()["train"] == 40  # the copy of an image of the grid's own is left out
    assert [path for path in images.manifest.left_out["path"] if path.endswith("copy.png")]
    assert source_from_spec(images.source.spec).scan().digest == images.manifest.digest
    limited = lab.plan(recipe, 'base = ["fixed"]', data="classes = 2")
    assert limited.images.choice(limited.grid.recipe, "main").classes == ("bars", "checks")


def test_no_such_source_is_one_line(lab: Lab) -> None:
    with pytest.raises(UserError, match="nowhere"):
        lab.plan(f'{RECIPE.format("test_resnet")}\nbase_source = "folder:nowhere"', 'base = ["fixed"]')
