"""The page: its order, what it leaves out, that it is one safe and repeatable file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic import FACTORS, HOSTILE, synthetic

from sota_bench.errors import UserError
from sota_bench.report.answers import Answers, answers_of
from sota_bench.report.effects import effects
from sota_bench.report.files import write_files
from sota_bench.report.page import render
from sota_bench.report.parts import Cell, Table
from sota_bench.report.run_record import TrialCounts
from sota_bench.report.sections.order import CONTROL
from sota_bench.report.summary import summary_lines, totals
from sota_bench.report.tables import RunTables
from sota_bench.report.view import View
from sota_bench.runs.confirmation import Confirmation, Difference
from sota_bench.stats import Analysis, Overview

ORDER = (
    *("verdicts", "effects", "minutes", "tradeoff", "interactions", "resolution", "forgetting"),
    *("calibration", "classes", "seen", "cells", "learning", "sensitivity", "diagnostics", "provenance"),
)


class Outline(HTMLParser):
    """Collects what the tests ask of a page: elements with their attributes, and the text outside script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._open = "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def outline(page: str) -> Outline:
    return Outline(page)


def sections(outline: Outline) -> list[str | None]:
    return [section.get("id") for section in outline.all("section")]


def test_sections_come_in_the_agreed_order(outline: Outline) -> None:
    assert sections(outline) == list(ORDER)


def test_a_grid_leaves_out_what_it_does_not_ask() -> None:
    factors = {"normalize": FACTORS["normalize"]}
    tables = synthetic(seeds=3, factors=factors)
    none = tables.trials.assign(stability=float("nan"), plasticity=float("nan"))
    one_size = tables.evaluations[tables.evaluations["size"] == 128]
    small = RunTables(
        **{**vars(tables), "trials": none, "evaluations": one_size, "samples": [], "curves": tables.curves.iloc[:0]}
    )
    shown = sections(Outline(render(small, answers_of(small))))
    assert shown == [key for key in ORDER if key in shown]
    assert not {"interactions", "resolution", "forgetting", "calibration", "seen", "learning"} & set(shown)


def test_a_run_without_any_result_is_still_a_page() -> None:
    tables = synthetic(seeds=2, factors={"mixup": ["0.0", "0.2"]})
    trials = tables.trials.assign(status="failed", error="out of memory")
    empty = RunTables(
        **{
            **vars(tables),
            **{name: getattr(tables, name).iloc[:0] for name in ("evaluations", "curves", "reliability", "stages")},
            "trials": trials,
            "predictions": {},
            "samples": [],
        }
    )

    nothing = Analysis(Overview("accuracy", {}), warnings=("4 rows with status failed.",))
    assert {row["verdict"] for row in answers_of(empty).first.headlines()} == {"not estimable"}
    outline = Outline(render(empty, Answers((nothing,))))
    assert sections(outline) == ["verdicts", "diagnostics", "provenance"]
    assert "out of memory" in outline.text


@pytest.mark.parametrize("factor", ["lr", "tta"])
def test_one_cell_is_a_page_that_compares_nothing(factor: str) -> None:
    """A factor with one level is a setting, of the training or of its evaluations."""
    tables = synthetic(seeds=2, factors={factor: ["off"]})
    assert factor == "lr" or factor in tables.run.within
    analysis = answers_of(tables)
    assert (analysis.first.contrasts, analysis.first.overview.seeds) == ((), (0, 1))
    shown = sections(Outline(render(tables, analysis)))
    assert "effects" not in shown and "tradeoff" not in shown and "cells" in shown
    beside = synthetic(seeds=3, factors={factor: ["off"], "mixup": ["0.0", "0.2"]})
    assert {row["factor"] for row in answers_of(beside).first.contrasts} == {"mixup"}


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    """In two processes with different hash seeds, so that no order of a set or dict can hide."""
    factors = {"mixup": ["0.0", "0.2"]}
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from synthetic import synthetic\n"
        "from sota_bench.report.answers import Answers, answers_of\n"
        "from sota_bench.report.page import render\n"
        f"tables = synthetic(seeds=2, factors={factors})\n"
        "open(sys.argv[2], 'w', encoding='utf-8').write(render(tables, answers_of(tables)))\n"
    )
    out = tmp_path / "other.html"
    command = [sys.executable, "-c", program, str(Path(__file__).parent), str(out)]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "MPLCONFIGDIR": str(tmp_path)}
    subprocess.run(command, check=True, env=environment)
    tables = synthetic(seeds=2, factors=factors)
    assert out.read_text("utf-8") == render(tables, answers_of(tables))


def test_a_file_that_cannot_be_written_is_one_line_and_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").mkdir()
    with pytest.raises(UserError, match=r"cannot be written.*--out"):
        write_files(tmp_path, {"trials.csv": "a"})
    assert [path.name for path in tmp_path.iterdir()] == ["trials.csv"]


def test_names_are_text_and_never_markup(hostile_page: str) -> None:
    outline = Outline(hostile_page)
    assert HOSTILE in outline.text
    assert len(outline.all("script")) == 1
    assert "<script>alert" not in hostile_page
    handlers = [name for _, attributes in outline.elements for name in attributes if name.startswith("on")]
    assert handlers == []


