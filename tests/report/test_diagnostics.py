"""The half-normal plot of a single seed shows what the screening found."""

from __future__ import annotations

import re

import numpy as np
import pytest
from synthetic import FACTORS, synthetic

from sota_bench.report.answers import answers_of
from sota_bench.report.page import render
from sota_bench.report.parts import Chart
from sota_bench.report.sections import diagnostics
from sota_bench.report.tables import RunTables
from sota_bench.report.theme import drawing
from sota_bench.report.view import View


@pytest.fixture(scope="module")
def single() -> RunTables:
    return synthetic(seeds=1, factors={name: FACTORS[name] for name in ("normalize", "mixup", "resize", "tta")})


def half_normal(tables: RunTables) -> Chart:
    section = diagnostics.section(View(tables, answers_of(tables)))
    (chart,) = [block for block in section.blocks if isinstance(block, Chart) and block.key == "screening"]
    return chart


def test_the_half_normal_plot_has_a_mark_for_every_effect_at_its_place(single: RunTables) -> None:
    screening = answers_of(single).first.screening
    assert screening is not None
    with drawing():
        figure = half_normal(single).draw(800)
    assert len(figure.axes) == len(screening.strata) == 2
    for ax, stratum in zip(figure.axes, screening.strata, strict=True):
        effects = [e for e in screening.effects if e.stratum == stratum.stratum]
        marks = {
            (round(float(line.get_xdata()[0]), 9), round(float(line.get_ydata()[0]), 9)): line.get_marker()
            for line in ax.lines
            if line.get_marker() in ("o", "s")
        }
        assert set(marks) == {(round(abs(e.estimate), 9), round(e.quantile, 9)) for e in effects}
        squares = {position for position, marker in marks.items() if marker == "s"}
        beyond = {position for position in marks if position[0] > stratum.margin}
        assert squares == beyond
        rules = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 2]
        assert sorted(rules) == pytest.approx([stratum.margin, stratum.simultaneous_margin])
        assert ax.get_xlim()[1] > max(np.abs(rules))
        named = {text.get_text().replace(" \u00d7 ", ":") for text in ax.texts}
        assert named == {e.term for e in effects if e.outside != "inside"}


def test_the_half_normal_plot_says_its_finding_and_has_its_numbers(single: RunTables) -> None:
    chart = half_normal(single)
    screening = answers_of(single).first.screening
    assert screening is not None and chart.table is not None
    for stratum in screening.strata:
        assert f"({stratum.margin:.2f} pp, {stratum.stratum})" in chart.finding
    rows = chart.table.cells
    assert len(rows) == len(screening.effects)
    sizes = [abs(float(row[2].text.replace("\u2212", "-"))) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    page = render(single, answers_of(single))
    section = re.search(r'<section id="diagnostics".*?</section>', page, flags=re.DOTALL)
    assert section is not None and chart.title in section[0]
    assert section[0].count("<svg") == 2, "one drawing for wide and one for narrow screens"
