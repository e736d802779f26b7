"""The tables between the ledger and the page: everything that a report shows, and nothing that it computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Sample:
    """One picture of what the network saw.

    Attributes:
        group: which question it answers: ``"normalize"``, ``"mixup"``, ``"resize"``, ...
        level: the level that made it, as text (``"0.2"``).
        caption: one sentence: what to look for.
        png: the encoded image.
        targets: for mixed images, per image the non-zero class probabilities by class name.
    """

    group: str
    level: str
    caption: str
    png: bytes
    targets: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class RunTables:
    """All that ``collect`` reads from the ledger for one grid. Every frame may be empty, no column may be missing.

    Attributes:
        run: the content of ``run.json`` (see ``REPORT_RUN_KEYS`` for the keys that are always there).
        trials: one row per trial. Columns: ``trial`` (``c03-s1``), ``cell`` (``c03``), one column per factor (the level
            as text), ``seed``, ``status`` (done, failed, blocked, not_applicable), ``accuracy`` (percent, 0 to 100, on
            the select split), ``nll`` (nats), ``ece`` (0 to 1, 15 equal-width bins), ``brier``, ``confidence`` (mean of
            the largest probability), ``train_loss`` (last epoch), ``minutes`` (the iteration as if run alone),
            ``predicted_minutes``, ``minutes_alone`` (measured with nothing else running, where asked for), ``train_s``,
            ``evaluate_s``, ``compile_s``, ``images_per_s``, ``params``, ``layers``, ``flops`` (one image, forward, at
            the evaluation size), ``peak_memory_mb``, ``step_ms_median``, ``step_ms_p90``, ``step_ms_p99`` (of the last
            phase), ``energy_j``, ``average_accuracy`` (over all tasks or resolutions at the end), ``stability`` and
            ``plasticity`` (percent; NaN without a rise), ``forgetting`` (percentage points), ``shared_epochs``,
            ``epochs``, ``micro_batch`` (images of a part, where memory ran out and batches were computed in parts; else
            NaN), ``judged_on`` (digest of the images that judge it; accuracies
            on different ones do not compare), ``error``.
        evaluations: one row per trial x phase x evaluation size x TTA. Columns: ``trial``, ``phase`` (0-based),
            ``train_size``, ``size``, ``task``, ``tta``, ``final`` (bool: the evaluation that ``trials.accuracy`` is),
            ``accuracy``, ``nll``, ``ece``, ``brier``, ``confidence``, ``latency_ms`` (per image).
        stages: one row per stage: ``key``, ``kind``, ``title``, ``status``, ``trials`` (how many share it),
            ``reused`` (bool), ``why``, ``prepare_s``, ``compile_s``, ``train_s``, ``evaluate_s``, ``peak_memory_mb``,
            ``images_per_s``, ``first_step_ms``, ``step_ms_median``, ``step_ms_p90``, ``step_ms_p99``, ``concurrent``
            (stages at once), ``cpu_wait`` (share of the time without a free processor), ``gpu_processes``,
            ``energy_j``, ``started``, ``notes`` (JSON of a training: what each technique did, such as the statistics
            used; ``input``, the moments of what the network saw; ``steps_at_size``), ``error``.
        curves: one row per trial x epoch: ``trial``, ``phase``, ``epoch`` (over the whole trial), ``size``, ``loss``,
            ``lr``, ``images_per_s``, ``seconds``.
        reliability: one row per trial x confidence bin: ``trial``, ``low``, ``high``, ``count``, ``confidence``,
            ``accuracy`` (both 0 to 1).
        predictions: for each trial, correctness per image of the select split (bool), in one order for all trials.
        samples: pictures of what the network saw.
        cards: technique field -> its card as a dict (``name, claim, paper, defaults, cost, fails, why``).
        grid_text: the grid file as the user wrote it.
    """

    run: dict[str, Any]
    trials: pd.DataFrame
    evaluations: pd.DataFrame
    stages: pd.DataFrame
    curves: pd.DataFrame
    reliability: pd.DataFrame
    predictions: dict[str, Any]
    samples: list[Sample]
    cards: dict[str, dict[str, str]]
    grid_text: str