def test_a_control_says_so_before_anything_else(hostile_page: str, page: str) -> None:
    text = Outline(hostile_page).text
    assert text.index(CONTROL) < text.index("Skip to the verdicts") + 1000
    assert CONTROL not in page


def test_the_question_and_the_remarks_of_the_grid_stand_at_the_top(page: str, tables: RunTables) -> None:
    text = Outline(page).text
    top = text[: text.index("1,963 images")]
    assert tables.run.question and tables.run.question in top
    assert all(remark in top for remark in tables.run.grid.notes.split("\n\n"))
    assert page.count('<p class="remark">') == 2
    silent = replace(tables, run=replace(tables.run, question="", grid=replace(tables.run.grid, notes=" \n")))
    page = render(silent, answers_of(silent))
    assert '<p class="question">' not in page and '<p class="remark">' not in page


def test_a_confirmation_stands_with_the_verdicts(tables: RunTables, analysis: Any) -> None:
    sentence = "c03 (mixup 0.2) vs the baseline c00."
    difference = Difference(1.0, 0.2, 4.0, 0.4, 1.6, 0.01, 5)
    confirmation = Confirmation("", "c00", "c03", {}, difference, difference, 1.0, 0, (sentence,))
    confirmed = replace(tables, run=replace(tables.run, confirmation=confirmation))
    page = render(confirmed, analysis)
    assert page.index("<h3>Confirmation on the test split</h3>") < page.index(sentence) < page.index('id="effects"')
    assert "Confirmation on the test split" not in render(tables, analysis)


