"""The engines that ``--engine`` names: each runs a stage graph, wherever its workers are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sota_bench.engine.events import Event, Summary
    from sota_bench.stages.stage import Stage
    from sota_bench.store import Store


class Engine(Protocol):
    """Runs every stage that has no result yet; :func:`~sota_bench.engine.run_stages.run_stages` describes it."""

    def __call__(
        self,
        stages: Sequence[Stage],
        store: Store,
        *,
        workers: int,
        device: str,
        threads: int,
        fail_fast: bool,
        retry: Collection[str],
        stall_s: float,
        disk_limit: int | None,
        memory_limit_mb: float | None,
        on_event: Callable[[Event], None],
    ) -> Summary: ...


ENGINES: Mapping[str, str] = {"local": "sota_bench.engine.run_stages:run_stages"}
"""Name -> function, as ``package.module:function``."""


def engine_named(name: str) -> Engine:
    """The engine of that name, a key of :data:`ENGINES`."""
    module, _, function = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(module), function)
    return engine
