"""Which stages must run, and why each runs or is reused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from sota_bench.stages.stage import Stage
from sota_bench.stages.values import canonical


class LedgerRow(Protocol):
    """What the ledger has of a stage."""

    @property
    def kind(self) -> str: ...

    @property
    def status(self) -> str: ...

    @property
    def failure(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def params(self) -> Mapping[str, Any]: ...


def _work(kind: str, params: object) -> str:
    """Names what a stage does, whatever it is made with."""
    return canonical([kind, params])


class Reasons:
    """Answers for the stages of one plan.

    Args:
        rows: what the ledger has, by key.
        is_done: whether a stage has its result.
        has_files: whether a done stage still has its files.
    """

    def __init__(
        self, rows: Mapping[str, LedgerRow], is_done: Callable[[str], bool], has_files: Callable[[str], bool]
    ) -> None:
        self.rows, self.is_done, self.has_files = rows, is_done, has_files
        self._same: dict[str, list[LedgerRow]] = {}
        for row in rows.values():
            if row.status == "done":
                params = {name: value for name, value in row.params.items() if name != "made_with"}
                self._same.setdefault(_work(row.kind, params), []).append(row)

    def why(self, stage: Stage, runs: Iterable[str] = ()) -> str:
        """One phrase.

        Args:
            stage: of the plan.
            runs: keys of the stages that will run.
        """
        if self.is_done(stage.key) and stage.key not in runs:
            return "done before"
        if self.is_done(stage.key):
            return "its checkpoint was removed to save disk, and a later stage needs it"
        row = self.rows.get(stage.key)
        if row is not None and row.failure == "environment":
            return f"failed before and is tried again: {row.reason}"
        if row is not None and row.status in ("failed", "blocked"):
            return f"{row.status} before: {row.reason}"
        if row is not None and row.status in ("interrupted", "running"):
            return "was interrupted; resumes from its last checkpoint"
        for other in self._same.get(_work(stage.kind, stage.params), []):
            return self._changed(stage, other)
        return "new"

    def _changed(self, stage: Stage, other: LedgerRow) -> str:
        now, then = stage.made_with, other.params.get("made_with", {})
        for part, values in (("code", now.code), ("software", now.software), ("device", now.device)):
            new, old = dict(values or {}), dict(then.get(part) or {})
            if new != old:
                names = sorted(name for name in {**new, **old} if new.get(name) != old.get(name))
                shown = ", ".join(
                    name if part == "code" else f"{name} {old.get(name)} -> {new.get(name)}" for name in names[:3]
                )
                return f"the {part} changed: {shown}"
        if now.decoder != then.get("decoder"):
            return "the code that decodes images changed"
        return "a stage before it changed"


def to_run(stages: Mapping[str, Stage], is_done: Callable[[str], bool], has_files: Callable[[str], bool]) -> list[str]:
    """Keys of the stages that must run: those without a result, and those whose files a running child reads.

    Args:
        stages: in running order, parents first.
        is_done: whether a stage has its result.
        has_files: whether a done stage still has its files.
    """
    children: dict[str, list[str]] = {}
    for stage in stages.values():
        for parent in stage.parents.values():
            children.setdefault(parent, []).append(stage.key)
    running: set[str] = set()
    for key in reversed(list(stages)):
        if not is_done(key) or (any(child in running for child in children.get(key, ())) and not has_files(key)):
            running.add(key)
    return [key for key in stages if key in running]
