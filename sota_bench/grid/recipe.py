"""The recipe: every hyper-parameter of one training, resolved and typed. The core's fields stand here, each technique
adds its own, and :func:`recipe_type` joins them into one pydantic model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import ValidationInfo, create_model, field_validator, model_validator

from sota_bench import registry
from sota_bench.errors import UserError
from sota_bench.grid.backbones import backbone_problem, size_problem
from sota_bench.grid.resize_schedule import (
    MAX_SIZE,
    MIN_SIZE,
    SizePhase,
    format_schedule,
    parse_schedule,
    schedule_text,
)
from sota_bench.technique import Scope, Settings, Technique, setting

MAX_BATCH = 65536

S = TypeVar("S", bound=Settings)


class CoreRecipe(Settings):
    """The fields that no technique owns. Their documentation is their ``description``."""

    backbone: str = setting(
        "resnet10t",
        "name of a timm backbone, trained from scratch unless `weights` is given",
        scope="train",
        levels=("resnet10t", "resnet18"),
    )
    weights: str = setting(
        "",
        'pretrained weights: "" for none, "timm" for the hub\'s, or a local file or folder in timm\'s format; given '
        "in [recipe], they also set the size in `resize` and the input statistics, unless the grid sets them",
        scope="train",
    )
    in_chans: Literal[1, 3] = setting(3, "input channels: 3 for RGB, 1 for grayscale", scope="train")
    resize: str = setting(
        "64x5",
        'resolution schedule: SIZExEPOCHS phases, such as "64x3 128x2"',
        scope="train",
        levels=("64x5", "32x3 64x2"),
    )
    batch_size: int = setting(64, "images per optimizer step", scope="train", ge=2, le=MAX_BATCH)
    batch_sizes: dict[int, int] = setting(
        {}, "batch sizes for some image sizes in pixels, instead of `batch_size`", scope="train"
    )
    optimizer: Literal["adamw", "sgd", "muon"] = setting(
        "adamw",
        "adamw (Loshchilov and Hutter 2019), sgd with Nesterov momentum 0.9, or timm's muon (Jordan et al. 2024) with "
        "updates scaled to AdamW's size, so that the same `lr` suits both",
        scope="train", levels=("adamw", "sgd", "muon"),
    )  # fmt: skip
    lr: float = setting(3e-3, "peak learning rate", scope="train", gt=0, le=100, levels=(3e-3, 1e-3))
    weight_decay: float = setting(
        0.05, "decoupled weight decay, applied to weights with two or more dimensions", scope="train", ge=0, le=10
    )
    schedule: Literal["one-cycle", "cosine", "constant"] = setting(
        "one-cycle",
        "one-cycle (Smith and Topin 2018: cosine up over `warmup`, cosine down), cosine (no warm-up) or constant",
        scope="train", levels=("one-cycle", "cosine", "constant"),
    )  # fmt: skip
    schedule_span: Literal["phase", "run"] = setting(
        "phase", "phase: one learning-rate schedule for each phase; run: one over all phases", scope="train"
    )
    warmup: float = setting(
        0.25, "share of a one-cycle schedule in which the learning rate rises", scope="train", gt=0, lt=1
    )
    optimizer_at_switch: Literal["keep", "reset"] = setting(
        "keep", "whether to keep or reset the optimizer's moments when a new phase starts", scope="train"
    )
    gradient_clip: float = setting(0.0, "maximum gradient norm; 0 for no clipping", scope="train", ge=0, le=1e6)
    drop_path: float = setting(
        0.0, "stochastic depth rate (Huang et al. 2016); 0 keeps the backbone's default", scope="train", ge=0, lt=1
    )
    dropout: float = setting(
        0.0, "dropout rate before the classifier; 0 keeps the backbone's default", scope="train", ge=0, lt=1
    )
    crop_scale: float = setting(
        0.35,
        "smallest area of the random resized crop, as a share of the image; 1 always takes the central square instead",
        scope="train", gt=0, le=1,
    )  # fmt: skip
    flip: bool = setting(True, "random horizontal flips in training", scope="train")
    precision: Literal["auto", "fp32", "bf16"] = setting(
        "auto", "auto is bf16 if the device supports it in hardware, else fp32", scope="train"
    )
    layout: Literal["auto", "contiguous", "channels_last"] = setting(
        "auto", "memory layout; auto is channels_last", scope="train"
    )
    compile: Literal["off", "on"] = setting(
        "off",
        "torch.compile of the network. It pays off only if it saves more time over all steps than compiling takes "
        "(`benchmarks/compiling.py` measures both); later trials of the same worker reuse the compiled code",
        scope="train",
    )
    upsample: bool = setting(
        False, "allow training above the stored resolution, which adds pixels but no detail", scope="train"
    )
    eval_size: int = setting(
        0, "evaluation size in pixels; 0 is the last phase's size", scope="evaluate", ge=0, le=2048
    )
    eval_crop: float = setting(
        1.0, "share of the shorter side that the central evaluation crop keeps", scope="evaluate", gt=0, le=1
    )
    eval_batch_size: int = setting(250, "images per evaluation batch", scope="evaluate", ge=1, le=MAX_BATCH)

    @field_validator("backbone")
    @classmethod
    def _exists(cls, name: str) -> str:
        if problem := backbone_problem(name):
            raise ValueError(problem)
        return name

    @field_validator("resize", mode="before")
    @classmethod
    def _written_as_list(cls, value: object) -> object:
        return schedule_text(value)

    @field_validator("resize")
    @classmethod
    def _canonical(cls, text: str, info: ValidationInfo) -> str:
        phases = parse_schedule(text)
        if problem := size_problem(info.data.get("backbone", ""), [phase.size for phase in phases]):
            raise ValueError(problem)
        return format_schedule(phases)

    @field_validator("eval_size")
    @classmethod
    def _fits(cls, size: int, info: ValidationInfo) -> int:
        if problem := size_problem(info.data.get("backbone", ""), [size]):
            raise ValueError(problem)
        return size

    @field_validator("batch_sizes")
    @classmethod
    def _sane(cls, sizes: dict[int, int]) -> dict[int, int]:
        for size, images in sizes.items():
            if not (MIN_SIZE <= size <= MAX_SIZE and 2 <= images <= MAX_BATCH):
                raise ValueError(
                    f"{size} px with {images} images is out of range; "
                    f"write sizes of {MIN_SIZE} to {MAX_SIZE} px and 2 to {MAX_BATCH} images"
                )
        return dict(sorted(sizes.items()))

    @field_validator("compile", mode="before")
    @classmethod
    def _switch(cls, value: object) -> object:
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @property
    def phases(self) -> tuple[SizePhase, ...]:
        """The phases of ``resize``."""
        return parse_schedule(self.resize)

    def settings_for(self, settings_type: type[S]) -> S:
        """The settings of one technique, as its own class."""
        values = {name: getattr(self, name) for name in _names(settings_type)}
        return cast(S, settings_type.model_construct(None, **values))

    def batch_at(self, size: int) -> int:
        """Images per step at ``size`` pixels."""
        return self.batch_sizes.get(size, self.batch_size)


@lru_cache
def _names(settings_type: type[Settings]) -> tuple[str, ...]:
    """The fields of a table of settings; looked up once, since a plan of thousands of cells asks for each."""
    return tuple(settings_type.model_fields)


def _choice_fields(available: Sequence[type[Technique]]) -> dict[str, tuple[Any, Any]]:
    """Fields shared by several techniques that none of them declares itself: one of their levels, or ``none``."""
    levels: dict[str, list[type[Technique]]] = {}
    for technique in available:
        if technique.level is not None:
            levels.setdefault(technique.field, []).append(technique)
    fields: dict[str, tuple[Any, Any]] = {}
    for field, sharing in levels.items():
        names = ("none", *sorted(str(technique.level) for technique in sharing))
        scope: Scope = "rise" if sharing[0].applies_to == "rise" else "train"
        claims = ((technique.level, technique.card.claim) for technique in sharing)
        help = "; ".join(f"{level}: {claim[0].lower()}{claim[1:].rstrip('.')}" for level, claim in claims)
        fields[field] = (Literal[names], setting("none", help, scope=scope, levels=names))
    return fields


def _shadowed_validators(parts: Sequence[type[Settings]]) -> dict[str, Any]:
    """Validators that would be lost because another part has a method of the same name, under names of their own.

    Techniques are written apart from each other and may well both call a validator ``_check``.
    """
    taken: set[str] = set()
    again: dict[str, Any] = {}
    for part in parts:
        decorators = part.__pydantic_decorators__
        for name, field_decorator in decorators.field_validators.items():
            if name in taken:
                info = field_decorator.info
                wrap = field_validator(*info.fields, mode=info.mode, check_fields=False)
                again[f"{part.__module__}.{name}"] = wrap(staticmethod(field_decorator.func))
        for name, model_decorator in decorators.model_validators.items():
            if name in taken:
                mode = model_decorator.info.mode
                again[f"{part.__module__}.{name}"] = model_validator(mode=mode)(model_decorator.func)
        taken |= decorators.field_validators.keys() | decorators.model_validators.keys()
    return again


@lru_cache
def recipe_type(files: tuple[Path, ...] = ()) -> type[CoreRecipe]:
    """The recipe model: the core's fields and those of every technique available.

    Args:
        files: local technique files that the grid names.

    Raises:
        UserError: a technique adds a field that exists already.
    """
    available = list(registry.techniques(files).values())
    bases = tuple({technique.settings_type: None for technique in available if technique.settings_type is not Settings})
    owners = dict.fromkeys(CoreRecipe.model_fields, "every recipe")
    declared_by = {technique.settings_type: registry.source_name(technique) for technique in available}
    for base in bases:
        inherited = {field for parent in base.__mro__[1:] for field in getattr(parent, "model_fields", {})}
        for field in base.model_fields.keys() - inherited:
            if field in owners:
                problem = f"this recipe field belongs to {owners[field]}"
                raise UserError(declared_by[base], field, problem, "rename it")
            owners[field] = declared_by[base]
    choices = {field: choice for field, choice in _choice_fields(available).items() if field not in owners}
    parts: tuple[type[Settings], ...] = (*bases, CoreRecipe)
    model: Any = create_model(
        "Recipe", __base__=parts, __validators__=_shadowed_validators(parts), **cast(dict[str, Any], choices)
    )
    return cast(type[CoreRecipe], model)


def recipe_from(settings: Mapping[str, object], files: tuple[Path, ...] = ()) -> CoreRecipe:
    """The recipe with these settings and the defaults of all others.

    Args:
        settings: recipe fields by name.
        files: local technique files that add fields.
    """
    return recipe_type(files).model_validate(settings)


_SCOPES: dict[type[CoreRecipe], dict[str, Scope]] = {}
_FIELDS: dict[tuple[type[CoreRecipe], tuple[Scope, ...]], tuple[str, ...]] = {}


def _scopes(model: type[CoreRecipe]) -> dict[str, Scope]:
    """Found out once for each model: a plan of thousands of cells asks millions of times."""
    if model not in _SCOPES:
        extras = {name: cast(dict[str, Any], info.json_schema_extra or {}) for name, info in model.model_fields.items()}
        _SCOPES[model] = {name: cast(Scope, extra.get("scope", "train")) for name, extra in extras.items()}
    return _SCOPES[model]


def scope_of(model: type[CoreRecipe], field: str) -> Scope:
    """Which stages a recipe field decides."""
    return _scopes(model)[field]


def fields_of(model: type[CoreRecipe], *scopes: Scope) -> tuple[str, ...]:
    """The recipe fields that decide stages of these scopes, in order."""
    if (model, scopes) not in _FIELDS:
        _FIELDS[model, scopes] = tuple(name for name, scope in _scopes(model).items() if scope in scopes)
    return _FIELDS[model, scopes]
