"""SIGINT, SIGTERM and SIGHUP end any command within seconds and with one line, whatever it is doing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from sota_bench.processes import kill_children

INTERRUPTED = 130
LINE = "interrupted; run the same command again to resume"
GRACE_S = 8.0
"""Seconds that an interrupted command has to release what it holds, since native code may not listen for longer."""

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


@contextmanager
def interruptible() -> Iterator[None]:
    """While the ``with`` block lasts, the first signal raises ``KeyboardInterrupt`` and the second ends the process.

    While stages run, the engine counts signals instead (:func:`counted_signals`), and lets the stages save themselves.
    """
    waiting: list[threading.Timer] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if waiting:
            leave()
        waiting.append(threading.Timer(GRACE_S, leave))
        waiting[0].daemon = True
        waiting[0].start()
        raise KeyboardInterrupt

    with handled_by(stop):
        try:
            yield
        finally:
            for timer in waiting:
                timer.cancel()


@dataclass
class SignalCount:
    """How many signals have asked for a stop."""

    count: int = 0


@contextmanager
def counted_signals() -> Iterator[SignalCount]:
    """While the ``with`` block lasts, signals are only counted, so that nothing is interrupted in the middle."""
    signals = SignalCount()

    def count(number: int, frame: FrameType | None) -> None:
        signals.count += 1

    with handled_by(count):
        yield signals


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """While the ``with`` block lasts, ``handler`` handles SIGINT, SIGTERM and SIGHUP.

    A signal that is ignored (``nohup``) stays ignored. Outside the main thread, where Python cannot set handlers,
    nothing changes.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def leave() -> NoReturn:
    """Ends this process and its children at once."""
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{LINE}\n".encode())
    kill_children()
    os._exit(INTERRUPTED)
