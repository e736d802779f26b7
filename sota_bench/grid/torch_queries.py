"""Questions that only torch can answer, put to a process of its own; the answers are kept in the user's cache.

Planning never imports torch, which takes seconds: it asks here what a network or its weights are like, once for each
network and version of torch and timm.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

from sota_bench.files import write_text
from sota_bench.processes import output_of

LONGEST_S = 300.0
"""Seconds after which a process is given up."""

Query: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = dict[str, Any]
"""Both are JSON objects."""


def ask(module: str, queries: Sequence[Query], code: object = "") -> list[Answer | None]:
    """The answers of ``module.answer`` to each query.

    A process that has torch loaded already calls the module itself, and keeps nothing.

    Args:
        module: its ``answer`` takes a query and returns a JSON object; run by itself, it calls :func:`serve`.
        queries: what is asked.
        code: what decides the answers beside the query, torch and timm, as a JSON value.

    Returns:
        None where there is no answer: the process fails, or takes longer than ``LONGEST_S``.
    """
    if "torch" in sys.modules:
        answer = importlib.import_module(module).answer
        return [answer(query) for query in queries]
    versions = [_version(package) for package in ("torch", "timm")]
    files = [_cache() / f"{_digest([module, code, versions, sys.version_info[:2], query])}.json" for query in queries]
    answers = [_read(file) for file in files]
    missing = [index for index, answer in enumerate(answers) if answer is None]
    new = _ask_process(module, [queries[index] for index in missing]) if missing else []
    for index, answer in zip(missing, new, strict=False):
        answers[index] = answer
        _write(files[index], answer)
    return answers


def serve() -> None:
    """Reads a list of queries from standard input and writes the answers of the main module, both as JSON."""
    answer = vars(sys.modules["__main__"])["answer"]
    queries, out = json.load(sys.stdin), os.dup(1)
    os.dup2(2, 1)  # what libraries print is no part of the answer
    answers = json.dumps([answer(query) for query in queries])
    with os.fdopen(out, "w", encoding="utf-8") as file:
        file.write(answers)


def _ask_process(module: str, queries: Sequence[Query]) -> list[Answer]:
    printed = output_of([sys.executable, "-m", module], given=json.dumps(queries), timeout_s=LONGEST_S)
    try:
        answers = json.loads(printed or "")
    except ValueError:
        return []
    return answers if isinstance(answers, list) and len(answers) == len(queries) else []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("sota_bench") / "networks"


def _read(file: Path) -> Answer | None:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None


def _write(file: Path, answer: Answer) -> None:
    """A cache that cannot be written costs time, and nothing else."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(answer))
