"""Imports in a thread, while this process waits for others: most of a short run would be imports otherwise."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress


def preload(modules: Sequence[str], then: Callable[[], None] = lambda: None) -> threading.Thread:
    """Start to import ``modules``, one after the other; one that cannot be imported is left to whoever needs it.

    Args:
        modules: dotted names.
        then: called afterwards.

    Returns:
        The thread, which keeps no process alive.
    """

    def run() -> None:
        for module in modules:
            with suppress(Exception):
                importlib.import_module(module)
        then()

    thread = threading.Thread(target=run, name="imports", daemon=True)
    thread.start()
    return thread
