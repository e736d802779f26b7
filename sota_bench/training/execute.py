"""Runs one stage in a worker: hands it to the module of its kind. Torch is imported once it is needed, so that a worker
decodes images while torch is being imported."""

from __future__ import annotations

from sota_bench.stages.context import PrepareContext, StageContext
from sota_bench.stages.params import EvaluateParams, PrecomputeParams, PrepareParams, ProbeParams, TrainParams
from sota_bench.stages.protocol import RunContext, StageOutcome
from sota_bench.stages.stage import Stage

PRELOAD = ("sota_bench.training.train", "sota_bench.training.evaluate")
"""Imported by a worker from its start."""


def execute(stage: Stage, run: RunContext) -> StageOutcome:
    """Runs ``stage`` and leaves its files in ``run.workspace``.

    Args:
        stage: what to run.
        run: the folders of its parents, the workspace, the device and the progress callback.

    Raises:
        Diverged: the training left the finite numbers.
        PlanAgain: images turned out not to decode; their source leaves them out from now on.
    """
    params, context = stage.params, stage.context
    if isinstance(params, PrepareParams) and isinstance(context, PrepareContext):
        from sota_bench.data.prepare import prepare

        return prepare(params, context, run)
    if not isinstance(context, StageContext):
        raise TypeError(f"{stage.title}: a {stage.kind} stage needs a StageContext")
    if isinstance(params, TrainParams):
        from sota_bench.training.train import train

        return train(params, context, run)
    if isinstance(params, EvaluateParams):
        from sota_bench.training.evaluate import evaluate

        return evaluate(params, context, run)
    if isinstance(params, ProbeParams):
        from sota_bench.training.probe import probe

        return probe(params, context, run)
    if isinstance(params, PrecomputeParams):
        from sota_bench.training.precompute import precompute

        return precompute(params, context, run)
    raise TypeError(f"{stage.title}: no worker runs {type(params).__name__}")
