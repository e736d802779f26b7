"""One training phase, as one linear function that shows every hook where it happens."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sota_bench.grid.recipe import CoreRecipe, recipe_from
from sota_bench.randomness import derive, generator
from sota_bench.registry import instances
from sota_bench.stages.context import StageContext
from sota_bench.stages.params import TrainParams
from sota_bench.stages.protocol import RunContext, StageOutcome
from sota_bench.technique import Batch, Outputs, Step
from sota_bench.training import checkpoint
from sota_bench.training import device as devices
from sota_bench.training import optimizer as optimizers
from sota_bench.training.accumulation import Accumulation
from sota_bench.training.batches import batches_of
from sota_bench.training.checks import FirstResults, check_weights
from sota_bench.training.crop import random_resized_boxes
from sota_bench.training.decoded import decoded_subset
from sota_bench.training.hooks import Hooks
from sota_bench.training.images import Images
from sota_bench.training.log import PhaseLog
from sota_bench.training.partial import PartialCheckpoint
from sota_bench.training.phase import Phase
from sota_bench.training.samples import Samples
from sota_bench.training.start import start
from sota_bench.training.steps import PhaseSteps
from sota_bench.training.tracking import Trackers, trackers_of


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of ``-sum_k target_k log p_k``.

    Smoothed and mixed targets go in as they are, so smoothing and mixing compose exactly.

    Args:
        logits: float32 [B, K].
        targets: float32 [B, K], rows sum to 1.
    """
    return -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


class Gradients:
    """The closure of an optimizer step: the loss of the current batch, whose gradients it leaves in the parameters.

    Args:
        phase: the network.
        hooks: the techniques that change the loss.
        checks: of what they return.
        memory: the parts that a batch is computed in.
        recipe: precision, clipping and compilation.
        seed: of the trial.

    Attributes:
        cross_entropy: of the batch's logits and targets at the first call, a detached scalar on the device.
        retried: some call of the step ran out of memory and was computed again in smaller parts.
    """

    def __init__(
        self, phase: Phase, hooks: Hooks, checks: FirstResults, memory: Accumulation, recipe: CoreRecipe, seed: int
    ) -> None:
        self._phase, self._hooks, self._checks, self._memory = phase, hooks, checks, memory
        self._recipe, self._seed = recipe, seed
        self._parameters = list(phase.model.parameters())
        self._forward = torch.compile(phase.model) if recipe.compile == "on" else phase.model
        self._batch: tuple[Step, Tensor, Tensor, Tensor] | None = None
        self._calls = 0
        self.cross_entropy, self.retried = torch.zeros(()), False

    def prepare(self, step: Step, pixels: Tensor, inputs: Tensor, targets: Tensor) -> None:
        """Takes the batch of the next step.

        Args:
            step: where the training stands.
            pixels: float32 [B, C, H, W] 0..255, before the last hook.
            inputs: the network's input, in its memory layout.
            targets: float32 [B, K].
        """
        self._batch, self._calls, self.retried = (step, pixels, inputs, targets), 0, False

    def __call__(self) -> Tensor:
        """Computes loss and gradients at the current weights.

        Every call of a step has the same images, targets and dropout. Batch-norm statistics move at the first call
        alone: a technique that looks at the loss elsewhere, as sharpness-aware minimization does, leaves them as the
        plain step would.
        """
        assert self._batch is not None
        step, pixels, inputs, targets = self._batch
        with self._phase.statistics_kept() if self._calls else nullcontext():
            for attempt in self._memory.attempts(inputs):  # one, and more in smaller parts where memory runs out
                with attempt:
                    # Some backbones drop out by default.
                    torch.manual_seed(derive(self._seed, "dropout", step.epoch, step.index))
                    for parameter in self._parameters:
                        parameter.grad = None
                    logits = loss = total = plain = torch.zeros(
                        (), device=inputs.device
                    )  # no graph of a failed attempt
                    for part, share in self._memory.parts():
                        with devices.autocast(inputs.device, self._recipe.precision):
                            logits = self._forward(inputs[part])
                        logits = logits.float()
                        loss = cross_entropy(logits, targets[part])
                        plain = plain + share * loss.detach()
                        if self._hooks.loss:
                            outputs = Outputs(logits, targets[part], inputs[part], pixels[part], self._phase, step)
                            for technique in self._hooks.loss:  # EWC
                                loss = technique.loss(loss, outputs)
                                self._checks.loss(technique, loss)
                        loss = share * loss
                        total = total + loss.detach()
                        loss.backward()
        if self._recipe.gradient_clip:
            nn.utils.clip_grad_norm_(self._parameters, self._recipe.gradient_clip)
        self.retried |= self._memory.shrank
        if not self._calls:
            self.cross_entropy = plain
        self._calls += 1
        return total


