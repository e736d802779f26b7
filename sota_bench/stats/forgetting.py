"""Stability against plasticity: what a sequence of trainings kept, lost and gained, from a matrix of accuracies.

``R[i, j]`` is the accuracy on task (or at resolution) j after phase i. Average accuracy and backward transfer:
Lopez-Paz and Ranzato, "Gradient episodic memory" (GEM), NeurIPS 2017, equations 2 and 3. Forgetting: Chaudhry et al.,
"Riemannian walk for incremental learning", ECCV 2018, equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Forgetting:
    """Measures over a sequence of P phases and T tasks, in the units of the matrix (percentage points).

    Attributes:
        average: mean accuracy over all tasks after the last phase.
        backward_transfer: mean over earlier tasks of accuracy at the end minus accuracy when just learned; negative
            where something was forgotten. None where no task was learned before the last phase.
        forgetting: mean over earlier tasks of the best accuracy before the last phase minus accuracy at the end.
        stability: mean accuracy at the end over earlier tasks.
        plasticity: mean accuracy at the end over the tasks that the last phase taught.
        learning_accuracy: mean over tasks of the accuracy just after the phase that taught them.
        by_task: each earlier task's own forgetting, None for tasks that the last phase taught.
    """

    average: float
    backward_transfer: float | None
    forgetting: float | None
    stability: float | None
    plasticity: float | None
    learning_accuracy: float
    by_task: tuple[float | None, ...]


def forgetting(accuracy: ArrayLike, learned: Sequence[int] | None = None) -> Forgetting:
    """Measures of forgetting of one matrix.

    Args:
        accuracy: R [P, T], finite where it is read: the last row, and every task from its phase on.
        learned: phase that taught each task; by default task j is taught by phase j (then T == P).

    Raises:
        ValueError: for a matrix whose shape does not fit ``learned``, or an accuracy that is needed and not finite.
    """
    matrix = np.asarray(accuracy, dtype=float)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"accuracy must be a matrix [phases, tasks], not of shape {matrix.shape}")
    phases, tasks = matrix.shape
    taught = list(range(tasks)) if learned is None else list(learned)
    if len(taught) != tasks or not all(0 <= phase < phases for phase in taught):
        raise ValueError(f"learned must name one of {phases} phases for each of {tasks} tasks, not {taught}")
    needed = [matrix[phase:, task] for task, phase in enumerate(taught)]
    if not all(np.isfinite(column).all() for column in needed):
        raise ValueError("an accuracy from a task's own phase on is not finite")
    last = matrix[-1]
    earlier = [task for task in range(tasks) if taught[task] < phases - 1]
    newest = [task for task in range(tasks) if taught[task] == phases - 1]
    # The best of all phases before the last one, as in the paper: a task may be known before it is taught.
    lost = {task: float(np.nanmax(matrix[:-1, task]) - last[task]) for task in earlier}
    just_learned = np.array([matrix[phase, task] for task, phase in enumerate(taught)])
    return Forgetting(
        average=float(last.mean()),
        backward_transfer=float((last - just_learned)[earlier].mean()) if earlier else None,
        forgetting=float(np.mean(list(lost.values()))) if earlier else None,
        stability=float(last[earlier].mean()) if earlier else None,
        plasticity=float(last[newest].mean()) if newest else None,
        learning_accuracy=float(just_learned.mean()),
        by_task=tuple(lost.get(task) for task in range(tasks)),
    )
