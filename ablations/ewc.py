"""Elastic weight consolidation (EWC): hold each weight to its old value as firmly as the old task needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from sota_bench.technique import Card, Precompute, Precomputes, Settings, Technique, setting

if TYPE_CHECKING:
    from torch import Tensor

    from sota_bench.technique import CoreRecipe, Outputs, Phase, PrecomputeInputs

PER_SAMPLE_BYTES = 2**28
"""Memory for the gradients of the images that are differentiated at once."""


def fisher_diagonal(
    log_probabilities: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    parameters: Mapping[str, Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    exact: bool,
) -> dict[str, Tensor]:
    """Diagonal of the Fisher information, from the gradient of each single image.

    Exact: ``F = 1/N sum_n sum_k p(k | x_n) (d/dtheta log p(k | x_n))^2``, the expectation under the network's own
    prediction. Empirical: ``F = 1/N sum_n (d/dtheta log p(y_n | x_n))^2``, at the labels. (Martens 2020, New Insights
    and Perspectives on the Natural Gradient Method, sections 5 and 11, https://arxiv.org/abs/1412.1193.)

    A mean over images of squared gradients, not the square of a mean gradient: it does not depend on how the images are
    divided into batches.

    Args:
        log_probabilities: (parameters, images [B, ...]) to float32 [B, K]; no layer may mix the images of a batch.
        parameters: float32, by name.
        batches: images [B, ...] and labels int64 [B]; the gradients of a batch are in memory at once.
        exact: which of the two.

    Returns:
        By name, float32, shaped like the parameters.
    """
    import torch

    def log_probability_of_label(values: Mapping[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        scores = log_probabilities(values, image[None])[0]
        return scores.gather(0, label[None])[0]

    gradients = torch.func.vmap(torch.func.grad(log_probability_of_label), in_dims=(None, 0, 0))
    values = {name: value.detach() for name, value in parameters.items()}
    total = {name: torch.zeros_like(value) for name, value in values.items()}
    count = 0
    for images, labels in batches:
        count += len(images)
        if exact:
            with torch.no_grad():
                weights = log_probabilities(values, images).exp()
            terms = [(torch.full_like(labels, k), weights[:, k]) for k in range(weights.shape[1])]
        else:
            terms = [(labels, torch.ones(len(labels), device=images.device))]
        for targets, weight in terms:
            for name, gradient in gradients(values, images, targets).items():
                total[name] += torch.einsum("b,b...->...", weight, gradient.square())
    return {name: value / count for name, value in total.items()}


def consolidated(new: Mapping[str, Tensor], earlier: Mapping[str, Tensor], decay: float) -> dict[str, Tensor]:
    """``F*_i = decay F*_(i-1) + F_i``: one penalty that stands for those of all tasks so far (Schwarz et al. 2018,
    Progress & Compress, section 3, online EWC, https://arxiv.org/abs/1805.06370).

    The anchor of that one penalty is the latest weights: the quadratic of an earlier task has its minimum near them,
    since it held them while the later task was learned (Huszár 2018, https://doi.org/10.1073/pnas.1717042115).

    Args:
        new: the Fisher information of the latest task, by name.
        earlier: the sum before it; a tensor of another shape (resampled position embeddings) is left out.
        decay: how much of the sum before it counts, 0 to 1.
    """
    return {
        name: value + decay * earlier[name] if name in earlier and earlier[name].shape == value.shape else value
        for name, value in new.items()
    }


def elastic_penalty(terms: Iterable[tuple[Tensor, Tensor, Tensor]], strength: float) -> Tensor:
    """``strength / 2 * sum F (theta - theta*)^2`` (Kirkpatrick et al. 2017, equation 3).

    Args:
        terms: per tensor theta, theta* and F, of one shape.
        strength: lambda.

    Returns:
        float32 scalar.
    """
    import torch

    parts = [(fisher * (value.float() - anchor).square()).sum() for value, anchor, fisher in terms]
    return strength / 2 * torch.stack(parts).sum()


class ElasticWeightSettings(Settings):
    ewc_lambda: float = setting(
        100.0, "strength of the penalty, with `ewc`; 1 is the Bayesian value for equally many old and new images",
        scope="rise", gt=0, le=1e9,
    )  # fmt: skip
    ewc_decay: float = setting(
        1.0, "weight of the earlier Fisher information at the next rise of the resolution, with `ewc`; 0 uses that of "
        "the last phase only", scope="rise", ge=0, le=1,
    )  # fmt: skip
    ewc_fisher: Literal["exact", "empirical"] = setting(
        "exact",
        "Fisher information from the network's own predictions (exact) or from the labels (empirical), with `ewc`",
        scope="rise",
    )  # fmt: skip
    ewc_batch_norm: Literal["fixed", "free"] = setting(
        "fixed",
        "batch-norm statistics after the rise, with `ewc`: as they were (fixed), or updated by the new images (free)",
        scope="rise",
    )
    ewc_images: int = setting(
        512, "number of training images that the Fisher information is computed from, with `ewc`", scope="rise",
        ge=1, le=10**7,
    )  # fmt: skip


class ElasticWeights(Technique[ElasticWeightSettings], Precomputes):
    """Tensors that are new or have changed their shape (the head of a new task, resampled position embeddings) have no
    old value to be held to, and are free."""

    name = "ewc"
    field = "mitigation"
    level = "ewc"
    applies_to = "rise"
    is_mitigation = True
    settings_type = ElasticWeightSettings
    precompute = Precompute("fisher", "checkpoint", ("ewc_fisher", "ewc_images", "ewc_decay"))
    card = Card(
        name="Elastic weight consolidation",
        claim="Keeps the weights that the old resolution or task needs, and lets the others change.",
        response="stability",
        why="The Fisher information says how much the old predictions change when a weight moves. A quadratic "
        "penalty with it is the old task's posterior in Laplace's approximation, so training on becomes Bayesian "
        "learning in sequence. The penalty does not act on batch-norm statistics; if they followed the new "
        "images, they would undo what it keeps, so they stay as they were by default (ewc_batch_norm). The first "
        "rise holds the weights to those of the phase before it, each later rise to those of its own phase before, "
        "with the sum of the Fisher information of all rises so far (online EWC).",
        paper="Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks "
        "(https://doi.org/10.1073/pnas.1611835114); Schwarz et al. 2018, Progress & Compress, section 3, for three "
        "phases and more (https://arxiv.org/abs/1805.06370)",
        defaults="lambda 100, as a factor on a mean loss and a mean Fisher information, so that it depends neither "
        "on the batch size nor on the number of images; exact Fisher information of 512 images; ewc_decay 1, so that "
        "all old resolutions and tasks count alike.",
        cost="One pass over 512 images with one backward pass per class (empirical: one in all), shared by all "
        "trials that start from the same checkpoint; then one weighted sum over the weights in each step.",
        fails="The Fisher information of a network that is certain of all its training images is nearly zero, and so "
        "is the penalty; the diagonal ignores how weights act together.",
    )

    def __init__(self, recipe: CoreRecipe) -> None:
        super().__init__(recipe)
        self._terms: list[tuple[Tensor, Tensor, Tensor]] = []

    def compute(self, inputs: PrecomputeInputs) -> dict[str, Tensor]:
        """The diagonal Fisher information by parameter name, float32, batch norm as in evaluation; the network's own
        and what is left of that of the rise before."""
        import torch

        model = inputs.model
        assert model is not None  # computed from a checkpoint
        parameters = dict(model.named_parameters())
        together = PER_SAMPLE_BYTES // sum(4 * value.numel() for value in parameters.values())
        batches = inputs.batches(self.settings.ewc_images, max(1, min(64, together)))

        def log_probabilities(values: Mapping[str, Tensor], images: Tensor) -> Tensor:
            logits = torch.func.functional_call(model, dict(values), (images,))
            return torch.log_softmax(logits.float(), dim=1)

        # The mathematical form of attention is the one that can be differentiated image by image.
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            fisher_information = fisher_diagonal(
                log_probabilities, parameters, batches, self.settings.ewc_fisher == "exact"
            )
        return consolidated(fisher_information, inputs.earlier, self.settings.ewc_decay)

    def on_phase_start(self, phase: Phase) -> None:
        """Fixes batch-norm statistics, and pairs each parameter with its value before the phase and its Fisher
        information.

        Raises:
            ValueError: nothing is held, so the penalty would be zero without a word.
        """
        if self.settings.ewc_batch_norm == "fixed":
            phase.fix_statistics()
        fisher = phase.computed[self.name]
        parameters = dict(phase.model.named_parameters())
        self._terms = [
            (parameters[name], anchor, fisher[name])
            for name, anchor in phase.start.items()
            if name in fisher and fisher[name].shape == anchor.shape
        ]
        if not any(bool(held.any()) for _, _, held in self._terms):
            raise ValueError("the Fisher information is zero everywhere, so ewc would hold nothing")

    def loss(self, loss: Tensor, outputs: Outputs) -> Tensor:
        """Adds the penalty."""
        return loss + elastic_penalty(self._terms, self.settings.ewc_lambda)

    def describe(self) -> dict[str, Any]:
        """How many weights are held, their mean Fisher information, and the penalty at the end of the phase."""
        held = sum(anchor.numel() for _, anchor, _ in self._terms)
        information = sum(float(fisher.sum()) for _, _, fisher in self._terms)
        with_penalty = float(elastic_penalty(self._terms, self.settings.ewc_lambda).detach())
        return {"held": held, "mean_fisher": information / held, "penalty": with_penalty}
