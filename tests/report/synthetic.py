"""A made-up run with everything a report can show: effects, gaps, a failure, forgetting, pictures, cards."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from sota_bench.report.predictions import Predictions
from sota_bench.report.rows import ConfidenceBinRow, EpochRow, EvaluationRow, StageReportRow, TrialRow, to_frame
from sota_bench.report.run_record import (
    GridRecord,
    ImageCounts,
    MeasuredMinutes,
    PredictedMinutes,
    RunRecord,
    Sharing,
    TrialCounts,
)
from sota_bench.report.tables import RunTables, Sample, UsedTechnique
from sota_bench.technique import Card

FACTORS: dict[str, list[str]] = {
    "normalize": ["none", "dataset"],
    "mixup": ["0.0", "0.2"],
    "resize": ["128x5", "64x3 128x2"],
    "mitigation": ["none", "freeze", "ewc"],
    "tta": ["false", "true"],
}
HOSTILE = "<script>alert(1)</script>\"'&"
CLASSES = ["tench", "springer", "cassette", "chain saw", "church", "horn", "lorry", "pump", "golf ball", "parachute"]
SIZES = (64, 96, 128, 160)


def synthetic(
    seeds: int = 4,
    factors: dict[str, list[str]] | None = None,
    name: str = "synthetic",
    images: int = 500,
    control: bool = False,
) -> RunTables:
    """Tables of a full factorial whose effects are written below, so that a test knows what the page must say.

    True effects on accuracy, in percentage points: normalize dataset +4, mixup 0.2 -0.2, progressive resizing -1.5,
    freeze +0.8 and ewc +0.2 (only where the resolution rises), tta +0.6. A seed shifts all cells by about 0.8, a
    trial's own noise is 0.5.

    Args:
        seeds: how many seeds; the first trial of seed 1 in the second cell is a failed one where it exists.
        factors: levels by factor; those not in ``FACTORS`` have no effect.
        name: the run's name, shown on the page.
        images: how many images of the select split have stored predictions.
        control: whether the page must call the run a control.

    Returns:
        Tables with every frame filled.
    """
    factors = FACTORS if factors is None else factors
    rng = np.random.default_rng(20240607)
    trials: list[TrialRow] = []
    evaluations, curves, reliability = [], [], []
    predictions: dict[str, Predictions] = {}
    shifts, difficulty = rng.normal(0, 0.8, seeds), rng.normal(0, 1, images)
    for index, levels in enumerate(itertools.product(*factors.values())):
        cell = dict(zip(factors, levels, strict=True))
        for seed in range(seeds):
            row, below = _trial(index, cell, seed, shifts[seed], rng)
            if row.status != "done":
                trials.append(row)
                continue
            evaluations += below.evaluations
            curves += below.curves
            reliability += below.reliability
            hard = difficulty + rng.normal(0, 0.4, images)
            correct = hard < np.quantile(hard, row.accuracy / 100)
            nll = (row.nll + 1.5 * (correct.mean() - correct)).astype(np.float32)
            predictions[row.trial] = Predictions(correct, nll, np.arange(images) % len(CLASSES), tuple(CLASSES))
            balanced = float(np.mean(list(predictions[row.trial].recalls.values())))
            trials.append(replace(row, accuracy=100 * float(correct.mean()), balanced_accuracy=balanced))
    frame = to_frame(trials, TrialRow)
    return RunTables(
        run=_run(name, factors, seeds, frame, control),
        trials=frame,
        evaluations=to_frame(evaluations, EvaluationRow),
        stages=_stages(frame),
        curves=to_frame(curves, EpochRow),
        reliability=to_frame(reliability, ConfidenceBinRow),
        predictions=predictions,
        samples=_samples(factors),
        techniques=[technique for technique in TECHNIQUES if technique.field in factors],
        grid_text=_grid_text(name, factors, seeds),
    )


class Below(NamedTuple):
    """What lies below a trial."""

    evaluations: list[EvaluationRow]
    curves: list[EpochRow]
    reliability: list[ConfidenceBinRow]


def _trial(
    index: int, cell: dict[str, str], seed: int, shift: float, rng: np.random.Generator
) -> tuple[TrialRow, Below]:
    rises = " " in cell.get("resize", "64x3 128x2")
    mitigation = cell.get("mitigation", "none")
    tta = cell.get("tta", "false") == "true"
    name = f"c{index:02d}-s{seed}"
    empty = TrialRow(
        trial=name,
        cell=f"c{index:02d}",
        levels=cell,
        seed=seed,
        status="done",
        params=11_181_642,
        layers=18,
        flops=595_000_000 if rises else 596_000_000,
        epochs=5,
        judged_on="0123456789ab",
    )
    nothing = Below([], [], [])
    if mitigation != "none" and not rises:
        return replace(empty, status="not_applicable", error="mitigation needs a rise in resolution"), nothing
    if index == 1 and seed == 1:
        return replace(empty, status="failed", error="the loss was not finite at epoch 3, step 41"), nothing
    mixed = cell.get("mixup", "0.0") != "0.0"
    accuracy = 72.0 + shift + rng.normal(0, 0.5)
    accuracy += 4.0 * (cell.get("normalize") == "dataset") - 0.2 * mixed - 1.5 * rises
    accuracy += {"none": 0.0, "freeze": 0.8, "ewc": 0.2}[mitigation] + 0.6 * tta
    minutes = (1.05 if rises else 1.9) * (1.12 if mitigation == "ewc" else 1.0) * rng.normal(1, 0.015)
    minutes *= 0.93 if mitigation == "freeze" else 1.0
    confidence = (0.66 if mixed else 0.81) + rng.normal(0, 0.008)
    drop = {"none": 6.5, "freeze": 3.0, "ewc": 2.0}[mitigation] + rng.normal(0, 0.6)
    row = replace(
        empty,
        accuracy=accuracy,
        nll=(0.92 if mixed else 1.04) + rng.normal(0, 0.015),
        ece=abs(confidence - accuracy / 100) + 0.01,
        brier=0.38 - 0.002 * (accuracy - 70),
        confidence=confidence,
        train_loss=(1.21 if mixed else 0.61) + rng.normal(0, 0.02),
        minutes=minutes,
        predicted_minutes=minutes * rng.normal(0.97, 0.03),
        train_s=minutes * 54,
        compile_s=0.4,
        evaluate_s=minutes * (5 if tta else 2.5),
        images_per_s=9469 * 5 / (minutes * 54),
        peak_memory_mb=1420.0,
    )
    if rises:
        shared = 3 if mitigation != "none" else 0
        kept = 69.5 - drop + shift
        row = replace(row, stability=kept, plasticity=accuracy, forgetting=drop, shared_epochs=shared)
    return row, Below(
        list(_evaluations(name, rises, tta, accuracy, drop, rng)),
        list(_curves(name, rises, mixed, minutes, rng)),
        list(_reliability(name, confidence - accuracy / 100, rng)),
    )


def _evaluations(
    trial: str, rises: bool, tta: bool, accuracy: float, drop: float, rng: np.random.Generator
) -> Iterator[EvaluationRow]:
    phases = [(0, 64), (1, 128)] if rises else [(0, 128)]
    last = len(phases) - 1
    for (phase, train_size), size, views in itertools.product(phases, SIZES, ("off", "flip")):
        off = abs(np.log2(size / train_size))
        level = accuracy - (4.0 * off + 6.0 * off**2) - (2.5 if phase < last else 0.0) + 0.6 * ((views == "flip") - tta)
        if rises and phase == last and size == 64:
            level = accuracy - 2.5 - drop
        level += 0.0 if size == 128 and phase == last else rng.normal(0, 0.3)
        yield EvaluationRow(
            trial=trial,
            phase=phase,
            train_size=train_size,
            size=size,
            task="main",
            tta=views,
            final=phase == last and size == 128 and (views == "flip") == tta,
            accuracy=level,
            nll=1.0,
            ece=0.05,
            brier=0.38,
            confidence=0.8,
            latency_ms=0.4 * (size / 128) ** 2 * (2 if views == "flip" else 1),
        )


def _curves(trial: str, rises: bool, mixed: bool, minutes: float, rng: np.random.Generator) -> Iterator[EpochRow]:
    for epoch in range(5):
        size = 64 if rises and epoch < 3 else 128
        loss = 2.2 * np.exp(-0.35 * epoch) + (0.6 if mixed else 0.15) + (0.25 if rises and epoch == 3 else 0.0)
        yield EpochRow(
            trial=trial,
            phase=int(rises and epoch >= 3),
            epoch=epoch,
            size=size,
            loss=loss + rng.normal(0, 0.03),
            lr=0.01 * (1 - epoch / 5),
            images_per_s=900.0,
            seconds=minutes * 11,
        )


def _reliability(trial: str, over: float, rng: np.random.Generator) -> Iterator[ConfidenceBinRow]:
    edges = np.linspace(0, 1, 16)
    for low, high in itertools.pairwise(edges):
        middle = (low + high) / 2
        yield ConfidenceBinRow(
            trial=trial,
            low=low,
            high=high,
            count=int(20 + 120 * middle**2),
            confidence=middle,
            accuracy=float(np.clip(middle - over * middle + rng.normal(0, 0.02), 0, 1)),
        )


def _stages(trials: pd.DataFrame) -> pd.DataFrame:
    rows = [_stage("prepare", "decode 13,394 images at 128 px", len(trials), True, 14.0)]
    for index, row in enumerate(trials.itertuples()):
        if row.status == "done":
            rows.append(_stage("train", f"{row.trial} to the end", 1, index % 5 == 0, row.train_s))
            rows.append(_stage("evaluate", f"{row.trial} at four sizes", 1, False, row.evaluate_s))
    return to_frame(rows, StageReportRow)


def _stage(kind: str, title: str, shared: int, reused: bool, seconds: float) -> StageReportRow:
    notes = {"normalization": {"mean": [118.2, 115.1, 107.9]}, "steps_at_size": {"128": 60}}
    return StageReportRow(
        key=hashlib.sha256(f"{kind} {title}".encode()).hexdigest(),
        kind=kind,
        title=title,
        status="done",
        trials=shared,
        reused=reused,
        why="the same key is in the store" if reused else "not in the store",
        prepare_s=seconds if kind == "prepare" else 0.0,
        compile_s=0.0,
        train_s=seconds if kind == "train" else 0.0,
        evaluate_s=seconds if kind == "evaluate" else 0.0,
        peak_memory_mb=1420.0,
        started="2024-06-07T09:00:00+00:00",
        notes=json.dumps(notes) if kind == "train" else "",
    )


def _samples(factors: dict[str, list[str]]) -> list[Sample]:
    rng = np.random.default_rng(3)
    out = []
    if "normalize" in factors:
        out += [
            Sample(
                "normalize",
                level,
                f"A batch as the network receives it, {level}: channel mean {mean}, sd {sd}.",
                picture(rng, 8, 48),
            )
            for level, mean, sd in (("none", "118.2", "70.4"), ("dataset", "0.00", "1.00"))
        ]
    if "mixup" in factors:
        targets = [{CLASSES[i]: 0.7, CLASSES[i + 1]: 0.3} for i in range(8)]
        out += [
            Sample(
                "mixup",
                "0.0",
                "Plain images: each target is one class.",
                picture(rng, 8, 48),
                [{CLASSES[i]: 1.0} for i in range(8)],
            ),
            Sample(
                "mixup",
                "0.2",
                "Mixed images: each target is a pair of classes that sums to 1.",
                picture(rng, 8, 48),
                targets,
            ),
        ]
    if "resize" in factors:
        out += [
            Sample("resize", f"{size}", f"The same four images at {size} px.", picture(rng, 4, size // 2))
            for size in (64, 128)
        ]
    return out


def picture(rng: np.random.Generator, count: int, size: int) -> bytes:
    """A strip of ``count`` smooth random pictures of ``size`` pixels, as PNG bytes."""
    from PIL import Image

    strip = Image.new("RGB", (count * (size + 4) - 4, size), (255, 255, 255))
    for index in range(count):
        small = Image.fromarray(rng.integers(40, 220, (3, 3, 3), dtype=np.uint8))
        strip.paste(small.resize((size, size), Image.Resampling.BICUBIC), (index * (size + 4), 0))
    buffer = io.BytesIO()
    strip.quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _run(name: str, factors: dict[str, list[str]], seeds: int, trials: pd.DataFrame, control: bool) -> RunRecord:
    done = trials[trials["status"] == "done"]
    alone = float(done["minutes"].sum())
    grid = GridRecord(
        name=name,
        question="Which of these techniques help?",
        notes="A made-up run.\n\nIts effects are known.",
        seeds=list(range(seeds)),
        smallest_effect=1.0,
        smallest_effects={"accuracy": 1.0},
        minutes_per_iteration=2.0,
        factors=factors,
        recipe={"backbone": "resnet18", "resize": "128x5", "normalize": "dataset", "batch_size": 64, "lr": 0.01},
        data={"source": "imagenette", "fraction": 1.0, "stored_size": 160},
    )
    return RunRecord(
        name=name,
        question=grid.question,
        source="known-effects" if control else "imagenette",
        control=control,
        grid=grid,
        within=[factor for factor in factors if factor in ("tta", "eval_size")],
        versions={"sota_bench": "0.1.0", "python": "3.11.9", "torch": "2.9.0", "timm": "1.0.20"},
        device={"kind": "cuda", "name": "NVIDIA H100", "memory_mb": 81_559},
        git_commit="0123456789abcdef0123456789abcdef01234567",
        data_digest="sha256:" + "ab" * 32,
        counts=TrialCounts(int(trials["cell"].nunique()), len(trials), **Counter(trials["status"])),
        goal_minutes=2.0,
        predicted=PredictedMinutes(1.72, alone * 0.5, 0.034),
        measured=MeasuredMinutes(float(done["minutes"].median()), float(done["minutes"].max()), alone * 0.55),
        sharing=Sharing(len(done) * 5, len(done) * 2, 2.5, alone, alone * 0.52),
        images=ImageCounts(9469, 1963, 1962, 2),
        started="2024-06-07T09:00:00+00:00",
        command="python -m sota_bench run synthetic.toml",
        notes=["The backbone starts from random weights."],
    )


def _grid_text(name: str, factors: dict[str, list[str]], seeds: int) -> str:
    lines = [
        "[grid]",
        f'name = "{name}"',
        f"seeds = {list(range(seeds))}",
        "smallest_effect = 1.0",
        "minutes_per_iteration = 2.0",
        "",
        "[data]",
        'source = "imagenette"',
        "",
        "[factors]",
    ]
    return "\n".join([*lines, *(f"{factor} = {levels}" for factor, levels in factors.items())]) + "\n"


TECHNIQUES = [
    UsedTechnique(
        "normalize",
        Card(
            name="Input normalization",
            claim="Inputs with mean 0 and standard deviation 1 train faster at the same learning rate.",
            response="accuracy",
            paper="LeCun et al., Efficient BackProp (1998), section 4.3",
            defaults="dataset",
            cost="none at run time; one pass over the training split for its statistics",
            fails="Makes little difference where the first layer is followed by batch normalization.",
            why="Weights start at a scale that suits inputs of unit variance; 0 to 255 makes the first steps too long.",
        ),
    ),
    UsedTechnique(
        "mixup",
        Card(
            name="Mixup",
            claim="Better calibrated uncertainty, and robustness to wrong labels.",
            response="nll",
            paper="Zhang et al., mixup: Beyond Empirical Risk Minimization (ICLR 2018), equation 1",
            defaults="alpha 0.2, one coefficient per image",
            cost="under 1% of a step",
            fails="Short trainings of small models: it is a regularizer, and they underfit.",
            why="Targets stay probabilities that sum to 1, so the network is asked for the mixing proportion.",
        ),
    ),
    UsedTechnique(
        "resize",
        Card(
            name="Progressive resizing",
            claim="Most epochs at a low resolution, the last at a high one: less time.",
            response="minutes",
            paper="Touvron et al., Fixing the train-test resolution discrepancy (NeurIPS 2019)",
            defaults="64x3 128x2",
            cost="saves about half of the minutes",
            fails="When the classes differ only in fine texture, or the last phase is too short to adapt.",
            why="Coarse shape is learned from few pixels; a step costs in proportion to the pixels.",
        ),
    ),
    UsedTechnique(
        "mitigation",
        Card(
            name="Mitigations of forgetting",
            claim="Keep accuracy at the old resolution while learning the new one.",
            response="stability",
            paper="Kirkpatrick et al., Overcoming catastrophic forgetting (PNAS 2017), equation 3",
            defaults="none",
            cost="freeze saves time; ewc adds about 12%",
            fails="Where nothing is asked of the old resolution, keeping it only costs plasticity.",
            why="Stability and plasticity compete for the same weights: the stability-plasticity dilemma.",
        ),
        is_mitigation=True,
    ),
    UsedTechnique(
        "tta",
        Card(
            name="Test-time augmentation",
            claim="Averaging views of an image gives a better probability.",
            response="accuracy",
            paper="Krizhevsky et al., ImageNet Classification with Deep CNNs (2012), section 4.1",
            defaults="image and mirror image, probabilities averaged",
            cost="one forward pass for each view",
            fails="When the latency of inference is what costs.",
            why="It happens at inference: the weights stay, the errors of the views differ and partly cancel.",
        ),
    ),
]
