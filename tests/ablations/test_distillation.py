"""Distillation: the loss against torch's, and a teacher that is trained once, loaded as it is, and never changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from lab import Lab
from safetensors.torch import load_file, save_file
from torch import Tensor

from ablations.distillation import Distillation, distillation_loss
from sota_bench.errors import UserError
from sota_bench.grid.recipe import recipe_type

CPU = torch.device("cpu")
TAUGHT = 'teacher = "test_resnet"\nbackbone = "test_vit"\nlr = 0.002'


def logits(seed: int) -> Tensor:
    return 5 * torch.randn(32, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_the_loss_is_the_papers(temperature: float) -> None:
    """Cross-entropy with soft targets at a temperature, less the teacher's entropy, which has no gradient."""
    student, teacher = logits(0).requires_grad_(), logits(1)
    soft = torch.softmax(teacher / temperature, dim=1)
    entropy = torch.distributions.Categorical(probs=soft).entropy().mean()
    expected = temperature**2 * (F.cross_entropy(student / temperature, soft) - entropy)
    ours = distillation_loss(student, teacher, temperature)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, student)[0] for loss in (ours, expected)))
    assert distillation_loss(teacher, teacher, temperature).item() == pytest.approx(0, abs=1e-12)


def test_at_a_high_temperature_its_gradient_is_that_of_matching_logits() -> None:
    """Hinton, Vinyals and Dean 2015, equation 4: ``(z - v) / K`` for logits of mean 0, less the ``1 / N T^2`` of the
    mean over images, which ``T^2`` takes away."""
    student, teacher = ((values - values.mean(1, keepdim=True)) for values in (logits(0), logits(1)))
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(distillation_loss(student, teacher, 1e5), student)
    torch.testing.assert_close(gradient, (student.detach() - teacher) / 10 / 32, rtol=1e-3, atol=1e-6)


def problem(**settings: Any) -> str | None:
    return Distillation(recipe_type()(distillation=0.5, **settings)).problem()


def test_teachers_that_cannot_be_are_refused_before_anything_runs(lab: Lab) -> None:
    assert problem() is None
    assert "no timm backbone" in (problem(teacher="resnet19") or "")
    assert "teacher_weights" in (problem(teacher_trained=False) or "")
    assert "teacher_resize" in (problem(teacher_resize="64") or "")
    with pytest.raises(UserError, match="no timm backbone"):
        lab.plan('teacher = "resnet19"', "distillation = [0.0, 0.5]")
    with pytest.raises(UserError, match=r"distillation.*its teacher cannot be: .*40 px"):
        lab.plan('teacher = "vit_tiny_patch16_224"\nresize = "40x1"', "distillation = [0.0, 0.5]")
    with pytest.raises(UserError, match=r"distillation.*its teacher cannot be: .*224"):
        lab.plan('teacher = "mixer_s32_224"\nteacher_resize = "32x1"', "distillation = [0.0, 0.5]")


def teachers_of(plan: Any) -> list[str]:
    """Keys of the teachers' trainings."""
    return [
        key for trial in plan.trials for key in trial.computed if plan.stages[key].kind == "train"
    ]  # fmt: skip


def test_one_teacher_for_all_trials_that_agree_on_it(lab: Lab) -> None:
    plan = lab.plan(TAUGHT, "distillation = [0.0, 0.5, 0.9]\nmixup = [0.0, 0.2]\ntta = [false, true]", seeds=(0, 1))
    assert len(set(teachers_of(plan))) == 2  # one for each seed
    assert len(teachers_of(plan)) == 2 * 2 * 2 * 2
    other = lab.plan(
        TAUGHT, 'distillation = [0.5]\nteacher = ["test_resnet", "test_convnext"]\nbackbone = ["test_vit"]'
    )
    assert len(set(teachers_of(other))) == 2
    alone = lab.plan('backbone = "test_resnet"', "lr = [0.002]")
    assert set(teachers_of(other)) & set(alone.trials[0].training)  # a training like any other


