"""Knowledge distillation: learn from the probabilities of a larger network beside the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sota_bench.technique import (
    Card,
    NeedsTeacher,
    Settings,
    Teacher,
    Technique,
    backbone_family,
    read_schedule,
    setting,
)

if TYPE_CHECKING:
    from torch import Tensor

    from sota_bench.technique import Outputs


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """``T^2 KL(softmax(v / T) || softmax(z / T))``, the mean over images (Hinton, Vinyals and Dean 2015, section 2).

    The factor ``T^2`` keeps the gradient as large whatever T is, so that the share of this loss means the same.

    Args:
        logits: z, float32 [B, K], of the student.
        teacher_logits: v, float32 [B, K].
        temperature: T.

    Returns:
        float32 scalar; 0 where both agree.
    """
    import torch.nn.functional as F

    student = F.log_softmax(logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


class DistillationSettings(Settings):
    distillation: float = setting(
        0.0, "weight of the teacher's loss; the labels' loss has 1 minus this weight; 0 is off",
        scope="train", ge=0, le=1, levels=(0.0, 0.5),
    )  # fmt: skip
    distillation_temperature: float = setting(
        4.0, "temperature of teacher and student in the teacher's loss", scope="train", gt=0, le=100
    )
    teacher: str = setting("resnet18", "timm backbone of the teacher", scope="train")
    teacher_weights: str = setting(
        "", 'pretrained weights of the teacher, as in `weights`: "" for none, "timm", or a local file or folder',
        scope="train",
    )  # fmt: skip
    teacher_trained: bool = setting(
        True,
        "whether to train the teacher first, on the same images with the trial's core settings; false uses "
        "`teacher_weights` as they are, which need a head for these classes in alphabetical order",
        scope="train",
    )
    teacher_resize: str = setting(
        "", "resize schedule of the teacher, such as 64x10; the trial's by default", scope="train"
    )


class Distillation(Technique[DistillationSettings], NeedsTeacher):
    """The teacher sees what the student sees, augmented and mixed, normalized by its own statistics."""

    name = "distillation"
    field = "distillation"
    off = 0.0
    order = 30
    settings_type = DistillationSettings
    card = Card(
        name="Knowledge distillation",
        claim="Brings a small network closer to the accuracy of the large one that it learns from.",
        response="accuracy",
        why="A teacher's probabilities tell which wrong classes an image resembles, which is more than a label tells. "
        "A temperature above 1 makes these small probabilities count.",
        paper="Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a Neural Network, section 2 "
        "(https://arxiv.org/abs/1503.02531)",
        defaults="Half of the loss from the teacher at a temperature of 4. The teacher is a resnet18, trained on the "
        "same images for as many epochs; all trials that agree on it share its training.",
        cost="The teacher's training, unless weights are used as they are, and its forward pass in each step.",
        fails="A teacher that is not much better than the student has little to teach, and one that has memorized its "
        "training images adds nothing to their labels. If it was pretrained on these images, the comparison is unfair.",
    )

    def teacher(self) -> Teacher:
        """As the settings say."""
        settings = self.settings
        return Teacher(settings.teacher, settings.teacher_weights, settings.teacher_trained, settings.teacher_resize)

    def problem(self) -> str | None:
        """Teachers that there are not."""
        settings = self.settings
        if not backbone_family(settings.teacher):
            return f"teacher {settings.teacher!r} is no timm backbone; `sota_bench list backbones` names some"
        if not (settings.teacher_trained or settings.teacher_weights):
            return "teacher_trained = false needs teacher_weights; name a file or folder, or leave it true"
        if settings.teacher_resize:
            try:
                read_schedule(settings.teacher_resize)
            except ValueError as error:
                return f"teacher_resize: {error}"
        return None

    def loss(self, loss: Tensor, outputs: Outputs) -> Tensor:
        """Blends the labels' loss with the teacher's."""
        teacher_logits = outputs.phase.teachers[self.name](outputs.pixels)
        taught = distillation_loss(outputs.logits, teacher_logits, self.settings.distillation_temperature)
        return (1 - self.settings.distillation) * loss + self.settings.distillation * taught
