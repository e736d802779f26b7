"""The stages of a plan, each made once under its key, and the parts that many stages have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from sota_bench.grid.grid import Grid
from sota_bench.grid.recipe import CoreRecipe, fields_of
from sota_bench.plan.code import code_of
from sota_bench.plan.environment import Environment
from sota_bench.plan.images import GridImages
from sota_bench.stages.context import ImageChoice, PrepareContext, StageContext
from sota_bench.stages.keys import CanonicalTexts, stage_key
from sota_bench.stages.params import ImageSelection, RecipeSettings, StageParams
from sota_bench.stages.stage import MadeWith, Stage
from sota_bench.stages.values import Json, canonical
from sota_bench.technique import Scope, Technique

NOT_IN_TRAINING = {"resize", "batch_size", "batch_sizes", "weights", "upsample", "schedule_span"}
"""Core fields that reach a training stage in another form: as its phase, its own batch size, or a digest."""


class StageBuilder:
    """Makes the stages of one grid.

    Args:
        grid: the question.
        environment: where it will run.
        images: what it runs on.
        manifest_file: where workers will find the manifest.

    Attributes:
        stages: key -> stage, in the order in which they were asked for.
        users: key -> the trials that need the stage.
        prepare: key of the stage that decodes the images; "" until it was added.
    """

    def __init__(self, grid: Grid, environment: Environment, images: GridImages, manifest_file: Path) -> None:
        self.grid, self.environment, self.images, self.manifest_file = grid, environment, images, manifest_file
        self.texts = CanonicalTexts()
        self.stages: dict[str, Stage] = {}
        self.users: dict[str, dict[str, None]] = {}
        self.prepare = ""
        decoded_with = canonical([code_of("prepare", ()), environment.software_of("prepare")])
        self._decoder = hashlib.sha256(decoded_with.encode()).hexdigest()[:16]
        self._settings: dict[tuple[int, frozenset[str]], RecipeSettings] = {}
        self._selections: dict[tuple[ImageChoice, str], ImageSelection] = {}
        self._made_with: dict[tuple[str, tuple[str, ...], bool], MadeWith] = {}
        self._contexts: dict[tuple[ImageChoice, str], StageContext] = {}

    def add(
        self,
        kind: str,
        params: StageParams,
        parents: Mapping[str, str],
        title: str,
        trials: Iterable[str],
        made_with: MadeWith,
        context: PrepareContext | StageContext,
        epochs: int = 0,
    ) -> str:
        """The key of a stage, which is made if no other trial has asked for it; ``trials`` need it."""
        key = stage_key(kind, params, made_with, parents, self.texts)
        if key not in self.stages:
            self.stages[key] = Stage(key, kind, params, dict(parents), title, made_with, context, (), epochs)
        self.users.setdefault(key, {}).update(dict.fromkeys(trials))
        return key

    def made_with(
        self, kind: str, techniques: Sequence[type[Technique]] = (), computes_on_device: bool = True
    ) -> MadeWith:
        """The code, software and device of a stage; the device only where it decides the result."""
        modules = tuple(technique.__module__ for technique in techniques)
        name = kind, modules, computes_on_device
        if name not in self._made_with:
            made_with = MadeWith(
                code_of(kind, modules),
                self.environment.software_of(kind),
                self.environment.identity if computes_on_device else None,
                None if kind == "prepare" else self._decoder,
            )
            self._made_with[name] = self.texts.shared(made_with)
        return self._made_with[name]

    def settings(self, recipe: CoreRecipe, names: frozenset[str]) -> RecipeSettings:
        """Recipe fields as JSON values, with what ``auto`` means here."""
        name = id(recipe), names  # the grid holds its recipes, so no other gets this id
        if name not in self._settings:
            values: dict[str, Json] = dict(recipe.model_dump(mode="json", include=set(names)))
            if "precision" in values:
                values["precision"] = self.precision(recipe)
            self._settings[name] = self.texts.shared(values)
        return self._settings[name]

    def precision(self, recipe: CoreRecipe) -> str:
        """The precision of a recipe, with what ``auto`` means here."""
        return self.environment.precision if recipe.precision == "auto" else recipe.precision

    def choice(self, recipe: CoreRecipe, task: str, seed: int) -> ImageChoice:
        """The settings that select the images of a recipe for a task, under one seed of the grid."""
        return self.redrawn(self.images.choice(recipe, task), seed)

    def redrawn(self, choice: ImageChoice, seed: int) -> ImageChoice:
        """A choice with the split that a seed draws, where the grid varies it."""
        drawn = self.grid.draws(seed).split
        return choice if drawn is None else replace(choice, split_seed=drawn)

    def selection(self, choice: ImageChoice, split: str) -> ImageSelection:
        """One split of a choice, by content."""
        if (choice, split) not in self._selections:
            encoded = "jpeg" if self.images.cache == "jpeg" else None
            selection = ImageSelection(split, self.images.digest(choice, split), self.images.size, encoded)
            self._selections[choice, split] = self.texts.shared(selection)
        return self._selections[choice, split]

    def context(self, choice: ImageChoice, weights: str = "") -> StageContext:
        """What a worker needs for a stage on these images; one object for all stages that need the same."""
        if (choice, weights) not in self._contexts:
            files = tuple(self.grid.techniques)
            source = self.images.source.spec if self.images.cache == "none" else None
            self._contexts[choice, weights] = StageContext(choice, self.manifest_file, files, weights, source=source)
        return self._contexts[choice, weights]


def deciding_fields(recipe: CoreRecipe, scope: Scope, acting: Iterable[Technique]) -> frozenset[str]:
    """The recipe fields that decide a stage of this scope: the core's, and those of the techniques that act in it."""
    return _deciding_fields(type(recipe), scope, tuple(type(technique) for technique in acting))


@lru_cache
def _deciding_fields(model: type[CoreRecipe], scope: Scope, acting: tuple[type[Technique], ...]) -> frozenset[str]:
    core = {name for name in fields_of(model, scope) if name in CoreRecipe.model_fields} - NOT_IN_TRAINING
    return frozenset(core.union(*({technique.field, *technique.settings_type.model_fields} for technique in acting)))
