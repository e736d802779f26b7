"""(14) Provenance, the grid itself, the files beside the page, the method in plain words, and the technique cards."""

from __future__ import annotations

from sota_bench.report.parts import Block, Facts, Fold, Links, Prose, Section
from sota_bench.report.run_record import GridRecord, ImageCounts, RunRecord
from sota_bench.report.text import MISSING, number
from sota_bench.report.view import View
from sota_bench.units import counted

FILES = (
    ("trials.csv", "one row per trial"),
    ("curves.csv", "one row per trial and epoch"),
    ("contrasts.csv", "one row per contrast and error term"),
    ("analysis.json", "the whole analysis: contrasts, interactions, analysis of variance, warnings"),
    ("evaluations.csv", "one row per trial, phase, evaluation size and test-time augmentation"),
    ("stages.csv", "one row per stage, with its time, memory and why it ran or was reused"),
    ("run.json", "this section as JSON"),
)
CARD = {
    "claim": "Claim",
    "why": "Why it helps",
    "fails": "When it does not help",
    "defaults": "Defaults",
    "cost": "Cost",
    "paper": "Paper",
}
METHOD = {
    "Pairing": "Every cell is trained once per seed. A seed fixes the initial weights, the order of the images and all "
    "random draws of a technique, so two cells with the same seed differ only in what the grid varies. Differences are "
    "taken within a seed first and then averaged.",
    "Error": "The tables give the error of each contrast in more than one way, from all cells together and from the "
    "contrast's own differences, and say which one its verdict is read from. Intervals are 95% t intervals. Test-time "
    "augmentation and evaluation size are compared inside one training.",
    "Fractional designs": "Effects are estimated by regression from all cells of a fractional design. Each is named "
    "with its aliases, the other effects that the same estimate carries. Interactions of three factors are taken as "
    "absent. An effect that is aliased with another one of up to two factors gets no verdict where something is there.",
    "Verdict": "A level helps or hurts if its difference is significant after Holm's correction for all contrasts of "
    "its family. It has no effect larger than the smallest effect of interest if two one-sided tests at 5% (TOST), "
    "corrected in the same way, say so. If neither holds, no effect was detected: the verdict then names the effect "
    "that this run could have detected with 80% power, and the seeds that the smallest effect of interest would take.",
    "Confirmation": "These accuracies are from the select split, which was used to choose. Run confirm to train the "
    "winner and the baseline with fresh seeds and compare them on the test split, which played no part in choosing.",
}


def section(view: View) -> Section:
    """Always there."""
    run = view.run
    recipe = [(name, _text(value)) for name, value in run.grid.recipe.items()]
    blocks: list[Block] = [
        Facts(_pairs(run)),
        *_data_set(run.images),
        Fold("Grid file", code=view.tables.grid_text),
        Fold("Software versions", pairs=list(run.versions.items())),
        Fold("Baseline recipe, with defaults", pairs=recipe),
        Prose(["The same numbers as files in this folder:"]),
        Links(FILES),
        Fold("How verdicts are made", pairs=_method(run)),
    ]
    for technique in view.tables.techniques:
        card = technique.card.model_dump()
        pairs = [(title, str(card[key])) for key, title in CARD.items() if card.get(key)]
        blocks.append(Fold(f"{technique.card.name} ({technique.field})", pairs=pairs))
    return Section(
        "provenance",
        "Provenance and method",
        "What is needed to run this again and to judge how it was measured.",
        blocks,
    )


def _method(run: RunRecord) -> list[tuple[str, str]]:
    """How verdicts are made, without what is about other designs."""
    left_out = () if run.grid.design == "fractional" else ("Fractional designs",)
    return [(name, text) for name, text in METHOD.items() if name not in left_out]


def _data_set(images: ImageCounts) -> list[Block]:
    """What the source holds: what to look at, how it was read, what is left out, and the images of each class."""
    blocks: list[Block] = [Prose(list(images.alarms))] if images.alarms else []
    pairs = [("Read as", sentence) for sentence in images.reading]
    pairs += [(f"Left out: {reason}", counted(count, "file")) for reason, count in images.reasons.items()]
    pairs += [(name, ", ".join(f"{count:,} {split}" for split, count in counts.items()))
              for name, counts in images.classes.items()]  # fmt: skip
    return [*blocks, Fold(f"Data set: {counted(images.files, 'file')}", pairs=pairs)] if pairs else blocks


def _design(grid: GridRecord) -> str:
    return f"{grid.design} of resolution {grid.resolution}" if grid.resolution else grid.design


def _text(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return MISSING if text in ("", "{}") else text


def _pairs(run: RunRecord) -> list[tuple[str, str, str]]:
    images, grid, memory = run.images, run.grid, run.device.get("memory_mb")
    left_out = f"; {counted(images.left_out, 'image')} left out" if images.left_out else ""
    stored = grid.data.get("stored_size")
    size = f"; stored with a shorter side of {stored} px" if stored else ""
    return [
        ("Command", run.command, ""),
        ("Started", run.started, ""),
        (
            "Images",
            f"{run.source}: {images.train:,} train, {images.select:,} select, {images.test:,} test{left_out}{size}",
            "",
        ),
        ("Data digest", run.data_digest, ""),
        ("Device", f"{run.device_name}{f', {number(float(memory) / 1024)} GiB' if memory else ''}", ""),
        ("Code", f"commit {run.git_commit}" if run.git_commit else "not a git checkout", ""),
        ("Design", f"{_design(grid)}, {counted(run.counts.cells, 'cell')}, matched for {grid.match}", ""),
        ("Seeds", _text(list(grid.seeds)), ""),
    ]
