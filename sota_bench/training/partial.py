"""Checkpoints inside a phase: what a phase that was stopped or killed is resumed from, to the same bits."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from sota_bench.files import write_text
from sota_bench.stages.protocol import Progress, Stopped
from sota_bench.technique import Technique
from sota_bench.training import checkpoint
from sota_bench.training import optimizer as optimizers
from sota_bench.training.log import LogState, PhaseLog
from sota_bench.training.tracking import Trackers

STATE = "partial.json"


class PartialCheckpoint:
    """Saves a running phase now and then, and when it is stopped.

    Args:
        workspace: folder of the stage, which survives a kill.
        every_s: seconds between two checkpoints.
        model: the network.
        optimizer: its optimizer.
        techniques: those that act.
        trackers: the weights that are kept beside the network's.
        log: where the phase stands.
    """

    def __init__(
        self,
        workspace: Path,
        every_s: float,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        techniques: Sequence[Technique],
        trackers: Trackers,
        log: PhaseLog,
    ) -> None:
        self._workspace, self._every_s, self._saved = workspace, every_s, time.perf_counter()
        self._model, self._optimizer, self._techniques = model, optimizer, techniques
        self._trackers, self._log = trackers, log

    def resume(self) -> None:
        """Takes back what was saved, if there is a whole checkpoint; draws go on where they stopped.

        A damaged one costs time, never a wrong number: the phase starts again.
        """
        saved = _read(self._workspace)
        if saved is None:
            return
        state, tensors = saved
        parts = checkpoint.nested(tensors)
        self._model.load_state_dict(parts["model"])
        optimizers.load_state(self._optimizer, parts.get("optimizer", {}))
        checkpoint.restore_techniques(self._techniques, checkpoint.nested(parts.get("technique", {})))
        self._trackers.load(checkpoint.nested(parts.get("tracked", {})))
        self._log.state = state
        self._log.loss_sum.copy_(parts["log"]["loss_sum"])

    def report(self, progress: Callable[[Progress], None]) -> None:
        """Says how far the phase is, and saves it where it is stopped or a while has passed.

        Raises:
            Stopped: the run is being stopped.
        """
        try:
            progress(self._log.progress())
        except Stopped:
            self.save()
            raise
        if time.perf_counter() - self._saved > self._every_s:
            self.save()
            self._saved = time.perf_counter()

    def save(self) -> None:
        """Writes tensors, then the state that names them: a kill in between leaves the older pair valid."""
        self._log.settle()
        state = self._log.state
        name = f"partial.{state.epoch}-{state.step}.safetensors"
        parts = {
            "model": self._model.state_dict(),
            "optimizer": optimizers.state_by_name(self._optimizer),
            "technique": checkpoint.flat({technique.name: technique.state() for technique in self._techniques}),
            "tracked": checkpoint.flat(self._trackers.tracked),
            "log": {"loss_sum": self._log.loss_sum},
        }
        checkpoint.write_tensors(self._workspace / name, checkpoint.flat(parts))
        with (self._workspace / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        body = {"tensors": name, "sha256": content, "state": asdict(state)}
        write_text(self._workspace / STATE, json.dumps({**body, "digest": _digest(body)}))
        for old in self._workspace.glob("partial.*.safetensors"):
            if old.name != name:
                old.unlink()

    def remove(self) -> None:
        """Removes what only a phase that is resumed would need."""
        for leftover in self._workspace.glob("partial.*"):
            leftover.unlink()


def _read(workspace: Path) -> tuple[LogState, dict[str, Tensor]] | None:
    if not (workspace / STATE).exists():
        return None
    try:
        body = json.loads((workspace / STATE).read_text())
        digest = body.pop("digest")
        content = (workspace / body["tensors"]).read_bytes()
        if digest != _digest(body) or hashlib.sha256(content).hexdigest() != body["sha256"]:
            return None
        return LogState(**body["state"]), load(content)
    except Exception:  # whatever a damaged file raises
        return None


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
