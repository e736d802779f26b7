"""Low learning rate: after the resolution rises, train on with a smaller learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sota_bench.technique import Card, Settings, Technique, setting

if TYPE_CHECKING:
    from sota_bench.technique import Phase


class LowLearningRateSettings(Settings):
    low_lr_factor: float = setting(
        0.1, "factor on the learning rate after the rise, with `low-lr`", scope="rise", gt=0, le=1
    )


class LowLearningRate(Technique[LowLearningRateSettings]):
    name = "low-lr"
    field = "mitigation"
    level = "low-lr"
    applies_to = "rise"
    is_mitigation = True
    settings_type = LowLearningRateSettings
    card = Card(
        name="Low learning rate after the rise",
        claim="Keeps what was learned at the old resolution while the new one is learned, at no extra cost.",
        response="stability",
        why="The stability-plasticity dilemma in its simplest form: the smaller the steps, the closer the weights "
        "stay to those that solved the old task, and the less they can move towards the new one.",
        paper="Howard and Ruder 2018, Universal Language Model Fine-tuning, section 3.2 "
        "(https://arxiv.org/abs/1801.06146); McCloskey and Cohen 1989 for the forgetting itself",
        defaults="A tenth of the peak rate, the usual step between training and fine-tuning.",
        cost="None.",
        fails="When the new resolution holds information that the old one lacked, the network has too little time to "
        "use it.",
    )

    def on_phase_start(self, phase: Phase) -> None:
        """Scales every block's learning rate."""
        phase.scale_learning_rate(self.settings.low_lr_factor)
