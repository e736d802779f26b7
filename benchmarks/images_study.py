"""Do intervals from the images that choose hold the effects on other images? Small trainings on real photographs.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/images_study.py

Trains the grid beside this file (4 cells of test_resnet at 32 px, each with and without test-time augmentation, 10
seeds) and judges all trainings on both halves of Imagenette's validation photographs, those that choose and those that
confirm. Then, for every contrast (main and simple effects, interactions) and many divisions of seeds and photographs,
the effect of half of the seeds on half of the photographs is compared with that of the other seeds

- on the same photographs: the interval of the difference, from both errors over seeds, should hold 0 in 95% of cases;
- on the other photographs: so should the interval from both errors over seeds and images. Beside it stands what the
  errors over seeds alone hold there.

The mean squares of the two differences differ by what images add, which gives the image component without the estimator
under test. The first division of the photographs is that of the splits; the others are random, of 500 on either side.
Divisions share photographs and trainings, so cases are not independent, and no interval is given for their shares.
Writes ``images_study.json`` and ``images_study.md``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import record
from numpy.typing import NDArray
from scipy.stats import t

from sota_bench.commands.options import machine_of
from sota_bench.grid.loading import load
from sota_bench.plan.make import make_plan
from sota_bench.report.collect import Collector
from sota_bench.runs.execute import RunOptions, execute
from sota_bench.stats import ContrastRow, analyze
from sota_bench.stats.sentences import comparison
from sota_bench.store import Store

HERE = Path(__file__).resolve().parent
GRID, RESULTS = HERE / "images_study.toml", HERE / "results"
IMAGES = 500
"""Photographs on either side of a random division, so that what images add is not small beside the seeds."""

Correct = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Case:
    """One contrast in one division of seeds and photographs; differences and errors in points.

    Attributes:
        contrast, kind: which one.
        division: its number; 0 divides the photographs as the splits do.
        same_images, other_images: its estimate by half of the seeds, minus that by the others on the same or the other
            photographs.
        image_variance: what images should add to the square of the latter: the sum of both image components.
        holds_same: whether the interval over seeds holds 0 for ``same_images``.
        holds_other, holds_other_seeds: whether that over seeds and images, or seeds alone, does for ``other_images``.
    """

    contrast: str
    kind: str
    division: int
    same_images: float
    other_images: float
    image_variance: float
    holds_same: bool
    holds_other: bool
    holds_other_seeds: bool


class Trained(NamedTuple):
    """The trials of the grid, its factors, which of all validation photographs each trial has right, and how many of
    these (the first ones) choose."""

    trials: pd.DataFrame
    factors: dict[str, list[str]]
    correct: Correct
    choosing: int


def trained(store_path: Path, workers: int) -> Trained:
    """Trains what is missing, and judges it on both splits."""
    grid, halves = load(GRID), []
    machine, store = machine_of(store_path, "cpu", workers), Store(store_path)
    with store.hold(GRID.name):
        for split in ("select", "test"):
            plan, count = make_plan(grid, machine, split=split)
            execute(plan, store, RunOptions(count), name=f"{grid.name}, {split}")
            halves.append(Collector(plan, store))
    trials = halves[0].trial_table()
    images = [half.per_image("accuracy") for half in halves]
    correct = {name: np.concatenate([part[name] for part in images]) for name in images[0].keys() & images[1].keys()}
    factors = {name: [str(level) for level in levels] for name, levels in grid.resolved()["factors"].items()}
    choosing = len(next(iter(images[0].values())))
    return Trained(trials[trials["trial"].isin(list(correct))], factors, correct, choosing)


def contrasts(study: Trained, trials: pd.DataFrame, images: NDArray[np.intp]) -> dict[tuple[Any, ...], ContrastRow]:
    """Every contrast as `run` reads it, of some trials on some photographs."""
    of_images = {name: study.correct[name][images] for name in trials["trial"]}
    accuracy = [100 * float(right.mean()) for right in of_images.values()]
    analysis = analyze(
        trials.assign(accuracy=accuracy), response="accuracy", factors=study.factors, within=["tta"], simple="all",
        predictions=of_images, unit="pp",
    )  # fmt: skip
    rows = [*analysis.contrasts, *analysis.interactions]
    return {row.identity: row for row in rows if row.headline and row.se is not None}


def cases(study: Trained, divisions: int) -> Iterator[Case]:
    """Every contrast in every division."""
    rng = np.random.default_rng(0)
    trials, seeds = study.trials, sorted(set(study.trials["seed"]))
    everything, choosing = np.arange(len(next(iter(study.correct.values())))), study.choosing
    order = everything
    for division in range(divisions):
        first, second = order[:choosing], order[choosing:]
        inside = trials["seed"].isin(rng.permutation(seeds)[: len(seeds) // 2])
        some, others = trials[inside], trials[~inside]
        chosen, same, other = (contrasts(study, *part) for part in ((some, first), (others, first), (others, second)))
        for identity in chosen.keys() & same.keys() & other.keys():
            yield _case(division, chosen[identity], same[identity], other[identity])
        order, choosing = rng.permutation(everything)[: 2 * IMAGES], IMAGES


def _case(division: int, chosen: ContrastRow, same: ContrastRow, other: ContrastRow) -> Case:
    return Case(
        comparison(chosen), chosen.kind, division, _difference(chosen, same), _difference(chosen, other),
        (chosen.se_images or 0.0) ** 2 + (other.se_images or 0.0) ** 2,
        _holds(chosen, same, over_images=False), _holds(chosen, other, over_images=True),
        _holds(chosen, other, over_images=False),
    )  # fmt: skip


def _difference(first: ContrastRow, second: ContrastRow) -> float:
    return (first.estimate or 0.0) - (second.estimate or 0.0)


def _holds(first: ContrastRow, second: ContrastRow, *, over_images: bool) -> bool:
    """Whether the 95% interval of the difference of two estimates holds 0, by Welch's test."""
    errors = [(row.se, row.df) if over_images else (row.se_seeds, row.df_seeds) for row in (first, second)]
    variances = [((se or 0.0) ** 2, df or 1.0) for se, df in errors]
    total = sum(variance for variance, _ in variances)
    df = total**2 / sum(variance**2 / df for variance, df in variances)
    return bool(abs(_difference(first, second)) <= t.isf(0.025, df) * np.sqrt(total))


