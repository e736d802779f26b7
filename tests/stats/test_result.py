"""Rows and analyses go to JSON values and back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from sota_bench.stats import Analysis, analyze


@pytest.mark.parametrize("seeds", [1, 4])
def test_an_analysis_survives_json(seeds: int) -> None:
    rng = np.random.default_rng(2)
    rows = [
        {"seed": s, "a": a, "b": b, "tta": t, "y": a * b * 3 + rng.normal()}
        for s in range(seeds) for a in (0, 1, 2) for b in (0, 1) for t in (False, True)
    ]  # fmt: skip
    analysis = analyze(pd.DataFrame(rows), response="y", factors=["a", "b", "tta"], within=["tta"], delta=0.5)
    assert Analysis.from_dict(json.loads(analysis.to_json())) == analysis
    assert (analysis.screening is not None) == (seeds == 1)


def test_columns_are_read_as_in_a_dictionary_too() -> None:
    rows = [{"seed": s, "a": a, "y": a + s / 3 + (s * a) % 2} for s in range(3) for a in (0, 1, 2)]
    row = analyze(pd.DataFrame(rows), response="y", factors=["a"]).headlines()[0]
    assert row["estimate"] == row.estimate and row["headline"] is True
    with pytest.raises(KeyError):
        row["nothing"]
