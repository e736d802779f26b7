"""Lasting changes in a history: detected where they are, and seldom where there are none."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from sota_bench.regression.changes import lasting_changes, pieces
from sota_bench.regression.hardware import Hardware
from sota_bench.regression.history import TimingRecord, append, read


def cost(values: np.ndarray, edges: list[int], penalty: float) -> float:
    parts = [values[a:b] for a, b in itertools.pairwise(edges)]
    return sum(float(((part - part.mean()) ** 2).sum()) for part in parts) + penalty * (len(parts) - 1)


def test_the_pieces_are_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.normal(0, 1, 9) + np.where(np.arange(9) > rng.integers(2, 7), 3.0, 0.0)
        every = [
            [0, *inner, 9]
            for count in range(4)
            for inner in itertools.combinations(range(1, 9), count)
            if min(b - a for a, b in itertools.pairwise([0, *inner, 9])) >= 2
        ]
        best = min(every, key=lambda edges: cost(values, edges, 2.0))
        assert cost(values, pieces(values, 2.0), 2.0) == pytest.approx(cost(values, best, 2.0))


def test_a_change_is_found_where_it_is_with_its_size() -> None:
    rng = np.random.default_rng(1)
    seconds = 0.02 * np.exp(rng.normal(0, 0.01, 40)) * np.where(np.arange(40) < 25, 1.0, 1.1)
    changes = lasting_changes(seconds.tolist())
    assert [change.index for change in changes] == [25] and changes[0].change == pytest.approx(0.1, abs=0.02)


def test_noise_alone_seldom_has_lasting_changes() -> None:
    rng = np.random.default_rng(2)
    wrong = sum(bool(lasting_changes(np.exp(rng.normal(0, 0.02, 30)).tolist())) for _ in range(200))
    assert wrong <= 30, "the penalty keeps it near 5 to 10 in 100"


@pytest.mark.parametrize("seconds", [[], [1.0], [1.0, 2.0, 1.0], [1.0] * 10, [1.0, 1.0, 5.0, 1.0, 1.0, 1.0]])
def test_short_equal_and_single_odd_values_are_no_lasting_changes(seconds: list[float]) -> None:
    assert lasting_changes(seconds) == []


def test_a_history_is_kept_by_hardware_and_survives_a_broken_line(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    small: Hardware = {"cpu": "Some CPU @ 2.1GHz", "cores": 2, "gpu": "", "torch": "2.14"}
    large: Hardware = {**small, "cores": 8}
    for day, hardware in (("02", small), ("01", small), ("03", large)):
        times = {"x": [0.1, 0.3, 0.2]}
        append(folder, TimingRecord(f"2025-01-{day}T00:00:00+00:00", "a" * 40, day == "02", hardware, times, {}))
    file = folder / "some-cpu-2.1ghz-2c-torch2.14.jsonl"
    with file.open("a") as out:
        out.write('{"recorded": "2025\n{"times": {"x": [-1]}}\n')
    histories, unreadable = read(folder)
    assert unreadable == 2 and {name: len(records) for name, records in histories.items()} == {
        "some-cpu-2.1ghz-2c-torch2.14": 2,
        "some-cpu-2.1ghz-8c-torch2.14": 1,
    }
    records = histories["some-cpu-2.1ghz-2c-torch2.14"]
    assert [record.title for record in records] == ["a" * 10, "a" * 10 + "+"]
    assert records[0].seconds("x") == 0.2 and math.isnan(records[0].seconds("y"))
