"""What differs between devices: precision, memory layout, waiting for the work to be done, and peak memory."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil
import torch
from torch import nn


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Mixed precision: bf16 where asked for, else nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def layout(model: nn.Module, wanted: str) -> torch.memory_format:
    """``channels_last`` unless ``contiguous`` is asked for; without 2-d convolutions there is nothing to gain."""
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return torch.channels_last if wanted != "contiguous" and convolutional else torch.contiguous_format


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that was asked, so that a clock read after it is true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement of peak memory (on Linux; elsewhere the process's peak so far counts)."""
    if device.type == "cuda":
        torch.cuda.init()  # a process that has not used the GPU yet is told that there is no such device
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory since :func:`reset_peak_memory` in 2**20 bytes: of the device, or of the process on a CPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    try:
        status = Path("/proc/self/status").read_text()
        return float(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 2**10
    except (OSError, StopIteration):
        return float(psutil.Process().memory_info().rss) / 2**20
