"""Colours: every pair that is read reaches WCAG AA, in light, dark and print; figures follow the page."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from sota_bench.report.svg import to_svg
from sota_bench.report.theme import Ink, drawing, sheet, styles

CSS = resources.files("sota_bench.report").joinpath("templates/style.css").read_text("utf-8")
TEXT = [("ink", "page"), ("ink", "paper"), ("ink", "band"), ("soft", "page"), ("soft", "paper"), ("accent", "page")]
TEXT += [("accent", "paper"), ("ink", "tint"), ("soft", "band"), ("accent", "band")]
TEXT += [(tone, ground) for tone in ("good", "bad", "flat") for ground in (f"{tone}-t", "page", "paper", "band")]
TEXT += [("ink", f"{tone}-t") for tone in ("good", "bad", "flat", "unknown")] + [("soft", "unknown-t")]
TEXT += [("ink", f"d{step}") for step in range(9)]
GRAPHICS = [(f"c{n}", "paper") for n in range(1, 7)] + [("edge", "paper"), ("edge", "page")]
GRAPHICS += [(name, "band") for name in ("c1", "c2", "good", "bad", "flat", "soft")]


def variables(theme: str) -> dict[str, str]:
    """The CSS variables of a theme: light is the plain ``:root``, the others override it."""
    blocks = re.findall(r"(@media[^{]*)?\{?\s*:root \{(.*?)\}", CSS, flags=re.DOTALL)
    found: dict[str, str] = {}
    for media, block in blocks:
        if not media or theme in media:
            found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", block))
    return found


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_formula_on_known_pairs() -> None:
    assert contrast("#fff", "#000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_contrast_is_enough(theme: str) -> None:
    colours = variables(theme)
    low = [
        (a, b, round(contrast(colours[a], colours[b]), 2)) for a, b in TEXT if contrast(colours[a], colours[b]) < 4.5
    ]
    low += [
        (a, b, round(contrast(colours[a], colours[b]), 2))
        for a, b in GRAPHICS
        if contrast(colours[a], colours[b]) < 3.0
    ]
    assert low == []


def test_every_theme_knows_every_ink() -> None:
    for theme in ("light", "dark", "print"):
        assert {ink.name.lower() for ink in Ink} <= set(variables(theme))
    assert variables("light")["ink"] != variables("dark")["ink"]


def test_series_differ_without_colour() -> None:
    found = styles(6)
    assert len({(marker, str(dash)) for _, marker, dash in found}) == 6
    assert len({marker for _, marker, _ in found}) == 6


def test_svg_is_themed_small_and_its_own() -> None:
    with drawing():
        figure, axes = sheet(300, 200)
        axes.plot([0, 1], [0, 1], color=str(Ink.C1), marker="s")
        axes.set_title("a < b & c")
        svg = to_svg(figure, "one", "<title>", 'it "rises"')
    assert "var(--c1)" in svg
    assert "&lt;title&gt;" in svg and "a &lt; b &amp; c" in svg
    assert "font-family" not in svg and "<style" not in svg and "xlink" not in svg
    assert not re.search(r"\d\.\d{3,}", svg)
    ids = re.findall(r' id="([^"]+)"', svg)
    assert ids and all(name.startswith("one-") for name in ids)
