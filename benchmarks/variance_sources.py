"""What share of the variance from seed to seed has each source of chance? Small trainings on real photographs.

    SOTA_BENCH_DATA=/path/to/imagenette python benchmarks/variance_sources.py

Trains the grid beside this file (two cells of test_resnet at 32 px, 12 seeds) once for each source of ``grid.vary``
alone, all others fixed, and once with all of them. Of each there are two variances over seeds: that of the accuracy,
pooled over the cells, and that of the difference between the cells, which a verdict is read from; with their 95%
intervals (chi-square), and as a share of the variance with all sources. Shares need not add up to 100%: sources
interact, and the fixed value of one decides what another can do. Bouthillier et al. (MLSys 2021) measured the same on
five tasks. Writes ``variance_sources.json`` and ``.md``; ``--quick`` uses 4 seeds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import record
from scipy.stats import chi2

from sota_bench.commands.options import machine_of
from sota_bench.grid.draws import MEANING, SOURCES, Source
from sota_bench.grid.loading import load
from sota_bench.plan.make import make_plan
from sota_bench.report.collect import Collector
from sota_bench.runs.execute import RunOptions, execute
from sota_bench.store import Store

HERE = Path(__file__).resolve().parent
GRID, RESULTS = HERE / "variance_sources.toml", HERE / "results"
ALL = tuple(SOURCES)
QUICK = 4


@dataclass(frozen=True)
class Spread:
    """A standard deviation over seeds in percentage points, with its 95% interval."""

    sd: float
    low: float
    high: float

    @classmethod
    def of(cls, variance: float, df: int) -> Spread:
        """That of a variance with its degrees of freedom."""
        low, high = (df * variance / float(chi2.ppf(share, df)) for share in (0.975, 0.025))
        return cls(variance**0.5, low**0.5, high**0.5)


@dataclass(frozen=True)
class Varied:
    """What some sources do.

    Attributes:
        sources: those that were varied.
        seeds: how many.
        accuracy: spread of the accuracy of a cell.
        difference: spread of the difference between the two cells under one seed.
    """

    sources: tuple[Source, ...]
    seeds: int
    accuracy: Spread
    difference: Spread

    @property
    def name(self) -> str:
        """For people."""
        return "all of them" if self.sources == ALL else MEANING[self.sources[0]]


def measure(store: Store, sources: tuple[Source, ...], seeds: int) -> Varied:
    """Trains the grid with some sources varied, and takes both variances over its seeds."""
    names = ", ".join(f'"{source}"' for source in sources)
    machine = machine_of(store.root, "cpu", 1)
    grid = load(GRID, [f"grid.vary=[{names}]"], seeds=range(seeds), out=store.root / "report")
    plan, count = make_plan(grid, machine)
    execute(plan, store, RunOptions(count), name=f"{grid.name}, {'+'.join(sources)}")
    trials = Collector(plan, store).trial_table()
    return spreads(trials, sources)


def spreads(trials: pd.DataFrame, sources: tuple[Source, ...]) -> Varied:
    """Both spreads from a table of the trials of two cells."""
    accuracy = trials.pivot(index="seed", columns="cell", values="accuracy")
    first, second = (accuracy[cell] for cell in accuracy.columns)
    df = len(accuracy) - 1  # the cells of a seed vary together, so that they do not count twice
    return Varied(
        sources, len(accuracy), Spread.of(float(accuracy.var(ddof=1).mean()), df),
        Spread.of(float((second - first).var(ddof=1)), df),
    )  # fmt: skip


def page(results: list[Varied]) -> list[str]:
    """The results as Markdown."""
    whole = next(result for result in results if result.sources == ALL)
    rows = []
    for result in results:
        cells = []
        for name in ("accuracy", "difference"):
            spread, of_all = getattr(result, name), getattr(whole, name)
            share = 100 * (spread.sd / of_all.sd) ** 2 if of_all.sd else 0.0
            cells += [f"{spread.sd:.2f} ({spread.low:.2f} to {spread.high:.2f})", f"{share:.0f}%"]
        rows.append([result.name, *cells])
    heads = ["varied", "SD of accuracy, pp", "share of variance", "SD of the difference, pp", "share of variance"]
    return [
        f"{whole.seeds} seeds of two cells with each source alone, all others fixed; 95% intervals.",
        "",
        *record.table(heads, rows),
    ]


def main() -> int:
    """Trains, measures and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} seeds")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--store", type=Path, help="folder of the trainings; a temporary one by default")
    options = parser.parse_args()
    seeds = QUICK if options.quick else len(load(GRID).seeds)
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(options.store or Path(scratch) / "store")
        with store.hold(GRID.name):
            results = [measure(store, sources, seeds) for sources in [*((source,) for source in SOURCES), ALL]]
    content: dict[str, Any] = {**record.provenance("cpu"), "sources": [asdict(result) for result in results]}
    print(record.write(options.out, "variance_sources", "Variance by source of chance", page(results), content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
