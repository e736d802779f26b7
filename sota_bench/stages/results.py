"""The result of each kind of stage, as training writes it and the report reads it. In the store they are JSON: fields
that a newer version added have defaults, and fields that this version does not know are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Result(BaseModel):
    """Base of all results."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The result from the JSON values that :meth:`to_json` made."""
        return cls.model_validate(values)


class ResourceUse(Result):
    """What a stage used and shared; None where the system does not say.

    Attributes:
        cpu_wait: share of the time in which its threads had work and no processor.
        energy_j: joules that the whole GPU used meanwhile.
        gpu_processes: processes that computed on the GPU, this one included.
    """

    cpu_wait: float | None = None
    energy_j: float | None = None
    gpu_processes: int | None = None


class PrepareResult(Result):
    """Of decoding images.

    Attributes:
        images: how many were decoded.
        bytes: of the decoded pixels.
    """

    images: int
    bytes: int


class EpochRecord(Result):
    """One epoch of a training phase.

    Attributes:
        epoch: 0-based, over the whole trial.
        size: pixels of the phase.
        loss: mean cross-entropy of the training images, as trained on.
        lr: learning rate of the last step.
        seconds: of its steps.
        images_per_s: training images per second.
    """

    epoch: int
    size: int
    loss: float
    lr: float
    seconds: float
    images_per_s: float


class StepTimes(Result):
    """Milliseconds of a training step: the first, and the median and tails of the others."""

    first: float = 0.0
    median: float = 0.0
    p90: float = 0.0
    p99: float = 0.0


class ChannelMoments(Result):
    """Mean and standard deviation per channel of what the network saw."""

    mean: list[float]
    std: list[float]


class Accumulated(Result):
    """Steps that did not fit into memory.

    Attributes:
        micro_batch: images of the parts that they were computed in.
        steps: how many there were.
    """

    micro_batch: int
    steps: int


class TrainResult(ResourceUse):
    """Of one training phase.

    Attributes:
        curve: a record for each epoch.
        steps: optimizer steps.
        batch_size: images of a full step.
        steps_at_size: pixels, as text -> steps with images of that size.
        pixels: that passed through the network.
        step_ms: times of a step.
        images_per_s: training images per second.
        input: moments of the first batch as the network saw it; None where nothing was trained.
        techniques: technique -> what it says about itself (``Technique.describe``).
        trained_parameters: parameters that were not frozen.
        accumulated: steps computed in parts; None where all fitted into memory.
        counted_flops, counted_images: operations and images of all steps, where they were counted.
    """

    curve: list[EpochRecord]
    steps: int
    batch_size: int
    steps_at_size: dict[str, int]
    pixels: int
    step_ms: StepTimes
    images_per_s: float
    input: ChannelMoments | None = None
    techniques: dict[str, dict[str, Any]] = {}
    trained_parameters: int
    accumulated: Accumulated | None = None
    counted_flops: int | None = None
    counted_images: int | None = None


class Reliability(Result):
    """Confidence and accuracy by bin of confidence; see ``metrics.reliability``."""

    low: list[float]
    high: list[float]
    count: list[int]
    confidence: list[float]
    accuracy: list[float]


class Scores(Result):
    """What predictions are worth; see ``metrics.summarize``.

    Attributes:
        accuracy: percent.
        nll: negative log-likelihood in nats.
        ece: expected calibration error, 0 to 1.
        brier: Brier score, 0 to 2.
        confidence: mean of the largest probability.
        images: how many judged.
        reliability: by bin of confidence.
        latency_ms: milliseconds per image.
    """

    accuracy: float
    nll: float
    ece: float
    brier: float
    confidence: float
    images: int
    reliability: Reliability
    latency_ms: float


class EvaluateResult(Scores, ResourceUse):
    """Of one evaluation.

    Attributes:
        images_per_s: throughput.
        params: parameters of the network.
        layers: that have a weight of two or more dimensions.
        flops: operations of one image's forward pass, two per multiply-add.
    """

    images_per_s: float
    params: int
    layers: int
    flops: int


class ProbeResult(Scores):
    """Of a linear probe.

    Attributes:
        features: how many it has.
        probed: training images that it was fitted on.
    """

    features: int
    probed: int


class PrecomputeResult(Result):
    """Of a technique's own stage.

    Attributes:
        computed: small results by name, for the report.
        images: training images that there are.
        most_images: that were asked for.
    """

    computed: dict[str, list[float]]
    images: int
    most_images: int


@dataclass(frozen=True)
class StageResult:
    """What a finished stage leaves in its folder as ``result.json``, beside its files.

    Attributes:
        values: the result as JSON values; the properties below read it as the record of its kind.
        seconds: by part: ``prepare``, ``compile``, ``train``, ``evaluate``.
        peak_memory_mb: highest resident memory of the worker, or of the device where there is one, in 2**20 bytes.
        concurrent: how many stages ran at once on this machine at most while it ran (1 is alone).
        files: relative name -> SHA-256 in hex.
    """

    values: dict[str, Any]
    seconds: dict[str, float]
    peak_memory_mb: float
    concurrent: int
    files: dict[str, str]

    @cached_property
    def prepared(self) -> PrepareResult:
        """Of a ``prepare`` stage."""
        return PrepareResult.from_json(self.values)

    @cached_property
    def trained(self) -> TrainResult:
        """Of a ``train`` stage."""
        return TrainResult.from_json(self.values)

    @cached_property
    def evaluated(self) -> EvaluateResult:
        """Of an ``evaluate`` stage."""
        return EvaluateResult.from_json(self.values)

    @cached_property
    def scores(self) -> Scores:
        """What an evaluation and a linear probe have in common."""
        return Scores.from_json(self.values)

    @cached_property
    def computed(self) -> PrecomputeResult:
        """Of a technique's own stage."""
        return PrecomputeResult.from_json(self.values)

    @cached_property
    def use(self) -> ResourceUse:
        """What any stage used and shared."""
        return ResourceUse.from_json(self.values)
