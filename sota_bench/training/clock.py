"""Times to believe: steps as the device took them, and what else the machine was doing meanwhile."""

from __future__ import annotations

import importlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch


class StepClock:
    """Milliseconds of every step, without making a GPU wait for its host.

    On a CPU a step's time is the host's. On a GPU two events around it are timed by the GPU itself and read when the
    host waits for it anyway: a step then lasts from the end of the work before it to the end of its own.

    Args:
        device: where the steps run.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._started: Any = None
        self._waiting: list[tuple[Any, Any]] = []

    def begin(self) -> None:
        """A step begins."""
        self._started = self._event() if self._on_gpu else None

    def end(self, host_s: float) -> list[float]:
        """A step ended, ``host_s`` seconds after it began on the host.

        Returns:
            The milliseconds that are known by now.
        """
        if not self._on_gpu:
            return [1000 * host_s]
        self._waiting.append((self._started, self._event()))
        return []

    def settle(self) -> list[float]:
        """The milliseconds of the steps since the last call; waits for the last one."""
        if self._waiting:
            self._waiting[-1][1].synchronize()  # recorded after the host's own wait, so it may still be under way
        found = [float(start.elapsed_time(end)) for start, end in self._waiting]
        self._waiting.clear()
        return found

    def forget(self) -> None:
        """Leave out the step that just ended: it compiled."""
        self._waiting = self._waiting[:-1]

    @staticmethod
    def _event() -> Any:
        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


class Usage:
    """What a stage used and shared, from its making to :meth:`values`.

    Args:
        device: where the stage runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._ran, self._waited = scheduled_s()
        self._energy = energy_j(device)

    def values(self) -> dict[str, Any]:
        """``cpu_wait`` (share of the time in which its threads had work and no processor), ``energy_j`` (of the whole
        GPU) and ``gpu_processes`` (that compute on it, this one included); None where the system does not say."""
        ran, waited = scheduled_s()
        ran, waited = ran - self._ran, waited - self._waited
        energy = energy_j(self._device)
        return {
            "cpu_wait": round(waited / (ran + waited), 4) if ran + waited > 0 else None,
            "energy_j": round(energy - self._energy, 1) if energy is not None and self._energy is not None else None,
            "gpu_processes": gpu_processes(self._device),
        }


def scheduled_s(tasks: Path = Path("/proc/self/task")) -> tuple[float, float]:
    """Seconds that the threads of this process ran, and waited for a processor (Linux's ``schedstat``); else zeros."""
    ran = waited = 0
    with suppress(OSError):
        for task in tasks.iterdir():
            with suppress(OSError, ValueError, IndexError):
                numbers = (task / "schedstat").read_text().split()
                ran, waited = ran + int(numbers[0]), waited + int(numbers[1])
    return ran / 1e9, waited / 1e9


def _gpu(device: torch.device) -> tuple[Any, Any] | None:
    """NVIDIA's management library and the handle of a GPU, where the optional package ``nvidia-ml-py`` is there."""
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
    """Joules that a GPU has used since its driver was loaded; None where it does not say."""
    found = _gpu(device)
    with suppress(Exception):
        return float(found[0].nvmlDeviceGetTotalEnergyConsumption(found[1])) / 1000 if found else None
    return None


def gpu_processes(device: torch.device) -> int | None:
    """Processes that compute on a GPU; None where it does not say."""
    found = _gpu(device)
    with suppress(Exception):
        return len(found[0].nvmlDeviceGetComputeRunningProcesses(found[1])) if found else None
    return None
