"""The study of the gate adds work to the training loop, so it has to find its place there."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType


def test_the_training_loop_has_one_line_before_which_work_is_added(imported: Callable[[str], ModuleType]) -> None:
    study = imported("gate_study")
    lines = (study.ROOT / study.STEP).read_text(encoding="utf-8").splitlines()
    assert len(study.anchors(lines)) == 1
