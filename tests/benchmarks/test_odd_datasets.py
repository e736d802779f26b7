"""Odd data sets: some of them are read right in every run of the tests, and what is read wrong is seen as a fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sota_bench.data.manifest import Manifest


@pytest.fixture
def bench(imported: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = imported("odd_datasets")
    monkeypatch.setattr(module.find, "user_cache", module.find.user_cache)  # is put back after the test
    return module


@pytest.mark.parametrize("number", range(30))
def test_no_data_set_is_read_wrong(bench: ModuleType, tmp_path: Path, number: int) -> None:
    case, outcome = bench.one(seed=1, number=number, folder=tmp_path)
    assert not outcome.startswith("fault"), case.traits


@pytest.fixture
def read_case(bench: ModuleType, tmp_path: Path) -> tuple[object, Manifest, str]:
    """A data set with damaged images, read right."""
    bench.find.user_cache = lambda: tmp_path / "cache"
    for number in range(100):
        rng = np.random.default_rng(number)
        case = bench.make(rng)
        if None in case.truth.values() and case.told and case.traits["layout"] == "split/class":
            source, prefix = bench.pack(rng, case, tmp_path)
            manifest = bench.read(source, case.options)
            bench.compare(case, manifest, prefix)
            return case, manifest, prefix
    raise AssertionError("none of 100 cases has what the test needs")


@pytest.mark.parametrize("wrong", ["class", "split", "lost", "used", "silent"])
def test_what_is_read_wrong_is_a_fault(bench: ModuleType, read_case: tuple[object, Manifest, str], wrong: str) -> None:
    case, manifest, prefix = read_case
    items, left_out = manifest.items.copy(), manifest.left_out.copy()
    if wrong == "class":
        items.loc[0, "label"] = "another"
    elif wrong == "split":
        items["split"] = items["split"].map({"train": "select", "select": "train", "test": "train"})
    elif wrong == "lost":
        items = items.iloc[1:]
    elif wrong == "used":
        damaged = next(prefix + path for path, truth in case.truth.items() if truth is None)  # type: ignore[attr-defined]
        items.loc[0, "path"] = damaged
    else:
        left_out = left_out.iloc[:0]
    with pytest.raises(bench.Fault):
        bench.compare(case, Manifest(manifest.name, items, left_out, manifest.junk), prefix)
