"""Pictures of what the network saw: the first batch of one trial per level, as small strips."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from sota_bench.grid.levels import level_text
from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.report.tables import Sample
from sota_bench.report.text import number
from sota_bench.stages.results import StageResult
from sota_bench.store import DamagedArtifact, MissingArtifact, Store

SHOWN = 4
SHOWN_HEIGHT = 96
"""Small images are shown enlarged to about this many pixels, each pixel as a square."""

COLOURS = 96
"""Colours of a strip's palette: small files, and no visible loss at this size."""


def samples_of(plan: Plan, store: Store, results: Mapping[str, StageResult]) -> list[Sample]:
    """For every factor whose levels show the network other pictures, some images of one trial per level; the trials
    differ in that factor alone.

    Args:
        plan: what was asked for.
        store: where the samples lie.
        results: stages that are done.
    """
    found: list[Sample] = []
    for factor in plan.grid.factors:
        group: list[Sample] = []
        seen: set[str] = set()
        for level, trial in _context(plan, results, factor).items():
            for size, strip in _strips(plan, trial, store, results):
                if strip["digest"] not in seen:
                    seen.add(strip["digest"])
                    group.append(_sample(factor, level, size, strip))
        if len({sample.level for sample in group}) > 1:
            found += group
    return found


def _context(plan: Plan, results: Mapping[str, StageResult], factor: str) -> dict[str, TrialPlan]:
    """Finished trials by level of a factor, all else equal: where most levels exist, nearest to the baseline."""
    baseline = {name: level_text(levels[0]) for name, levels in plan.grid.factors.items()}
    contexts: dict[tuple[Any, ...], dict[str, TrialPlan]] = {}
    for trial in plan.trials:
        text = trial.trial.cell.text
        if trial.inapplicable is None and all(key in results for key in trial.training):
            others = tuple((name, value) for name, value in text.items() if name != factor)
            contexts.setdefault((trial.trial.seed, others), {})[text[factor]] = trial

    def rank(context: tuple[Any, ...]) -> tuple[int, int]:
        away = sum(baseline[name] != value for name, value in context[1])
        return -len(contexts[context]), away

    return contexts[min(contexts, key=rank)] if contexts else {}


def _strips(
    plan: Plan, trial: TrialPlan, store: Store, results: Mapping[str, StageResult]
) -> list[tuple[int, dict[str, Any]]]:
    import hashlib

    from safetensors.numpy import load_file

    found = []
    for phase, key in zip(trial.phases, trial.training, strict=True):
        try:
            stored = load_file(store.checked_file(key, "samples.safetensors"))
        except (MissingArtifact, DamagedArtifact, KeyError):
            continue
        images, targets = stored["images"][:SHOWN], stored["targets"][:SHOWN]
        seen = results[key].values.get("input", {})
        digest = hashlib.sha256(images.tobytes() + targets.tobytes() + repr(seen).encode()).hexdigest()
        classes = plan.images.subset(plan.images.choice(trial.trial.cell.recipe, phase.task)).classes
        strip = {"images": images, "targets": targets, "classes": classes, "digest": digest, "input": seen}
        found.append((phase.size, strip))
    return found


def _sample(factor: str, level: str, size: int, strip: dict[str, Any]) -> Sample:
    from PIL import Image

    images = strip["images"]
    rows = images.transpose(0, 2, 3, 1)
    larger = max(1, round(SHOWN_HEIGHT / size))
    joined = np.concatenate(list(rows), axis=1).repeat(larger, axis=0).repeat(larger, axis=1)
    picture = Image.fromarray(joined[..., 0] if joined.shape[2] == 1 else joined)
    buffer = io.BytesIO()
    picture.convert("RGB").quantize(COLOURS).save(buffer, "PNG", optimize=True)
    classes = strip["classes"]
    targets = [
        {classes[k]: round(float(row[k]), 3) for k in np.argsort(-row) if row[k] > 0.005} for row in strip["targets"]
    ]
    soft = any(len(row) > 1 for row in targets)
    mean, std = strip["input"].get("mean", []), strip["input"].get("std", [])
    caption = f"{size} px"
    if mean:
        caption += f"; after normalization the batch has mean {_list(mean)} and deviation {_list(std)}"
    return Sample(factor, level, caption, buffer.getvalue(), targets if soft else [])


def _list(values: list[float]) -> str:
    return ", ".join(number(value, 2) for value in values)
