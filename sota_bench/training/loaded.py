"""Loads a checkpoint for use: its network at some size, its techniques with their state, and its recipe."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from sota_bench.data.cache import version_of
from sota_bench.grid.recipe import CoreRecipe, recipe_from
from sota_bench.registry import instances
from sota_bench.technique import Technique
from sota_bench.training import backbone, checkpoint
from sota_bench.training.checkpoint import Checkpoint, Weights


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What evaluations, probes, precompute stages and students use of a checkpoint.

    Attributes:
        model: the network, in evaluation mode.
        techniques: those that it was trained with, with the state that travelled with it.
        recipe: the settings that it was trained with.
        channels: that its input has.
        architecture: name, arguments, outputs and size of its training, as text: what its network is but for weights.
    """

    model: nn.Module
    techniques: list[Technique]
    recipe: CoreRecipe
    channels: int
    architecture: str

    def on_input(self, pixels: Tensor) -> Tensor:
        """The last step before the network, as in its training (normalization)."""
        for technique in self.techniques:
            pixels = technique.on_input(pixels)
        return pixels


def load_checkpoint(
    folder: Path, size: int, task: str | None, files: tuple[Path, ...], device: torch.device, weights: str = ""
) -> LoadedCheckpoint:
    """Loads a checkpoint.

    Args:
        folder: of the training stage.
        size: pixels of both sides.
        task: whose head the network has; None for the one that it trained.
        files: local technique files of the grid.
        device: where to.
        weights: label of tracked weights; "" for those that were trained.
    """
    model, saved = load_network(folder, size, task, device, weights)
    recipe = recipe_from(saved.metadata["recipe"], files)
    techniques = instances(saved.metadata["techniques"], recipe, files)
    checkpoint.restore_techniques(techniques, saved.techniques)
    built, trained_size = saved.metadata["backbone"], int(saved.metadata["size"])
    classes = outputs(saved, task or saved.metadata["task"])
    architecture = json.dumps([built, classes, trained_size], sort_keys=True)
    return LoadedCheckpoint(model, techniques, recipe, int(built["arguments"]["in_chans"]), architecture)


def load_network(
    folder: Path, size: int, task: str | None, device: torch.device, weights: str = ""
) -> tuple[nn.Module, Checkpoint]:
    """The network of a checkpoint in evaluation mode at ``size``, with the head of ``task`` (None: the one it trained).

    It is built anew each time: position embeddings that are resampled twice are not those resampled once, so a network
    that served another size before would answer differently.

    Args:
        folder: of the training stage.
        size: pixels of both sides.
        task: whose head.
        device: where to.
        weights: label of tracked weights; "" for those that were trained.
    """
    saved = read_once(folder)
    task = task or saved.metadata["task"]
    chosen: Weights = saved.tracked[weights] if weights else saved.weights
    state = {**chosen.model, **({} if task == saved.metadata["task"] else chosen.earlier_head)}
    model = backbone.rebuild(saved.metadata["backbone"], outputs(saved, task), int(saved.metadata["size"]))
    model.load_state_dict(state)
    if saved.source and not weights:
        backbone.resampled_from(model, saved.metadata["source_size"], saved.source)
    backbone.resize(model, size)
    backbone.classify_in_fp32(model)
    return model.to(device).eval(), saved


def read_once(folder: Path) -> Checkpoint:
    """A checkpoint without its moments, kept for the stages that follow; a damaged one is made again at its path."""
    return _read(folder, version_of(folder / checkpoint.MODEL))


@lru_cache(maxsize=2)
def _read(folder: Path, version: tuple[int, int]) -> Checkpoint:
    return checkpoint.read(folder, with_optimizer=False)


def outputs(saved: Checkpoint, task: str) -> int:
    """Classes of the head of ``task``."""
    earlier = next(iter(saved.weights.earlier_head.values()), None)
    return (
        len(saved.metadata["classes"]) if task == saved.metadata["task"] or earlier is None else int(earlier.shape[0])
    )
