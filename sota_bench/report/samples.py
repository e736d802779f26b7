"""Pictures of what the network saw: the first batch of one trial per level, as small strips."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sota_bench.grid.levels import level_text
from sota_bench.plan.plan import Plan, TrialPlan
from sota_bench.report.tables import Sample
from sota_bench.report.text import number
from sota_bench.stages.results import ChannelMoments, StageResult
from sota_bench.store import DamagedArtifact, MissingArtifact, Store

SHOWN = 4
SHOWN_HEIGHT = 96
"""Small images are shown enlarged to about this many pixels, each pixel as a square."""

COLOURS = 96
"""Colours of a strip's palette: small files, and no visible loss at this size."""


@dataclass(frozen=True)
class Strip:
    """Images of the first batch of one training phase, as the network saw them.

    Attributes:
        size: pixels of both sides.
        images: uint8 [N, C, size, size].
        targets: class probabilities [N, K].
        classes: names of the K classes.
        moments: mean and standard deviation of the batch's channels; None where they were not kept.
    """

    size: int
    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    classes: Sequence[str]
    moments: ChannelMoments | None

    @property
    def digest(self) -> str:
        """Equal for strips that look alike."""
        content = self.images.tobytes() + self.targets.tobytes() + repr(self.moments).encode()
        return hashlib.sha256(content).hexdigest()


def samples_of(plan: Plan, store: Store, results: Mapping[str, StageResult]) -> list[Sample]:
    """For every factor whose levels show the network other pictures, some images of one trial per level; the trials
    differ in that factor alone.

    Args:
        plan: what was asked for.
        store: where the samples lie.
        results: stages that are done.
    """
    samples: list[Sample] = []
    for factor in plan.grid.factors:
        group: list[Sample] = []
        seen: set[str] = set()
        for level, trial in _one_trial_per_level(plan, results, factor).items():
            for strip in _strips(plan, trial, store, results):
                if strip.digest not in seen:
                    seen.add(strip.digest)
                    group.append(_sample(factor, level, strip))
        if len({sample.level for sample in group}) > 1:
            samples += group
    return samples


Setting = tuple[int, tuple[tuple[str, str], ...]]
"""Seed, and the levels of the other factors."""


def _one_trial_per_level(plan: Plan, results: Mapping[str, StageResult], factor: str) -> dict[str, TrialPlan]:
    """Finished trials by level of a factor, all else equal: where most levels exist, nearest to the baseline."""
    baseline = {name: level_text(levels[0]) for name, levels in plan.grid.factors.items()}
    settings: dict[Setting, dict[str, TrialPlan]] = {}
    for trial in plan.trials:
        text = trial.trial.cell.text
        if trial.inapplicable is None and all(key in results for key in trial.training):
            others = tuple((name, value) for name, value in text.items() if name != factor)
            settings.setdefault((trial.trial.seed, others), {})[text[factor]] = trial

    def rank(setting: Setting) -> tuple[int, int]:
        away = sum(baseline[name] != value for name, value in setting[1])
        return -len(settings[setting]), away

    return settings[min(settings, key=rank)] if settings else {}


def _strips(plan: Plan, trial: TrialPlan, store: Store, results: Mapping[str, StageResult]) -> list[Strip]:
    from safetensors.numpy import load_file

    strips = []
    for phase, key in zip(trial.phases, trial.training, strict=True):
        try:
            stored = load_file(store.checked_file(key, "samples.safetensors"))
        except (MissingArtifact, DamagedArtifact, KeyError):
            continue
        images, targets = stored["images"][:SHOWN], stored["targets"][:SHOWN]
        classes = plan.images.subset(plan.images.choice(trial.trial.cell.recipe, phase.task)).classes
        strips.append(Strip(phase.size, images, targets, classes, results[key].trained.input))
    return strips


def _sample(factor: str, level: str, strip: Strip) -> Sample:
    from PIL import Image

    rows = strip.images.transpose(0, 2, 3, 1)
    larger = max(1, round(SHOWN_HEIGHT / strip.size))
    joined = np.concatenate(list(rows), axis=1).repeat(larger, axis=0).repeat(larger, axis=1)
    picture = Image.fromarray(joined[..., 0] if joined.shape[2] == 1 else joined)
    buffer = io.BytesIO()
    picture.convert("RGB").quantize(COLOURS).save(buffer, "PNG", optimize=True)
    targets = [
        {strip.classes[k]: round(float(row[k]), 3) for k in np.argsort(-row) if row[k] > 0.005} for row in strip.targets
    ]
    mixed = any(len(row) > 1 for row in targets)
    caption = f"{strip.size} px"
    if strip.moments is not None:
        mean, std = _list(strip.moments.mean), _list(strip.moments.std)
        caption += f"; the first batch has mean {mean} and standard deviation {std} as the network sees it"
    return Sample(factor, level, caption, buffer.getvalue(), targets if mixed else [])


def _list(values: Sequence[float]) -> str:
    return ", ".join(number(value, 2) for value in values)
