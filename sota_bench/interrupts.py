"""SIGINT, SIGTERM and SIGHUP end any command, whatever it is doing, within seconds and with one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from sota_bench.processes import kill_children

INTERRUPTED = 130
LINE = "interrupted; run the same command again to resume"
GRACE_S = 8.0
"""Seconds that an interrupted command has to let go of what it holds; native code may not listen for longer."""

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def interruptible() -> Iterator[None]:
    """While the ``with`` block lasts, the first signal raises ``KeyboardInterrupt`` and the second ends the process.

    A signal that is ignored (``nohup``) stays ignored. While stages run, the engine's own handlers take their place: it
    lets them save themselves. Outside the main thread, where Python cannot set handlers, nothing changes.
    """
    waiting: list[threading.Timer] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if waiting:
            leave()
        waiting.append(threading.Timer(GRACE_S, leave))
        waiting[0].daemon = True
        waiting[0].start()
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for timer in waiting:
            timer.cancel()


def leave() -> NoReturn:
    """Ends this process and its children at once."""
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{LINE}\n".encode())
    kill_children()
    os._exit(INTERRUPTED)
