"""Which stage may run next: the state of a stage graph, without processes and without a store."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Literal

from sota_bench.stages.stage import Stage

State = Literal["waiting", "running", "done", "failed", "blocked"]


class StageQueue:
    """A stage graph, and how far it is.

    Args:
        stages: parents before children; stages that are equally ready run in this order.
        must_run: keys of the stages that have to run; all others are done.

    Raises:
        ValueError: a parent is not among the stages before it, or a key occurs twice.
    """

    def __init__(self, stages: Sequence[Stage], must_run: Collection[str]) -> None:
        self.stages = {stage.key: stage for stage in stages}
        if len(self.stages) != len(stages):
            raise ValueError("a stage occurs twice")
        self.order = {stage.key: index for index, stage in enumerate(stages)}
        self._children: defaultdict[str, list[str]] = defaultdict(list)
        for stage in stages:
            for parent in stage.parents.values():
                if self.order.get(parent, len(stages)) >= self.order[stage.key]:
                    raise ValueError(f"{stage.title!r} comes before its parent")
                self._children[parent].append(stage.key)
        waiting = frozenset(must_run)
        self.state: dict[str, State] = {key: "waiting" if key in waiting else "done" for key in self.stages}
        self._keys = list(self.stages)
        self._ready: list[int] = []
        self._refill()

    def next_for(self, after: str = "") -> Stage | None:
        """Take the next stage: a child of what the same worker just finished if one is ready, else the first ready.

        Args:
            after: key that the worker finished last, "" for none; its files and data are still in that worker's memory.

        Returns:
            The stage, now ``running``; ``None`` when none is ready.
        """
        if ready := self.ready_children(after):
            return self._take(min(ready, key=self.order.__getitem__))
        while self._ready:
            key = self._keys[heapq.heappop(self._ready)]
            if self._is_ready(key):
                return self._take(key)
        return None

    def ready_children(self, key: str) -> list[str]:
        """Keys of a stage's children that may run now."""
        return [child for child in self._children.get(key, ()) if self._is_ready(child)]

    def finish(self, key: str) -> None:
        """Mark a stage as done; its children may now be ready."""
        self.state[key] = "done"
        for child in self._children[key]:
            if self._is_ready(child):
                heapq.heappush(self._ready, self.order[child])

    def fail(self, key: str) -> list[Stage]:
        """Mark a stage as failed and return the waiting stages below it, which are now blocked, in order."""
        self.state[key] = "failed"
        blocked: set[str] = set()
        below = [key]
        while below:
            for child in self._children[below.pop()]:
                if child not in blocked and self.state.get(child) == "waiting":
                    self.state[child] = "blocked"
                    blocked.add(child)
                    below.append(child)
        return [self.stages[child] for child in sorted(blocked, key=self.order.__getitem__)]

    def requeue(self, key: str) -> None:
        """Let a stage that did not finish wait again."""
        self.state[key] = "waiting"
        if self._is_ready(key):
            heapq.heappush(self._ready, self.order[key])

    def reopen(self, keys: Collection[str]) -> None:
        """Let those of ``keys`` that are done wait again, since their files were lost."""
        for key in keys:
            if self.state.get(key) == "done":
                self.state[key] = "waiting"
        self._refill()

    def needed(self) -> set[str]:
        """Keys of the stages that still run and of those whose files they read."""
        unfinished = [stage for key, stage in self.stages.items() if self.state[key] in ("waiting", "running")]
        return {stage.key for stage in unfinished} | {key for stage in unfinished for key in stage.parents.values()}

    def left(self) -> int:
        """How many stages are waiting or running."""
        return sum(state in ("waiting", "running") for state in self.state.values())

    def _is_ready(self, key: str) -> bool:
        return self.state[key] == "waiting" and all(
            self.state[parent] == "done" for parent in self.stages[key].parents.values()
        )

    def _take(self, key: str) -> Stage:
        self.state[key] = "running"
        return self.stages[key]

    def _refill(self) -> None:
        self._ready = [self.order[key] for key in self.stages if self._is_ready(key)]
        heapq.heapify(self._ready)
