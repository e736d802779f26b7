"""The software and the device that run a stage; both are part of its key. Found out without importing torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sota_bench.errors import UserError
from sota_bench.plan.gpus import VISIBLE, gpus

SOFTWARE = {
    "prepare": ("numpy", "pillow"),
    "train": ("numpy", "torch", "timm"),
}
"""Packages whose version can change a result of each kind of stage; other kinds are as ``train``."""


@dataclass(frozen=True)
class Environment:
    """Where stages run.

    Attributes:
        device: ``cpu`` or ``cuda:i``, as workers are told.
        identity: what identifies the device: ``kind``, ``name``, and on a CPU its vector ``capability`` and the
            ``threads`` of one worker (the order of a sum depends on them).
        versions: package -> version.
        precision: what ``auto`` means here, ``bf16`` or ``fp32``.
    """

    device: str
    identity: Mapping[str, str | int]
    versions: Mapping[str, str]
    precision: str

    @property
    def threads(self) -> int:
        """Threads of one worker: of a GPU's, which it hardly needs, one."""
        return int(self.identity.get("threads", 1))

    def software_of(self, kind: str) -> dict[str, str]:
        """The versions that are part of the key of a stage of ``kind``."""
        return {name: self.versions[name] for name in ("python", *SOFTWARE.get(kind, SOFTWARE["train"]))}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


@dataclass(frozen=True)
class Cpu:
    """This machine's processor.

    Attributes:
        name: of the product.
        capability: its widest vector instructions, or the architecture where that is not known.
        has_bf16: whether it multiplies bf16 in hardware.
    """

    name: str
    capability: str
    has_bf16: bool


@lru_cache
def cpu() -> Cpu:
    """The processor (from ``/proc/cpuinfo`` where there is one)."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
                break
    capability = next((level for level in ("avx512f", "avx2") if level in flags), platform.machine())
    return Cpu(name, capability, bool(flags & {"avx512_bf16", "amx_bf16"}))


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def detect(device: str, workers: int) -> Environment:
    """The environment of a device and a number of workers.

    Args:
        device: ``auto`` (the first GPU, else the CPU), ``cpu`` or ``cuda[:i]``.
        workers: that share the processors.

    Raises:
        UserError: there is no such device.
    """
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    versions |= {name: _version(name) for name in ("numpy", "pillow", "torch", "torchvision", "timm")}
    installed = gpus()
    kind, _, index = ("cuda:0" if installed else "cpu").partition(":") if device == "auto" else device.partition(":")
    if kind == "cuda":
        number = int(index or 0) if (index or "0").isdigit() else -1
        if not 0 <= number < len(installed):
            raise UserError("--device", "", f"{device!r}: {_seen(len(installed))}", "use auto or cpu")
        gpu = installed[number]
        identity: dict[str, str | int] = {"kind": "cuda", "name": gpu.name, "driver": gpu.driver}
        return Environment(f"cuda:{number}", identity, versions, "bf16" if gpu.has_bf16 else "fp32")
    if kind != "cpu" or index:
        raise UserError("--device", "", f"{device!r} is not a device", "use auto, cpu or cuda:0")
    threads = max(1, cores() // workers)
    processor: dict[str, str | int] = {
        "kind": "cpu", "name": cpu().name, "capability": cpu().capability, "threads": threads,
    }  # fmt: skip
    return Environment("cpu", processor, versions, "bf16" if cpu().has_bf16 else "fp32")


def _seen(gpus: int) -> str:
    chosen = f" with {VISIBLE}={os.environ[VISIBLE]!r}" if VISIBLE in os.environ else ""
    return f"this machine has {gpus or 'no'} NVIDIA GPU{'' if gpus == 1 else 's'}{chosen}"
