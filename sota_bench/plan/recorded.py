"""What a run was made with, so that its report can be rendered later: by other code, on another machine, without the
images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sota_bench.plan.environment import Environment
from sota_bench.stages.keys import UNKEYED_ROLES
from sota_bench.stages.stage import Stage
from sota_bench.stages.values import canonical

if TYPE_CHECKING:
    from sota_bench.plan.plan import Plan


def identities(stages: Mapping[str, Stage]) -> dict[str, str]:
    """Key -> what the stage and all before it ask for, whatever makes it.

    Args:
        stages: parents before children.
    """
    identity: dict[str, str] = {}
    for key, stage in stages.items():
        parents = {role: identity[parent] for role, parent in stage.parents.items() if role not in UNKEYED_ROLES}
        identity[key] = hashlib.sha256(canonical([stage.kind, stage.params, parents]).encode()).hexdigest()[:24]
    return identity


def plan_record(plan: Plan) -> dict[str, Any]:
    """What the ledger keeps of a plan, as JSON values."""
    environment, images = plan.environment, plan.images
    return {
        "keys": {asked: key for key, asked in identities(plan.stages).items()},
        "environment": {
            "device": environment.device,
            "about": dict(environment.identity),
            "versions": dict(environment.versions),
            "precision": environment.precision,
        },
        "matched": {cell: matching.to_json() for cell, matching in plan.grid.matched.items()},
        "images": {
            "source": images.source.spec,
            "manifest": images.manifest.digest,
            "size": images.size,
            "upsampled": images.upsampled,
            "cache": images.cache,
        },
    }


def environment_of(recorded: Mapping[str, Any]) -> Environment:
    """The environment of a recorded run."""
    values = recorded["environment"]
    return Environment(values["device"], values["about"], values["versions"], values["precision"])


def with_recorded_keys(plan: Plan, recorded: Mapping[str, Any]) -> Plan:
    """The plan with the keys under which a recorded run filed the same stages; stages new since then keep theirs."""
    recorded_keys = recorded.get("keys", {})
    keys = {key: recorded_keys.get(asked, key) for key, asked in identities(plan.stages).items()}
    stages = {
        keys[key]: replace(stage, key=keys[key], parents={role: keys[parent] for role, parent in stage.parents.items()})
        for key, stage in plan.stages.items()
    }
    trials = tuple(
        replace(
            trial,
            training=tuple(keys[key] for key in trial.training),
            computed=tuple(keys[key] for key in trial.computed),
            evaluations=tuple(replace(evaluation, key=keys[evaluation.key]) for evaluation in trial.evaluations),
        )
        for trial in plan.trials
    )
    return replace(plan, stages=stages, trials=trials)
