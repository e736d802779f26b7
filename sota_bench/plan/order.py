"""The order in which stages run: depth first, longest path first, so that checkpoints are needed for a short time and
the last stages to finish are short ones."""

from __future__ import annotations

from collections.abc import Mapping

from sota_bench.stages.params import EvaluateParams, PrecomputeParams, PrepareParams, ProbeParams, TrainParams
from sota_bench.stages.stage import Stage


def cost(stage: Stage) -> float:
    """Relative cost of a stage: pixels that pass through the network."""
    params = stage.params
    if isinstance(params, TrainParams):
        return 3.0 * stage.epochs * params.phase.size**2
    size = params.size if isinstance(params, PrepareParams | EvaluateParams | ProbeParams | PrecomputeParams) else None
    return 0.3 * (size or 0) ** 2


def order(stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """The stages in depth-first order from their roots; of several children the one with the longest path comes first,
    and of equals the one that was asked for first.

    Args:
        stages: key -> stage; parents are among them.

    Returns:
        The same, every stage after its parents.
    """
    children: dict[str, list[str]] = {key: [] for key in stages}
    for key, stage in stages.items():
        for parent in stage.parents.values():
            children[parent].append(key)
    longest: dict[str, float] = {}
    for key in reversed(_topological(stages, children)):
        longest[key] = cost(stages[key]) + max((longest[child] for child in children[key]), default=0.0)
    position = {key: index for index, key in enumerate(stages)}

    def last_is_next(keys: list[str]) -> list[str]:
        return sorted(keys, key=lambda key: (longest[key], -position[key]))

    ordered: dict[str, Stage] = {}
    roots = [key for key, stage in stages.items() if not stage.parents]
    waiting = last_is_next(roots)
    while waiting:
        key = waiting.pop()
        if key in ordered or any(parent not in ordered for parent in stages[key].parents.values()):
            continue
        ordered[key] = stages[key]
        waiting += last_is_next(children[key])
    return ordered


def _topological(stages: Mapping[str, Stage], children: Mapping[str, list[str]]) -> list[str]:
    missing = {key: len(set(stage.parents.values())) for key, stage in stages.items()}
    ready = [key for key, count in missing.items() if count == 0]
    sorted_keys: list[str] = []
    while ready:
        key = ready.pop()
        sorted_keys.append(key)
        for child in dict.fromkeys(children[key]):
            missing[child] -= 1
            if missing[child] == 0:
                ready.append(child)
    return sorted_keys
