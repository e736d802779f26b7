"""The NVIDIA GPUs that a process of this machine sees, found with ``nvidia-smi`` instead of importing torch."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache

from sota_bench.processes import output_of

VISIBLE = "CUDA_VISIBLE_DEVICES"
BF16_CAPABILITY = (8, 0)
"""Compute capability from which on a GPU multiplies bf16 in hardware (Ampere and later)."""

_FIELDS = "uuid,name,driver_version,memory.total,compute_cap"
_ANSWER_S = 20.0


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one MIG slice of a GPU.

    Attributes:
        uuid: ``GPU-...`` or ``MIG-...``.
        name: of the product, with the profile of a slice: ``NVIDIA H200``, ``NVIDIA A100 MIG 1g.5gb``.
        driver: version of the driver.
        memory: of the whole card, with its unit.
        capability: compute capability; (0, 0) where the driver is too old to say.
    """

    uuid: str
    name: str
    driver: str
    memory: str
    capability: tuple[int, int]

    @property
    def has_bf16(self) -> bool:
        """Whether it multiplies bf16 in hardware."""
        return self.capability >= BF16_CAPABILITY


def gpus() -> tuple[Gpu, ...]:
    """The GPUs in the order in which ``cuda:0``, ``cuda:1`` ... name them: all of the machine, or those that
    ``CUDA_VISIBLE_DEVICES`` chooses."""
    installed, slices = _installed()
    return visible(installed, slices, os.environ.get(VISIBLE))


def visible(installed: tuple[Gpu, ...], slices: tuple[Gpu, ...], chosen: str | None) -> tuple[Gpu, ...]:
    """What ``CUDA_VISIBLE_DEVICES`` leaves to see. CUDA reads it up to the first name that is none.

    Args:
        installed: the GPUs, by index.
        slices: their MIG slices.
        chosen: its value: indices, or UUIDs that may be cut short, separated by commas; None where it is not set.
    """
    if chosen is None:
        return installed
    seen: list[Gpu] = []
    for name in (part.strip() for part in chosen.split(",")):
        if name.isdigit():
            matching = [installed[int(name)]] if int(name) < len(installed) else []
        else:
            matching = [gpu for gpu in (*installed, *slices) if name and gpu.uuid.startswith(name)]
        if len(matching) != 1 or matching[0] in seen:
            break
        seen.append(matching[0])
    return tuple(seen)


@lru_cache
def _installed() -> tuple[tuple[Gpu, ...], tuple[Gpu, ...]]:
    """GPUs and MIG slices; empty where there is no driver."""
    answer = output_of(["nvidia-smi", f"--query-gpu={_FIELDS}", "--format=csv,noheader"], timeout_s=_ANSWER_S)
    if not answer:
        return (), ()
    installed = tuple(_gpu(line) for line in answer.splitlines() if line.count(",") >= 4)
    listing = output_of(["nvidia-smi", "-L"], timeout_s=_ANSWER_S) or ""
    return installed, mig_slices(installed, listing)


def _gpu(line: str) -> Gpu:
    uuid, name, driver, memory, capability = (part.strip() for part in line.split(",", 4))
    numbers = re.fullmatch(r"(\d+)\.(\d+)", capability)
    return Gpu(uuid, name, driver, memory, (int(numbers[1]), int(numbers[2])) if numbers else (0, 0))


def mig_slices(installed: tuple[Gpu, ...], listing: str) -> tuple[Gpu, ...]:
    """The MIG slices that ``nvidia-smi -L`` lists below each GPU."""
    slices: list[Gpu] = []
    card: Gpu | None = None
    for line in listing.splitlines():
        uuid = re.search(r"UUID: ([^)\s]+)", line)
        if uuid is None:
            continue
        if profile := re.match(r"\s+MIG (\S+)", line):
            if card is not None:
                slices.append(replace(card, uuid=uuid[1], name=f"{card.name} MIG {profile[1]}"))
        else:
            card = next((gpu for gpu in installed if gpu.uuid == uuid[1]), None)
    return tuple(slices)
