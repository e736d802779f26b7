"""Checks that a network can be created as a recipe asks, starts from the weights that it names, and takes its images,
by creating it. The planner, which never loads torch, runs this in a process of its own before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sota_bench import registry
from sota_bench.errors import UserError
from sota_bench.grid.recipe import CoreRecipe, recipe_type
from sota_bench.grid.torch_queries import serve
from sota_bench.technique import NetworkFacts, Technique
from sota_bench.training import backbone
from sota_bench.training.blocks import blocks_of

CLASSES = 10
"""Outputs of the head; any number would do."""

REMEDY = "choose another size or another backbone"


def answer(query: Mapping[str, Any]) -> dict[str, Any]:
    """Creates the network of one query as a training does, and runs it on images of each size.

    First without memory, on torch's meta device; what fails there is tried again with memory, since some networks
    cannot be created without. Pretrained weights are loaded.

    Args:
        query: ``settings`` (recipe fields), ``techniques`` (names of those that change the architecture), ``files``
            (of local techniques), ``sizes`` (pairs of a field and its pixels), ``weights`` (a local file or folder, or
            "").

    Returns:
        The fields of :class:`~sota_bench.technique.NetworkFacts`; or ``field``, ``problem`` and ``remedy``.
    """
    files = tuple(Path(file) for file in query["files"])
    recipe = recipe_type(files)(**query["settings"])
    by_name = registry.techniques(files)
    techniques = [by_name[name](recipe) for name in query["techniques"]]
    sizes = [(str(field), int(size)) for field, size in query["sizes"]]
    for device in ("cpu",) if query["weights"] else ("meta", "cpu"):
        try:
            with torch.device(device):
                return asdict(_facts(recipe, techniques, sizes, query["weights"]))
        except UserError as error:
            field = error.place.removeprefix("recipe.")
            problem = {"field": field, "problem": f"{error.key}: {error.problem}", "remedy": error.remedy}
    return problem


def _facts(
    recipe: CoreRecipe, techniques: Sequence[Technique], sizes: Sequence[tuple[str, int]], weights: str
) -> NetworkFacts:
    """Creates the network at each size and returns what techniques can know of it.

    Raises:
        UserError: the network cannot be created, or does not take a size.
    """
    for field, size in sizes:
        try:
            model, _ = backbone.create(recipe, techniques, CLASSES, size, 0, weights)
        except UserError as error:
            if error.place != "recipe.resize":
                raise
            raise UserError(f"recipe.{field}", error.key, error.problem, error.remedy) from error
        _run_once(model, recipe, field, size)
    made_for_one_size = hasattr(model, "set_input_size") and not hasattr(model, "dynamic_img_size")
    return NetworkFacts(len(blocks_of(model)), not made_for_one_size)


def _run_once(model: nn.Module, recipe: CoreRecipe, field: str, size: int) -> None:
    """Runs the network on two images, the smallest batch of a training."""
    try:
        with torch.no_grad():
            model.train(field != "eval_size")(torch.zeros(2, recipe.in_chans, size, size))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        problem = f"{recipe.backbone} cannot take images of this size ({reason[:120]})"
        raise UserError(f"recipe.{field}", str(size), problem, REMEDY) from error


if __name__ == "__main__":
    serve()
