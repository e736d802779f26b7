"""The optimizer of a phase, its learning rates, and its state by parameter name, which survives a change of groups and
is stored without pickles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from timm.optim.muon import Muon
from timm.optim.sgdw import SGDW
from torch import Tensor

from sota_bench.technique import CreatesOptimizer, GroupsParameters, Technique
from sota_bench.training.backbone import classifier_names
from sota_bench.training.phase import Phase

if TYPE_CHECKING:
    from sota_bench.grid.recipe import CoreRecipe

START_DIVISOR, FINAL_DIVISOR = 25.0, 1e4
"""One cycle starts at peak / 25 and ends at that / 1e4: torch's ``OneCycleLR``."""


def learning_rate(kind: str, position: float, total: float, peak: float, warmup: float) -> float:
    """Returns the learning rate of one step.

    Args:
        kind: ``one-cycle`` (Smith and Topin 2018, as torch's ``OneCycleLR`` with cosine annealing; the momentum stays),
            ``cosine`` (Loshchilov and Hutter 2017, without restarts) or ``constant``.
        position: step, 0 to ``total`` - 1.
        total: steps of the schedule.
        peak: the highest rate.
        warmup: share of a one-cycle schedule in which the rate rises.
    """
    if kind == "constant":
        return peak
    if kind == "cosine":
        return peak * (1 + math.cos(math.pi * position / total)) / 2
    start, end = peak / START_DIVISOR, peak / START_DIVISOR / FINAL_DIVISOR
    top, last = warmup * total - 1, total - 1
    if last <= 0:  # torch ends its only step at the lowest rate, which would train nothing
        return peak
    if position <= top:
        return _anneal(start, peak, position / top if top > 0 else 1.0)  # a warm-up of one step is at the peak
    return _anneal(peak, end, (position - top) / (last - top))


def _anneal(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


class AdamW(torch.optim.AdamW):
    """torch's AdamW, which hands its fused kernel the weights of channels_last convolutions in memory order.

    On a CPU the kernel copies each gradient that is not contiguous. Without that copy a ResNet's step at 64 px takes a
    twentieth less time, at 32 px a tenth.
    """

    def _init_group(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], exp_avgs: list[Tensor],
                    exp_avg_sqs: list[Tensor], *more: object) -> bool:  # fmt: skip
        is_complex = super()._init_group(group, params, grads, exp_avgs, exp_avg_sqs, *more)  # type: ignore[misc]
        if params and params[0].device.type == "cpu":
            for tensors in (params, grads, exp_avgs, exp_avg_sqs):
                tensors[:] = [_in_memory_order(tensor) for tensor in tensors]
        return bool(is_complex)


def _in_memory_order(tensor: Tensor) -> Tensor:
    nhwc = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(0, 2, 3, 1) if nhwc else tensor


def create(recipe: CoreRecipe, phase: Phase, techniques: Sequence[Technique] = ()) -> torch.optim.Optimizer:
    """Creates the optimizer of a phase, with one group per learning rate and kind of decay; frozen blocks are in none.

    Groups are few because a fused optimizer makes one call for each, which a GPU waits for in every step. Each group
    carries ``names`` and ``scale``, its factor on the learning rate.

    Weight decay is decoupled for every optimizer (Loshchilov and Hutter 2019): a step first multiplies the weights by
    ``1 - lr * weight_decay``, and no momentum sees it. It applies to weights with two or more dimensions, not to biases
    and norms, nor to what the network exempts (timm's ``no_weight_decay``: position embeddings and tokens).

    Muon orthogonalizes updates of weight matrices, a convolution's as output channels x all else. As its author says,
    the classifier is left to AdamW, here with Nesterov momentum; timm leaves it norms, biases and what else is no
    matrix. Its rule ``match_rms_adamw`` (Liu et al. 2025) gives updates the size of AdamW's.

    Args:
        recipe: the optimizer, its peak learning rate and its weight decay.
        phase: the network and how fast each block learns.
        techniques: those that act; some give parameters another learning rate or weight decay, and one may make the
            optimizer.
    """
    makers = [technique for technique in techniques if isinstance(technique, CreatesOptimizer)]
    grouping = [technique for technique in techniques if isinstance(technique, GroupsParameters)]
    muon = recipe.optimizer == "muon" and not makers
    parameters = dict(phase.model.named_parameters())
    exempt = set(getattr(phase.model, "no_weight_decay", set)())
    left_to_adamw = classifier_names(phase.model) | exempt if muon else set[str]()
    names_by_group: dict[tuple[float, float, bool], list[str]] = {}
    for block in phase.blocks:
        for name in block.parameters:
            scale = phase.learning_rate_scales[block.index]
            decay = recipe.weight_decay if parameters[name].ndim >= 2 and name not in exempt else 0.0
            for technique in grouping:
                own = technique.parameter_scale(name, parameters[name], phase)
                scale, decay = scale * own.learning_rate, decay * own.weight_decay
            if scale != 0.0:
                names_by_group.setdefault((scale, decay, name in left_to_adamw), []).append(name)
    groups: list[dict[str, Any]] = [
        {
            "params": [parameters[name] for name in names],
            "names": names,
            "scale": scale,
            "lr": recipe.lr * scale,
            "weight_decay": decay,
            **({"use_fallback": True} if falls_back else {}),
        }
        for (scale, decay, falls_back), names in names_by_group.items()
    ]
    if makers:
        return makers[0].create_optimizer(groups)
    if muon:
        return Muon(groups, lr=recipe.lr, nesterov=True, adjust_lr_fn="match_rms_adamw")
    if recipe.optimizer == "sgd":
        return SGDW(groups, lr=recipe.lr, momentum=0.9, nesterov=True)
    return AdamW(groups, lr=recipe.lr, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets every group to ``rate`` times its block's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def state_by_name(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the moments as ``parameter/moment`` -> tensor."""
    return {
        f"{name}/{key}": torch.as_tensor(value).detach()
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def load_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Loads the moments of the parameters that are still trained and still have the same shape.

    Moments take the memory layout of their parameter: torch's fused kernels walk both in memory order. Counts of steps
    lie where the optimizer reads them: on the device for a fused kernel, else with the host, which would wait.
    """
    moments: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name, _, moment = key.rpartition("/")
        moments.setdefault(name, {})[moment] = value
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            counts_on = parameter.device if group.get("fused") else torch.device("cpu")
            saved = moments.get(name)
            if saved and all(value.ndim == 0 or value.shape == parameter.shape for value in saved.values()):
                optimizer.state[parameter] = {
                    key: _like(value, parameter) if value.ndim else value.to(counts_on, copy=True)
                    for key, value in saved.items()
                }


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
