"""Writes a trained trial as a bundle: weights and configuration as timm reads them, its recipe, what was measured, and
a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch

from sota_bench.errors import UserError
from sota_bench.files import write_text
from sota_bench.grid.recipe import recipe_from
from sota_bench.registry import instances
from sota_bench.ship.bundle import CARD, CONFIG, METRICS, RECIPE, SECTION, Bundle, Preprocessing
from sota_bench.ship.facts import TrialFacts
from sota_bench.ship.model_card import model_card
from sota_bench.ship.recipe_file import recipe_file
from sota_bench.technique import NormalizesInput, Technique, overrides
from sota_bench.training.loaded import LoadedCheckpoint, load_checkpoint, read_once
from sota_bench.training.tracking import judged_weights


def export(facts: TrialFacts, checkpoint: Path, folder: Path) -> Bundle:
    """Writes the bundle of a trial.

    Args:
        facts: what was measured of it, and how it was evaluated.
        checkpoint: folder of its last training stage.
        folder: where to write; made if it is not there.

    Raises:
        UserError: a technique changes the network or its input in a way that timm's configuration cannot express, or
            the folder cannot be written.
    """
    own = instances(facts.evaluation.techniques, recipe_from(facts.evaluation.recipe, facts.files), facts.files)
    loaded = load_checkpoint(
        checkpoint, facts.evaluation.size, "main", facts.files, torch.device("cpu"), judged_weights(own)
    )
    for technique in (*loaded.techniques, *own):
        if overrides(type(technique), "evaluation_model"):
            loaded = replace(loaded, model=technique.evaluation_model(loaded.model).eval())
    preprocessing = _preprocessing(facts, loaded, own)
    augmenting = tuple(technique.name for technique in own if overrides(type(technique), "predict"))
    recipe = {**facts.training_recipe, **facts.evaluation.recipe}
    bundle = Bundle(folder, tuple(facts.classes), preprocessing, recipe, augmenting)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _save_for_timm(loaded, read_once(checkpoint).metadata["backbone"], bundle)
        write_text(folder / RECIPE, recipe_file(facts))
        write_text(folder / METRICS, json.dumps(facts.metrics(), indent=1, sort_keys=True) + "\n")
        write_text(folder / CARD, model_card(facts, bundle))
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise UserError("--out", "", f"{folder}: {problem}", "choose a folder that you may write to") from error
    return bundle


def _preprocessing(facts: TrialFacts, loaded: LoadedCheckpoint, own: Sequence[Technique]) -> Preprocessing:
    mean, std = [0.0] * loaded.channels, [1.0] * loaded.channels
    normalizing = [technique for technique in (*loaded.techniques, *own) if overrides(type(technique), "on_input")]
    for technique in normalizing:
        if not isinstance(technique, NormalizesInput) or len(normalizing) > 1:
            problem = f"{technique.name} changes the input in a way that a mean and a deviation cannot express"
            raise UserError("export", technique.name, problem, "export a trial without it")
        mean, std = (list(values) for values in technique.input_statistics())
    recipe = recipe_from(facts.evaluation.recipe, facts.files)
    data, size = facts.evaluation.data, facts.evaluation.size
    return Preprocessing(
        facts.stored_size, size, recipe.eval_crop, loaded.channels, tuple(mean), tuple(std), data.encoded
    )


def _save_for_timm(loaded: LoadedCheckpoint, built: Mapping[str, Any], bundle: Bundle) -> None:
    """``model.safetensors`` and ``config.json``, by timm's own writer."""
    images = bundle.preprocessing
    configuration = {
        "architecture": built["name"].split(".", 1)[0],
        "input_size": (images.channels, images.size, images.size),
        "interpolation": "bilinear",
        "crop_pct": images.crop,
        "crop_mode": "center",
        "mean": tuple(value / 255 for value in images.mean),
        "std": tuple(value / 255 for value in images.std),
        "num_classes": len(bundle.classes),
        # What timm says of the backbone's own weights is not true of these.
        **dict.fromkeys(("tag", "license", "origin_url", "test_input_size", "test_crop_pct", "description"), None),
    }
    timm.models.save_for_hf(
        loaded.model,
        str(bundle.folder),
        model_config={
            "pretrained_cfg": configuration,
            "label_names": list(bundle.classes),
            SECTION: bundle.section(),
        },
        model_args=dict(built["arguments"]),
        safe_serialization=True,
    )
    # timm repeats the number of classes among the arguments, and transformers then passes it twice.
    file = bundle.folder / CONFIG
    written = json.loads(file.read_text(encoding="utf-8"))
    written["model_args"].pop("num_classes", None)
    write_text(file, json.dumps(written, indent=2) + "\n")
