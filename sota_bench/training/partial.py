"""Checkpoints inside a phase: what a phase that was stopped or killed goes on from, to the same bits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from sota_bench.files import write_text
from sota_bench.technique import Technique
from sota_bench.training import checkpoint
from sota_bench.training import optimizer as optimizers

POSITION = "partial.json"


@dataclass
class Position:
    """Where a phase stands; what a resumed phase goes on from, beside the tensors."""

    epoch: int = 0
    step: int = 0
    loss_count: int = 0
    epoch_s: float = 0.0
    epoch_images: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    train_s: float = 0.0
    mixed: float = -1.0
    sizes_drawn: dict[str, int] = field(default_factory=dict)
    pixels: int = 0
    input: dict[str, list[float]] = field(default_factory=dict)
    micro_batch: int = 0
    accumulated: int = 0


def save(
    workspace: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    techniques: Sequence[Technique],
    loss_sum: Tensor,
    at: Position,
) -> None:
    """Writes tensors, then the position that names them: a kill in between leaves the older pair valid."""
    name = f"partial.{at.epoch}-{at.step}.safetensors"
    tensors = {f"model/{key}": value for key, value in model.state_dict().items()}
    tensors |= {f"optimizer/{key}": value for key, value in optimizers.state_by_name(optimizer).items()}
    tensors |= {
        f"technique/{technique.name}/{key}": value
        for technique in techniques
        for key, value in technique.state().items()
    }
    checkpoint.write_tensors(workspace / name, {**tensors, "loss_sum": loss_sum})
    with (workspace / name).open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    body = {"tensors": name, "sha256": content, "at": asdict(at)}
    write_text(workspace / POSITION, json.dumps({**body, "digest": _digest(body)}))
    for old in workspace.glob("partial.*.safetensors"):
        if old.name != name:
            old.unlink()


def resume(
    workspace: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    techniques: Sequence[Technique],
    loss_sum: Tensor,
) -> Position:
    """Takes back a partial checkpoint, if there is a whole one; its draws go on where they stopped.

    A damaged one costs time, never a wrong number: the phase starts again.
    """
    found = _read(workspace)
    if found is None:
        return Position()
    at, tensors = found
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "technique": {}}
    for key, value in tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = value
    model.load_state_dict(parts["model"])
    optimizers.load_state(optimizer, parts["optimizer"])
    for technique in techniques:
        prefix = f"{technique.name}/"
        state = {key.removeprefix(prefix): v for key, v in parts["technique"].items() if key.startswith(prefix)}
        if state:
            technique.load_state(state)
    loss_sum.copy_(tensors["loss_sum"])
    return at


def remove(workspace: Path) -> None:
    """Removes what only a phase that goes on would need."""
    for leftover in workspace.glob("partial.*"):
        leftover.unlink()


def _read(workspace: Path) -> tuple[Position, dict[str, Tensor]] | None:
    if not (workspace / POSITION).exists():
        return None
    try:
        body = json.loads((workspace / POSITION).read_text())
        digest = body.pop("digest")
        content = (workspace / body["tensors"]).read_bytes()
        if digest != _digest(body) or hashlib.sha256(content).hexdigest() != body["sha256"]:
            return None
        return Position(**body["at"]), load(content)
    except Exception:  # whatever a damaged file raises
        return None


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