def page(found: list[Case]) -> list[str]:
    """The results as markdown."""
    table = pd.DataFrame([asdict(case) for case in found])
    table["added"] = table["other_images"] ** 2 - table["same_images"] ** 2
    groups = [("all divisions", table), ("the splits themselves", table[table["division"] == 0])]
    groups += [(kind, part) for kind, part in table.groupby("kind", sort=False)]
    rows = [
        [
            name, len(part), *(f"{100 * part[column].mean():.1f}%" for column in
                               ("holds_same", "holds_other", "holds_other_seeds")),
            f"{np.sqrt(part['same_images'].pow(2).mean()):.2f}", f"{np.sqrt(part['other_images'].pow(2).mean()):.2f}",
            f"{part['added'].mean():.2f}", f"{part['image_variance'].mean():.2f}",
        ]
        for name, part in groups
    ]  # fmt: skip
    heads = ["cases", "number", "same photographs, errors over seeds", "other photographs, over seeds and images",
             "other photographs, over seeds alone", "root mean square difference, same", "other",
             "variance that images add, measured", "estimated"]  # fmt: skip
    contrast = table.groupby("contrast")["holds_other"].mean()
    return [
        f"{table['contrast'].nunique()} contrasts in {table['division'].nunique()} divisions. Share of cases in which "
        "the 95% interval of the difference of two effects holds 0, and what other photographs add to the square of "
        "this difference, in square points: measured from the differences, and as the image components say. Over seeds "
        f"and images, single contrasts hold it in {100 * contrast.min():.0f}% to {100 * contrast.max():.0f}%.",
        "",
        *record.table(heads, rows),
    ]


def main() -> int:
    """Trains, compares and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--divisions", type=int, default=100, help="divisions of seeds and photographs")
    parser.add_argument("--quick", action="store_true", help="10 divisions")
    parser.add_argument("--workers", type=int, default=1, help="worker processes of the trainings")
    parser.add_argument("--scratch", type=Path, help="store of the trainings, kept (default: a temporary folder)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        study = trained(options.scratch or Path(temporary), options.workers)
    found = list(cases(study, 10 if options.quick else options.divisions))
    summary = {
        name: float(np.mean([getattr(case, name) for case in found]))
        for name in ("holds_same", "holds_other", "holds_other_seeds", "image_variance")
    }
    summary["image_variance_measured"] = float(np.mean([c.other_images**2 - c.same_images**2 for c in found]))
    content: dict[str, Any] = {**record.provenance("cpu"), "summary": summary, "cases": len(found)}
    title = "Intervals over seeds and images on real photographs"
    print(record.write(options.out, "images_study", title, page(found), content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
