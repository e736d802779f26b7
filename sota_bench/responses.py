"""What a grid may ask about: each response's column, unit and direction, and the words for it. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

RECALL = "recall:"
"""Prefix of the recall of one class: ``recall:church``."""

PP = "pp"


@dataclass(frozen=True)
class Response:
    """A number that each trial has, by which levels are compared.

    Attributes:
        name: its column in ``trials.csv``.
        noun: what it is, inside a sentence: ``balanced accuracy``.
        unit: of differences: ``pp``, ``nats``, ``min``, or "" for none.
        value_unit: of values, written right after the number: ``%``, `` nats``.
        digits: decimals of a value.
        higher_is_better: its direction.
        meaning: one line: what is measured.
        best: what the cell with the best value is: ``Most accurate``.
    """

    name: str
    noun: str
    unit: str
    value_unit: str
    digits: int
    higher_is_better: bool
    meaning: str
    best: str

    @property
    def title(self) -> str:
        """The noun at the start of a sentence or a column: ``Balanced accuracy``."""
        return self.noun[0].upper() + self.noun[1:]

    @property
    def with_unit(self) -> str:
        """The noun with the unit of values: ``accuracy, %``."""
        unit = self.value_unit.strip()
        return f"{self.noun}, {unit}" if unit else self.noun

    @property
    def heading(self) -> str:
        """The same at the start of a column or an axis: ``Accuracy, %``."""
        return self.with_unit[0].upper() + self.with_unit[1:]

    @property
    def unit_in_words(self) -> str:
        """The unit of differences as a clause: ``, in percentage points``; "" where there is none."""
        words = {PP: "percentage points", "min": "minutes"}.get(self.unit, self.unit)
        return f", in {words}" if words else ""

    @property
    def bounded(self) -> tuple[float, float] | None:
        """The range of values that are percentages; None for others."""
        return (0.0, 100.0) if self.value_unit == "%" else None

    @property
    def class_name(self) -> str | None:
        """The class of a recall; None for other responses."""
        return self.name.removeprefix(RECALL) if self.name.startswith(RECALL) else None


def _percent(name: str, noun: str, meaning: str, best: str, higher_is_better: bool = True) -> Response:
    return Response(name, noun, PP, "%", 1, higher_is_better, meaning, best)


_ALL = (
    _percent("accuracy", "accuracy", "share of the judging images whose most probable class is right", "Most accurate"),
    _percent(
        "balanced_accuracy", "balanced accuracy", "mean over the classes of the share of their images that is right",
        "Highest balanced accuracy",
    ),
    Response("nll", "NLL", "nats", " nats", 3, False, "negative log-likelihood of the right class", "Lowest NLL"),
    Response(
        "ece", "ECE", "", "", 3, False, "expected calibration error, 0 to 1, in 15 bins of confidence", "Lowest ECE"
    ),
    Response(
        "brier", "Brier score", "", "", 3, False, "squared error of the probabilities, 0 to 2", "Lowest Brier score"
    ),
    _percent(
        "stability", "stability", "accuracy at the end on what was learned first: the old resolution or the base task",
        "Most stable",
    ),
    _percent(
        "plasticity", "plasticity", "accuracy on what was learned last: the new resolution or the new task",
        "Most plastic",
    ),
    _percent(
        "average_accuracy", "average accuracy", "accuracy at the end, averaged over all resolutions or tasks",
        "Highest average accuracy",
    ),
    _percent("forgetting", "forgetting", "accuracy lost on what was learned before", "Least forgetting", False),
    Response(
        "minutes", "time per iteration", "min", " min", 2, False,
        "measured time of a trial's training, shared stages in full, and of its evaluation", "Fastest",
    ),
)  # fmt: skip

RESPONSES: Mapping[str, Response] = {response.name: response for response in _ALL}
"""Those with a fixed name; `response_named` knows the recall of a class too."""


def response_named(name: str) -> Response:
    """The response of a name.

    Raises:
        KeyError: there is none of that name.
    """
    if name.startswith(RECALL) and name != RECALL:
        of_class = name.removeprefix(RECALL)
        noun = f"recall of {of_class}"
        return _percent(name, noun, f"share of the judging images of {of_class} that is right", f"Highest {noun}")
    return RESPONSES[name]


def names() -> Iterator[str]:
    """What may be written, with ``recall:CLASS`` for any class."""
    yield from RESPONSES
    yield f"{RECALL}CLASS"
