"""The software and the device that run a stage; both are part of its key. Found out without importing torch."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sota_bench.errors import UserError
from sota_bench.processes import output_of

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
        about: what identifies the device: ``kind``, ``name``, and on a CPU its vector ``capability`` and the
            ``threads`` of one worker (the order of a sum depends on them).
        versions: package -> version.
        precision: what ``auto`` means here, ``bf16`` or ``fp32``.
    """

    device: str
    about: Mapping[str, str | int]
    versions: Mapping[str, str]
    precision: str

    @property
    def threads(self) -> int:
        """Threads of one worker: of a GPU's, which it hardly needs, one."""
        return int(self.about.get("threads", 1))

    def software_of(self, kind: str) -> dict[str, str]:
        """The versions that are part of the key of a stage of ``kind``."""
        return {name: self.versions[name] for name in ("python", *SOFTWARE.get(kind, SOFTWARE["train"]))}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


@lru_cache
def cpu() -> dict[str, Any]:
    """Name and instruction sets of this CPU (from ``/proc/cpuinfo`` where there is one)."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
                break
    except OSError:
        pass
    capability = next((level for level in ("avx512f", "avx2") if level in flags), platform.machine())
    return {"name": name, "capability": capability, "bf16": bool(flags & {"avx512_bf16", "amx_bf16"})}


@lru_cache
def gpus() -> tuple[dict[str, str], ...]:
    """NVIDIA GPUs: ``name``, ``driver_version``, ``memory.total``; empty where there is none."""
    fields = ("name", "driver_version", "memory.total")
    if not shutil.which("nvidia-smi"):
        return ()
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    lines = (output_of(query, timeout_s=20) or "").splitlines()
    return tuple(dict(zip(fields, (part.strip() for part in line.split(",")), strict=False)) for line in lines)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def detect(wanted: str, workers: int) -> Environment:
    """The environment for ``--device auto|cpu|cuda[:i]`` and a number of workers.

    Raises:
        UserError: there is no such device.
    """
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    versions |= {name: _version(name) for name in ("numpy", "pillow", "torch", "torchvision", "timm")}
    found = gpus()
    kind, _, index = ("cuda:0" if found else "cpu").partition(":") if wanted == "auto" else wanted.partition(":")
    if kind == "cuda":
        number = int(index or 0) if (index or "0").isdigit() else -1
        if not 0 <= number < len(found):
            raise UserError("--device", "", f"{wanted!r}: this machine has {len(found)} NVIDIA GPUs", "use auto or cpu")
        about = {"kind": "cuda", "name": found[number]["name"], "driver": found[number]["driver_version"]}
        return Environment(f"cuda:{number}", about, versions, "bf16")
    if kind != "cpu" or index:
        raise UserError("--device", "", f"{wanted!r} is not a device", "use auto, cpu or cuda:0")
    threads = max(1, cores() // workers)
    processor = {"kind": "cpu", "name": cpu()["name"], "capability": cpu()["capability"], "threads": threads}
    return Environment("cpu", processor, versions, "bf16" if cpu()["bf16"] else "fp32")
