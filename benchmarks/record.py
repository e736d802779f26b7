"""Writes the result of a benchmark: JSON for programs, Markdown for people, both with hardware and versions."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sota_bench.regression.hardware import fingerprint

PACKAGES = ("sota-bench", "torch", "torchvision", "timm", "numpy", "pillow")


def provenance(device: str) -> dict[str, Any]:
    """Hardware, versions and the command, which are part of every result.

    Args:
        device: ``cpu`` or ``cuda:i``.
    """
    from sota_bench.plan.gpus import gpus

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    cards = [asdict(card) for card in gpus()] if device.startswith("cuda") else []
    arguments = sys.argv[1:]
    for option in {"--out", "--scratch"} & set(arguments):  # folders of this machine, which change no result
        at = arguments.index(option)
        del arguments[at : at + 2]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments])
    return {"hardware": fingerprint(device), "gpus": cards, "versions": versions, "command": command}


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A Markdown table: text aligned to the left, everything else to the right."""
    marks = ["---" if rows and isinstance(rows[0][column], str) else "--:" for column in range(len(heads))]
    return [f"| {' | '.join(map(str, line))} |" for line in (heads, marks, *rows)]


def write(out: Path, name: str, title: str, lines: Sequence[str], result: Mapping[str, Any]) -> str:
    """Writes ``NAME.json`` and ``NAME.md``, and returns the page.

    Args:
        out: folder of the results.
        name: of both files, without ending.
        title: of the page.
        lines: its text.
        result: what was measured, with its :func:`provenance`.
    """
    hardware = result["hardware"]
    where = hardware["gpu"] or f"{hardware['cores']} cores of {hardware['cpu']}"
    versions = ", ".join(f"{package} {number}" for package, number in result["versions"].items())
    page = "\n".join([f"# {title}", "", f"`{result['command']}` on {where}; {versions}.", "", *lines, ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    return page
