"""Imports in a thread, while this process waits for others: most of a short run would be imports otherwise.

Modules hardly make cyclic garbage, and each collection walks all that has been imported so far: with the collector on,
torch and timm take about a fifth longer to import."""

from __future__ import annotations

import gc
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
        collecting = gc.isenabled()
        gc.disable()
        try:
            for module in modules:
                with suppress(Exception):
                    importlib.import_module(module)
        finally:
            gc.freeze()  # modules stay: later collections need not look at them
            if collecting:
                gc.enable()
        then()

    thread = threading.Thread(target=run, name="imports", daemon=True)
    thread.start()
    return thread
