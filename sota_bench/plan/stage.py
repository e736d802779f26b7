"""One cached unit of work, as the planner makes it, the store files it and a worker runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["prepare", "statistics", "train", "fisher", "evaluate", "probe"]


@dataclass(frozen=True)
class Stage:
    """A node of the stage graph. All values of ``params`` and ``context`` are JSON values, so a stage travels to a
    worker, into the ledger and into a page as it is.

    Attributes:
        key: SHA-256 in hex over ``params``, the parents' keys, the code that decides the result, and the software and
            device that run it.
        kind: ``prepare`` decodes images, ``statistics`` and ``fisher`` are technique stages, ``train`` is one phase,
            ``evaluate`` one checkpoint at one size with one TTA, ``probe`` a linear probe.
        params: the resolved parameters that decide the result; part of the key.
        parents: role -> key of the stages whose results it reads (``"data"``, ``"checkpoint"``, ``"statistics"``).
        context: what a worker needs and what does not decide the result (paths, titles); not part of the key.
        title: one line for people: ``train 64 px x3, mixup 0.2, seed 1``.
        trials: ids of the trials that need it.
        epochs: training epochs that it runs (0 for other kinds).
    """

    key: str
    kind: str
    params: Mapping[str, Any]
    parents: Mapping[str, str]
    title: str
    context: Mapping[str, Any] = field(default_factory=dict)
    trials: tuple[str, ...] = ()
    epochs: int = 0


@dataclass(frozen=True)
class StageResult:
    """What a finished stage leaves in its folder as ``result.json``, beside its files.

    Attributes:
        values: the numbers that the report reads (accuracy, nll, curve ...), JSON values.
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
