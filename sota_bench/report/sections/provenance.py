"""(14) Provenance, the grid itself, the files beside the page, the method in plain words, and the technique cards."""

from __future__ import annotations

from typing import Any

from sota_bench.report.parts import Block, Facts, Fold, Links, Prose, Section
from sota_bench.report.text import MISSING, number, plural
from sota_bench.report.view import View

FILES = (
    ("trials.csv", "one row per trial"),
    ("curves.csv", "one row per trial and epoch"),
    ("contrasts.csv", "one row per contrast and error term"),
    ("analysis.json", "the whole analysis: contrasts, interactions, analysis of variance, warnings"),
    ("evaluations.csv", "one row per trial, phase, evaluation size and test-time views"),
    ("stages.csv", "one row per stage, with its seconds"),
    ("run.json", "this section for a program"),
)
CARD = {
    "claim": "Claim",
    "why": "When and why it helps",
    "fails": "When it fails",
    "defaults": "Defaults",
    "cost": "Cost",
    "paper": "Paper",
}
METHOD = (
    "Each cell of the grid is trained once per seed. A seed fixes the start, the order of images and every random "
    "draw of a "
    "technique on its own stream, so two cells with the same seed differ in what the grid varies and in nothing else. "
    "Differences are therefore taken within a seed first.",
    "Every contrast has two error terms. The pooled one comes from all cells at once (seed as block) and has the "
    "most degrees "
    "of freedom; the paired one uses the contrast's own differences alone. Verdicts are read from the pooled one, and "
    "from the paired one where trials are not independent: comparisons inside one training, and trainings that share "
    "their start. A warning says where the two disagree. Intervals are "
    "95% t intervals. Test-time augmentation and evaluation size are compared inside one training.",
    "A verdict asks two questions: is the difference clear of zero after Holm's correction for all contrasts of "
    "its family; and "
    "is it smaller than the smallest effect of interest, which the grid declared before the run (two one-sided "
    "tests at 5%, corrected alike: alone, a 90% interval inside the limits). Where "
    "neither can be said, the page gives the effect that the run could have detected with 80% power, and the "
    "seeds that "
    "the smallest effect of interest would take. The absence of evidence is never called no effect.",
    "Accuracy here is on the select split, which chooses. A winner is to be confirmed with fresh seeds on the "
    "test split, which "
    "took no part in choosing.",
)


def section(view: View) -> Section:
    """Always there."""
    run = view.run
    blocks: list[Block] = [
        Facts(_pairs(run)),
        Fold("The grid, as it was written", code=view.tables.grid_text),
        Fold("Software versions", pairs=[(name, str(version)) for name, version in run["versions"].items()]),
        Fold("Recipe, resolved", pairs=[(name, _text(value)) for name, value in run["grid"].get("recipe", {}).items()]),
        Prose(["The same numbers as files, beside this page:"]),
        Links(FILES),
        Fold("How the verdicts are made", pairs=[(str(place), words) for place, words in enumerate(METHOD, 1)]),
    ]
    blocks += [
        Fold(f"{card.get('name', field)} ({field})", pairs=[(CARD[key], card[key]) for key in CARD if card.get(key)])
        for field, card in view.tables.cards.items()
    ]
    return Section(
        "provenance",
        "Provenance and method",
        "Everything needed to run this again, and to judge how it was measured.",
        blocks,
    )


def _text(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return MISSING if text in ("", "{}") else text


def _pairs(run: dict[str, Any]) -> list[tuple[str, str, str]]:
    images, grid, device = run["images"], run["grid"], run["device"]
    left = f"; {plural(images['left_out'], 'image')} left out" if images.get("left_out") else ""
    memory = f", {number(device['memory_mb'] / 1024)} GiB" if device.get("memory_mb") else ""
    return [
        ("Command", str(run["command"]), ""),
        ("Started", str(run["started"]), ""),
        (
            "Data",
            f"{run['source']}: {images['train']:,} images to train, {images['select']:,} to select, "
            f"{images['test']:,} to "
            f"test{left}",
            "",
        ),
        ("Data digest", str(run["data_digest"]), ""),
        ("Device", f"{device.get('name', device.get('kind'))}{memory}", ""),
        ("Code", f"commit {run['git_commit']}" if run.get("git_commit") else "not a git checkout", ""),
        ("Design", f"{grid['design']}, {plural(run['counts']['cells'], 'cell')}, matched for {grid['match']}", ""),
        ("Seeds", _text(grid["seeds"]), ""),
    ]
