"""What a training phase records of itself: where it stands, its losses and its times, for the report and for people
who watch it. Between two looks at the loss nothing here waits for a GPU."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sota_bench.grid.recipe import CoreRecipe
from sota_bench.stages.params import PhaseParams
from sota_bench.stages.protocol import Progress
from sota_bench.stages.results import Accumulated, ChannelMoments, EpochRecord, StepTimes, TrainResult
from sota_bench.technique import Step, Technique
from sota_bench.training import device as devices
from sota_bench.training.accumulation import Accumulation
from sota_bench.training.batches import largest_batch, steps_in_epoch
from sota_bench.training.checks import check_loss
from sota_bench.training.clock import ResourceMeter, StepClock
from sota_bench.training.phase import Phase
from sota_bench.training.samples import SAMPLED_STEPS, Samples, moments_of

CHECK_STEPS = 25
"""Steps between two looks at the loss: each look makes a GPU wait."""


@dataclass
class LogState:
    """Where a phase stands and what it has recorded, as JSON values: a resumed phase goes on from it.

    Attributes:
        epoch, step: of the next step, 0-based within the phase and the epoch.
        curve: a record for each epoch that has ended.
        epoch_images, epoch_s: images of the epoch so far, and seconds of its steps.
        train_s: seconds of all steps.
        step_ms: milliseconds of each step that was measured.
        steps_at_size: pixels, as text -> steps.
        pixels: that passed through the network.
        input: moments of the first batch as the network saw it.
        mixing: of the samples that are kept for the report.
        micro_batch: images of a part, where steps were computed in parts; 0 where all fitted.
        accumulated: steps that were computed in parts.
    """

    epoch: int = 0
    step: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    epoch_images: int = 0
    epoch_s: float = 0.0
    train_s: float = 0.0
    step_ms: list[float] = field(default_factory=list)
    steps_at_size: dict[str, int] = field(default_factory=dict)
    pixels: int = 0
    input: dict[str, Any] | None = None
    mixing: float = -1.0
    micro_batch: int = 0
    accumulated: int = 0


class PhaseLog:
    """The record of one phase.

    Args:
        recipe: the settings.
        phase: what is trained for how long.
        device: where.
        samples: keeps images for the report.

    Attributes:
        state: what a resumed phase needs.
        loss_sum: sum of the cross-entropies of the epoch's images so far, on the device.
    """

    def __init__(self, recipe: CoreRecipe, phase: PhaseParams, device: torch.device, samples: Samples) -> None:
        self.state = LogState()
        self.loss_sum = torch.zeros((), device=device)
        self._phase, self._device, self._samples = phase, device, samples
        self._compile, self._batch_size = recipe.compile == "on", recipe.batch_at(phase.size)
        self._images = self._steps = 0
        self._clock, self._use = StepClock(device), ResourceMeter(device)
        devices.reset_peak_memory(device)
        self._started = self._step_started = time.perf_counter()
        self._setup_s = self._compile_s = 0.0
        self._compiled: set[tuple[int, ...]] = set()
        self._rate, self._unseen, self._unseen_s = 0.0, 0, 0.0

    def begin(self, images: int) -> None:
        """Everything is set up, and the first step begins.

        Args:
            images: training images of an epoch.
        """
        self._images, self._steps = images, steps_in_epoch(images, self._batch_size)
        self._setup_s = time.perf_counter() - self._started
        self.begin_step()

    def begin_step(self) -> None:
        """A step begins."""
        self._step_started = time.perf_counter()
        self._clock.begin()

    def see(self, step: Step, pixels: Tensor, targets: Tensor, images: Tensor) -> None:
        """Notes what the report shows of the first batches.

        Args:
            step: the current one.
            pixels: float32 [B, C, H, W] 0..255, before the last hook.
            targets: float32 [B, K].
            images: the network's input.
        """
        if self.state.epoch == 0 and step.index < SAMPLED_STEPS:
            self._samples.offer(pixels, targets)
            if step.index == 0:
                self.state.input = moments_of(images).to_json()

    def end_step(
        self, step: Step, loss: Tensor, images: Tensor, lr: float, memory: Accumulation, retried: bool
    ) -> None:
        """A step has ended.

        Args:
            step: which.
            loss: mean cross-entropy of its images, on the device; comparable whatever techniques add to it.
            images: the network's input.
            lr: its learning rate.
            memory: how it fitted into memory.
            retried: it was computed more than once to fit, so its time is not that of a step.

        Raises:
            Diverged: the loss is not finite.
        """
        state, count, size = self.state, len(images), int(images.shape[-1])
        self.loss_sum += loss * count
        state.epoch_images += count
        state.steps_at_size[str(size)] = state.steps_at_size.get(str(size), 0) + 1
        state.pixels += count * size**2
        state.micro_batch = memory.micro_batch
        state.accumulated += len(memory.parts()) > 1
        last = step.index + 1 == self._steps
        compiles = self._compile and tuple(images.shape) not in self._compiled
        waits = last or compiles or (step.index + 1) % CHECK_STEPS == 0
        if waits:
            check_loss(self.loss_sum, state.epoch, step.index)
            devices.synchronize(self._device)
            self.settle()
        self._time(count, compiles, waits, retried)
        if compiles:  # the first step with images of a shape
            self._compiled.add(tuple(images.shape))
        state.step = step.index + 1
        if last:
            self._end_epoch(lr)

    def settle(self) -> None:
        """Decides between the samples so far."""
        self.state.mixing = self._samples.settle(self.state.mixing)

    def _time(self, images: int, compiles: bool, waits: bool, retried: bool) -> None:
        """Adds the time of the step that has just ended."""
        state, seconds = self.state, time.perf_counter() - self._step_started
        step_ms = self._clock.end(seconds)
        if compiles:
            self._clock.discard_last()
            self._compile_s += seconds
            self._unseen, self._unseen_s = 0, 0.0
        else:
            state.epoch_s += seconds
            state.train_s += seconds
            self._unseen, self._unseen_s = self._unseen + images, self._unseen_s + seconds
            if retried:
                self._clock.discard_last()
            else:
                state.step_ms += step_ms
        if waits:
            state.step_ms += self._clock.collect()
        if self._unseen and (
            waits or self._device.type == "cpu"
        ):  # a GPU's work has ended only where it was waited for
            self._rate = self._unseen / max(self._unseen_s, 1e-9)
            self._unseen, self._unseen_s = 0, 0.0

    def _end_epoch(self, lr: float) -> None:
        state = self.state
        record = EpochRecord(
            epoch=self._phase.first_epoch + state.epoch,
            size=self._phase.size,
            loss=self.loss_sum.item() / state.epoch_images,
            lr=lr,
            seconds=state.epoch_s,
            images_per_s=state.epoch_images / max(state.epoch_s, 1e-9),
        )
        state.curve.append(record.to_json())
        state.epoch, state.step, state.epoch_images, state.epoch_s = state.epoch + 1, 0, 0, 0.0
        self.loss_sum.zero_()

    def progress(self) -> Progress:
        """How far the phase is; its throughput as measured where the device was waited for."""
        state, epochs = self.state, self._phase.epochs
        loss = f", loss {state.curve[-1]['loss']:.3f}" if state.curve else ""
        note = f"epoch {min(state.epoch + 1, epochs)} of {epochs}{loss}"
        done = state.epoch * self._images + state.epoch_images
        return Progress(done, epochs * self._images, images_per_s=self._rate, note=note)

    def result(self, phase: Phase, techniques: Sequence[Technique]) -> TrainResult:
        """The result of the phase, once it has ended."""
        state = self.state
        trained = self._images * self._phase.epochs
        return TrainResult(
            curve=[EpochRecord.from_json(record) for record in state.curve],
            steps=sum(state.steps_at_size.values()),
            batch_size=largest_batch(self._images, self._batch_size),
            steps_at_size=state.steps_at_size,
            pixels=state.pixels,
            step_ms=step_times(state.step_ms),
            images_per_s=round(trained / max(state.train_s + self._compile_s, 1e-9), 2),
            input=ChannelMoments.from_json(state.input) if state.input else None,
            techniques={technique.name: technique.describe() for technique in techniques},
            trained_parameters=sum(p.numel() for p in phase.model.parameters() if p.requires_grad),
            accumulated=Accumulated(micro_batch=state.micro_batch, steps=state.accumulated)
            if state.accumulated
            else None,
            **self._use.use().model_dump(),
        )

    def seconds(self) -> dict[str, float]:
        """Seconds by part."""
        return {"prepare": self._setup_s, "compile": self._compile_s, "train": self.state.train_s}


def step_times(step_ms: Sequence[float]) -> StepTimes:
    """Median and tails of the time of a step, the first step (warm-up) left out.

    Args:
        step_ms: milliseconds of each step.
    """
    steady = np.asarray(step_ms[1:] if len(step_ms) > 1 else step_ms or [0.0])
    median, p90, p99 = (round(float(value), 3) for value in np.percentile(steady, [50, 90, 99]))
    return StepTimes(first=round(step_ms[0], 3) if step_ms else 0.0, median=median, p90=p90, p99=p99)
