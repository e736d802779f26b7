"""The rows of a report's tables, typed; ``to_frame`` makes a table of them, with all columns even where it is empty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from sota_bench.plan.plan import TrialStatus

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("accuracy", "nll", "ece", "brier", "confidence")
NAN = math.nan


@dataclass(frozen=True, kw_only=True)
class Row:
    """Base of all rows: the fields are the columns, in their order."""

    def columns(self) -> dict[str, object]:
        """Column -> value."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


@dataclass(frozen=True, kw_only=True)
class TrialRow(Row):
    """One trial: a cell trained with one seed. Numbers that do not exist are NaN.

    Attributes:
        trial, cell, seed: ``c03-s1``, ``c03``, 1.
        levels: the level of each factor as text; a column for each.
        status: what became of it.
        accuracy: percent, on the select split.
        balanced_accuracy: mean over the classes of the percentage of their images that is right.
        recalls: ``recall:CLASS`` -> percentage of its images that is right, for the classes that the grid asks about; a
            column for each.
        nll: negative log-likelihood in nats.
        ece: expected calibration error, 0 to 1, 15 bins of equal width.
        brier: Brier score.
        confidence: mean of the largest probability.
        train_loss: of the last epoch.
        minutes: the iteration as if run alone: its training, shared phases in full, and its evaluation.
        predicted_minutes: the same, as predicted before the run.
        minutes_alone: the same, measured with nothing else running (``--exclusive-timing``).
        train_s, evaluate_s, compile_s: seconds.
        images_per_s: training images per second.
        params, layers: of the network.
        flops: operations of one image's forward pass at the evaluation size.
        peak_memory_mb: in 2**20 bytes.
        step_ms_median, step_ms_p90, step_ms_p99: milliseconds of a training step of the last phase.
        energy_j: joules of training and evaluation.
        average_accuracy: percent, over all tasks or resolutions at the end.
        stability, plasticity: percent, on what was learned first and last; NaN without a rise in resolution or task.
        forgetting, backward_transfer: percentage points.
        shared_epochs: epochs of its training stages that other trials use too.
        shared_with: the first cell, in order, whose trial of the same seed starts with the same training stage.
        epochs: epochs that it asks for.
        micro_batch: images of a part, where memory ran out and batches were computed in parts.
        fraction_runs: runs of a fractional design that its cell stands for; NaN in other designs.
        judged_on: digest of the images that judge it; accuracies on different ones do not compare.
        error: why there is no result.
    """

    trial: str
    cell: str
    levels: Mapping[str, str]
    seed: int
    status: TrialStatus
    accuracy: float = NAN
    balanced_accuracy: float = NAN
    recalls: Mapping[str, float] = field(default_factory=dict)
    nll: float = NAN
    ece: float = NAN
    brier: float = NAN
    confidence: float = NAN
    train_loss: float = NAN
    minutes: float = NAN
    predicted_minutes: float = NAN
    minutes_alone: float = NAN
    train_s: float = NAN
    evaluate_s: float = NAN
    compile_s: float = NAN
    images_per_s: float = NAN
    params: float = NAN
    layers: float = NAN
    flops: float = NAN
    peak_memory_mb: float = NAN
    step_ms_median: float = NAN
    step_ms_p90: float = NAN
    step_ms_p99: float = NAN
    energy_j: float = NAN
    average_accuracy: float = NAN
    stability: float = NAN
    plasticity: float = NAN
    forgetting: float = NAN
    backward_transfer: float = NAN
    shared_epochs: int = 0
    shared_with: str = ""
    epochs: int = 0
    micro_batch: float = NAN
    fraction_runs: float = NAN
    judged_on: str = ""
    error: str = ""

    def columns(self) -> dict[str, object]:
        """Column -> value, with one column for each factor and for each recall."""
        values, spread = super().columns(), {"levels": self.levels, "recalls": self.recalls}
        return {
            name: value
            for column in values
            for name, value in (spread[column].items() if column in spread else [(column, values[column])])
        }


@dataclass(frozen=True, kw_only=True)
class EvaluationRow(Row):
    """One evaluation of a trial: after a phase, at a size, with a test-time augmentation.

    Attributes:
        trial: whose.
        phase: 0-based phase after which it was taken.
        train_size, size: pixels of that phase, and of the evaluation.
        task: whose classes, ``main`` or ``base``.
        tta: ``off``, or the test-time augmentation.
        final: whether it is the trial's own accuracy.
        accuracy, nll, ece, brier, confidence: as in :class:`TrialRow`.
        latency_ms: milliseconds per image.
    """

    trial: str
    phase: int
    train_size: int
    size: int
    task: str
    tta: str
    final: bool
    accuracy: float
    nll: float
    ece: float
    brier: float
    confidence: float
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class StageReportRow(Row):
    """One stage.

    Attributes:
        key, kind, title: as planned.
        status: ``done``, ``failed``, ``blocked`` ... of the ledger, or ``left``.
        trials: how many share it.
        reused: whether the last run found it done.
        why: why it ran or was reused.
        prepare_s, compile_s, train_s, evaluate_s: seconds by part.
        peak_memory_mb: in 2**20 bytes.
        concurrent: stages at once on the machine, at most.
        images_per_s, first_step_ms, step_ms_median, step_ms_p90, step_ms_p99: of a training.
        cpu_wait: share of the time in which its threads had work and no processor.
        gpu_processes: processes that computed on its GPU.
        energy_j: joules.
        started: when, in UTC.
        notes: JSON of a training: what each technique did, ``input`` (moments of what the network saw) and
            ``steps_at_size``.
        error: why there is no result.
    """

    key: str
    kind: str
    title: str
    status: str
    trials: int
    reused: bool
    why: str
    prepare_s: float = NAN
    compile_s: float = NAN
    train_s: float = NAN
    evaluate_s: float = NAN
    peak_memory_mb: float = NAN
    concurrent: int = 0
    images_per_s: float = NAN
    first_step_ms: float = NAN
    step_ms_median: float = NAN
    step_ms_p90: float = NAN
    step_ms_p99: float = NAN
    cpu_wait: float = NAN
    gpu_processes: float = NAN
    energy_j: float = NAN
    started: str = ""
    notes: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class EpochRow(Row):
    """One epoch of a trial.

    Attributes:
        trial, phase: which.
        epoch: 0-based, over the whole trial.
        size: pixels of the phase.
        loss: mean training loss.
        lr: learning rate of the last step.
        images_per_s, seconds: of its steps.
    """

    trial: str
    phase: int
    epoch: int
    size: int
    loss: float
    lr: float
    images_per_s: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ConfidenceBinRow(Row):
    """One bin of confidence of a trial.

    Attributes:
        low, high: its limits.
        count: images in it.
        confidence, accuracy: their means, 0 to 1.
        trial: whose.
    """

    low: float
    high: float
    count: float
    confidence: float
    accuracy: float
    trial: str


def to_frame(rows: Iterable[Row], kind: type[Row]) -> pd.DataFrame:
    """A table with a column for each field of ``kind``, also where there is no row."""
    import pandas as pd

    values = [row.columns() for row in rows]
    return pd.DataFrame(values) if values else pd.DataFrame(columns=[part.name for part in fields(kind)])
