"""The combination of network, size, batch and techniques that decides how long a stage takes per image."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sota_bench.plan.plan import Plan
from sota_bench.registry import techniques
from sota_bench.stages.params import (
    EvaluateParams,
    PrecomputeParams,
    PrepareParams,
    ProbeParams,
    RecipeSettings,
    TrainParams,
)
from sota_bench.stages.stage import Stage
from sota_bench.stages.values import Json, canonical
from sota_bench.technique import ShapesNetwork, Technique, TracksWeights

FREE = (
    "lr", "weight_decay", "schedule", "schedule_span", "warmup", "optimizer_at_switch", "flip", "batch_size",
    "batch_sizes", "eval_batch_size",
)  # fmt: skip
"""Settings that change what a step computes and not how long it takes, and those that a combination holds in another
form."""

SWITCHES = ("gradient_clip", "drop_path", "dropout")
"""Settings that take the same time at every value except 0."""


@dataclass(frozen=True, eq=False)
class Combination:
    """One combination.

    Attributes:
        kind: of the stage.
        group: what has to be equal for the times of techniques to add up: network, size, batch, precision, machine and
            code; JSON values.
        features: technique -> its settings as text; each adds a time of its own.
    """

    kind: str
    group: Mapping[str, Json]
    features: Mapping[str, str]

    @cached_property
    def group_name(self) -> str:
        """A text that is equal for combinations of the same group."""
        return canonical([self.kind, self.group])

    @cached_property
    def name(self) -> str:
        """SHA-256 in hex, which names the calibration's file."""
        return hashlib.sha256(canonical([self.kind, self.group, self.features]).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Combination) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


class Combinations:
    """The combinations of one plan.

    Args:
        plan: the plan.
        workers: how many stages run at once: they share the memory's bandwidth and the caches.
    """

    def __init__(self, plan: Plan, workers: int) -> None:
        self.plan, self.workers = plan, workers
        self._techniques = techniques(plan.grid.techniques)
        self._by_key: dict[str, Combination] = {}
        self._modules = {technique.__module__ for technique in self._techniques.values()}
        self._fields = {name: _fields(technique) for name, technique in self._techniques.items()}
        self._owned = {field for fields in self._fields.values() for field in fields}

    def of(self, stage: Stage) -> Combination:
        """The combination of a stage of the plan."""
        if stage.key not in self._by_key:
            self._by_key[stage.key] = self._make(stage)
        return self._by_key[stage.key]

    def images(self, stage: Stage, split: str) -> int:
        """Images of one split that a stage reads."""
        return self.plan.images.subset(stage.choice).sizes()[split]

    def batch(self, stage: Stage) -> int:
        """Images of a step of a training stage, no more than there are. (Spread evenly over the steps they make it
        smaller, which hardly changes the time per image.)"""
        return min(int(str(recipe_of(stage)["batch_size"])), self.images(stage, "train"))

    def _make(self, stage: Stage) -> Combination:
        own = self._modules if stage.kind == "train" else ()
        params, made_with = stage.params, stage.made_with
        code = {module: digest for module, digest in made_with.code.items() if module not in own}
        machine: dict[str, Json] = {"software": made_with.software, "decoder": made_with.decoder}
        machine |= {"device": made_with.device} if made_with.device else {}
        group: dict[str, Json] = {**machine, "code": code, "workers": self.workers}
        group |= {} if self.plan.images.cache == "pixels" else {"cache": self.plan.images.cache}
        if isinstance(params, PrepareParams):
            source = self.plan.images.source.spec
            return Combination("prepare", group | {"source": source, "size": params.size}, {})
        group |= {"stored": self.plan.images.size, "settings": self._settings(stage)}
        group |= {"technique": params.technique} if isinstance(params, PrecomputeParams) else {}
        group["classes"] = len(self.plan.images.subset(stage.choice).classes)
        if isinstance(params, TrainParams):
            group["size"] = params.phase.size
        elif isinstance(params, EvaluateParams | ProbeParams | PrecomputeParams) and params.size is not None:
            group["size"] = params.size
        features: dict[str, str] = {}
        if stage.kind == "train":
            group |= {"batch": self.batch(stage), "network": self._network(stage)}
            features = {name: text for name, text in self._features(stage).items() if not self._shapes_network(name)}
        elif "checkpoint" in stage.parents:
            group["network"] = self._network(self._parent(stage))
            features = self._features(stage)
        return Combination(stage.kind, group, features)

    def _parent(self, stage: Stage) -> Stage:
        return self.plan.stages[stage.parents["checkpoint"]]

    def _settings(self, stage: Stage) -> dict[str, Json]:
        """The core's settings that may cost time."""
        is_precompute = stage.kind not in ("train", "evaluate")  # its settings are a technique's own
        left_out = {*FREE, "backbone", *(() if is_precompute else self._owned)}
        settings = {name: value for name, value in recipe_of(stage).items() if name not in left_out}
        return settings | {name: bool(settings[name]) for name in SWITCHES if name in settings}

    def _network(self, stage: Stage) -> dict[str, Json]:
        """The backbone of a training stage and the techniques that shape it."""
        recipe = recipe_of(stage)
        network: dict[str, Json] = {name: recipe[name] for name in ("backbone", "in_chans")}
        network |= {name: bool(recipe[name]) for name in ("dropout", "drop_path")}
        return network | {name: text for name, text in self._features(stage).items() if self._shapes_network(name)}

    def _shapes_network(self, name: str) -> bool:
        return issubclass(self._techniques[name], ShapesNetwork)

    def _features(self, stage: Stage) -> dict[str, str]:
        """The techniques that act in a stage, with their settings and code as text."""
        recipe, params, features = recipe_of(stage), stage.params, dict[str, str]()
        for name in params.techniques if isinstance(params, TrainParams | EvaluateParams) else ():
            technique = self._techniques[name]
            if issubclass(technique, TracksWeights):  # which weights are judged costs no time
                continue
            settings: dict[str, Json] = {field: recipe[field] for field in self._fields[name] if field in recipe}
            if technique.applies_to == "rise" and isinstance(params, TrainParams):
                settings["earlier sizes"] = params.phase.earlier_sizes
            features[name] = canonical([settings, stage.made_with.code.get(technique.__module__, "")])
        if isinstance(params, TrainParams):
            trackers = Counter(tracker.technique for tracker in params.trackers or ())
            features |= {name: f"{count} tracked" for name, count in trackers.items()}
        return features


def recipe_of(stage: Stage) -> RecipeSettings:
    """The recipe settings that decide a stage; none for a stage that decodes images."""
    params = stage.params
    return params.recipe if isinstance(params, TrainParams | EvaluateParams | ProbeParams | PrecomputeParams) else {}


def _fields(technique: type[Technique]) -> list[str]:
    return sorted({technique.field, *technique.settings_type.model_fields})