def test_the_teacher_is_trained_as_the_core_settings_say(lab: Lab) -> None:
    plan = lab.plan(TAUGHT, "distillation = [0.5]\nmixup = [0.4]\nlabel_smoothing = [0.1]")
    (key,) = teachers_of(plan)
    params: Any = plan.stages[key].params
    assert params.techniques == ("normalization",)
    assert (params.recipe["backbone"], params.recipe["lr"], params.phase.epochs) == ("test_resnet", 0.002, 1)
    longer = lab.plan(TAUGHT + '\nteacher_resize = "16x1 32x2"', "distillation = [0.5]")
    assert [longer.stages[key].params.phase.epochs for key in teachers_of(longer)] == [1, 2]  # type: ignore[attr-defined]


def saved_teacher(folder: Path, classes: int = 4) -> Path:
    torch.manual_seed(5)
    save_file(timm.create_model("test_resnet", num_classes=classes).state_dict(), str(folder / "teacher.safetensors"))
    return folder / "teacher.safetensors"


def test_weights_are_used_as_they_are_and_decide_the_key(lab: Lab, tmp_path: Path) -> None:
    file = saved_teacher(tmp_path)
    lines = f'{TAUGHT}\nteacher_trained = false\nteacher_weights = "{file}"\nnormalize = "unit"'
    ran = lab.run(lines, "distillation = [0.5]")
    (key,) = teachers_of(ran.plan)
    used, given = load_file(ran.folders[key] / "model.safetensors"), load_file(file)
    assert all(torch.equal(used[name], value) for name, value in given.items())
    torch.manual_seed(6)
    save_file(timm.create_model("test_resnet", num_classes=4).state_dict(), str(file))
    other = lab.plan(lines, "distillation = [0.5]")
    assert teachers_of(other) != [key]
    assert other.trials[0].training != ran.trial.training


def test_weights_with_another_head_are_refused(lab: Lab, tmp_path: Path) -> None:
    file = saved_teacher(tmp_path, classes=7)
    lines = f'{TAUGHT}\nteacher_trained = false\nteacher_weights = "{file}"'
    with pytest.raises(UserError, match="have no head for the classes of the data"):
        lab.run(lines, "distillation = [0.5]")


def test_the_teacher_sees_the_students_images_in_its_own_normalization(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a student that sees raw pixels and a teacher with its own: the loss of the first step, by hand."""
    from sota_bench.training.loaded import load_checkpoint

    seen: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    original = Distillation.loss

    def noted(self: Distillation, loss: Tensor, outputs: Any) -> Tensor:
        blended = original(self, loss, outputs)
        seen.append((outputs.pixels, outputs.logits.detach(), loss.detach(), blended.detach()))
        return blended

    monkeypatch.setattr(Distillation, "loss", noted)
    ran = lab.run(TAUGHT + "\nmixup = 0.4", "distillation = [0.3]")
    (key,) = teachers_of(ran.plan)
    teacher = load_checkpoint(ran.folders[key], 32, "main", (), CPU)
    pixels, student, plain, blended = seen[0]
    assert pixels.max() > 100
    with torch.no_grad():
        expected = distillation_loss(student, teacher.model(teacher.on_input(pixels)), 4.0)
    torch.testing.assert_close(blended, 0.7 * plain + 0.3 * expected, rtol=1e-4, atol=1e-5)


def test_a_teacher_of_one_size_teaches_at_every_size(lab: Lab) -> None:
    lines = 'teacher = "test_vit"\nteacher_resize = "32x1"\nbackbone = "test_resnet"\nresize = "16x1 32x1"'
    ran = lab.run(lines, "distillation = [0.5]")
    assert len(set(teachers_of(ran.plan))) == 1
    assert ran.evaluated()["nll"] < 3


def test_with_the_whole_loss_a_student_becomes_its_teacher(lab: Lab) -> None:
    """All of the loss is the teacher's, so labels do not matter: their noise changes nothing."""
    ran = lab.run(TAUGHT, "distillation = [1.0]\nlabel_noise = [0.0, 0.5]")
    states = [load_file(ran.checkpoint(trial=trial) / "model.safetensors") for trial in range(2)]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_a_base_model_is_trained_without_the_teacher_of_other_classes(lab: Lab) -> None:
    ran = lab.run(f'{TAUGHT}\nbase = "fixed"\nbase_resize = "32x1"', "distillation = [0.5]")
    techniques = [ran.plan.stages[key].params.techniques for key in ran.trial.training]  # type: ignore[attr-defined]
    assert ["distillation" in names for names in techniques] == [False, True]
