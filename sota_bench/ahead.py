"""Imports in a thread, for a process that waits for others: most of a short run is imports.

Meanwhile nothing looks for cyclic garbage: modules are made to stay, and looking through them again and again is a
fifth of the time that torch and timm take to import.
"""

from __future__ import annotations

import gc
import importlib
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress


def import_ahead(modules: Sequence[str], then: Callable[[], None] = lambda: None) -> threading.Thread:
    """Starts to import ``modules``, one after the other; what cannot be imported is left to whoever needs it.

    Args:
        modules: dotted names.
        then: called afterwards.

    Returns:
        The thread, which keeps no process alive.
    """

    def run() -> None:
        collects = gc.isenabled()
        gc.disable()
        try:
            for module in modules:
                with suppress(Exception):
                    importlib.import_module(module)
        finally:
            gc.freeze()
            if collects:
                gc.enable()
        then()

    thread = threading.Thread(target=run, name="imports", daemon=True)
    thread.start()
    return thread
