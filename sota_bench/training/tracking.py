"""Further weights that a training keeps beside its own, such as moving averages, for evaluations to choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from sota_bench.grid.recipe import recipe_from
from sota_bench.registry import instances
from sota_bench.stages.params import TrainParams
from sota_bench.technique import Step, Technique, TracksWeights


@dataclass(frozen=True)
class Tracker:
    """One technique that keeps weights.

    Attributes:
        label: names its weights.
        track: moves them (``TracksWeights.track``).
    """

    label: str
    track: Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Step], None]


def trackers_of(params: TrainParams, files: tuple[Path, ...]) -> list[Tracker]:
    """The trackers that a training runs, one for each setting that some evaluation asks for.

    Args:
        params: of the stage.
        files: local technique files of the grid.
    """
    return [
        Tracker(technique.label, technique.track)
        for tracker in params.trackers or ()
        for technique in instances(
            [tracker.technique], recipe_from({**params.recipe, **tracker.settings}, files), files
        )
        if isinstance(technique, TracksWeights)
    ]


def judged_weights(techniques: Iterable[Technique]) -> str:
    """The label of the weights that an evaluation with these techniques judges; "" for those that were trained."""
    return next((technique.label for technique in techniques if isinstance(technique, TracksWeights)), "")


class Trackers:
    """The trackers of a phase and their weights.

    Args:
        trackers: one for each setting that some evaluation asks for.
        model: the network, on its device.
        earlier: label -> the tracked weights of the phase before, at this phase's size; those of a tracker that is not
            in it start as a copy of the network's.
    """

    def __init__(
        self, trackers: Sequence[Tracker], model: nn.Module, earlier: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self._trackers = trackers
        self._weights: Mapping[str, Tensor] = model.state_dict() if trackers else {}  # shares the network's memory
        self.tracked = {tracker.label: self._copied(earlier.get(tracker.label, {})) for tracker in trackers}

    def _copied(self, earlier: Mapping[str, Tensor]) -> dict[str, Tensor]:
        copies = {name: value.clone() for name, value in self._weights.items()}  # in the network's memory layout
        for name, value in earlier.items():
            copies[name].copy_(value)
        return copies

    def track(self, step: Step) -> None:
        """Moves all tracked weights after an optimizer step."""
        for tracker in self._trackers:
            tracker.track(self.tracked[tracker.label], self._weights, step)

    def load(self, tracked: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Takes back the tracked weights of a partial checkpoint.

        Args:
            tracked: label -> weights by name.
        """
        for label, weights in tracked.items():
            for name, value in weights.items():
                self.tracked[label][name].copy_(value)
