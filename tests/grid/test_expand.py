"""Designs, identifiers, cells that are no data, and speed."""

from __future__ import annotations

import time

import pytest

from sota_bench.errors import UserError
from sota_bench.grid import level_text

TWO_BY_THREE = "[factors]\nlr = [0.1, 0.2]\ndropout = [0.0, 0.1, 0.2]\n"


def levels(grid) -> list[tuple[object, ...]]:
    return [tuple(cell.levels.values()) for cell in grid.cells()]


def test_full_is_the_product_with_the_last_factor_fastest(read) -> None:
    assert levels(read(TWO_BY_THREE)) == [(0.1, 0.0), (0.1, 0.1), (0.1, 0.2), (0.2, 0.0), (0.2, 0.1), (0.2, 0.2)]


def test_one_at_a_time_is_the_baseline_and_each_other_level_alone(read) -> None:
    grid = read('[grid]\ndesign = "one-at-a-time"\n' + TWO_BY_THREE)
    assert levels(grid) == [(0.1, 0.0), (0.2, 0.0), (0.1, 0.1), (0.1, 0.2)]


def test_leave_one_out_resets_each_factor_of_all_on(read) -> None:
    grid = read('[grid]\ndesign = "leave-one-out"\n' + TWO_BY_THREE + "warmup = [0.3]\n")
    assert levels(grid) == [(0.2, 0.2, 0.3), (0.1, 0.2, 0.3), (0.2, 0.0, 0.3)]


def test_trials_are_cells_with_their_seeds_together(read) -> None:
    trials = read("[grid]\nseeds = [4, 2]\n" + TWO_BY_THREE).trials()
    assert [trial.id for trial in trials[:3]] == ["c00-s4", "c00-s2", "c01-s4"]
    assert len(trials) == 12 and trials[2].seed == 4 and trials[2].cell.recipe.dropout == 0.1


@pytest.mark.parametrize("design", ["full", "one-at-a-time", "leave-one-out"])
def test_no_two_cells_have_one_recipe(read, design: str) -> None:
    cells = read(f'[grid]\ndesign = "{design}"\n' + TWO_BY_THREE + 'resize = ["64x1", "32x1 64x1"]\n').cells()
    recipes = [cell.recipe.model_dump_json() for cell in cells]
    assert len(set(recipes)) == len(recipes)
    assert len({cell.id for cell in cells}) == len(cells)


def test_ten_thousand_cells_take_less_than_two_seconds(read) -> None:
    lr = ", ".join(f"{step / 1000}" for step in range(1, 101))
    dropout = ", ".join(f"{step / 1000}" for step in range(100))
    text = f"[grid]\nseeds = [0]\n[factors]\nlr = [{lr}]\ndropout = [{dropout}]\n"
    read(TWO_BY_THREE)
    start = time.process_time()
    cells = read(text).cells()
    assert time.process_time() - start < 2.0
    assert len(cells) == 10_000 and cells[-1].id == "c9999" and cells[0].id == "c0000"


def test_a_technique_of_the_rise_is_no_data_without_one(read, technique: str) -> None:
    text = f'[grid]\n{technique}[factors]\nanchor = ["off", "on"]\nresize = ["64x2", "32x1 64x1", "64x1 32x1"]\n'
    grid = read(text)
    said = {tuple(cell.text.values()): grid.inapplicable(cell) for cell in grid.cells()}
    reason = "anchor = 'on' needs a rise of resolution"
    assert said == {
        ("off", "64x2"): None, ("off", "32x1 64x1"): None, ("off", "64x1 32x1"): None,
        ("on", "64x2"): reason, ("on", "32x1 64x1"): None, ("on", "64x1 32x1"): reason,
    }  # fmt: skip


def test_fine_tuning_a_base_counts_as_a_rise(read, technique: str) -> None:
    grid = read(f'[grid]\n{technique}[factors]\nanchor = ["on"]\nwarm_start = [false, true]\n')
    assert [grid.inapplicable(cell) is None for cell in grid.cells()] == [False, True]


def test_what_settings_cannot_say_alone_is_said_before_anything_starts(read, technique: str) -> None:
    with pytest.raises(UserError) as caught:
        read(f'[grid]\n{technique}[factors]\nanchor = ["off", "on"]\ndropout = [0.1, 0.5]\n')
    line = str(caught.value)
    assert line.endswith(
        "grid.toml: factors.anchor: anchor needs a dropout (in the cell dropout = 0.5); set recipe.dropout"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"), (False, "false"), (0.2, "0.2"), (0.0, "0.0"), (1e-05, "1e-05"), (3, "3"),
        ("64x3 128x2", "64x3 128x2"),         ("", '""'), (None, "none"), ((), "none"), (("a", "b"), "a+b"),
        ({64: 128, 32: 1}, "64:128,32:1"), ([1, 2], "1+2"),
    ],
)  # fmt: skip
def test_level_text(value: object, text: str) -> None:
    assert level_text(value) == text


@pytest.mark.parametrize(("design", "baseline"), [("full", "c00"), ("one-at-a-time", "c00"), ("leave-one-out", None)])
def test_the_baseline_is_the_cell_of_all_first_levels(read, design: str, baseline: str | None) -> None:
    cell = read(f'[grid]\ndesign = "{design}"\n[factors]\nlr = [0.001, 0.002]\nmixup = [0.0, 0.2]\n').baseline_cell
    assert (cell.id if cell else None) == baseline
