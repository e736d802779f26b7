"""Every recipe field with its documentation, from where it is defined: what ``list`` and ``init`` show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from pydantic_core import to_jsonable_python

from sota_bench import registry
from sota_bench.grid.explain import expects
from sota_bench.grid.recipe import recipe_type
from sota_bench.technique import Scope

SCOPES: Mapping[Scope, str] = {
    "data": "which images",
    "train": "training",
    "rise": "training after the resolution rises",
    "evaluate": "evaluation alone",
}


@dataclass(frozen=True)
class Field:
    """One recipe field.

    Attributes:
        name: as written in ``[recipe]`` or ``[factors]``.
        accepts: its type and range in words.
        default: the value when a grid does not name it (a JSON value).
        scope: which stages it decides.
        levels: values worth comparing, the baseline first (JSON values).
        help: one line.
        technique: the name of the technique that it belongs to, the field itself where several share it, or "".
    """

    name: str
    accepts: str
    default: Any
    scope: Scope
    levels: tuple[Any, ...]
    help: str
    technique: str

    def row(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "levels": list(self.levels)}


def recipe_fields(files: tuple[Path, ...] = ()) -> tuple[Field, ...]:
    """The core's fields as they are defined, then each technique's."""
    model = recipe_type(files)
    owner: dict[str, str] = {}
    for name, technique in registry.techniques(files).items():
        for field in technique.settings_type.model_fields:
            owner.setdefault(field, name)
        if technique.level is not None:
            owner[technique.field] = technique.field
    documented = []
    for name, info in model.model_fields.items():
        extra = cast(dict[str, Any], info.json_schema_extra or {})
        documented.append(
            Field(
                name=name,
                accepts=expects(info),
                default=to_jsonable_python(info.get_default(call_default_factory=True, validated_data={})),
                scope=cast(Scope, extra.get("scope", "train")),
                levels=tuple(to_jsonable_python(extra.get("levels", ()))),
                help=info.description or "",
                technique=owner.get(name, ""),
            )
        )
    position = {name: index for index, name in enumerate(owner)}
    return tuple(sorted(documented, key=lambda field: position.get(field.name, -1)))
