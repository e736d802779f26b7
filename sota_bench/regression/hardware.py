"""The coarse hardware and software that a measured time belongs to: times are compared only within one of these."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from sota_bench.plan.environment import cores, cpu
from sota_bench.plan.gpus import gpus


class Hardware(TypedDict):
    """The coarse hardware and the release of torch.

    Attributes:
        cpu: name of the processor.
        cores: that this process may use.
        gpu: name of the GPU; "" where times are the CPU's.
        torch: its release, such as ``2.14``, or ``absent``.
    """

    cpu: str
    cores: int
    gpu: str
    torch: str


def fingerprint(device: str = "cpu") -> Hardware:
    """The hardware of a device, ``cpu`` or ``cuda[:i]``."""
    kind, _, index = device.partition(":")
    cards = gpus() if kind == "cuda" else ()
    number = int(index or 0)
    return {
        "cpu": cpu().name,
        "cores": cores(),
        "gpu": cards[number].name if number < len(cards) else "",
        "torch": release("torch"),
    }


def release(package: str) -> str:
    """Major and minor version of an installed package, such as ``2.14``, or ``absent``."""
    try:
        return ".".join(version(package).split("+")[0].split(".")[:2])
    except PackageNotFoundError:
        return "absent"


def file_stem(hardware: Hardware) -> str:
    """Hardware as a file name without its ending: ``amd-epyc-2c-torch2.14``."""
    parts = [hardware["cpu"], f"{hardware['cores']}c", hardware["gpu"], f"torch{hardware['torch']}"]
    text = "-".join(part for part in parts if part).lower()
    return re.sub(r"[^a-z0-9.]+", "-", text).strip("-.")
