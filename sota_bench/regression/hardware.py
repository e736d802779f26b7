"""The coarse hardware and software that a measured time belongs to: times are compared only within one of these."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sota_bench.plan.environment import cores, cpu, gpus


def fingerprint(device: str = "cpu") -> dict[str, Any]:
    """``cpu``, ``cores``, ``gpu`` ("" where times are the CPU's) and ``torch`` (major.minor)."""
    kind, _, index = device.partition(":")
    found = gpus() if kind == "cuda" else ()
    number = int(index or 0)
    try:
        torch = ".".join(version("torch").split(".")[:2])
    except PackageNotFoundError:
        torch = "absent"
    gpu = found[number]["name"] if number < len(found) else ""
    return {"cpu": cpu()["name"], "cores": cores(), "gpu": gpu, "torch": torch}


def key(about: dict[str, Any]) -> str:
    """A fingerprint as a file name: ``amd-epyc-2c-torch2.14``."""
    parts = [str(about["cpu"]), f"{about['cores']}c", str(about["gpu"]), f"torch{about['torch']}"]
    text = "-".join(part for part in parts if part).lower()
    return re.sub(r"[^a-z0-9.]+", "-", text).strip("-.")