def train(params: TrainParams, context: StageContext, run: RunContext) -> StageOutcome:
    """Trains one phase and leaves its checkpoint in the workspace.

    Args:
        params: the recipe, the phase, the images and the seed.
        context: the subset of the images, where pretrained weights lie, and how often the phase saves itself.
        run: the folders of ``data``, of ``checkpoint`` (the phase before) and of precompute stages by technique; the
            workspace, which survives a kill and holds ``partial.*`` while the phase runs; the device. Its progress
            callback may raise ``Stopped``, upon which a partial checkpoint is written.

    Raises:
        Diverged: the loss or a weight is not finite.
        ValueError: a technique returned what no training can use.
    """
    device, seed = torch.device(run.device), params.seed
    recipe = recipe_from(params.recipe, context.technique_files)
    techniques = instances(params.techniques, recipe, context.technique_files)
    log = PhaseLog(recipe, params.phase, device, Samples(run.workspace))
    data = decoded_subset(run.inputs["data"], context, params.data)
    images = data.images("train", device, recipe.in_chans)

    begun = start(params, context, run, recipe, techniques, len(data.classes))
    phase, hooks, checks = begun.phase, Hooks(techniques, seed), FirstResults()
    for technique in hooks.on_phase_start:  # freeze blocks, scale learning rates, look up statistics
        technique.on_phase_start(phase)
    optimizer = optimizers.create(recipe, phase, techniques)
    optimizers.load_state(optimizer, begun.moments)
    trackers = Trackers(trackers_of(params, context.technique_files), phase.model, begun.tracked)
    partial = PartialCheckpoint(run.workspace, context.checkpoint_s, phase.model, optimizer, techniques, trackers, log)
    partial.resume()
    memory = Accumulation(phase.model, log.state.micro_batch, context.accumulate)
    gradients = Gradients(phase, hooks, checks, memory, recipe, seed)
    steps = PhaseSteps(params, recipe, techniques, len(images), begun.steps)
    log.begin(len(images))

    for epoch in range(log.state.epoch, phase.epochs):
        order = generator(params.draws_order, "order", params.phase.first_epoch + epoch).permutation(len(images))
        batches = batches_of(order, recipe.batch_at(phase.size))
        phase.training_mode()
        for index in range(log.state.step if epoch == log.state.epoch else 0, len(batches)):
            step, positions = steps.step(epoch, index), batches[index]
            streams, lr = hooks.streams(step), steps.learning_rate(step)
            optimizers.set_learning_rate(optimizer, lr)
            for technique in hooks.on_step_start:
                technique.on_step_start(phase, step, streams[technique.name])

            size = phase.size
            for technique in hooks.draws_size:  # mixed sizes
                size = technique.image_size(phase, step, streams[technique.name]) or size
            pixels = augmented(images, positions, size, recipe, generator(seed, "augment", step.epoch, index))
            if index + 1 < len(batches):
                images.expect(batches[index + 1])
            labels = images.labels[torch.from_numpy(positions)]
            batch = Batch(images.image_ids[positions], labels.numpy())
            targets = F.one_hot(labels.to(device, non_blocking=True), len(data.classes)).float()
            for technique in hooks.on_targets:  # label smoothing
                given, targets = targets, technique.on_targets(targets, batch, streams[technique.name])
                checks.targets(technique, "on_targets", given, targets)
            for technique in hooks.on_batch(step):  # Mixup, CutMix
                given, given_pixels = targets, pixels
                pixels, targets = technique.on_batch(pixels, targets, batch, streams[technique.name])
                checks.images(technique, "on_batch", given_pixels, pixels)
                checks.targets(technique, "on_batch", given, targets)
            inputs = pixels
            for technique in hooks.on_input:  # normalization
                given, inputs = inputs, technique.on_input(inputs)
                checks.images(technique, "on_input", given, inputs)
            log.see(step, pixels, targets, inputs)

            gradients.prepare(step, pixels, inputs.contiguous(memory_format=begun.layout), targets)
            hooks.step(optimizer, gradients)  # by default gradients(), then optimizer.step()
            for technique in hooks.after_step:
                technique.after_step(phase, step)
            trackers.track(step)  # moving averages

            log.end_step(step, gradients.cross_entropy, inputs, lr, memory, gradients.retried)
            partial.report(run.progress)
            log.begin_step()

    phase.model.eval()
    check_weights(phase.model)
    files, taken = context.technique_files, steps.before + sum(log.state.steps_at_size.values())
    left = begun.checkpoint(params, files, data.classes, optimizer, techniques, trackers, taken)
    checkpoint.write(run.workspace, left)
    partial.remove()
    return StageOutcome(log.result(phase, techniques).to_json(), log.seconds(), devices.peak_memory_mb(device))


def augmented(images: Images, positions: np.ndarray, size: int, recipe: CoreRecipe, rng: np.random.Generator) -> Tensor:
    """Random resized crops, half of them mirrored: float32 [B, C, size, size], 0..255.

    Args:
        images: the training images.
        positions: int [B], which of them.
        size: pixels of both sides.
        recipe: the smallest crop, and whether images are mirrored.
        rng: draws crops and mirror images.
    """
    boxes = random_resized_boxes(images.heights[positions], images.widths[positions], recipe.crop_scale, rng)
    flip = (rng.random(len(positions)) < 0.5) & recipe.flip
    return images.batch(positions, boxes, flip, size)
