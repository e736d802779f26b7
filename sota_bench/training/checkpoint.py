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
from torch import Tensor, nn

MODEL, OPTIMIZER, TECHNIQUES, EARLIER_HEAD, SOURCE, ABOUT = (
    "model.safetensors",
    "optimizer.safetensors",
    "techniques.safetensors",
    "earlier_head.safetensors",
    "resampled_from.safetensors",
    "checkpoint.json",
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's folder, read.

    Attributes:
        about: ``recipe`` (the settings that decided it), ``techniques`` (names), ``backbone`` (how it was
            built), ``size``, ``classes``, ``task``,
            ``sizes`` (trained at so far), ``seed``.
        model: parameters and buffers by name.
        optimizer: moments by ``parameter/moment``.
        techniques: technique name -> its state.
        earlier_head: the classifier of the task before this one, by name; empty where there was none.
        source: what was resampled for this size and not trained since (position embeddings), as it was at
            ``about["source_size"]``; empty where there is no such.
    """

    about: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    techniques: dict[str, dict[str, Tensor]]
    earlier_head: dict[str, Tensor]
    source: dict[str, Tensor]


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors as safetensors, each contiguous and in memory of its own."""
    own = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    save_file(own, str(path))


def write(
    folder: Path,
    about: Mapping[str, Any],
    model: nn.Module,
    optimizer: Mapping[str, Tensor],
    techniques: Mapping[str, Mapping[str, Tensor]],
    earlier_head: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
) -> None:
    """Writes a checkpoint into an existing folder."""
    write_tensors(folder / MODEL, model.state_dict())
    write_tensors(folder / OPTIMIZER, optimizer)
    states = {f"{name}/{key}": value for name, state in techniques.items() for key, value in state.items()}
    write_tensors(folder / TECHNIQUES, states)
    if earlier_head:
        write_tensors(folder / EARLIER_HEAD, earlier_head)
    if source:
        write_tensors(folder / SOURCE, source)
    (folder / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True))


def read(folder: Path, with_optimizer: bool = True) -> Checkpoint:
    """Reads a checkpoint onto the CPU."""
    techniques: dict[str, dict[str, Tensor]] = {}
    for key, value in load_file(str(folder / TECHNIQUES)).items():
        name, _, part = key.partition("/")
        techniques.setdefault(name, {})[part] = value
    head, source = folder / EARLIER_HEAD, folder / SOURCE
    return Checkpoint(
        about=json.loads((folder / ABOUT).read_text()),
        model=load_file(str(folder / MODEL)),
        optimizer=load_file(str(folder / OPTIMIZER)) if with_optimizer else {},
        techniques=techniques,
        earlier_head=load_file(str(head)) if head.exists() else {},
        source=load_file(str(source)) if source.exists() else {},
    )


def restore_techniques(techniques: Sequence[Any], states: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Gives each technique the state that travelled with the checkpoint."""
    for technique in techniques:
        if technique.name in states:
            technique.load_state(states[technique.name])
