"""What differs between devices: mixed precision, memory layout, synchronization and peak memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil
import torch
from torch import nn


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Returns a context of mixed precision for ``bf16``, and one that does nothing for ``fp32``."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def memory_format(model: nn.Module, layout: str) -> torch.memory_format:
    """Returns ``channels_last`` unless the recipe's ``layout`` is ``contiguous`` or there are no 2-d convolutions."""
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return torch.channels_last if layout != "contiguous" and convolutional else torch.contiguous_format


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished its work, so that a clock read afterwards includes it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement of peak memory; without Linux's ``clear_refs`` the process's peak so far stays."""
    if device.type == "cuda":
        torch.cuda.init()  # or torch raises "invalid device" in a process that has not used the GPU yet
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_mb(device: torch.device) -> float:
    """Returns the peak memory since :func:`reset_peak_memory` in MiB: of the GPU, or of the process on a CPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    try:
        status = Path("/proc/self/status").read_text()
        return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 2**10
    except (OSError, StopIteration):
        return float(psutil.Process().memory_info().rss) / 2**20
