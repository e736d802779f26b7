"""What is known of a run as a whole, the content of ``run.json``: what was asked, what made it, what it took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from sota_bench.grid.tables import Scope
from sota_bench.runs.confirmation import Confirmation
from sota_bench.runs.looks import LookRecord, QuestionCost
from sota_bench.stages.values import Json

Settings = Mapping[str, Json]
"""Fields of a recipe or of a grid's table."""


@dataclass(frozen=True)
class GridRecord:
    """The grid as it was resolved; see ``sota_bench.grid.Grid`` for the fields."""

    name: str
    seeds: Sequence[int]
    factors: Mapping[str, Sequence[str]]
    vary: Sequence[str] = ("init", "order", "augment")
    design: str = "full"
    resolution: int | None = None
    refine: bool = False
    match: str = "epochs"
    stop: str = "seeds"
    max_seeds: int = 20
    budget: float | None = None
    question: str = ""
    notes: str = ""
    added_seeds: Sequence[int] = ()
    minutes_per_iteration: float | None = None
    response: Sequence[str] = ("accuracy",)
    smallest_effect: float | None = None
    smallest_effects: Mapping[str, float] = field(default_factory=dict)
    scope: Scope = "seeds and images"
    techniques: Sequence[str] = ()
    data: Settings = field(default_factory=dict)
    recipe: Settings = field(default_factory=dict)
    overrides: Sequence[str] = ()
    matched: Mapping[str, Settings] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialCounts:
    """How many cells and trials the grid has, and what became of the trials; see ``rows.TrialStatus``."""

    cells: int
    trials: int
    done: int = 0
    failed: int = 0
    blocked: int = 0
    not_applicable: int = 0
    not_asked: int = 0

    @property
    def asked(self) -> int:
        """Trials that were to be run."""
        return self.trials - self.not_applicable - self.not_asked


@dataclass(frozen=True)
class PredictedMinutes:
    """What was predicted before the run.

    Attributes:
        iteration_minutes: median over trials.
        run_minutes: the whole run, on the clock.
        median_error: median over trials of \\|predicted - measured\\| / measured.
    """

    iteration_minutes: float | None = None
    run_minutes: float | None = None
    median_error: float | None = None


@dataclass(frozen=True)
class MeasuredMinutes:
    """What the run took: median and maximum over trials, and the whole run on the clock."""

    iteration_minutes_median: float | None = None
    iteration_minutes_max: float | None = None
    run_minutes: float | None = None


@dataclass(frozen=True)
class Sharing:
    """What shared stages saved.

    Attributes:
        epochs_asked, epochs_run: training epochs if every trial ran alone, and with shared stages counted once.
        factor: of the two.
        minutes_alone, minutes_shared: the same in minutes of computing over all workers.
    """

    epochs_asked: int
    epochs_run: int
    factor: float
    minutes_alone: float
    minutes_shared: float

    @property
    def saved_minutes(self) -> float:
        """Minutes of computing that shared stages saved; not below 0."""
        return max(0.0, self.minutes_alone - self.minutes_shared)


@dataclass(frozen=True)
class ImageCounts:
    """Images of each split, and what the source holds.

    Attributes:
        train, select, test: images of the whole source's splits that the grid may use.
        left_out: files of the source that are not used.
        files: files of the source.
        reasons: why files are left out -> how many.
        classes: class -> split -> images of the whole source.
        reading: sentences about how the source was read.
        alarms: sentences about what should be looked at in it.
    """

    train: int
    select: int
    test: int
    left_out: int = 0
    files: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    reading: Sequence[str] = ()
    alarms: Sequence[str] = ()


@dataclass(frozen=True)
class Stopping:
    """How a run that goes on until it is decided has ended.

    Attributes:
        planned: seeds at each look, as planned before the first one.
        ended: one of ``runs.looks.ENDS``; "" where it was interrupted.
        trainings: that it took, those that trials share counted once.
        fixed_trainings: that a design with the same number of seeds in all cells takes to find the smallest effect of
            interest as often; None where it is not known.
        questions: the same for each question.
    """

    planned: Sequence[int]
    ended: str
    trainings: int
    fixed_trainings: int | None
    questions: Sequence[QuestionCost]


@dataclass(frozen=True)
class RunRecord:
    """All of it.

    Attributes:
        name: of the grid.
        question: of the grid, for the top of the page.
        source: of the images.
        control: whether its effects are known by construction, so that it says nothing about photographs.
        grid: as resolved.
        within: factors whose levels are evaluations of one training.
        versions: package -> version.
        device: ``kind``, ``name`` and what else identifies it.
        precision: what ``auto`` was, ``bf16`` or ``fp32``.
        data_digest: of the manifest of all images.
        counts: of trials.
        goal_minutes: the goal for an iteration.
        predicted, measured: minutes.
        sharing: what shared stages saved.
        images: how many in each split.
        started, command, git_commit, workers: of the last run.
        concurrent: whether stages ran at the same time as others.
        cpu_wait: share of the training time in which threads had work and no processor; None where it is not known.
        minutes_alone: median minutes of an iteration, measured with nothing else running.
        cpu_wait_alone: as ``cpu_wait``, during that measurement.
        notes: sentences that must be read before the numbers.
        accumulated: trial -> images of a part, where memory ran out.
        added_seeds: seeds that were added after a look at the results.
        confirmation: outcome of ``confirm`` for the trials of this grid.
        looks: what each look of a run that goes on until it is decided has shown.
        until_decided: how that run ended and what it took.
    """

    name: str
    source: str
    control: bool
    grid: GridRecord
    counts: TrialCounts
    images: ImageCounts
    sharing: Sharing
    question: str = ""
    within: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    device: Mapping[str, str | int] = field(default_factory=dict)
    precision: str = ""
    data_digest: str = ""
    goal_minutes: float | None = None
    predicted: PredictedMinutes = PredictedMinutes()
    measured: MeasuredMinutes = MeasuredMinutes()
    started: str = ""
    git_commit: str = ""
    command: str = ""
    workers: int = 1
    concurrent: bool = False
    cpu_wait: float | None = None
    minutes_alone: float | None = None
    cpu_wait_alone: float | None = None
    notes: Sequence[str] = ()
    accumulated: Mapping[str, int] = field(default_factory=dict)
    added_seeds: Sequence[int] = ()
    confirmation: Confirmation | None = None
    looks: Sequence[LookRecord] = ()
    until_decided: Stopping | None = None

    @property
    def device_name(self) -> str:
        """The device for people."""
        return str(self.device.get("name", self.device.get("kind", "")))

    def to_json(self) -> dict[str, Json]:
        """The content of ``run.json``; numbers that do not exist are null."""
        values = asdict(self) | {"confirmation": self.confirmation and self.confirmation.to_json()}
        return {name: json_value(value) for name, value in values.items()}


def json_value(value: object) -> Json:
    """JSON values: tuples become lists, NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"{type(value).__name__} is not a JSON value")
