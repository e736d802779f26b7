"""Checkpoints without pickles: safetensors for tensors, JSON for the rest. They carry what a network needs to be used:
its recipe, its size, its classes and the state of its techniques (normalization statistics)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sota_bench.technique import Technique

MODEL, OPTIMIZER, TECHNIQUES, EARLIER_HEAD, TRACKED, SOURCE, ABOUT = (
    "model.safetensors",
    "optimizer.safetensors",
    "techniques.safetensors",
    "earlier_head.safetensors",
    "tracked.safetensors",
    "resampled_from.safetensors",
    "checkpoint.json",
)


@dataclass(frozen=True)
class Weights:
    """Weights of one network.

    Attributes:
        model: parameters and buffers by name.
        earlier_head: the classifier of the task before this one, by name; empty where there was none.
    """

    model: Mapping[str, Tensor]
    earlier_head: Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder, read.

    Attributes:
        metadata: ``recipe`` (the settings that decided it), ``techniques`` and ``technique_files`` (names),
            ``backbone`` (how it was built), ``size``, ``classes``, ``task``, ``sizes`` (trained at so far), ``steps``
            (taken so far), ``seed``.
        weights: those that were trained.
        tracked: label -> further weights that were kept during training (``technique.TracksWeights``).
        optimizer: moments by ``parameter/moment``.
        techniques: technique name -> its state.
        source: what was resampled for this size and not trained since (position embeddings), as it was at
            ``metadata["source_size"]``; empty where there is no such.
    """

    metadata: dict[str, Any]
    weights: Weights
    tracked: dict[str, Weights]
    optimizer: dict[str, Tensor]
    techniques: dict[str, dict[str, Tensor]]
    source: dict[str, Tensor]


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors as safetensors, each contiguous and in memory of its own."""
    own = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    save_file(own, str(path))


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint into an existing folder."""
    write_tensors(folder / MODEL, checkpoint.weights.model)
    write_tensors(folder / OPTIMIZER, checkpoint.optimizer)
    write_tensors(folder / TECHNIQUES, flat(checkpoint.techniques))
    optional = {
        EARLIER_HEAD: checkpoint.weights.earlier_head,
        TRACKED: flat(
            {f"{label}/model": weights.model for label, weights in checkpoint.tracked.items()}
            | {f"{label}/earlier_head": weights.earlier_head for label, weights in checkpoint.tracked.items()}
        ),
        SOURCE: checkpoint.source,
    }
    for name, tensors in optional.items():
        if tensors:
            write_tensors(folder / name, tensors)
    (folder / ABOUT).write_text(json.dumps(checkpoint.metadata, indent=1, sort_keys=True))


def read(folder: Path, with_optimizer: bool = True) -> Checkpoint:
    """Reads a checkpoint onto the CPU."""
    tracked = {label: nested(tensors) for label, tensors in nested(_optional(folder / TRACKED)).items()}
    return Checkpoint(
        metadata=json.loads((folder / ABOUT).read_text()),
        weights=Weights(load_file(str(folder / MODEL)), _optional(folder / EARLIER_HEAD)),
        tracked={label: Weights(parts["model"], parts.get("earlier_head", {})) for label, parts in tracked.items()},
        optimizer=load_file(str(folder / OPTIMIZER)) if with_optimizer else {},
        techniques=nested(load_file(str(folder / TECHNIQUES))),
        source=_optional(folder / SOURCE),
    )


def _optional(path: Path) -> dict[str, Tensor]:
    return load_file(str(path)) if path.exists() else {}


def flat(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors by ``group/name``."""
    return {f"{group}/{name}": value for group, tensors in groups.items() for name, value in tensors.items()}


def nested(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """What :func:`flat` put together: the groups with a tensor in them."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = value
    return groups


def restore_techniques(techniques: Sequence[Technique], states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Gives each technique the state that travelled with the checkpoint."""
    for technique in techniques:
        if technique.name in states:
            technique.load_state(states[technique.name])
