"""What a technique is written with: its card, its settings, the hooks that the training loop calls, and optional
capabilities. Loads no torch, and neither does a technique's file: a grid is read, planned and reported without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sota_bench.technique.capabilities import (
    ChecksNetwork,
    CreatesOptimizer,
    DrawsImageSize,
    GroupsParameters,
    NeedsTeacher,
    NetworkFacts,
    NormalizesInput,
    ParameterScale,
    Precompute,
    Precomputes,
    SchedulesLearningRate,
    ShapesNetwork,
    Teacher,
    TracksWeights,
    TrainsBaseModel,
    teacher_role,
)
from sota_bench.technique.card import Card, Response
from sota_bench.technique.core import Technique, conflict, overrides
from sota_bench.technique.inputs import Batch, Closure, Forward, Outputs, PrecomputeInputs, Step, Views
from sota_bench.technique.queries import backbone_family, read_schedule, uniform_by_id
from sota_bench.technique.settings import Scope, Settings, setting

if TYPE_CHECKING:  # for annotations in technique files
    from sota_bench.grid.recipe import CoreRecipe as CoreRecipe
    from sota_bench.grid.resize_schedule import SizePhase as SizePhase
    from sota_bench.training.phase import Phase as Phase

__all__ = [
    "Batch",
    "Card",
    "ChecksNetwork",
    "Closure",
    "CreatesOptimizer",
    "DrawsImageSize",
    "Forward",
    "GroupsParameters",
    "NeedsTeacher",
    "NetworkFacts",
    "NormalizesInput",
    "Outputs",
    "ParameterScale",
    "Precompute",
    "PrecomputeInputs",
    "Precomputes",
    "Response",
    "SchedulesLearningRate",
    "Scope",
    "Settings",
    "ShapesNetwork",
    "Step",
    "Teacher",
    "Technique",
    "TracksWeights",
    "TrainsBaseModel",
    "Views",
    "backbone_family",
    "conflict",
    "overrides",
    "read_schedule",
    "setting",
    "teacher_role",
    "uniform_by_id",
]
