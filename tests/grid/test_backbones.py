"""The names read from timm's source are those that timm registers, and the short list is what timm makes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sota_bench.grid.backbones import backbone_families, backbone_names, backbone_problem, small_backbones


def measuring() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "small_backbones.py"
    spec = importlib.util.spec_from_file_location("small_backbones", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_are_those_that_timm_registers() -> None:
    timm = pytest.importorskip("timm")
    assert list(backbone_names()) == sorted(timm.list_models())


def test_a_tag_of_weights_may_follow() -> None:
    assert backbone_problem("resnet18.a1_in1k") is None
    assert backbone_problem("resnet18") is None
    assert backbone_problem("resnet17") is not None


def test_without_timm_every_name_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    backbone_families.cache_clear()
    backbone_problem.cache_clear()
    try:
        assert backbone_names() == () and backbone_problem("anything") is None
    finally:
        monkeypatch.undo()
        backbone_families.cache_clear()
        backbone_problem.cache_clear()


def test_the_short_list_is_complete_and_sorted() -> None:
    module, rows = measuring(), small_backbones()
    assert {row.name for row in rows} == set(module.NAMES)
    assert [row.params for row in rows] == sorted(row.params for row in rows)
    assert {row.name for row in rows} <= set(backbone_names())


def test_the_short_list_is_what_timm_makes() -> None:
    module = measuring()
    rows = {row.name: row for row in small_backbones()}
    for measured in module.measure(["test_vit", "lcnet_035", "resnet10t", "convnext_atto"]):
        assert vars(rows[measured["name"]]) == measured


@pytest.mark.slow
def test_the_whole_short_list_is_what_timm_makes() -> None:
    assert [vars(row) for row in small_backbones()] == measuring().measure()


def test_reading_names_does_not_import_timm() -> None:
    import subprocess

    code = "import sys; from sota_bench.grid.backbones import backbone_names as n; n(); print('timm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
