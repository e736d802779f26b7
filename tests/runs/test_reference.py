"""Reference runs: written, read again, and compared with later runs of the same recipe on the same images alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sota_bench.errors import UserError
from sota_bench.plan.plan import Plan
from sota_bench.runs.reference import (
    OVERALL,
    Reference,
    check,
    read_reference,
    reference_from,
    write_reference,
)

FILE = Path("reference.json")
OFFSETS = (-1.5, -0.5, 0.0, 0.2, 0.8, 1.0)


def trials_of(accuracy: Mapping[str, float], seeds: int = len(OFFSETS), status: str = "done") -> pd.DataFrame:
    """A table of trials whose seeds are spread alike in every cell."""
    return pd.DataFrame([
        {"cell": cell, "seed": seed, "status": status, "accuracy": mean + OFFSETS[seed], "epochs": 1, "judged_on": "x"}
        for cell, mean in accuracy.items()
        for seed in range(seeds)
    ])  # fmt: skip


@pytest.fixture
def reference(plan: Plan) -> Reference:
    return reference_from(plan, trials_of({"c00": 60.0, "c01": 50.0}), "python -m sota_bench verify")


def test_a_file_holds_what_was_written(reference: Reference, tmp_path: Path) -> None:
    file = tmp_path / "new" / "reference.json"
    write_reference(file, reference)
    assert read_reference(file) == reference
    assert reference.cells[1].levels == {"lr": "0.002"} and reference.cells[1].accuracy[0] == 48.5
    assert reference.versions and reference.device["kind"] == "cpu" and reference.precision


@pytest.mark.parametrize(
    ("accuracy", "failed"),
    [
        ({"c00": 60.3, "c01": 49.9}, {}),
        ({"c00": 60.0, "c01": 38.0}, {"lr 0.002": "is too low", OVERALL: "is too low"}),
        ({"c00": 73.0, "c01": 50.0}, {"lr 0.001": "is suspiciously high", OVERALL: "is suspiciously high"}),
        ({"c01": 75.0}, {"lr 0.002": "is suspiciously high"}),
    ],
)
def test_cells_that_are_off_are_told_one_by_one(
    plan: Plan, reference: Reference, accuracy: dict[str, float], failed: dict[str, str]
) -> None:
    checked = check(plan, trials_of(accuracy, seeds=3), reference, FILE)
    assert len(checked.failures) == len(failed)
    for sentence, (name, outcome) in zip(checked.failures, failed.items(), strict=True):
        assert sentence.startswith(f"{name} {outcome}")
    rows = checked.to_json()["comparisons"]
    assert [row["what"] for row in rows if row["outcome"] != "agrees"] == list(failed)
    json.dumps(rows, allow_nan=False)


def test_a_small_loss_that_all_cells_share_is_found_in_their_mean(plan: Plan, reference: Reference) -> None:
    """Where cells vary independently, their mean varies less."""
    apart = [{**cell.accuracy} for cell in reference.cells]
    apart[1] = {seed: 100 - value for seed, value in apart[1].items()}  # varies against the first cell
    cells = tuple(replace(cell, accuracy=values) for cell, values in zip(reference.cells, apart, strict=True))
    lower = {"c00": 60.0 - 4.5, "c01": 50.0 - 4.5}
    failures = check(plan, trials_of(lower, seeds=1), replace(reference, cells=cells), FILE).failures
    assert [sentence.split(" is ")[0] for sentence in failures] == [OVERALL]


def test_trials_that_did_not_finish_are_not_compared(plan: Plan, reference: Reference) -> None:
    table = pd.concat([trials_of({"c00": 60.0}, 3), trials_of({"c01": 0.0}, 3, status="failed")])
    checked = check(plan, table, reference, FILE)
    assert checked.names == ("lr 0.001",) and not checked.failures


@pytest.mark.parametrize(("effects", "margin"), [({"accuracy": 2.5, "nll": 0.02}, 2.5), ({"nll": 0.02}, 1.0)])
def test_the_margin_is_the_smallest_effect_on_accuracy(plan: Plan, effects: dict[str, float], margin: float) -> None:
    asking = replace(plan, grid=plan.grid.model_copy(update={"smallest_effects": effects}))
    assert reference_from(asking, trials_of({"c00": 60.0, "c01": 50.0}), "").margin_pp == margin


def test_a_reference_needs_enough_seeds(plan: Plan) -> None:
    with pytest.raises(UserError, match="has 4 finished seeds; a reference needs 5"):
        reference_from(plan, trials_of({"c00": 60.0, "c01": 50.0}, seeds=4), "")


def test_seeds_that_are_judged_on_different_images_make_no_reference(plan: Plan) -> None:
    trials = trials_of({"c00": 60.0, "c01": 50.0})
    with pytest.raises(UserError, match="is judged on other images with each seed"):
        reference_from(plan, trials.assign(judged_on=trials["seed"].astype(str)), "")


def test_how_a_machine_computes_may_differ(plan: Plan, reference: Reference) -> None:
    other = replace(reference, precision="bf16", recipe={**reference.recipe, "precision": "bf16", "lr": 1.0})
    assert not check(plan, trials_of({"c00": 60.0, "c01": 50.0}, seeds=3), other, FILE).failures


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda old: replace(old, recipe={**old.recipe, "batch_size": 32}),
            "batch_size: it is 32 there and 64 in this",
        ),
        (lambda old: replace(old, data_digest="other"), "was trained on other images"),
        (lambda old: replace(old, cells=(replace(old.cells[0], judged_on="other"),)), "judged on other images"),
        (lambda old: replace(old, cells=(replace(old.cells[0], epochs=5),)), "trained for other epochs"),
        (lambda old: replace(old, cells=(replace(old.cells[0], levels={"lr": "0.5"}),)), "none of its cells"),
    ],
)
def test_other_recipes_and_images_are_refused(
    plan: Plan, reference: Reference, change: Callable[[Reference], Reference], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check(plan, trials_of({"c00": 60.0, "c01": 50.0}, seeds=3), change(reference), FILE)


def test_fields_that_are_newer_than_the_reference_matter_only_where_they_are_set(
    plan: Plan, reference: Reference
) -> None:
    older = replace(reference, recipe={name: reference.recipe[name] for name in ("backbone", "resize", "fraction")})
    assert not check(plan, trials_of({"c00": 60.0}, 3), older, FILE).failures
    with pytest.raises(UserError, match=r"recipe\.backbone"):
        check(plan, trials_of({"c00": 60.0}, 3), replace(reference, recipe={}), FILE)


@pytest.mark.parametrize("text", ["{", "[]", '{"grid": 3}'])
def test_what_is_no_reference_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "reference.json"
    file.write_text(text)
    with pytest.raises(UserError, match="name a file that `verify --write-reference` wrote"):
        read_reference(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_reference(tmp_path / "absent.json")
