"""The contact sheet: one offline page that shows, class by class, what is kept and what is flagged; in it a person
changes ``keep`` with keys and saves the text of ``manifest.csv``."""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from sota_bench.curate import flags
from sota_bench.curate.curation import Curation, Findings, reason_counts
from sota_bench.data.build import decode_in_order
from sota_bench.data.manifest import parse_scale
from sota_bench.data.source import Source
from sota_bench.data.split import position
from sota_bench.report.page import stylesheet
from sota_bench.units import counted

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment

THUMBNAIL, QUALITY = 72, 60
"""Pixels of the shorter side, and WebP quality: about 1.5 kB an image."""

MOST_FLAGGED, KEPT_PER_CLASS, MOST_KEPT = 2000, 16, 1600
"""Thumbnails: all flagged images up to so many, and a sample of the kept ones of each class."""

MOST_ROWS = 200_000
"""A larger manifest is edited as a file: the page would not open."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Shot:
    """One image on the sheet.

    Attributes:
        row: in ``manifest.csv``, from 0.
        path, split, label, suggested, copy_of: of the manifest.
        reasons: words that flag it.
        kept: whether it is kept.
        facts: the scores behind the flags, in words.
        picture: a data URI; "" where the file cannot be decoded.
    """

    row: int
    path: str
    split: str
    label: str
    suggested: str
    copy_of: str
    reasons: tuple[str, ...]
    kept: bool
    facts: str
    picture: str


@dataclass(frozen=True)
class ClassSheet:
    """The images of one class: flagged ones, the worst first, and some of the others."""

    name: str
    facts: str
    flagged: list[Shot]
    others: list[Shot]
    more_flagged: int


def render(
    findings: Findings, curation: Curation, source: Source, facts: list[tuple[str, str]], processes: int,
    progress: Progress,
) -> str:  # fmt: skip
    """The page.

    Args:
        findings: of the source.
        curation: what is kept.
        source: decodes the thumbnails.
        facts: (name, value) pairs on how the manifest was made.
        processes: how many decode.
        progress: called with (done, total).
    """
    rows = curation.rows
    shown = shown_rows(rows)
    pictures = _pictures(findings, rows, np.concatenate(shown), source, processes, progress)
    groups = rows[rows["class"].fillna("") != ""].groupby("class", sort=False)
    classes = [_class_sheet(str(name), group, shown, pictures) for name, group in groups]
    order = {name: number for number, name in enumerate(findings.manifest.classes)}
    classes.sort(key=lambda sheet: order.get(sheet.name, len(order)))
    counts = reason_counts(rows)
    template = _environment().get_template("sheet.html")
    return template.render(
        title=f"Curation of {findings.manifest.name}",
        facts=facts,
        notes=list(findings.notes),
        summary=_summary(rows),
        reasons=[(word, flags.REASONS[word], count) for word, count in counts.items() if count],
        classes=classes,
        manifest=_packed(curation.text) if len(rows) <= MOST_ROWS else "",
        limits=f"{THUMBNAIL} px thumbnails",
    )


def shown_rows(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Which rows of the manifest are shown: flagged ones, the worst of each reason first, and kept ones drawn from each
    class."""
    flagged = np.array([bool(_flags(text)) for text in rows["reasons"]], dtype=bool)
    scores = rows[["label_score", "outlier_score"]].astype(float).min(axis=1).fillna(0).to_numpy()
    worst = np.flatnonzero(flagged)[np.argsort(scores[flagged], kind="stable")][:MOST_FLAGGED]
    draws = np.array([position(str(content), "sheet") if content == content else 1.0 for content in rows["sha256"]])
    kept = np.flatnonzero(rows["keep"].astype(bool).to_numpy() & ~flagged)
    kept = kept[np.argsort(draws[kept], kind="stable")]
    classes = rows["class"].to_numpy(dtype=object)
    each = min(KEPT_PER_CLASS, max(1, MOST_KEPT // max(1, len(set(classes[kept])))))
    taken: dict[str, int] = {}
    sample = []
    for row in kept:
        taken[classes[row]] = taken.get(classes[row], 0) + 1
        if taken[classes[row]] <= each:
            sample.append(row)
    return worst, np.array(sample, dtype=int)


def _flags(text: Any) -> tuple[str, ...]:
    words = str(text).split(flags.SEPARATOR) if text == text else []
    return tuple(word for word in words if word and word not in (flags.NOT_CHOSEN, flags.UNUSED))


def _pictures(
    findings: Findings, rows: pd.DataFrame, shown: np.ndarray, source: Source, processes: int, progress: Progress
) -> dict[int, str]:
    """Row -> data URI, of those that decode."""
    from PIL import Image

    scale_of = dict(zip(findings.manifest.items["path"], findings.manifest.items["scale"], strict=True))
    paths = rows["path"].to_numpy(dtype=object)
    readable = [int(row) for row in shown if paths[row] in scale_of]
    contents = rows["sha256"].to_numpy(dtype=object)
    files = [(str(paths[row]), str(contents[row]), parse_scale(scale_of[paths[row]])) for row in readable]
    pictures = {}
    decoded = decode_in_order(source, files, THUMBNAIL, processes)
    for done, (row, (_, _, image)) in enumerate(zip(readable, decoded, strict=True), start=1):
        if not isinstance(image, str):
            encoded = io.BytesIO()
            Image.fromarray(image).save(encoded, "WEBP", quality=QUALITY, method=4)
            pictures[row] = f"data:image/webp;base64,{base64.b64encode(encoded.getvalue()).decode()}"
        progress(done, len(readable))
    return pictures


def _class_sheet(
    name: str, group: pd.DataFrame, shown: tuple[np.ndarray, np.ndarray], pictures: dict[int, str]
) -> ClassSheet:
    members = set(group.index)
    flagged, others = ([_shot(row, group.loc[row], pictures) for row in part if row in members] for part in shown)
    kept = group[group["keep"].astype(bool)]
    counts = kept["split"].value_counts()
    splits = ", ".join(f"{int(counts.get(split, 0)):,} {split}" for split in ("train", "select", "test"))
    all_flagged = sum(bool(_flags(text)) for text in group["reasons"])
    text = f"{counted(len(group), 'file')}; kept: {splits}; flagged: {all_flagged:,}"
    return ClassSheet(name, text, flagged, others, all_flagged - len(flagged))


def _shot(row: int, values: pd.Series, pictures: dict[int, str]) -> Shot:
    reasons = _flags(values["reasons"])
    texts = {name: str(values[name]) if values[name] == values[name] else "" for name in ("suggested_class", "copy_of")}
    facts = []
    if flags.WRONG_LABEL in reasons:
        facts.append(
            f"{texts['suggested_class']}? {_percent(values['suggested_score'])}, "
            f"{values['class']} {_percent(values['label_score'])}"
        )
    if flags.OUTLIER in reasons:
        facts.append(f"outlier score {float(values['outlier_score']):.2f}")
    if flags.TINY in reasons:
        facts.append(f"{int(values['shorter_side'])} px")
    if texts["copy_of"]:
        facts.append(f"copy of {texts['copy_of']}")
    if flags.UNREADABLE in reasons and values["note"]:
        facts.append(str(values["note"]))
    return Shot(
        int(row), str(values["path"]), str(values["split"]), str(values["class"]), texts["suggested_class"],
        texts["copy_of"], reasons, bool(values["keep"]), "; ".join(facts), pictures.get(int(row), ""),
    )  # fmt: skip


def _percent(value: Any) -> str:
    return f"{100 * float(value):.0f}%"


def _summary(rows: pd.DataFrame) -> str:
    kept = rows[rows["keep"].astype(bool)]
    counts = kept["split"].value_counts()
    parts = ", ".join(f"{int(counts.get(split, 0)):,} {split}" for split in ("train", "select", "test"))
    classes = counted(kept["class"].nunique(), "class", "classes")
    return f"{len(kept):,} of {counted(len(rows), 'file')} are kept, in {classes}: {parts}."


def _packed(text: str) -> str:
    """Text as base64 of gzip, with no time in it: the same manifest gives the same page."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("sota_bench.curate"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    folder = resources.files("sota_bench.curate").joinpath("templates")
    environment.globals["style"] = Markup(stylesheet() + folder.joinpath("sheet.css").read_text("utf-8"))
    environment.globals["script"] = Markup(folder.joinpath("sheet.js").read_text("utf-8"))
    return environment
