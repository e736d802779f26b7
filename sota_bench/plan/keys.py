"""Stage keys: SHA-256 over everything that decides a stage's result, as canonical JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

UNKEYED_ROLES = ("data",)
"""Parents that are needed and do not decide: the decoded images, whose content the parameters name by digest. So a
grid that decodes more images than another still shares its trainings."""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks; refuses NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def stage_key(kind: str, params: Mapping[str, Any], parents: Mapping[str, str]) -> str:
    """The key of a stage.

    Args:
        kind: of the stage.
        params: resolved parameters, with the ``code``, ``software`` and ``device`` that decide the result.
        parents: role -> key.
    """
    deciding = {role: key for role, key in parents.items() if role not in UNKEYED_ROLES}
    return hashlib.sha256(canonical([kind, params, deciding]).encode()).hexdigest()
