"""Settings of a grid and the comparison of their orders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import Lab, write_images

from sota_bench.errors import UserError
from sota_bench.fidelity import FidelitySetting, Kind, check_images, compare, fidelity_settings
from sota_bench.grid import Grid, load
from sota_bench.plan.plan import Plan
from sota_bench.report.fidelity import page


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """48 training and 32 validation images of four classes."""
    folder = tmp_path_factory.mktemp("lab")
    return Lab(folder, write_images(folder / "images"))


@pytest.fixture(scope="module")
def grid(lab: Lab) -> Grid:
    """A grid of two schedules with Mixup off and on."""
    return lab.plan('resize = "32x4"', 'resize = ["32x4", "16x2 32x2"]\nmixup = [0.0, 0.2]', (0, 1)).grid


def schedules(setting: FidelitySetting) -> list[str]:
    return [cell.recipe.resize for cell in setting.grid.cells()]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("size", 16, ["16x4", "8x2 16x2"]),
        ("size", 64, ["64x4", "32x2 64x2"]),
        ("epochs", 2, ["32x2", "16x1 32x1"]),
        ("epochs", 1, ["32x1", "16x1 32x1"]),
        ("epochs", 8, ["32x8", "16x4 32x4"]),
    ],
)
def test_schedules_are_scaled_in_proportion(grid: Grid, kind: Kind, value: float, expected: list[str]) -> None:
    first, _ = fidelity_settings(grid, kind, [value, 0.5 if kind == "fraction" else 3 if kind == "epochs" else 24])
    both = {s.value: s for s in fidelity_settings(grid, kind, [value, 3 if kind == "epochs" else 24])}
    assert first.value == max(both)
    assert schedules(both[value])[::2] == expected
    assert [cell.text["resize"] for cell in both[value].grid.cells()][::2] == ["32x4", "16x2 32x2"]


def test_fractions_change_the_images_alone(grid: Grid) -> None:
    settings = fidelity_settings(grid, "fraction", [0.25, 1.0, 0.5])
    assert [setting.value for setting in settings] == [1.0, 0.5, 0.25]
    assert [setting.grid.recipe.model_dump()["fraction"] for setting in settings] == [1.0, 0.5, 0.25]
    assert all(schedules(setting) == schedules(settings[0]) for setting in settings)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("fraction", [1.0], "two or more different values"),
        ("fraction", [0.5, 0.5], "two or more different values"),
        ("fraction", [0.5, 2.0], "2 is out of range|2.0 is out of range"),
        ("epochs", [2.5, 5], "2.5 is not a whole number"),
        ("size", [0, 32], "0 is not a whole number"),
    ],
)
def test_wrong_values_are_one_line(grid: Grid, kind: Kind, values: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fidelity_settings(grid, kind, values)


def test_epochs_are_those_of_the_baseline_also_where_the_design_has_no_such_cell(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(
        f'[grid]\ndesign = "leave-one-out"\n[data]\nsource = "folder:{lab.images}"\n'
        '[factors]\nresize = ["32x4", "16x6 32x2"]\nmixup = [0.0, 0.2]\n'
    )
    half, _ = reversed(fidelity_settings(load(file), "epochs", [2, 4]))
    assert half.value == 2 and schedules(half) == ["16x3 32x1", "32x2", "16x3 32x1"]


def test_fractions_that_train_on_the_same_images_are_refused(lab: Lab) -> None:
    def plans(recipe: str) -> list[tuple[FidelitySetting, Plan]]:
        fractions = ((1.0, "1.0"), (0.5, "0.5"))
        return [
            (FidelitySetting("fraction", value, lab.plan(f"{recipe}fraction = {text}").grid),
             lab.plan(f"{recipe}fraction = {text}"))
            for value, text in fractions
        ]  # fmt: skip

    check_images(plans(""))
    with pytest.raises(UserError, match=r"--fractions: 0\.5 and 1 train c00 on the same images, since per_class = 4"):
        check_images(plans("per_class = 4\n"))


def test_what_is_a_factor_cannot_be_varied(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text(f'[data]\nsource = "folder:{lab.images}"\n[factors]\nfraction = [1.0, 0.5]\n')
    with pytest.raises(UserError, match=r"factors\.fraction: it is a factor"):
        fidelity_settings(load(file), "fraction", [0.5, 1.0])


def trials(means: list[float], minutes: float, noise: float = 0.01, seeds: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(int(1000 * minutes))
    rows = [
        {"cell": f"c{cell:02d}", "seed": seed, "accuracy": mean + noise * rng.normal()}
        for cell, mean in enumerate(means)
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows).assign(status="done", minutes=minutes)


def named(*values: float) -> list[FidelitySetting]:
    return [FidelitySetting("fraction", value, None) for value in values]  # type: ignore[arg-type]


def test_the_cheapest_that_keeps_the_order_is_named_with_what_it_saves() -> None:
    large, half, tenth = named(1.0, 0.5, 0.1)
    answer = compare(
        [(large, trials([50, 60, 70], 4.0)), (half, trials([40, 45, 50], 2.0)), (tenth, trials([30, 29, 40], 0.5))]
    )
    assert answer.cheapest is not None and answer.cheapest.setting.value == 0.5
    assert [row.agreement.keeps_order for row in answer.rows] == [True, True, False]
    assert [row.saved_minutes for row in answer.rows] == [0.0, 2.0, 3.5]
    assert answer.sentence() == (
        "0.5 of the images keeps the order of the 3 pairs of cells that differ clearly with 1 of the images, and saves "
        "2.0 min of 4.0 min per iteration."
    )


def test_where_no_pair_is_clear_no_setting_is_recommended() -> None:
    answer = compare(
        [(each, trials([50, 50, 50], spent, noise=3.0)) for each, spent in zip(named(1.0, 0.5), (4, 2), strict=True)]
    )
    assert answer.cheapest is None
    assert answer.rows[0].agreement.clear == 0


def test_a_setting_at_chance_is_undecided_and_not_recommended() -> None:
    large, half, tenth = named(1.0, 0.5, 0.1)
    chance = trials([10, 10, 10], 0.5, noise=0.0)
    answer = compare([(large, trials([50, 60, 70], 4.0)), (tenth, chance)])
    assert answer.cheapest is None and answer.rows[1].agreement.word == "undecided"
    assert answer.sentence().startswith("Undecided: ")
    assert ">undecided<" in page("grid", "", answer, [])
    answer = compare([(large, trials([50, 60, 70], 4.0)), (half, trials([40, 45, 50], 2.0)), (tenth, chance)])
    assert answer.cheapest is not None and answer.cheapest.setting.value == 0.5


def test_cells_without_a_result_everywhere_are_left_out_and_named() -> None:
    large, half = named(1.0, 0.5)
    broken = trials([40, 45, 50], 2.0)
    broken.loc[broken["cell"] == "c01", "status"] = "failed"
    answer = compare([(large, trials([50, 60, 70], 4.0)), (half, broken)])
    assert answer.left_out == ("c01",)
    assert list(answer.means.index) == ["c00", "c02"]
    broken["status"] = "failed"
    with pytest.raises(UserError, match="no cell has a result"):
        compare([(large, trials([50, 60, 70], 4.0)), (half, broken)])


@given(st.lists(st.floats(10, 90), min_size=2, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_a_setting_that_turns_a_clear_pair_never_keeps_the_order(means: list[float], random: object) -> None:
    spread = sorted(round(mean) + 3.0 * index for index, mean in enumerate(sorted(means)))
    large, half = named(1.0, 0.5)
    answer = compare([(large, trials(spread, 4.0)), (half, trials(spread[::-1], 2.0))])
    assert answer.cheapest is None
    assert answer.rows[1].agreement.tau == pytest.approx(-1.0)


def test_the_page_says_the_answer_and_needs_no_network() -> None:
    large, half = named(1.0, 0.5)
    answer = compare([(large, trials([50, 60, 70], 4.0)), (half, trials([40, 45, 50], 2.0))])
    html = page("grid", "Is <less> enough?", answer, ["a note"])
    assert answer.sentence() in html and "a note" in html
    assert "Is &lt;less&gt; enough?" in html
    assert "http://" not in html.replace("http://www.w3.org", "") and "<svg" in html
