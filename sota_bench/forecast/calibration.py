"""What was measured of one combination, and the folder in which that is kept from run to run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from sota_bench.files import write_json
from sota_bench.forecast.combination import Combination

FORMAT = 1
_NOT_ADDED = ("most_images", "images", "cpu_wait")


@dataclass(frozen=True)
class Calibration:
    """Times and sizes of one stage of a combination.

    Attributes:
        image_s: seconds per image, steady: the median step over its images.
        first_s: what the first step takes longer than a steady one (warm-up, and compilation where it is on).
        overhead_s: the rest of the stage, however many images it has: reading, building, writing, filing.
        memory_mb: peak of its worker, or of the device, in 2**20 bytes.
        stage_bytes: what the stage leaves on disk, apart from what grows with the images.
        image_bytes: what it leaves for each image.
        most_images: it never goes through more images than this; 0 for no limit.
        images: how many the measurement went through.
        cpu_wait: share of the time in which other work held the processors.
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
        """Seconds of work on so many images, without the overhead."""
        seen = min(images, self.most_images) if self.most_images else images
        return self.first_s + seen * self.image_s

    def stage_s(self, images: int) -> float:
        """Seconds of a whole stage."""
        return self.overhead_s + self.work_s(images)


def weighted(parts: Iterable[tuple[float, Calibration]]) -> Calibration:
    """The sum of calibrations with weights: how the times of techniques add up; nothing is less than half of the least
    of its parts, so that a difference of noisy measurements never becomes nothing."""
    listed = [(weight, one) for weight, one in parts if abs(weight) > 1e-9]
    names = [field.name for field in fields(Calibration) if field.name not in _NOT_ADDED]
    sums = {}
    for name in names:
        values = [getattr(one, name) for _, one in listed]
        total = sum(weight * value for (weight, _), value in zip(listed, values, strict=True))
        sums[name] = max(total, min(values) / 2)
    return replace(listed[0][1], **sums)


class Shelf:
    """Calibrations on disk, one file for each combination; a damaged or foreign file counts as absent.

    Args:
        store: folder of the store, in which ``calibrations/`` lies.
    """

    def __init__(self, store: Path) -> None:
        self.folder = store.absolute() / "calibrations"

    def get(self, combination: Combination) -> Calibration | None:
        """What is known of a combination."""
        try:
            stored = json.loads((self.folder / f"{combination.name}.json").read_bytes())
            return Calibration(**stored["calibration"]) if stored["format"] == FORMAT else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, combination: Combination, calibration: Calibration) -> None:
        """Keep a calibration, whole or not at all. What is there stays, so that a prediction does not move while other
        plans are measured; removing the folder starts anew."""
        if self.get(combination) is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {"kind": combination.kind, "group": combination.group, "features": combination.features}
        value = {"format": FORMAT, "combination": about, "calibration": asdict(calibration)}
        write_json(self.folder / f"{combination.name}.json", value)
