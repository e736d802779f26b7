"""Questions that only torch can answer, put to a process of its own; what it said is kept in the user's cache."""

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
from typing import Any

from sota_bench.files import write_text
from sota_bench.processes import output_of

LONGEST_S = 300.0
Answer = dict[str, Any]


def answers(module: str, questions: Sequence[Mapping[str, Any]], code: Any = "") -> list[Answer | None]:
    """What ``module.answer`` says to each question.

    A process that has torch loaded already asks the module itself, and keeps nothing.

    Args:
        module: its ``answer`` takes a question and returns a JSON object; run by itself, it is :func:`serve`.
        questions: JSON objects.
        code: what decides the answers beside the question, torch and timm, as a JSON value.

    Returns:
        None where no answer is to be had: the process fails, or takes longer than ``LONGEST_S``.
    """
    if "torch" in sys.modules:
        ask = importlib.import_module(module).answer
        return [ask(question) for question in questions]
    decides = [module, code, [_version(package) for package in ("torch", "timm")], sys.version_info[:2]]
    files = [_cache() / f"{_digest([decides, question])}.json" for question in questions]
    found = [_read(file) for file in files]
    missing = [place for place, answer in enumerate(found) if answer is None]
    told = _told(module, [questions[place] for place in missing]) if missing else []
    for place, answer in zip(missing, told, strict=False):
        found[place] = answer
        _write(files[place], answer)
    return found


def serve() -> None:
    """Reads a list of questions from standard input and writes the answers of the main module, both as JSON."""
    ask: Any = sys.modules["__main__"].answer  # type: ignore[attr-defined]
    questions, out = json.load(sys.stdin), os.dup(1)
    os.dup2(2, 1)  # what libraries print is no part of the answer
    given = json.dumps([ask(question) for question in questions])
    with os.fdopen(out, "w", encoding="utf-8") as file:
        file.write(given)


def _told(module: str, questions: Sequence[Mapping[str, Any]]) -> list[Answer]:
    command = [sys.executable, "-m", module]
    printed = output_of(command, given=json.dumps(questions), timeout_s=LONGEST_S)
    try:
        given = json.loads(printed or "")
    except ValueError:
        return []
    return given if isinstance(given, list) and len(given) == len(questions) else []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("sota_bench") / "networks"


def _read(file: Path) -> Answer | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(file: Path, answer: Answer) -> None:
    """A cache that cannot be written is done without."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(answer))
