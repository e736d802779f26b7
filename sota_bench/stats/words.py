"""One plain sentence per row: what was found, its interval, and what more it would take."""

from __future__ import annotations

import math
from typing import Any

from sota_bench.stats import verdicts
from sota_bench.stats.contrasts import INTERACTION, LINEAR, QUADRATIC, SIMPLE


def number(value: float, scale: float | None, sign: bool = True) -> str:
    """A value with two significant digits of its standard error (``scale``)."""
    size = scale if scale and math.isfinite(scale) else abs(value) / 10
    digits = min(max(1 - math.floor(math.log10(size)), 0), 6) if size > 0 else 1
    return f"{value:{'+' if sign else ''}.{digits}f}"


def subject(row: dict[str, Any]) -> str:
    """What a row compares: ``mixup 0.2 against 0.0``."""
    if row["kind"] == LINEAR:
        return f"the linear trend of {row['factor']} from {row['baseline']} to {row['level']}"
    if row["kind"] == QUADRATIC:
        return f"the curvature of {row['factor']} from {row['baseline']} to {row['level']}"
    text = f"{row['factor']} {row['level']} against {row['baseline']}"
    if row["kind"] == INTERACTION:
        return f"{text}, at {row['factor_b']} {row['level_b']} against {row['baseline_b']}"
    if row["kind"] == SIMPLE:
        text += f" at {row['at_factor']} {row['at_level']}"
    return text


def told(row: dict[str, Any]) -> str:
    """A row's verdict as it is told; of an interaction there is only whether it is clear."""
    if row["kind"] == INTERACTION and row["verdict"] != verdicts.NOT_ESTIMABLE:
        return verdicts.CLEAR if row["flagged"] else verdicts.UNCLEAR
    return str(row["verdict"])


def sentence(
    row: dict[str, Any], *, unit: str, block: str | None, delta: float | None, alpha: float, family: int
) -> str:
    """The sentence of one row of ``contrasts`` or ``interactions``.

    Args:
        row: the row, complete but for its words.
        unit: unit of the response, "" for none.
        block: what a block is called ("seed"), None without blocks.
        delta: smallest effect of interest.
        alpha: level of the family; the interval has level 1 - alpha.
        family: number of comparisons that Holm's correction covers.
    """
    who, verdict = subject(row), row["verdict"]
    if verdict == verdicts.NOT_ESTIMABLE:
        return f"Not estimable: {who}: {row['reason']}."
    se, tail = row["se"], f" {unit}" if unit else ""

    def show(value: float, sign: bool = True) -> str:
        return number(value, se, sign)

    runs = f"{row['n']} {'seeds' if block == 'seed' else block or 'runs a cell'}"
    interval = f"{100 * (1 - alpha):g}% interval {show(row['low'])} to {show(row['high'])}"
    found = f"{show(row['estimate'])}{tail} ({interval}; {runs})"
    capital = who[0].upper() + who[1:] if who.startswith("the ") else who
    if row["kind"] == INTERACTION:
        text = f"{capital}: difference of differences {found}"
        text += "; a clear interaction" if row["flagged"] else "; no clear interaction"
    elif row["kind"] == LINEAR and verdict in (verdicts.HELPS, verdicts.HURTS):
        text = f"Raising {row['factor']} from {row['baseline']} to {row['level']} {verdict}: {found}"
    elif verdict == verdicts.CURVED:
        text = f"{capital} is real: {found}"
    elif verdict in (verdicts.HELPS, verdicts.HURTS):
        text = f"{capital.replace(' against ', f' {verdict} against ', 1)}: {found}"
    elif verdict == verdicts.NEGLIGIBLE:
        text = f"Real but negligible: {who}: {found}, smaller than {delta:g}{tail}"
    elif verdict == verdicts.EQUIVALENT:
        text = f"No effect larger than {delta:g}{tail}: {who}: {found}"
    else:
        text = f"No detectable effect: {who}: {found}"
    if row["p"] < alpha <= row["p_holm"]:
        text += f". The interval leaves out 0, but that does not survive Holm's correction for {family} comparisons"
    return text + _more(row, unit, block, delta, family) + _where(row) + "."


def _more(row: dict[str, Any], unit: str, block: str | None, delta: float | None, family: int) -> str:
    """What the experiment could have seen, and how many seeds delta would take."""
    open_question = row["verdict"] == verdicts.UNDETECTED or (row["kind"] == INTERACTION and not row["flagged"])
    if not open_question or row["mde_family"] is None:
        return ""
    tail = f" {unit}" if unit else ""
    scope = f" among {family} comparisons" if family > 1 else ""
    text = f". Could detect {number(row['mde_family'], row['se'], sign=False)}{tail} (80% power{scope})"
    if delta is None or row["n"] <= 1:
        return text
    each = "seed" if block == "seed" else f"{block} level" if block else "run a cell"
    needed = row["seeds_needed_family"]
    if needed is None:
        return f"{text}; more than ten thousand {each}s for {delta:g}"
    extra = needed - math.floor(row["n"])
    if extra <= 0:
        return text
    return f"{text}; about {extra} more {each}{'s' if extra > 1 and block else ''} for {delta:g}"


def _where(row: dict[str, Any]) -> str:
    text = f". Compared only where both exist ({row['part']})" if row["part"] else ""
    if row["demoted"]:
        text += f". An average over {' and '.join(row['demoted_by'])}, with which it interacts: read it level by level"
    if row["diluted_by"]:
        flat = " and ".join(row["diluted_by"])
        text += f". An average with {flat}, where nothing varies: read it at the other levels"
    if row["after_look"]:
        text += ". Seeds were added after a look"
    return text
