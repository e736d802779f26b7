"""Whether a network can be made as a recipe asks, starts from the weights that it names, and takes its images: found by
making it, before anything runs. The planner, which never loads torch, asks this in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sota_bench import registry
from sota_bench.errors import UserError
from sota_bench.grid.apart import serve
from sota_bench.grid.recipe import recipe_type
from sota_bench.technique import Technique
from sota_bench.training import backbone
from sota_bench.training.blocks import blocks_of

CLASSES = 10
"""Of the head, which decides nothing here."""

REMEDY = "choose another size or another backbone"


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the network of one question as a training does, and shows it an image of each size.

    First without memory, on torch's meta device; what fails there is tried once more with memory, since some networks
    cannot be made without. Pretrained weights are really read.

    Args:
        question: ``settings`` (recipe fields), ``techniques`` (names of those that have a say in the architecture),
            ``files`` (of local techniques), ``sizes`` (pairs of a field and its pixels), ``weights`` (local file or
            folder, or "").

    Returns:
        ``blocks``, the number of the network's blocks; or ``field``, ``problem`` and ``remedy``.
    """
    files = tuple(Path(file) for file in question["files"])
    recipe = recipe_type(files)(**question["settings"])
    known = registry.techniques(files)
    techniques = [known[name](recipe) for name in question["techniques"]]
    sizes = [(str(field), int(size)) for field, size in question["sizes"]]
    for device in ("cpu",) if question["weights"] else ("meta", "cpu"):
        try:
            with torch.device(device):
                return {"blocks": _made(recipe, techniques, sizes, question["weights"])}
        except UserError as error:
            field = error.place.removeprefix("recipe.")
            found = {"field": field, "problem": f"{error.key}: {error.problem}", "remedy": error.remedy}
    return found


def _made(recipe: Any, techniques: Sequence[Technique], sizes: Sequence[tuple[str, int]], weights: str) -> int:
    """The number of blocks.

    Raises:
        UserError: the network cannot be made, or does not take a size.
    """
    blocks = 0
    for field, size in sizes:
        try:
            model, _ = backbone.create(recipe, techniques, CLASSES, size, 0, weights)
        except UserError as error:
            if error.place != "recipe.resize":
                raise
            raise UserError(f"recipe.{field}", error.key, error.problem, error.remedy) from error
        blocks = blocks or len(blocks_of(model))
        _look(model, recipe, field, size)
    return blocks


def _look(model: nn.Module, recipe: Any, field: str, size: int) -> None:
    """Shows the network two images, as the smallest batch of a training does."""
    try:
        with torch.no_grad():
            model.train(field != "eval_size")(torch.zeros(2, recipe.in_chans, size, size))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        problem = f"{recipe.backbone} cannot take images of this size ({reason[:120]})"
        raise UserError(f"recipe.{field}", str(size), problem, REMEDY) from error


if __name__ == "__main__":
    serve()
