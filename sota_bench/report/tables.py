"""The tables between the ledger and the page: everything that a report shows, and nothing that it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from sota_bench.report.predictions import Predictions, per_image
from sota_bench.report.run_record import RunRecord
from sota_bench.runs.looks import LookHistory
from sota_bench.technique import Card


@dataclass(frozen=True)
class Sample:
    """One picture of what the network saw.

    Attributes:
        group: the factor whose levels the pictures compare.
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
class UsedTechnique:
    """A technique that some cell of the grid uses.

    Attributes:
        field: the recipe field whose level switches it on; several techniques may share one.
        card: what its author says of it, and which response its claim is about.
        is_mitigation: whether it is a mitigation of forgetting.
    """

    field: str
    card: Card
    is_mitigation: bool = False


@dataclass(frozen=True)
class RunTables:
    """All that ``collect`` reads from the ledger for one grid. Every frame may be empty, no column may be missing.

    Attributes:
        run: what is known of the run as a whole.
        trials: one ``rows.TrialRow`` per trial, with a column for each factor.
        evaluations: one ``rows.EvaluationRow`` per trial x phase x evaluation size x test-time augmentation.
        stages: one ``rows.StageReportRow`` per stage.
        curves: one ``rows.EpochRow`` per trial x epoch.
        reliability: one ``rows.ConfidenceBinRow`` per trial x bin.
        predictions: for each trial, what it says of the images that judge it, in one order for trials that are judged
            on the same ones.
        samples: pictures of what the network saw.
        techniques: those in use.
        grid_text: the grid file as the user wrote it.
        looks: of a run that goes on until it is decided.
    """

    run: RunRecord
    trials: pd.DataFrame
    evaluations: pd.DataFrame
    stages: pd.DataFrame
    curves: pd.DataFrame
    reliability: pd.DataFrame
    predictions: Mapping[str, Predictions]
    samples: Sequence[Sample]
    techniques: Sequence[UsedTechnique]
    grid_text: str
    looks: LookHistory | None = None

    def per_image(self, response: str) -> dict[str, NDArray[Any]]:
        """Trial -> the numbers of single images whose mean is a response; empty where it is no such mean."""
        return per_image(self.predictions, response)
