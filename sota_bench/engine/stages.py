"""Runs one stage in a worker: finds what its kind needs and hands over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sota_bench import registry
from sota_bench.engine.messages import Outcome, PlanAgain, Progress
from sota_bench.grid.recipe import recipe_type
from sota_bench.plan.stage import Stage
from sota_bench.technique import Technique

PRELOAD = ("sota_bench.training.train", "sota_bench.training.evaluate")
"""Imported by a worker from its start."""

CHECKPOINT_S = 300.0
"""Seconds between two checkpoints inside a phase, where the grid does not say."""


def execute(
    stage: Stage,
    inputs: Mapping[str, Path],
    workspace: Path,
    device: str,
    progress: Callable[[Progress], None],
) -> Outcome:
    """Runs ``stage`` and leaves its files in ``workspace``.

    Args:
        stage: what to run.
        inputs: role -> folder of each parent's artifact.
        workspace: an existing folder, which may hold what an interrupted run of this stage left.
        device: ``cpu`` or ``cuda:i``.
        progress: told how far it is; may raise ``Stopped``.

    Raises:
        Diverged: the training left the finite numbers.
        PlanAgain: images turned out not to decode; their source leaves them out from now on.
    """
    if stage.kind == "prepare":
        return _prepare(stage, workspace, progress)

    import torch

    from sota_bench.training.evaluate import evaluate
    from sota_bench.training.precompute import precompute
    from sota_bench.training.probe import probe
    from sota_bench.training.train import train

    files = tuple(Path(file) for file in stage.context.get("technique_files", ()))
    on = torch.device(device)

    def make(names: Sequence[str], recipe: Any) -> list[Technique]:
        known = registry.techniques(files)
        return [known[name](recipe) for name in names]

    def recipe_of(settings: Mapping[str, Any]) -> Any:
        return recipe_type(files)(**settings)

    recipe = recipe_of(stage.params["recipe"])
    params = {**stage.params, "data": {**stage.params["data"], "choice": stage.context["choice"]}}
    if stage.kind == "train":
        techniques = make(params["techniques"], recipe)
        checkpoint_s = float(stage.context.get("checkpoint_s", CHECKPOINT_S))
        weights = str(stage.context.get("weights", ""))
        accumulate = bool(stage.context.get("accumulate", True))
        return train(params, inputs, workspace, techniques, recipe, on, progress, checkpoint_s, weights, accumulate)
    if stage.kind == "evaluate":
        return evaluate(params, inputs, workspace, make, recipe, recipe_of, on, progress)
    if stage.kind == "probe":
        return probe(params, inputs, workspace, make, recipe, recipe_of, on, progress)
    technique = make([params["technique"]], recipe)[0]
    return precompute(params, inputs, workspace, technique, make, recipe, recipe_of, on, progress)


def _prepare(stage: Stage, workspace: Path, progress: Callable[[Progress], None]) -> Outcome:
    """Decodes the images of a grid into a cache, and writes the manifest beside it."""
    from sota_bench.data.build import build_cache
    from sota_bench.data.manifest import Manifest
    from sota_bench.data.specs import source_from_spec

    started = time.perf_counter()
    manifest = Manifest.load(Path(stage.context["manifest"]))
    wanted = manifest.items[manifest.items["sha256"].isin(set(_contents(stage, manifest)))]
    source = source_from_spec(stage.context["source"])

    def tell(done: int, total: int) -> None:
        rate = done / max(time.perf_counter() - started, 1e-9)
        progress(Progress(done, total, images_per_s=rate, note="decoding"))

    about = build_cache(
        workspace / "cache", source, wanted, int(stage.params["size"]), int(stage.context["processes"]), tell
    )
    if about["left_out"]:
        path, reason = about["left_out"][0]
        count = len(about["left_out"])
        problem = f"{count} images cannot be used, such as {path} ({reason})"
        raise PlanAgain(f"data: {problem}; they are left out from now on, or listed anew if they changed: run again")
    manifest.save(workspace / "manifest.csv")
    return Outcome({"cache": about}, {"prepare": time.perf_counter() - started}, 0.0)


def _contents(stage: Stage, manifest: Any) -> list[str]:
    """Content digests of all images that some trial of the grid uses."""
    from sota_bench.data.subset import choose

    found: dict[str, None] = {}
    for choice in stage.context["choices"]:
        subset = choose(manifest, **choice)
        for split in ("train", "select", "test"):
            found.update(dict.fromkeys(subset.contents(split)))
    return list(found)
