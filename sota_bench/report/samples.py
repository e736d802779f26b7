"""Pictures of what the network saw: the first batch of one trial per level, as small strips."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from sota_bench.grid.levels import level_text
from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.plan.stage import StageResult
from sota_bench.report.tables import Sample
from sota_bench.store import Store

SHOWN = 4
COLOURS = 96
"""Colours of a strip's palette: small files, and no visible loss at this size."""


def samples_of(plan: Plan, store: Store, results: Mapping[str, StageResult]) -> list[Sample]:
    """For every training factor and level, the first images of a trial that differs from the baseline in it alone.

    Args:
        plan: what was asked for.
        store: where the samples lie.
        results: stages that are done.
    """
    found: list[Sample] = []
    for factor, levels in plan.grid.factors.items():
        seen: set[str] = set()
        for level in levels:
            trial = _plainest(plan, results, factor, level)
            strips = [] if trial is None else _strips(trial, store, results)
            for size, strip in strips:
                if strip["digest"] in seen:
                    continue
                seen.add(strip["digest"])
                found.append(_sample(plan, factor, level_text(level), size, strip))
        if len(seen) < 2:  # all levels saw the same pictures: nothing to look at
            found = [sample for sample in found if sample.group != factor]
    return found


def _plainest(plan: Plan, results: Mapping[str, StageResult], factor: str, level: Any) -> TrialPlan | None:
    """The finished trial at this level whose other factors are nearest to their baselines."""
    baseline = {name: level_text(levels[0]) for name, levels in plan.grid.factors.items()}
    best: tuple[int, TrialPlan] | None = None
    for trial in plan.trials:
        text = trial.trial.cell.text
        if (
            trial.inapplicable is None
            and text[factor] == level_text(level)
            and all(k in results for k in trial.training)
        ):
            away = sum(text[name] != value for name, value in baseline.items() if name != factor)
            if best is None or away < best[0]:
                best = (away, trial)
    return best[1] if best else None


def _strips(trial: TrialPlan, store: Store, results: Mapping[str, StageResult]) -> list[tuple[int, dict[str, Any]]]:
    import hashlib

    from safetensors.numpy import load_file

    found = []
    for phase, key in zip(trial.phases, trial.training, strict=True):
        file = store.folder(key) / "samples.safetensors"
        if file.exists():
            stored = load_file(file)
            images, targets = stored["images"][:SHOWN], stored["targets"][:SHOWN]
            seen = results[key].values.get("input", {})
            digest = hashlib.sha256(images.tobytes() + targets.tobytes() + repr(seen).encode()).hexdigest()
            found.append((phase.size, {"images": images, "targets": targets, "digest": digest, "input": seen}))
    return found


def _sample(plan: Plan, factor: str, level: str, size: int, strip: dict[str, Any]) -> Sample:
    from PIL import Image

    images = strip["images"]
    rows = images.transpose(0, 2, 3, 1)
    joined = np.concatenate(list(rows), axis=1)
    picture = Image.fromarray(joined[..., 0] if joined.shape[2] == 1 else joined)
    buffer = io.BytesIO()
    picture.convert("RGB").quantize(COLOURS).save(buffer, "PNG", optimize=True)
    classes = plan.images.subset(plan.images.choice(plan.grid.cells()[0].recipe, "main")).classes
    targets = [
        {classes[k]: round(float(row[k]), 3) for k in np.argsort(-row) if row[k] > 0.0005} for row in strip["targets"]
    ]
    soft = any(len(row) > 1 for row in targets)
    mean, std = strip["input"].get("mean", []), strip["input"].get("std", [])
    caption = f"{size} px"
    if mean:
        caption += f"; after normalization the batch has mean {_list(mean)} and deviation {_list(std)}"
    return Sample(factor, level, caption, buffer.getvalue(), targets if soft else [])


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
