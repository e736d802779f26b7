"""Several runs on one page: differences first, every contrast in every run."""

from __future__ import annotations

import re
from typing import Any

from synthetic import FACTORS, synthetic

from sota_bench.report.answers import answers_of
from sota_bench.report.sections.order import CONTROL
from sota_bench.report.side_by_side import distinct, flatten, render_side_by_side
from sota_bench.report.tables import RunTables


def test_two_runs(tables: RunTables, analysis: Any, hostile: RunTables) -> None:
    small = synthetic(seeds=3, factors={name: FACTORS[name] for name in ("normalize", "mixup")})
    runs = [("A", tables, analysis), ("A", small, answers_of(small)), ("<b>", hostile, answers_of(hostile))]
    page = render_side_by_side(runs)
    assert re.findall(r'<section id="(\w+)"', page) == ["differences", "verdicts", "totals", "provenance"]
    assert "A, A (2) and &lt;b&gt;" in page and "<b>" not in page
    assert '<th scope="row">seeds</th><td>0, 1, 2, 3</td><td>0, 1, 2</td><td>0, 1, 2</td>' in page
    assert '<th scope="row">factors.tta</th><td>false, true</td><td>\u2013</td><td>\u2013</td>' in page
    assert '<th scope="row">recipe.lr</th>' not in page, "what is the same is left out"
    row = re.search(r'<th scope="row">tta on vs off</th>(.*?)</tr>', page)
    assert row is not None and row[1].count("not in this grid") == 2
    assert CONTROL in page
    assert page == render_side_by_side(runs)


def test_helpers() -> None:
    assert distinct(["a", "b", "a", "a"]) == ["a", "b", "a (2)", "a (3)"]
    assert flatten({"a": {"b": [1, 2]}, "c": None}) == {"a.b": "1, 2", "c": "None"}
