"""How long steps take on their device, and what a stage used and shared meanwhile."""

from __future__ import annotations

import importlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from sota_bench.stages.results import ResourceUse


class StepClock:
    """Milliseconds of every step, without making a GPU wait for its host.

    On a CPU a step's time is the host's. On a GPU two events around the step are timed by the GPU itself and read when
    the host waits for it anyway: a step then lasts from the end of the work before it to the end of its own.

    Args:
        device: where the steps run.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._start: torch.cuda.Event | None = None
        self._pending: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def begin(self) -> None:
        """Marks the beginning of a step."""
        self._start = self._event() if self._on_gpu else None

    def end(self, host_s: float) -> list[float]:
        """Marks the end of a step, ``host_s`` seconds after it began on the host.

        Returns:
            The milliseconds that can be read without waiting: the step's on a CPU, none on a GPU.
        """
        if self._start is None:
            return [1000 * host_s]
        self._pending.append((self._start, self._event()))
        return []

    def collect(self) -> list[float]:
        """Waits for the last step and returns the milliseconds of the steps since the last call."""
        if self._pending:
            self._pending[-1][1].synchronize()  # recorded after the host's own wait, so it may still be under way
        milliseconds = [float(start.elapsed_time(end)) for start, end in self._pending]
        self._pending.clear()
        return milliseconds

    def discard_last(self) -> None:
        """Leaves out the step that just ended, such as one that compiled."""
        self._pending = self._pending[:-1]

    @staticmethod
    def _event() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


class ResourceMeter:
    """What a stage used and shared, from its creation to :meth:`use`.

    Args:
        device: where the stage runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ran_s, self._waited_s = cpu_seconds()
        self._energy = energy_j(device)

    def use(self) -> ResourceUse:
        """Returns what was used and shared so far; None where the system has no such counter."""
        ran_s, waited_s = cpu_seconds()
        ran_s, waited_s = ran_s - self._ran_s, waited_s - self._waited_s
        energy = energy_j(self._device)
        return ResourceUse(
            cpu_wait=round(waited_s / (ran_s + waited_s), 4) if ran_s + waited_s > 0 else None,
            energy_j=round(energy - self._energy, 1) if energy is not None and self._energy is not None else None,
            gpu_processes=gpu_processes(self._device),
        )


def cpu_seconds(tasks: Path = Path("/proc/self/task")) -> tuple[float, float]:
    """Returns the seconds that this process's threads ran and waited for a CPU (Linux's ``schedstat``), else zeros."""
    ran_ns = waited_ns = 0
    with suppress(OSError):
        for task in tasks.iterdir():
            with suppress(OSError, ValueError, IndexError):
                numbers = (task / "schedstat").read_text().split()
                ran_ns, waited_ns = ran_ns + int(numbers[0]), waited_ns + int(numbers[1])
    return ran_ns / 1e9, waited_ns / 1e9


def _nvml(device: torch.device) -> tuple[Any, Any] | None:
    """Returns NVIDIA's management library and the GPU's handle, where the package ``nvidia-ml-py`` is installed."""
    if device.type != "cuda":
        return None
    try:
        library = importlib.import_module("pynvml")
        library.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        return library, library.nvmlDeviceGetHandleByUUID(uuid)
    except Exception:  # no package, no driver, or an old one: the numbers are left out
        return None


def energy_j(device: torch.device) -> float | None:
    """Returns the joules that a GPU has used since its driver was loaded; None where they are not counted."""
    if (nvml := _nvml(device)) is None:
        return None
    library, handle = nvml
    with suppress(Exception):
        return float(library.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    return None


def gpu_processes(device: torch.device) -> int | None:
    """Returns the number of processes that compute on a GPU; None where they are not counted."""
    if (nvml := _nvml(device)) is None:
        return None
    library, handle = nvml
    with suppress(Exception):
        return len(library.nvmlDeviceGetComputeRunningProcesses(handle))
    return None
