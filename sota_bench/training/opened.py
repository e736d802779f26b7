"""A checkpoint opened for use: its network at some size, its techniques with their state, and its recipe."""

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


@dataclass(frozen=True)
class Opened:
    """What evaluations, probes and precompute stages read of a checkpoint.

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


def open_checkpoint(
    folder: Path,
    size: int,
    task: str | None,
    files: tuple[Path, ...],
    device: torch.device,
) -> Opened:
    """Opens a checkpoint.

    Args:
        folder: of the training stage.
        size: pixels of both sides.
        task: whose head the network has; None for the one that it trained.
        files: local technique files of the grid.
        device: where to.
    """
    model, found = load_model(folder, size, task, device)
    recipe = recipe_from(found.about["recipe"], files)
    chain = instances(found.about["techniques"], recipe, files)
    checkpoint.restore_techniques(chain, found.techniques)
    built, trained_size = found.about["backbone"], int(found.about["size"])
    classes = outputs(found, task or found.about["task"])
    architecture = json.dumps([built, classes, trained_size], sort_keys=True)
    return Opened(model, chain, recipe, int(built["arguments"]["in_chans"]), architecture)


def read_once(folder: Path) -> checkpoint.Checkpoint:
    """A checkpoint without its moments, kept for the stages that follow; a damaged one is made again at its path."""
    return _read(folder, version_of(folder / checkpoint.MODEL))


@lru_cache(maxsize=2)
def _read(folder: Path, version: tuple[int, int]) -> checkpoint.Checkpoint:
    return checkpoint.read(folder, with_optimizer=False)


def outputs(found: checkpoint.Checkpoint, task: str) -> int:
    """Classes of the head of ``task``."""
    earlier = next(iter(found.earlier_head.values()), None)
    return len(found.about["classes"]) if task == found.about["task"] or earlier is None else int(earlier.shape[0])


def load_model(
    folder: Path, size: int, task: str | None, device: torch.device
) -> tuple[nn.Module, checkpoint.Checkpoint]:
    """The network of a checkpoint in evaluation mode at ``size``, with the head of ``task`` (None: the one it trained).

    It is built anew each time: position embeddings that are resampled twice are not those resampled once, so a network
    that served another size before would answer differently.
    """
    found = read_once(folder)
    task = task or found.about["task"]
    state = dict(found.model) if task == found.about["task"] else {**found.model, **found.earlier_head}
    model = backbone.rebuild(found.about["backbone"], outputs(found, task), int(found.about["size"]))
    model.load_state_dict(state)
    if found.source:
        backbone.resampled_from(model, found.about["source_size"], found.source)
    backbone.resize(model, size)
    backbone.classify_in_fp32(model)
    return model.to(device).eval(), found
