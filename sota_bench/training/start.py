"""How a phase starts and what it leaves: its network, new or as the phase before left it, what its techniques are
given, and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sota_bench.errors import UserError
from sota_bench.grid.recipe import CoreRecipe
from sota_bench.randomness import derive
from sota_bench.stages.context import StageContext
from sota_bench.stages.params import TrainParams
from sota_bench.stages.protocol import RunContext
from sota_bench.technique import NeedsTeacher, ShapesNetwork, Technique, teacher_role
from sota_bench.training import backbone
from sota_bench.training import device as devices
from sota_bench.training import optimizer as optimizers
from sota_bench.training.checkpoint import Checkpoint, Weights, read, restore_techniques
from sota_bench.training.phase import Phase
from sota_bench.training.precompute import COMPUTED
from sota_bench.training.small_maps import patch_small_maps
from sota_bench.training.teachers import load_teacher
from sota_bench.training.tracking import Trackers


@dataclass(frozen=True)
class Start:
    """A phase before its first step.

    Attributes:
        phase: as techniques see it.
        layout: memory layout of its images.
        moments: the optimizer's moments that the phase starts with, as ``parameter/moment``.
        tracked: label -> the tracked weights that it starts with, at this phase's size.
        steps: optimizer steps of the phases before.
        backbone: how the network was built, for ``backbone.rebuild``.
        earlier_heads: label ("" for the network's own) -> the classifier of the task before this one, by name.
    """

    phase: Phase
    layout: torch.memory_format
    moments: Mapping[str, Tensor]
    tracked: Mapping[str, Mapping[str, Tensor]]
    steps: int
    backbone: dict[str, Any]
    earlier_heads: Mapping[str, Mapping[str, Tensor]]

    def checkpoint(
        self,
        params: TrainParams,
        files: Sequence[Path],
        classes: Sequence[str],
        optimizer: torch.optim.Optimizer,
        techniques: Sequence[Technique],
        trackers: Trackers,
        steps: int,
    ) -> Checkpoint:
        """The checkpoint of the phase, once it has ended.

        Args:
            params: of the stage.
            files: local technique files.
            classes: of the task.
            optimizer: its moments.
            techniques: their states.
            trackers: the weights that were kept beside the network's.
            steps: optimizer steps so far, those of the phases before included.
        """
        phase = self.phase
        source_size, source = backbone.untrained_source(phase.model) or (phase.size, {})
        return Checkpoint(
            metadata={
                "recipe": dict(params.recipe),
                "techniques": list(params.techniques),
                "technique_files": [str(file) for file in files],
                "size": phase.size,
                "source_size": source_size,
                "sizes": list(dict.fromkeys([*phase.earlier_sizes, phase.size])),
                "steps": steps,
                "classes": list(classes),
                "task": params.task,
                "backbone": self.backbone,
                "seed": params.seed,
            },
            weights=Weights(phase.model.state_dict(), self.earlier_heads.get("", {})),
            tracked={
                label: Weights(weights, self.earlier_heads.get(label, {}))
                for label, weights in trackers.tracked.items()
            },
            optimizer=optimizers.state_by_name(optimizer),
            techniques={technique.name: technique.state() for technique in techniques},
            source=source,
        )


def start(
    params: TrainParams,
    context: StageContext,
    run: RunContext,
    recipe: CoreRecipe,
    techniques: Sequence[Technique],
    classes: int,
) -> Start:
    """Makes the network of a phase and puts it on the device; a new task gets a new head.

    Args:
        params: the phase, the task and the seed.
        context: where pretrained weights lie, for a first phase that starts from them.
        run: ``checkpoint`` is the folder of the phase before, and each precompute stage's goes by its technique's name.
        recipe: the settings.
        techniques: those that act; they take back what travelled with the checkpoint.
        classes: of the task.
    """
    device = torch.device(run.device)
    earlier = read(run.inputs["checkpoint"]) if "checkpoint" in run.inputs else None
    if earlier is None:
        model, built = backbone.create(
            recipe, techniques, classes, params.phase.size, params.draws_init, context.weights
        )
        tracked: dict[str, Mapping[str, Tensor]] = {}
        heads: dict[str, Mapping[str, Tensor]] = {}
        if not params.phase.epochs:
            drawn, _ = backbone.create(recipe, techniques, classes, params.phase.size, params.draws_init)
            _check_head(model, drawn, context.weights)
    else:
        built = _rebuilt(earlier, techniques)
        model, heads = _continued(earlier, built, params, classes)
        tracked = _tracked(earlier, built, params, model)
        restore_techniques(techniques, earlier.techniques)
    layout = devices.memory_format(model, recipe.layout)
    model.to(device).to(memory_format=layout)
    patch_small_maps(model)
    backbone.classify_in_fp32(model)
    new = set(backbone.classifier_names(model)) if earlier and _is_new(earlier, params) else set[str]()
    phase = Phase(
        size=params.phase.size,
        epochs=params.phase.epochs,
        rise=params.phase.rise,
        earlier_sizes=params.phase.earlier_sizes,
        model=model,
        start=_copies(model, new) if params.phase.rise else {},
        computed={
            technique.name: load_file(str(run.inputs[technique.name] / COMPUTED), device=str(device))
            for technique in techniques
            if technique.name in run.inputs
        },
        teachers={
            technique.name: load_teacher(
                run.inputs[teacher_role(technique.name)], context.technique_files, recipe, device
            )
            for technique in techniques
            if isinstance(technique, NeedsTeacher)
        },
    )
    moments: dict[str, Tensor] = {}
    if earlier and recipe.optimizer_at_switch == "keep":
        moments = {key: value for key, value in earlier.optimizer.items() if key.rpartition("/")[0] not in new}
    return Start(phase, layout, moments, tracked, int(earlier.metadata["steps"]) if earlier else 0, built, heads)


def _check_head(model: nn.Module, drawn: nn.Module, weights: str) -> None:
    """Makes sure that weights that are used as they are brought a head for the classes.

    Args:
        model: with the weights.
        drawn: the same network without them.
        weights: where they lie.

    Raises:
        UserError: the head is the one that is drawn where weights have none.
    """
    own, other = model.state_dict(), drawn.state_dict()
    if all(torch.equal(own[name], other[name]) for name in backbone.classifier_names(model)):
        problem = "have no head for the classes of the data, so a teacher cannot use them as they are"
        raise UserError("weights", weights, problem, "name weights trained on these classes, or let the teacher train")


def _is_new(earlier: Checkpoint, params: TrainParams) -> bool:
    """Whether a phase learns another task than the one before."""
    return bool(earlier.metadata["task"] != params.task)


def _rebuilt(earlier: Checkpoint, techniques: Sequence[Technique]) -> dict[str, Any]:
    """How the network of the phase before is built in this one."""
    built = earlier.metadata["backbone"]
    name, arguments = built["name"], dict(built["arguments"])
    for technique in techniques:  # such as a network that takes the size of each step
        if isinstance(technique, ShapesNetwork):
            arguments.update(technique.backbone_arguments(name, backbone.family_of(name)))
    return {"name": name, "arguments": arguments}


def _continued(
    earlier: Checkpoint, built: dict[str, Any], params: TrainParams, classes: int
) -> tuple[nn.Module, dict[str, Mapping[str, Tensor]]]:
    """The network of the phase before at this phase's size, and the heads of the task before, by the label of their
    weights."""
    model = _with_weights(earlier, built, earlier.weights.model)
    if earlier.source:
        backbone.resampled_from(model, earlier.metadata["source_size"], earlier.source)
    backbone.resize(model, params.phase.size)
    every = {"": earlier.weights, **earlier.tracked}
    if not _is_new(earlier, params):
        return model, {label: weights.earlier_head for label, weights in every.items()}
    head = backbone.classifier_names(model)
    heads: dict[str, Mapping[str, Tensor]] = {
        label: {name: weights.model[name] for name in head} for label, weights in every.items()
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(params.draws_init, "init", 1))
        model.reset_classifier(classes)  # type: ignore[operator]
    return model, heads


def _tracked(
    earlier: Checkpoint, built: dict[str, Any], params: TrainParams, model: nn.Module
) -> dict[str, Mapping[str, Tensor]]:
    """The tracked weights of the phase before at this phase's size; a new task's head is a copy of the network's."""
    tracked: dict[str, Mapping[str, Tensor]] = {}
    for label, weights in earlier.tracked.items():
        other = _with_weights(earlier, built, weights.model)
        backbone.resize(other, params.phase.size)
        tracked[label] = other.state_dict()
        if _is_new(earlier, params):
            tracked[label] = {
                **tracked[label],
                **{name: model.state_dict()[name] for name in backbone.classifier_names(model)},
            }
    return tracked


def _with_weights(earlier: Checkpoint, built: dict[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    """A network of the phase before, at its size."""
    model = backbone.rebuild(built, len(earlier.metadata["classes"]), int(earlier.metadata["size"]))
    model.load_state_dict(weights)
    return model


def _copies(model: nn.Module, new: set[str]) -> Mapping[str, Tensor]:
    """Copies of the parameters as the phase before left them; the head of a new task was not there."""
    return {name: value.detach().clone() for name, value in model.named_parameters() if name not in new}
