"""A machine with a clock of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from sota_bench.forecast.calibration import Calibration
from sota_bench.stages.params import EvaluateParams, TrainParams
from sota_bench.stages.stage import Stage


@dataclass
class World:
    """A machine with a clock of its own: what each stage takes is a formula.

    Attributes:
        pixel_s: seconds per image and pixel of a training step.
        technique_s: seconds that each technique adds to an image.
    """

    pixel_s: float = 1e-5
    technique_s: dict[str, float] = field(default_factory=lambda: {"mixup": 0.002, "low-lr": 0.0005, "ewc": 0.004})

    def image_s(self, stage: Stage) -> float:
        """Seconds of one image."""
        params = stage.params
        if isinstance(params, TrainParams):
            techniques = sum(self.technique_s.get(name, 0.0) for name in params.techniques)
            return self.pixel_s * params.phase.size**2 + techniques
        if isinstance(params, EvaluateParams):
            return 0.3 * self.pixel_s * (2 if params.techniques else 1) * params.size**2
        return {"prepare": 0.01, "statistics": 0.001}.get(stage.kind, 0.02)

    def measure(self, stage: Stage) -> Calibration:
        """What calibrating a stage finds."""
        first_s = {"train": 0.5, "evaluate": 0.1}.get(stage.kind, 0.0)
        overhead_s = {"prepare": 3.0, "train": 1.0}.get(stage.kind, 0.25)
        memory = {"train": 900.0, "evaluate": 700.0}.get(stage.kind, 100.0)
        size = 5e6 if stage.kind == "train" else 1e4
        return Calibration(
            self.image_s(stage), first_s, overhead_s, memory, size, 3.0 * 80 * 80 * (stage.kind == "prepare")
        )