def test_nothing_is_asked_of_the_network(outline: Outline, page: str) -> None:
    sources = [tag[name] for _, tag in outline.elements for name in ("src", "srcset", "poster", "data") if name in tag]
    assert sources
    assert all(str(source).startswith("data:image/png;base64,") for source in sources)
    links = [str(link["href"]) for link in outline.all("a")]
    assert links
    assert not [link for link in links if ":" in link or link.startswith("//")]
    assert not outline.all("link")
    css = re.sub(r"data:[^\"')]+", "", page)
    assert "@import" not in css
    assert not re.search(r"url\((?!#)", css)
    policy = [tag["content"] for tag in outline.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policy and str(policy[0]).startswith("default-src 'none'")


def test_it_is_small(page: str) -> None:
    assert len(page.encode()) < 1_000_000


def test_ids_are_unique_and_references_hold(outline: Outline, page: str) -> None:
    ids = [tag["id"] for _, tag in outline.elements if "id" in tag]
    assert len(ids) == len(set(ids))
    targets = {str(tag["href"])[1:] for _, tag in outline.elements if str(tag.get("href", "")).startswith("#")}
    targets |= {name for _, tag in outline.elements for name in str(tag.get("aria-labelledby") or "").split()}
    targets |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert targets <= set(ids)


def test_every_figure_has_a_role_a_finding_and_its_numbers(page: str) -> None:
    figures = re.findall(r"<figure>.*?</figure>", page, flags=re.DOTALL)
    assert len(figures) >= 10
    for figure in figures:
        plots = re.findall(r'<svg[^>]*role="img"[^>]*>.*?<title[^>]*>([^<]+)</title><desc[^>]*>([^<]+)</desc>', figure)
        assert len(plots) == figure.count("<svg") > 0
        assert all(title and finding.endswith(".") for title, finding in plots), plots
        assert "<details><summary>Numbers behind this figure</summary>" in figure
        assert re.search(r'<th scope="col"', figure)


def test_tables_have_headers_for_columns_and_rows(outline: Outline) -> None:
    heads = outline.all("th")
    assert heads
    assert all(head.get("scope") in ("col", "row") for head in heads)
    assert len(outline.all("caption")) == len(outline.all("table"))


def test_regions_that_scroll_can_be_reached_by_keyboard(outline: Outline) -> None:
    regions = [tag for _, tag in outline.elements if "scroll" in str(tag.get("class", "")).split()]
    assert regions
    assert all(region.get("tabindex") == "0" for region in regions)


def test_no_figure_keeps_a_stand_in_colour(page: str) -> None:
    from sota_bench.report.theme import Ink

    assert not [ink for ink in Ink if str(ink) in page]


def test_cells_table_holds_the_means_of_the_trials(page: str, tables: RunTables) -> None:
    done = tables.trials[tables.trials["status"] == "done"]
    means = done.groupby("cell")["accuracy"].mean()
    part = page[page.index('<section id="cells"') :]
    rows = re.findall(r'<tr><th scope="row">(c\d+)</th>(.*?)</tr>', part[: part.index("</table>")])
    assert len(rows) == len(means)
    for cell, row in rows:
        shown = re.search(r'data-v="([\d.]+)">([\d.]+)</td>', row)
        assert shown is not None
        assert float(shown[1]) == pytest.approx(means[cell])
        assert shown[2] == f"{means[cell]:.2f}"


def test_failures_and_gaps_are_shown(outline: Outline) -> None:
    assert "127 of 128" in outline.text
    assert "c01-s1" in outline.text
    assert "the loss was not finite at epoch 3, step 41" in outline.text
    assert "16 cells without a finished trial" in outline.text


def test_trials_that_were_not_asked_for_are_neither_failed_nor_blocked(tables: RunTables, analysis: Any) -> None:
    trials = tables.trials.copy()
    left_out = trials["mixup"] == "0.2"
    trials.loc[left_out, ["status", "error"]] = ["not_asked", "left out by --only"]
    counts = TrialCounts(48, len(trials), **trials["status"].value_counts().to_dict())
    partial = replace(tables, trials=trials, run=replace(tables.run, counts=counts))
    assert counts.asked == int((~left_out & (tables.trials["status"] != "not_applicable")).sum())
    assert summary_lines(partial, answers_of(partial))[-1].startswith(f"{counts.done} trials done, 1 failed, ")
    text = Outline(render(partial, answers_of(partial))).text
    assert f"{counts.done} of {counts.asked}" in text and "blocked" not in text


def test_one_seed_gives_a_screening_and_no_verdict() -> None:
    factors = {name: FACTORS[name] for name in ("normalize", "mixup")}
    tables = synthetic(seeds=1, factors=factors)
    analysis = answers_of(tables)
    outline = Outline(render(tables, analysis))
    verdicts = [str(tag["class"]) for tag in outline.all("li") if tag.get("class")]
    assert verdicts == ["none"] * 2
    assert "effects" not in sections(outline)


def test_the_terminal_summary_has_the_question_each_verdict_and_the_totals(tables: RunTables, analysis: Any) -> None:
    question, *verdicts, last = summary_lines(tables, analysis)
    assert question == f"Question: {tables.run.question}"
    view = View(tables, analysis)
    expected = [effect.mark for effect in effects(view)]
    for claim in analysis.claims:  # a heading, then the verdicts of those that claim it
        expected += ["C", *(effect.mark for effect in effects(view, analysis=claim))]
    assert [line[0] for line in verdicts] == expected and len(analysis.claims) == 3
    assert last == totals(tables.run)


def test_the_terminal_reads_other_factors_where_something_varies() -> None:
    tables = synthetic(factors={name: FACTORS[name] for name in ("normalize", "mixup")})
    flat = tables.trials["normalize"] == "none"
    tables.trials.loc[flat & (tables.trials["status"] == "done"), "accuracy"] = 10.0
    tables = replace(tables, predictions={})  # they are those of the accuracies before
    answers = replace(answers_of(tables), claims=())
    lines = summary_lines(tables, answers)[1:]
    assert lines[0].startswith("\u25b2 normalize dataset vs none: ")
    others = [line.partition(":")[0].split(" ", 1)[1] for line in lines[1:-2]]
    assert others == ["mixup 0.2 vs 0.0 at normalize dataset"]
    assert lines[-2].startswith("With normalize = none ")


@pytest.mark.slow
def test_thousands_of_trials_render_in_seconds() -> None:
    """2,304 trials, 1,536 of them with results; the limit is in seconds of this process, whatever else runs."""
    import time

    factors = {"lr": ["0.01", "0.02", "0.04", "0.08"], "epochs": ["5", "10", "20"], **FACTORS}
    tables = synthetic(factors=factors)
    analysis = answers_of(tables)
    start = time.process_time()
    page = render(tables, analysis)
    assert time.process_time() - start < 20
    assert len(page) < 1_500_000
    assert isinstance(tables.trials, pd.DataFrame) and len(tables.trials) == 2304


def test_a_clear_interaction_gets_its_lines_and_simple_effects() -> None:
    """Mixup is made to help by 3 points where inputs are normalized, and nowhere else."""
    tables = synthetic(seeds=3, factors={name: FACTORS[name] for name in ("tta", "normalize", "mixup")})
    both = (tables.trials["normalize"] == "dataset") & (tables.trials["mixup"] == "0.2")
    trials = tables.trials.assign(accuracy=tables.trials["accuracy"] + 3.0 * both)
    changed = RunTables(**{**vars(tables), "trials": trials, "predictions": {}})
    text = Outline(render(changed, answers_of(changed))).text
    assert re.search(r"Clear: [^.]*normalize with mixup", text) and "Clear interactions" in text
    assert "Helps on average" in text
    assert "mixup 0.2 vs 0.0 at normalize dataset" in text


def test_cells_without_a_number_are_sorted_by_their_text() -> None:
    """Two seeds of one training have no interval; a NaN among the numbers would put its column in no order at all."""
    cells = [cell for row in Table("", ["a"], [[Cell("–", float("nan"))], [Cell("1", 1.0)]]).cells for cell in row]
    assert [cell.sort_value for cell in cells] == [None, 1.0]
    tables = synthetic(seeds=2, factors={"tta": ["false", "true"]})
    page = render(tables, answers_of(tables))
    assert 'data-v="' in page and 'data-v="nan"' not in page
