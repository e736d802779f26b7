"""What is known of a trained trial: how it was made and evaluated, and what was measured. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sota_bench.stages.params import EvaluateParams
from sota_bench.stages.results import Scores
from sota_bench.stages.values import Json


@dataclass(frozen=True)
class TrialFacts:
    """One trial, ready to be exported.

    Attributes:
        grid: name of its grid.
        trial, cell: ids.
        levels: factor -> level as text.
        seed: of the trial.
        seeds: how many seeds its cell was trained with.
        files: local technique files of the grid.
        vary: what differs from seed to seed.
        training_recipe: the recipe fields that the last training phase was done with.
        recipe: every recipe field.
        data: the grid's table ``[data]``.
        evaluation: parameters of its own evaluation.
        stored_size: pixels of the shorter side of the decoded images.
        classes: class names in order.
        scores: of this trial on the select split.
        mean_accuracy: of its cell over seeds on the select split, percent.
        minutes: of one iteration.
        params, flops: of the network.
        confirmed: its cell's gain over the baseline on the test split with fresh seeds, in words; None where nobody has
            measured it.
        test_accuracy: of its cell on the test split, percent, mean over the fresh seeds; None where nobody has measured
            it.
        verdicts: the verdict sentences of the grid.
        data_digest: of the images that judged it.
        manifest_digest: of all images.
        code_commit: of the checkout that trained it, "" where there is none.
        versions: package -> version.
        pretrained: what the weights were that it started from, "" for random ones.
        licence: of the weights, "" where nobody has chosen one.
    """

    grid: str
    trial: str
    cell: str
    levels: Mapping[str, str]
    seed: int
    seeds: int
    vary: Sequence[str]
    files: tuple[Path, ...]
    training_recipe: Mapping[str, Json]
    recipe: Mapping[str, Json]
    data: Mapping[str, Json]
    evaluation: EvaluateParams
    stored_size: int
    classes: Sequence[str]
    scores: Scores
    mean_accuracy: float
    minutes: float
    params: int
    flops: int
    confirmed: str | None
    test_accuracy: float | None
    verdicts: Sequence[str]
    data_digest: str
    manifest_digest: str
    code_commit: str
    versions: Mapping[str, str]
    pretrained: str
    licence: str

    def metrics(self) -> dict[str, Json]:
        """``metrics.json``."""
        return {
            "grid": self.grid,
            "trial": self.trial,
            "cell": self.cell,
            "seed": self.seed,
            "select": {
                "accuracy": self.scores.accuracy,
                "nll": self.scores.nll,
                "ece": self.scores.ece,
                "images": self.scores.images,
                "digest": self.data_digest,
                "mean_accuracy_over_seeds": self.mean_accuracy,
                "seeds": self.seeds,
            },
            "test": {"mean_accuracy_over_fresh_seeds": self.test_accuracy, "gain_over_baseline": self.confirmed},
            "minutes_per_iteration": self.minutes,
            "params": self.params,
            "flops": self.flops,
            "data_manifest": self.manifest_digest,
            "code_commit": self.code_commit,
            "versions": dict(self.versions),
        }
