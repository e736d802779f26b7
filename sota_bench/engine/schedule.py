"""Which stage may run next: the state of a stage graph, without processes and without a store."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

from sota_bench.plan.stage import Stage

State = Literal["waiting", "running", "done", "failed", "blocked"]


class Schedule:
    """A stage graph and how far it is.

    Args:
        stages: parents before children; the order given is the order preferred.
        is_done: whether a stage has its result.
        has_files: whether a done stage still has the files that a child reads.

    Raises:
        ValueError: a parent is neither among the stages before it nor in the store, or a key comes twice.
    """

    def __init__(
        self, stages: Sequence[Stage], is_done: Callable[[str], bool], has_files: Callable[[str], bool]
    ) -> None:
        self.stages = {stage.key: stage for stage in stages}
        if len(self.stages) != len(stages):
            raise ValueError("a stage comes twice")
        self.order = {stage.key: index for index, stage in enumerate(stages)}
        self._has_files = has_files
        self._children: defaultdict[str, list[str]] = defaultdict(list)
        for stage in stages:
            for parent in stage.parents.values():
                if parent in self.order:
                    if self.order[parent] >= self.order[stage.key]:
                        raise ValueError(f"{stage.title!r} comes before its parent")
                elif not has_files(parent):
                    raise ValueError(f"{stage.title!r} has a parent that is neither planned nor in the store")
                self._children[parent].append(stage.key)
        self.state: dict[str, State] = {key: "done" if is_done(key) else "waiting" for key in self.stages}
        for key in reversed(list(self.stages)):
            if self.state[key] == "done" and self._is_read(key) and not has_files(key):
                self.state[key] = "waiting"
        self._ready: list[int] = []
        self._keys = list(self.stages)
        self._refill()

    def next_for(self, after: str = "") -> Stage | None:
        """Take the next stage: a child of what the same worker just finished if one is ready, else the first ready.

        Args:
            after: key that the worker finished last, "" for none; its files and data are still warm there.

        Returns:
            The stage, now ``running``; ``None`` when none is ready.
        """
        if ready := self.follows(after):
            return self._take(min(ready, key=self.order.__getitem__))
        while self._ready:
            key = self._keys[heapq.heappop(self._ready)]
            if self._is_ready(key):
                return self._take(key)
        return None

    def follows(self, after: str) -> list[str]:
        """Keys of the children of a stage that may run now."""
        return [key for key in self._children.get(after, ()) if self._is_ready(key)]

    def finish(self, key: str) -> None:
        """Enter that a stage is done; its children may now be ready."""
        self.state[key] = "done"
        for child in self._children[key]:
            if self._is_ready(child):
                heapq.heappush(self._ready, self.order[child])

    def fail(self, key: str) -> list[Stage]:
        """Enter that a stage failed; the waiting stages below it, which are now blocked, in order."""
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

    def give_back(self, key: str) -> None:
        """Enter that a running stage did not run after all and waits again."""
        self.state[key] = "waiting"
        if self._is_ready(key):
            heapq.heappush(self._ready, self.order[key])

    def redo(self, key: str) -> bool:
        """Enter that a done stage lost its files: it runs again, after its own parents where they lost theirs.

        Returns:
            Whether that is possible, which takes that it is one of the stages here.
        """
        if self.state.get(key) in (None, "failed", "blocked"):
            return False
        if self.state[key] == "done":
            self.state[key] = "waiting"
            for parent in self.stages[key].parents.values():
                if not self._has_files(parent) and not self.redo(parent):
                    return False
        self._refill()
        return True

    def needed(self) -> set[str]:
        """Keys of the stages that still run and of those whose files they read."""
        unfinished = [stage for key, stage in self.stages.items() if self.state[key] in ("waiting", "running")]
        return {stage.key for stage in unfinished} | {key for stage in unfinished for key in stage.parents.values()}

    def left(self) -> int:
        """How many stages are waiting or running."""
        return sum(state in ("waiting", "running") for state in self.state.values())

    def _is_read(self, key: str) -> bool:
        return any(self.state[child] == "waiting" for child in self._children[key])

    def _is_ready(self, key: str) -> bool:
        parents = self.stages[key].parents.values()
        return self.state[key] == "waiting" and all(self.state.get(parent, "done") == "done" for parent in parents)

    def _take(self, key: str) -> Stage:
        self.state[key] = "running"
        return self.stages[key]

    def _refill(self) -> None:
        self._ready = [self.order[key] for key in self.stages if self._is_ready(key)]
        heapq.heapify(self._ready)
