"""The golden stage keys: the composition of keys does not change unawares.

A change here retrains everything that anybody has in a store. If that is meant, write the new keys with
``pytest tests/plan/test_golden_keys.py --write-golden``, and say in the changelog why.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from sota_bench.plan.keys import stage_key
from sota_bench.plan.plan import Plan

GOLDEN = Path(__file__).with_name("golden_keys.json")
GRID = """
[grid]
name = "golden"
seeds = [0]
[recipe]
backbone = "test_vit"
resize = "32x1 64x1"
lr = 0.003
[factors]
mixup = [0.0, 0.2]
mitigation = ["none", "low-lr"]
tta = ["off", "flip"]
"""


def test_the_keys_are_those_of_the_last_release(plan_of: Callable[..., Plan], write_golden: bool) -> None:
    found = {key: stage.title for key, stage in plan_of(GRID).stages.items()}
    if write_golden:
        GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(GOLDEN.read_text())


def test_a_key_is_sha256_of_canonical_json() -> None:
    import hashlib

    text = '["train",{"a":1,"b":[0.5]},{"checkpoint":"c"}]'
    assert stage_key("train", {"b": [0.5], "a": 1}, {"data": "d", "checkpoint": "c"}) == (
        hashlib.sha256(text.encode()).hexdigest()
    )
