"""One cached unit of work, as the planner makes it, the store files it and a worker runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sota_bench.stages.context import ImageChoice, PrepareContext, StageContext
from sota_bench.stages.params import StageParams
from sota_bench.stages.values import Json, to_json


@dataclass(frozen=True)
class MadeWith:
    """What a result is made with; the parameters say what was asked for. Both are part of the key.

    Attributes:
        code: module -> digest of the code that decides the result.
        software: package -> version.
        device: what identifies the device; None where it does not decide the result.
        decoder: digest of the code and software that decoded the images; None for the decoding itself.
    """

    code: Mapping[str, str] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    device: Mapping[str, str | int] | None = None
    decoder: str | None = None


@dataclass(frozen=True)
class Stage:
    """A node of the stage graph.

    Attributes:
        key: SHA-256 in hex over the kind, ``params``, ``made_with`` and the parents' keys.
        kind: ``prepare`` decodes images, ``train`` is one phase, ``evaluate`` one checkpoint at one size with one TTA,
            ``probe`` a linear probe; any other kind is a technique's own stage (``statistics``, ``fisher``).
        params: what decides the result.
        parents: role -> key of the stages whose results it reads (``data``, ``checkpoint``, a technique's name).
        title: one line for people: ``train 64 px x3, mixup 0.2, seed 1``.
        made_with: code, software and device.
        context: what a worker needs and what does not decide the result.
        trials: ids of the trials that need it.
        epochs: training epochs that it runs (0 for other kinds).
    """

    key: str
    kind: str
    params: StageParams
    parents: Mapping[str, str]
    title: str
    made_with: MadeWith = field(default_factory=MadeWith)
    context: PrepareContext | StageContext | None = None
    trials: tuple[str, ...] = ()
    epochs: int = 0

    @property
    def choice(self) -> ImageChoice:
        """The subset of the images that it reads; a stage that decodes images has several, and none here.

        Raises:
            TypeError: it decodes images.
        """
        if not isinstance(self.context, StageContext):
            raise TypeError(f"a {self.kind} stage does not read a subset of the images")
        return self.context.choice

    def decoded_by(self, processes: int) -> Stage:
        """The stage with so many processes that decode images; itself where it decodes none."""
        if not isinstance(self.context, PrepareContext):
            return self
        return replace(self, context=replace(self.context, processes=processes))

    def described(self) -> dict[str, Json]:
        """Parameters and what the result is made with, as JSON values: what the store keeps beside the result."""
        return {**to_json(self.params), "made_with": to_json(self.made_with)}
