"""The golden stage keys: the composition of keys does not change unawares.

A change here retrains everything that anybody has in a store. If that is meant, write the new keys with
``pytest tests/plan/test_golden_keys.py --write-golden``, and say in the changelog why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from sota_bench.plan.plan import Plan
from sota_bench.stages.keys import stage_key
from sota_bench.stages.params import ImageSelection, PrecomputeParams
from sota_bench.stages.stage import MadeWith

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
    body = {
        "data": {"digest": "d", "size": 80, "split": "train"},
        "recipe": {"in_chans": 3},
        "seed": 1,
        "size": 64,
        "technique": "ewc",
    }
    made_with = {"code": {"a": "b"}, "software": {}}
    text = json.dumps(["fisher", body, made_with, {"checkpoint": "c"}], sort_keys=True, separators=(",", ":"))
    params = PrecomputeParams({"in_chans": 3}, "ewc", ImageSelection("train", "d", 80), 1, 64)
    parents = {"data": "decoded", "checkpoint": "c"}  # what is None (the task), and the decoded images, are left out
    assert stage_key("fisher", params, MadeWith({"a": "b"}), parents) == hashlib.sha256(text.encode()).hexdigest()


def test_the_ledger_holds_all_that_a_key_is_made_of(plan_of: Callable[..., Plan]) -> None:
    for key, stage in plan_of(GRID).stages.items():
        params = json.loads(json.dumps(stage.described()))
        made_with = params.pop("made_with")
        parents = {role: parent for role, parent in stage.parents.items() if role != "data"}
        text = json.dumps([stage.kind, params, made_with, parents], sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest() == key
