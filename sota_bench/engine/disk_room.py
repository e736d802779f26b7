"""Room on the disk while a run goes on: the limit that a user sets, and a disk that is full."""

from __future__ import annotations

import errno

from sota_bench.engine.stage_queue import StageQueue
from sota_bench.store import Store
from sota_bench.units import size_text


class DiskRoom:
    """Removes what no later stage needs from a store.

    Args:
        store: held by this run.
        queue: knows what later stages need.
        limit_bytes: of all artifacts; None for no limit.
    """

    def __init__(self, store: Store, queue: StageQueue, limit_bytes: int | None) -> None:
        self.store, self.queue, self.limit_bytes = store, queue, limit_bytes
        self._prune_above = 0.0
        self._warned = False

    def keep_limit(self) -> str | None:
        """Removes files down to the limit; returns a line for people the first time that this cannot be reached."""
        if self.limit_bytes is None or self.store.total_bytes() <= max(self.limit_bytes, self._prune_above):
            return None
        self.store.prune(self.queue.needed(), self.limit_bytes)
        used = self.store.total_bytes()
        exceeded = used > self.limit_bytes
        self._prune_above = 1.02 * used if exceeded else 0.0  # pruning after every stage would find nothing
        if not exceeded or self._warned:
            return None
        self._warned = True
        return f"the store holds {size_text(used)}, more than --disk-limit: later stages need these files"

    def after(self, error: OSError) -> str:
        """Makes room on a full disk; returns a line for people.

        Raises:
            OSError: ``error`` itself, where it is another one or nothing can be removed.
        """
        freed = self.store.prune(self.queue.needed(), 0) if error.errno in (errno.ENOSPC, errno.EDQUOT) else 0
        if not freed:
            raise error
        return f"the disk is full: removed {size_text(freed)} of checkpoints that no later stage needs"
