"""Times and sizes that were measured of one combination, and the folder in which they are kept from run to run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sota_bench.files import write_json
from sota_bench.forecast.combination import Combination

FORMAT = 1
_NOT_ADDITIVE = ("most_images", "images", "cpu_wait")


@dataclass(frozen=True)
class Calibration:
    """Times and sizes of one stage of a combination.

    Attributes:
        image_s: seconds per image of a steady step.
        first_s: how much longer the first step takes than a steady one (warm-up, and compilation where it is on).
        overhead_s: everything else in the stage, however many images it has: reading, building, writing, storing.
        memory_mb: peak memory of its worker, or of the device, in 2**20 bytes.
        stage_bytes: what the stage leaves on disk, apart from what grows with the images.
        image_bytes: what it leaves for each image.
        most_images: the most images that the stage reads; 0 for no limit.
        images: how many the measurement read.
        cpu_wait: share of the time in which its threads waited for a processor that other work used.
    """

    image_s: float
    first_s: float
    overhead_s: float
    memory_mb: float
    stage_bytes: float
    image_bytes: float = 0.0
    most_images: int = 0
    images: int = 0
    cpu_wait: float = 0.0

    def work_s(self, images: int) -> float:
        """Seconds of the steps over a number of images, without the overhead."""
        read = min(images, self.most_images) if self.most_images else images
        return self.first_s + read * self.image_s

    def stage_s(self, images: int) -> float:
        """Seconds of the whole stage."""
        return self.overhead_s + self.work_s(images)

    def to_json(self) -> dict[str, float]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """From the values that :meth:`to_json` made.

        Raises:
            TypeError: they are not those of a calibration.
        """
        calibration = cls(**values)
        if not all(isinstance(value, int | float) for value in values.values()):
            raise TypeError("a value of the calibration is not a number")
        return calibration


def weighted_sum(parts: Iterable[tuple[float, Calibration]]) -> Calibration:
    """The weighted sum of calibrations, as the times of techniques add up. No value falls below half of the least of
    its parts, so that a difference of noisy measurements never becomes zero or negative."""
    used = [(weight, part) for weight, part in parts if abs(weight) > 1e-9]
    sums = {}
    for name in [field.name for field in fields(Calibration) if field.name not in _NOT_ADDITIVE]:
        values = [getattr(part, name) for _, part in used]
        total = sum(weight * value for (weight, _), value in zip(used, values, strict=True))
        sums[name] = max(total, min(values) / 2)
    return replace(used[0][1], **sums)


class CalibrationCache:
    """Calibrations on disk, one file for each combination; a damaged or foreign file counts as absent.

    Args:
        folder: of the files; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def get(self, combination: Combination) -> Calibration | None:
        """The calibration of a combination, or None."""
        try:
            stored = json.loads(self._file(combination).read_bytes())
            return Calibration.from_json(stored["calibration"]) if stored["format"] == FORMAT else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def put(self, combination: Combination, calibration: Calibration) -> None:
        """Store a calibration. One that is there already stays, so that predictions do not change while other plans are
        calibrated; removing the folder starts again."""
        if self.get(combination) is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        described = {"kind": combination.kind, "group": combination.group, "features": combination.features}
        value = {"format": FORMAT, "combination": described, "calibration": calibration.to_json()}
        write_json(self._file(combination), value)

    def _file(self, combination: Combination) -> Path:
        return self.folder / f"{combination.name}.json"


def calibrations_folder(store: Path) -> Path:
    """Where a store keeps calibrations, counted operations and matched schedules."""
    return store.absolute() / "calibrations"


def scratch_folder(calibrations: Path) -> Path:
    """A new folder for the files of one calibration, named by this process; those of processes that have ended are
    removed."""
    import psutil

    for folder in calibrations.glob("scratch-*"):
        if not psutil.pid_exists(int(folder.name.split("-")[1])):
            shutil.rmtree(folder, ignore_errors=True)
    folder = calibrations / f"scratch-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
