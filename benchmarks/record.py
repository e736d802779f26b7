"""How a benchmark hands over its result: JSON for programs, markdown for people, both with hardware and versions."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sota_bench.regression.hardware import fingerprint

PACKAGES = ("sota-bench", "torch", "torchvision", "timm", "numpy", "pillow")


def about(device: str) -> dict[str, Any]:
    """Hardware, versions and the command, as they stand beside every result.

    Args:
        device: ``cpu`` or ``cuda:i``.
    """
    from sota_bench.plan.environment import gpus

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    cards = [dict(card) for card in gpus()] if device.startswith("cuda") else []
    given = sys.argv[1:]
    for option in {"--out", "--scratch"} & set(given):  # folders of that machine, which change no result
        at = given.index(option)
        del given[at : at + 2]
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *given])
    return {"hardware": fingerprint(device), "gpus": cards, "versions": versions, "command": command}


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A markdown table: text to the left, all else to the right."""
    marks = ["---" if rows and isinstance(rows[0][column], str) else "--:" for column in range(len(heads))]
    return [f"| {' | '.join(map(str, line))} |" for line in (heads, marks, *rows)]


def write(out: Path, name: str, title: str, lines: Sequence[str], found: Mapping[str, Any]) -> str:
    """Writes ``NAME.json`` and ``NAME.md``.

    Args:
        out: folder of the results.
        name: of both files, without ending.
        title: of the page.
        lines: its text.
        found: what :func:`about` said, and the results.

    Returns:
        The page.
    """
    hardware = found["hardware"]
    where = hardware["gpu"] or f"{hardware['cores']} cores of {hardware['cpu']}"
    versions = ", ".join(f"{package} {number}" for package, number in found["versions"].items())
    page = "\n".join([f"# {title}", "", f"`{found['command']}` on {where}; {versions}.", "", *lines, ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    return page
