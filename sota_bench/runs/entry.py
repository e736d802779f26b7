"""What the ledger keeps of one run of a grid, beside its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sota_bench.runs.confirmation import Confirmation
from sota_bench.runs.looks import LookHistory


@dataclass(frozen=True)
class Minutes:
    """Minutes by the clock on the wall.

    Attributes:
        measured: what was spent.
        predicted: what had been predicted for the same work, or None.
    """

    measured: float
    predicted: float | None = None


@dataclass(frozen=True)
class RunEntry:
    """One command that ran a grid.

    Attributes:
        started: local time with offset, ISO 8601.
        command: the command line.
        git_commit: of the checkout that the code came from, "" outside one.
        workers: worker processes.
        plan: of ``plan.recorded.plan_record``, with which the same plan can be made again.
        selected: ids of the trials that ``--only`` selected; None for all.
        ran: keys of the stages that this command finished.
        reused: keys of the stages whose results were there before.
        why: key -> why the stage ran or was reused.
        minutes: of this command.
        total_minutes: of all commands that computed results of this plan, this one included; None without any.
        predicted_minutes: trial -> predicted minutes of its iteration.
        minutes_alone: trial -> minutes of its iteration with nothing else running, where they were measured.
        cpu_wait_alone: share of that measurement without a free processor, or None.
        confirmation: of a run that confirmed a winner.
        looks: those that were done by then, of a run that goes on until it is decided.
    """

    started: str = ""
    command: str = ""
    git_commit: str = ""
    workers: int = 1
    plan: Mapping[str, Any] = field(default_factory=dict)
    selected: tuple[str, ...] | None = None
    ran: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)
    minutes: Minutes = Minutes(0.0)
    total_minutes: Minutes | None = None
    predicted_minutes: Mapping[str, float] = field(default_factory=dict)
    minutes_alone: Mapping[str, float] = field(default_factory=dict)
    cpu_wait_alone: float | None = None
    confirmation: Confirmation | None = None
    looks: LookHistory | None = None

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all stages of the plan."""
        return frozenset(self.plan.get("keys", {}).values())

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        values = asdict(self)
        return {
            **values,
            "confirmation": self.confirmation and self.confirmation.to_json(),
            "looks": self.looks and self.looks.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunEntry:
        """What :meth:`to_json` gave, also by a version with other fields."""
        stored = {name: values[name] for name in (field.name for field in fields(cls)) if values.get(name) is not None}
        for name in ("selected", "ran", "reused"):
            if name in stored:
                stored[name] = tuple(stored[name])
        for name in ("minutes", "total_minutes"):
            if name in stored:
                stored[name] = Minutes(**stored[name])
        if "confirmation" in stored:
            stored["confirmation"] = Confirmation.from_json(stored["confirmation"])
        if "looks" in stored:
            stored["looks"] = LookHistory.from_json(stored["looks"])
        return cls(**stored)


def total_minutes(parts: Sequence[Minutes]) -> Minutes | None:
    """The sum of several commands; its prediction is None where one of theirs is."""
    if not parts:
        return None
    predicted = [part.predicted for part in parts]
    return Minutes(
        sum(part.measured for part in parts),
        None if None in predicted else sum(value for value in predicted if value is not None),
    )
