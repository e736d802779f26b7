"""Fractional designs: they hold their resolution, are as small as the best that are known, and have the baseline."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, product

import pytest

from sota_bench.errors import UserError
from sota_bench.grid.fractions import Fraction, fraction

DESIGNS = [
    ((2,) * 4, 4), ((2,) * 7, 4), ((2,) * 16, 4), ((2,) * 20, 4), ((2,) * 5, 5), ((2,) * 8, 5), ((2,) * 11, 5),
    ((3, 3, 3, 3), 4), ((3, 2, 2, 2, 2), 4), ((3, 3, 2, 2, 2, 2), 4), ((4, 4, 2, 2, 2), 4), ((5, 3, 2, 2, 2), 4),
    ((3, 2, 2, 2, 2, 2), 5),
]  # fmt: skip


def part_of(levels: tuple[int, ...], resolution: int) -> Fraction:
    part = fraction(levels, resolution)
    assert part is not None
    return part


@pytest.mark.parametrize(("levels", "resolution"), DESIGNS)
def test_any_factors_below_the_resolution_are_balanced(levels: tuple[int, ...], resolution: int) -> None:
    part = part_of(levels, resolution)
    total = sum(part.runs.values())
    share = [Counter[int]() for _ in levels]
    for run, count in part.runs.items():
        for own, level in zip(share, run, strict=True):
            own[level] += count
    for chosen in combinations(range(len(levels)), min(resolution - 1, len(levels))):
        met = Counter[tuple[int, ...]]()
        for run, count in part.runs.items():
            met[tuple(run[factor] for factor in chosen)] += count
        for combination in product(*(range(levels[factor]) for factor in chosen)):
            expected = math.prod(
                share[factor][level] / total for factor, level in zip(chosen, combination, strict=True)
            )
            assert met[combination] == pytest.approx(total * expected)


@pytest.mark.parametrize(("levels", "resolution"), DESIGNS)
def test_the_baseline_comes_first_and_levels_are_alike_but_for_it(levels: tuple[int, ...], resolution: int) -> None:
    runs = part_of(levels, resolution).runs
    assert next(iter(runs)) == (0,) * len(levels) and list(runs) == sorted(runs)
    for factor, size in enumerate(levels):
        count = Counter[int]()
        for run, times in runs.items():
            count[run[factor]] += times
        codes = 2 ** (size - 1).bit_length()
        each = sum(runs.values()) // codes
        assert count == {0: each * (codes - size + 1), **dict.fromkeys(range(1, size), each)}


@pytest.mark.parametrize(
    ("resolution", "largest"), [(4, {8: 4, 16: 8, 32: 16, 64: 32}), (5, {16: 5, 32: 6, 64: 8, 128: 11, 256: 17})]
)
def test_no_smaller_design_is_known(resolution: int, largest: dict[int, int]) -> None:
    """The most factors of two levels in a number of runs: Box, Hunter and Hunter, Statistics for Experimenters, 1978,
    chapter 12, for resolution 4; Draper and Lin, Technometrics 32, 1990, for resolution 5."""
    for factors in range(resolution, max(largest.values()) + 1):
        runs = min(size for size, most in largest.items() if factors <= most)
        assert len(part_of((2,) * factors, resolution).runs) == runs


def test_the_full_design_is_no_fraction() -> None:
    assert fraction((2, 2, 2), 4) is None and fraction((2,) * 4, 5) is None and fraction((3, 3), 4) is None


SEVEN = "".join(
    f"{name} = {levels}\n"
    for name, levels in {
        "normalize": '["dataset", "none"]', "mixup": "[0.0, 0.2]", "label_smoothing": "[0.0, 0.1]",
        "flip": "[true, false]", "crop_scale": "[0.35, 0.6]", "weight_decay": "[0.05, 0.0]", "lr": "[0.003, 0.001]",
    }.items()
)  # fmt: skip


def test_seven_factors_take_sixteen_cells(read) -> None:
    grid = read(f'[grid]\ndesign = "fractional"\n[factors]\n{SEVEN}')
    assert len(grid.cells()) == 16 and grid.resolution == 4 and grid.baseline_cell.id == "c00"
    assert [grid.layout.runs(grid.factors, cell.levels) for cell in grid.cells()] == [1] * 16


def test_factors_of_the_evaluation_are_crossed_in_full(read) -> None:
    grid = read(f'[grid]\ndesign = "fractional"\n[factors]\n{SEVEN}tta = ["off", "flip"]\nbatch_size = [64]\n')
    assert len(grid.cells()) == 32
    trainings = {tuple(value for name, value in cell.levels.items() if name != "tta") for cell in grid.cells()}
    assert len(trainings) == 16


def test_a_cell_says_how_many_runs_it_stands_for(read) -> None:
    levels = "dropout = [0.0, 0.1, 0.2]\nwarmup = [0.25, 0.1, 0.2]\n"
    four = "flip = [true, false]\ncrop_scale = [0.35, 0.6]\nweight_decay = [0.05, 0.0]\nlr = [0.003, 0.001]\n"
    grid = read(f'[grid]\ndesign = "fractional"\n[factors]\n{levels}{four}')
    counts = [grid.layout.runs(grid.factors, cell.levels) for cell in grid.cells()]
    assert len(counts) == 28 and sum(counts) == 32 and set(counts) == {1, 2}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "resolution = 4\n",
            'grid.resolution: grid.design is "full", and this key is for fractional designs; write design = '
            '"fractional", or leave resolution out',
        ),
        (
            "refine = true\n",
            'grid.refine: grid.design is "full", and this key is for fractional designs; write design = "fractional", '
            "or leave refine out",
        ),
        (
            'design = "fractional"\nresolution = 5\n',
            "grid.design: 4 factors that change the training (2 x 2 x 2 x 2 levels) have no fraction of resolution 5 "
            "that is smaller than the full design and has at most 4,096 cells; write grid.resolution = 4, or "
            'grid.design = "full" or "one-at-a-time"',
        ),
        ('design = "fractional"\nresolution = 3\n', "grid.resolution: 3 is not one of 4, 5"),
    ],
)
def test_impossible_fractions_are_refused_in_one_line(read, text: str, line: str) -> None:
    factors = "".join(f"{row}\n" for row in SEVEN.splitlines()[:4])
    with pytest.raises(UserError) as raised:
        read(f"[grid]\n{text}[factors]\n{factors}")
    assert line in str(raised.value)
