"""``compile = "on"``: what one trial of a worker has compiled, the next one uses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lab import Lab


def test_a_second_trial_compiles_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_it, graphs = torch.compile, list[Any]()

    def counted(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda model: compile_it(model, backend=counted))
    torch.compiler.reset()
    recipe = 'resize = "16x1"\nbatch_size = 10\ncompile = "on"'  # 48 images: the last step has another shape
    lab.run(recipe, seeds=(0,))
    first = len(graphs)
    assert first >= 1
    done = lab.run(recipe, seeds=(0, 1))
    assert len(done.plan.trials) == 2
    assert len(graphs) == first
