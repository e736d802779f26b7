"""One training phase, as one linear function that shows every hook where it happens."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sota_bench.grid.recipe import CoreRecipe, recipe_from
from sota_bench.randomness import derive, generator
from sota_bench.registry import instances
from sota_bench.stages.context import StageContext
from sota_bench.stages.params import PhaseParams, TrainParams
from sota_bench.stages.protocol import Diverged, Progress, RunContext, StageOutcome, Stopped
from sota_bench.stages.results import Accumulated, ChannelMoments, EpochRecord, StepTimes, TrainResult
from sota_bench.technique import Technique
from sota_bench.training import backbone, checkpoint, partial
from sota_bench.training import device as devices
from sota_bench.training import optimizer as optimizers
from sota_bench.training.accumulation import Accumulation
from sota_bench.training.clock import ResourceMeter, StepClock
from sota_bench.training.crop import random_resized_boxes
from sota_bench.training.images import Images
from sota_bench.training.partial import Position
from sota_bench.training.phase import Phase
from sota_bench.training.prepared import prepared
from sota_bench.training.small_maps import patch_small_maps

SAMPLES = 8
"""Images of one batch that are kept for the report."""

SAMPLED_STEPS = 16
"""Steps of the first epoch among which that batch is chosen: the one whose targets are mixed most, to show mixing."""

CHECK_STEPS = 25
"""Steps between two looks at the loss: each look makes a GPU wait."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of ``-sum_k target_k log p_k``.

    Smoothed and mixed targets go in as they are, so smoothing and mixing compose exactly.

    Args:
        logits: [B, K]; computed in float32 whatever the network's precision.
        targets: float32 [B, K], rows sum to 1.
    """
    return -(targets * F.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def steps_in_epoch(images: int, batch: int) -> int:
    """Optimizer steps of one epoch: the last, smaller one counts unless it is a single image (batch norm needs two)."""
    full, rest = divmod(images, batch)
    return max(1, full + (rest >= 2))


def train(params: TrainParams, context: StageContext, run: RunContext) -> StageOutcome:
    """Trains one phase and leaves its checkpoint in the workspace.

    Args:
        params: the recipe, the phase, the images and the seed.
        context: the subset of the images, where pretrained weights lie, and how often the phase saves itself.
        run: the folders of ``data``, of ``checkpoint`` (the phase before) and of precompute stages by technique; the
            workspace, which survives a kill and holds ``partial.*`` while the phase runs; the device. Its progress
            callback may raise ``Stopped``, upon which a partial checkpoint is written.

    Raises:
        Diverged: the loss is not finite.
    """
    device, inputs, workspace = torch.device(run.device), run.inputs, run.workspace
    recipe = recipe_from(params.recipe, context.technique_files)
    techniques = instances(params.techniques, recipe, context.technique_files)
    setup, usage = time.perf_counter(), ResourceMeter(device)
    devices.reset_peak_memory(device)
    seed, about = params.seed, params.phase
    data = prepared(inputs["data"], context, params.data)
    images = data.images("train", device, recipe.in_chans)
    classes, size, precision = len(data.classes), about.size, recipe.precision

    # The network: new, or as the phase before left it; a new task gets a new head.
    before = checkpoint.read(inputs["checkpoint"]) if "checkpoint" in inputs else None
    model, built, earlier_head = _network(recipe, techniques, before, params, classes, context.weights)
    layout = devices.memory_format(model, recipe.layout)
    model.to(device).to(memory_format=layout)
    patch_small_maps(model)
    backbone.classify_in_fp32(model)
    checkpoint.restore_techniques(techniques, before.techniques if before else {})
    computed = {
        technique.name: load_file(str(inputs[technique.name] / "computed.safetensors"), device=str(device))
        for technique in techniques
        if technique.name in inputs
    }
    travelled = before.techniques if before else {}
    for technique in techniques:  # statistics that came with the weights stay, whatever data the weights go on with
        wanted = technique.precompute
        if wanted and wanted.source == "data" and technique.name in computed and technique.name not in travelled:
            technique.load_state(computed[technique.name])
    start = _anchors(model, before, params.task) if about.rise else {}
    phase = Phase(size, about.epochs, about.rise, about.earlier_sizes, model, start, computed)
    for technique in techniques:
        technique.on_phase_start(phase)  # freeze blocks, scale learning rates

    optimizer = optimizers.create(recipe, phase)
    if before is not None and recipe.optimizer_at_switch == "keep":
        new = _new_parameters(model, before, params.task)
        kept = {key: value for key, value in before.optimizer.items() if key.rpartition("/")[0] not in new}
        optimizers.load_state(optimizer, kept)
    loss_sum = torch.zeros((), device=device)
    at = partial.resume(workspace, model, optimizer, techniques, loss_sum)
    memory = Accumulation(model, at.micro_batch, context.accumulate)
    forward = torch.compile(model) if recipe.compile == "on" else model
    mixing = _turn_takers(techniques)
    batch = recipe.batch_at(size)
    steps = steps_in_epoch(len(images), batch)
    offset, total = _schedule_span(recipe, params, len(images), steps)
    setup_s, compile_s, saved = time.perf_counter() - setup, 0.0, time.perf_counter()
    timer, compiled = StepClock(device), set[tuple[int, ...]]()
    step_started = time.perf_counter()
    timer.begin()

    for epoch in range(at.epoch, phase.epochs):
        clock = about.first_epoch + epoch
        order = generator(seed, "order", clock).permutation(len(images))
        phase.training_mode()
        for step in range(at.step if epoch == at.epoch else 0, steps):
            position = offset + epoch * steps + step
            rate = optimizers.learning_rate(recipe.schedule, position, total, recipe.lr, recipe.warmup)
            optimizers.set_learning_rate(optimizer, rate)

            positions = order[step * batch : (step + 1) * batch]
            step_size = size
            draws = {technique.name: generator(seed, technique.name, clock, step) for technique in techniques}
            for technique in techniques:  # mixed sizes
                step_size = technique.image_size(phase, draws[technique.name]) or step_size
            pixels = _augmented(images, positions, step_size, recipe, generator(seed, "augment", clock, step))
            labels = images.labels[torch.from_numpy(positions)].to(device, non_blocking=True)
            targets = F.one_hot(labels, classes).float()
            for technique in techniques:  # label smoothing
                targets = technique.on_targets(targets)
            turn = _whose_turn(mixing, generator(seed, "turn", clock, step))
            for technique in techniques:  # Mixup, CutMix
                if technique.alternates is None or technique in turn:
                    pixels, targets = technique.on_batch(pixels, targets, draws[technique.name])
            if epoch == 0 and step < SAMPLED_STEPS:
                at.mixed = _keep_samples(workspace, pixels, targets, at.mixed)
            for technique in techniques:  # normalization
                pixels = technique.on_input(pixels)
            if epoch == step == 0:
                at.input = _moments(pixels)
            pixels = pixels.contiguous(memory_format=layout)

            for attempt in memory.attempts(pixels):  # one, and more in smaller parts where memory runs out
                with attempt:
                    torch.manual_seed(derive(seed, "dropout", clock, step))  # some backbones drop out by default
                    logits = loss = data_loss = torch.zeros((), device=device)  # lets go of a failed attempt's graph
                    for part, share in memory.parts():
                        with devices.autocast(device, precision):
                            logits = forward(pixels[part])
                        loss = share * cross_entropy(logits, targets[part])
                        data_loss = data_loss + loss.detach()
                        if part.stop == len(pixels):  # once a step
                            for technique in techniques:  # EWC
                                term = technique.penalty(phase)
                                loss = loss if term is None else loss + term
                        loss.backward()
            if recipe.gradient_clip:
                nn.utils.clip_grad_norm_(phase.model.parameters(), recipe.gradient_clip)
            optimizer.step()
            optimizer.zero_grad()

            loss_sum += data_loss * len(positions)  # comparable whatever is added to it
            at.loss_count += len(positions)
            at.epoch_images += len(positions)
            at.sizes_drawn[str(step_size)] = at.sizes_drawn.get(str(step_size), 0) + 1
            at.pixels += len(positions) * step_size**2
            at.micro_batch = memory.micro_batch
            at.accumulated += len(memory.parts()) > 1
            last = step + 1 == steps
            compiles = recipe.compile == "on" and tuple(pixels.shape) not in compiled
            synchronous = last or compiles or (step + 1) % CHECK_STEPS == 0
            if synchronous:
                _check_finite(loss_sum, epoch, step)
                devices.synchronize(device)
            now = time.perf_counter()
            spent = now - step_started
            step_ms = timer.end(spent)
            if compiles:  # the first step with images of a shape
                compiled.add(tuple(pixels.shape))
                timer.discard_last()
                compile_s += spent
            else:
                at.epoch_s += spent
                at.train_s += spent
                if memory.shrank:  # its time is that of several attempts
                    timer.discard_last()
                else:
                    at.step_ms += step_ms
            if synchronous:
                at.step_ms += timer.collect()
            at.epoch, at.step = epoch, step + 1
            if last:
                at.curve.append(_epoch_record(at, about, epoch, loss_sum.item(), rate))
                at.epoch, at.step, at.loss_count, at.epoch_s, at.epoch_images = epoch + 1, 0, 0, 0.0, 0
                loss_sum.zero_()
            try:
                run.progress(_progress(at, about, epoch, steps, batch, len(images), spent))
            except Stopped:
                partial.save(workspace, model, optimizer, techniques, loss_sum, at)
                raise
            if now - saved > context.checkpoint_s:
                partial.save(workspace, model, optimizer, techniques, loss_sum, at)
                saved = time.perf_counter()
            step_started = time.perf_counter()
            timer.begin()

    phase.model.eval()
    _check_weights(model)
    source_size, source = backbone.untrained_source(model) or (size, {})
    checkpoint.write(
        workspace,
        {
            "recipe": dict(params.recipe),
            "techniques": [technique.name for technique in techniques],
            "size": size,
            "source_size": source_size,
            "sizes": list(dict.fromkeys([*about.earlier_sizes, size])),
            "classes": data.classes,
            "task": params.task,
            "backbone": built,
            "seed": seed,
        },
        model,
        optimizers.state_by_name(optimizer),
        {technique.name: technique.state() for technique in techniques},
        earlier_head,
        source,
    )
    partial.remove(workspace)
    result = TrainResult(
        curve=[EpochRecord.from_json(record) for record in at.curve],
        steps=sum(at.sizes_drawn.values()),
        batch_size=batch,
        steps_at_size=at.sizes_drawn,
        pixels=at.pixels,
        step_ms=_tail(at.step_ms),
        images_per_s=round(len(images) * phase.epochs / max(at.train_s + compile_s, 1e-9), 2),
        input=ChannelMoments.from_json(at.input) if at.input else None,
        techniques={technique.name: technique.describe() for technique in techniques},
        trained_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        accumulated=Accumulated(micro_batch=at.micro_batch, steps=at.accumulated) if at.accumulated else None,
        **usage.use().model_dump(),
    )
    seconds = {"prepare": setup_s, "compile": compile_s, "train": at.train_s}
    return StageOutcome(result.to_json(), seconds, devices.peak_memory_mb(device))


def _network(
    recipe: CoreRecipe,
    techniques: Sequence[Technique],
    before: checkpoint.Checkpoint | None,
    params: TrainParams,
    classes: int,
    weights: str,
) -> tuple[nn.Module, dict[str, Any], dict[str, Tensor]]:
    """The network at this phase's size, how it was built, and the head of the task before (empty if there is none)."""
    size, seed = params.phase.size, params.seed
    if before is None:
        return *backbone.create(recipe, techniques, classes, size, seed, weights), {}
    about = before.about
    name, arguments = about["backbone"]["name"], dict(about["backbone"]["arguments"])
    for technique in techniques:  # such as a network that takes the size of each step
        arguments.update(technique.backbone_arguments(name, backbone.family_of(name)))
    built = {"name": name, "arguments": arguments}
    model = backbone.rebuild(built, len(about["classes"]), int(about["size"]))
    model.load_state_dict(before.model)
    if before.source:
        backbone.resampled_from(model, about["source_size"], before.source)
    backbone.resize(model, size)
    if about["task"] == params.task:
        return model, built, before.earlier_head
    head = {name: before.model[name] for name in backbone.classifier_names(model)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init", 1))
        model.reset_classifier(classes)  # type: ignore[operator]
    return model, built, head


def _anchors(model: nn.Module, before: checkpoint.Checkpoint | None, task: str) -> dict[str, Tensor]:
    """Copies of the parameters as the phase before left them; the head of a new task was not there."""
    new = _new_parameters(model, before, task)
    return {name: value.detach().clone() for name, value in model.named_parameters() if name not in new}


def _new_parameters(model: nn.Module, before: checkpoint.Checkpoint | None, task: str) -> set[str]:
    """Names of the head of a new task: nothing of the phase before belongs to it, whatever its shape."""
    return set(backbone.classifier_names(model)) if before is not None and before.about["task"] != task else set()


def _schedule_span(recipe: CoreRecipe, params: TrainParams, images: int, steps: int) -> tuple[int, int]:
    """First step and number of steps of the learning-rate schedule that this phase is part of."""
    span = params.rate_span
    if span is None:
        return 0, params.phase.epochs * steps
    lengths = [epochs * steps_in_epoch(images, recipe.batch_at(size)) for size, epochs in span.phases]
    return sum(lengths[: span.index]), sum(lengths)


def _augmented(
    images: Images, positions: np.ndarray, size: int, recipe: CoreRecipe, rng: np.random.Generator
) -> Tensor:
    """Random resized crops, half of them mirrored: float32 [B, C, size, size], 0..255."""
    boxes = random_resized_boxes(images.heights[positions], images.widths[positions], recipe.crop_scale, rng)
    flip = (rng.random(len(positions)) < 0.5) & recipe.flip
    return images.batch(positions, boxes, flip, size)


def _turn_takers(techniques: Sequence[Technique]) -> dict[str, list[Technique]]:
    groups: dict[str, list[Technique]] = {}
    for technique in techniques:
        if technique.alternates is not None:
            groups.setdefault(technique.alternates, []).append(technique)
    return groups


def _whose_turn(groups: Mapping[str, list[Technique]], rng: np.random.Generator) -> list[Technique]:
    """Of each group that takes turns, the one whose turn it is (timm switches Mixup and CutMix so, per batch)."""
    return [members[int(rng.integers(len(members)))] for members in groups.values()]


def _moments(pixels: Tensor) -> dict[str, list[float]]:
    """Mean and standard deviation per channel of what the network saw."""
    return {
        "mean": [round(value, 4) for value in pixels.mean(dim=(0, 2, 3)).tolist()],
        "std": [round(value, 4) for value in pixels.std(dim=(0, 2, 3), unbiased=False).tolist()],
    }


def _keep_samples(workspace: Path, pixels: Tensor, targets: Tensor, before: float) -> float:
    """Keeps the first images of the batch whose targets are mixed most so far; returns how much that is (0 to 1)."""
    mixed = float(1 - targets[:SAMPLES].amax(dim=1).mean())
    if mixed <= before:
        return before
    shown = pixels[:SAMPLES].round().clamp(0, 255).to("cpu", torch.uint8).contiguous()
    samples = {"images": shown, "targets": targets[:SAMPLES].cpu().contiguous()}
    save_file(samples, str(workspace / "samples.safetensors"))
    return mixed


def _check_finite(loss_sum: Tensor, epoch: int, step: int) -> None:
    if not torch.isfinite(loss_sum).item():
        raise Diverged(f"the loss is {loss_sum.item()} in epoch {epoch + 1}, by step {step + 1}; try a smaller lr")


def _check_weights(model: nn.Module) -> None:
    """The last step may spoil the weights after the last loss has been seen."""
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all().item():
            raise Diverged(f"{name} is not finite after the last step; try a smaller lr")


def _epoch_record(at: Position, about: PhaseParams, epoch: int, loss_sum: float, rate: float) -> dict[str, float]:
    seconds = max(at.epoch_s, 1e-9)
    return {
        "epoch": about.first_epoch + epoch,
        "size": about.size,
        "loss": loss_sum / max(at.loss_count, 1),
        "lr": rate,
        "seconds": at.epoch_s,
        "images_per_s": at.epoch_images / seconds,
    }


def _progress(
    at: Position, about: PhaseParams, epoch: int, steps: int, batch: int, images: int, spent: float
) -> Progress:
    done = at.epoch * images + min(at.step * batch, images)
    loss = f", loss {at.curve[-1]['loss']:.3f}" if at.curve else ""
    note = f"epoch {min(epoch + 1, about.epochs)} of {about.epochs}{loss}"
    return Progress(done, about.epochs * images, images_per_s=batch / max(spent, 1e-9), note=note)


def _tail(step_ms: Sequence[float]) -> StepTimes:
    """Median and tails of the time of a step, in milliseconds, the first step (warm-up) left out."""
    steady = np.asarray(step_ms[1:] if len(step_ms) > 1 else step_ms or [0.0])
    median, p90, p99 = np.percentile(steady, [50, 90, 99])
    first = round(step_ms[0], 3) if step_ms else 0.0
    return StepTimes(first=first, median=round(float(median), 3), p90=round(float(p90), 3), p99=round(float(p99), 3))
