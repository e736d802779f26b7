"""Settings of a technique: documented, validated recipe fields, each with the stages that it decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Scope = Literal["data", "train", "rise", "evaluate"]
"""Which stages a setting decides: the images, every training phase, only the phases in which the resolution rises (or
a base model is fine-tuned), or only evaluations. A stage's key holds just the settings of its scope, so trials that
differ in a later scope share the earlier stages."""


class Settings(BaseModel):
    """Base of the settings that a technique adds to a recipe; each one made with :func:`setting`.

    In a grid all settings are fields of the recipe. In the code each technique has its own: ``self.settings``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def setting(default: Any, help: str, *, scope: Scope, levels: Sequence[Any] = (), **constraints: Any) -> Any:
    """A documented, validated recipe field.

    Args:
        default: the value when a grid does not name the field.
        help: one line for the generated reference; units included.
        scope: which stages it decides.
        levels: values worth comparing, the baseline first (shown by ``list``, run by the shared test suite).
        constraints: pydantic constraints (``ge``, ``le``, ``pattern`` ...).
    """
    extra: dict[str, Any] = {"scope": scope, "levels": list(levels)}
    return Field(default, description=help, json_schema_extra=extra, **constraints)
