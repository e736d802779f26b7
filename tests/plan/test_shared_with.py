"""Which trainings share a stage, as the table of trials names it for the analysis."""

from __future__ import annotations

from collections.abc import Callable

from sota_bench.plan.plan import Plan
from sota_bench.report.trial_rows import shared_with

GRID = """
[grid]
name = "g"
seeds = [0, 1]
[recipe]
backbone = "test_vit"
resize = "64x5"
[factors]
normalize = ["dataset", "none"]
resize = ["64x5", "32x3 64x2"]
mitigation = ["none", "low-lr"]
tta = ["off", "flip"]
"""


def test_cells_of_one_first_stage_bear_one_name_under_every_seed(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(GRID)
    named = shared_with(plan.trials)
    groups: dict[str, set[tuple[str, ...]]] = {}
    for trial in plan.trials:
        if trial.inapplicable is None:
            levels = trial.trial.cell.text
            groups.setdefault(named[trial.trial.id], set()).add((levels["normalize"], levels["resize"]))
    assert sorted(map(sorted, groups.values())) == [
        [(normalize, resize)] for normalize in ("dataset", "none") for resize in ("32x3 64x2", "64x5")
    ], "mitigation and test-time augmentation come after the first stage, the rest before it"


def test_a_stage_of_all_is_the_seeds_own(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(GRID.replace('normalize = ["dataset", "none"]\nresize = ["64x5", "32x3 64x2"]\n', "").replace(
        'resize = "64x5"', 'resize = "32x3 64x2"'))  # fmt: skip
    named = shared_with(plan.trials)
    mitigations = {trial.trial.cell.text["mitigation"]: named[trial.trial.id] for trial in plan.trials}
    assert len(set(mitigations.values())) == 2, "past the common start each mitigation trains on its own"
