"""How often the interval of the probability of superiority holds the true one, by simulation.

``python benchmarks/superiority.py`` simulates tables of one factor of interest, with or without another factor,
analyses them with ``stats.analyze``, and compares "the level beats its baseline in one more run" with the truth of the
simulation, which is Phi(effect / standard deviation of a single difference). All trials of a seed share its effect,
twice as large as the noise; in some scenarios the gain itself differs from seed to seed, as much as the noise. Writes
``benchmarks/results/superiority.json`` and ``.md``; ``--quick`` uses a tenth of the tables.

To reach: 93 to 97% coverage of the 95% interval where gains do not differ from seed to seed, and 90% or more where they
do. Exit code 1 when a scenario misses it beyond what the simulation's own error allows (99% interval).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import record
from scipy.stats import beta, norm

from sota_bench.stats import analyze

RESULTS = Path(__file__).resolve().parent / "results"
SEED_EFFECT = 2.0
LEVELS_AND_OTHERS = ((2, 1), (3, 1), (2, 2), (2, 4))
SEEDS = (3, 5, 10)
EFFECTS = (0.0, 1.0, 3.0)
ALIKE, UNLIKE = (0.93, 0.97), (0.90, 0.99)


@dataclass(frozen=True)
class Scenario:
    """One design with its outcome.

    Attributes:
        levels: of the factor of interest.
        others: levels of the other factor; 1 for none.
        seeds: how many.
        effect: of the level, in standard deviations of the noise.
        gain_spread: standard deviation of the gain over seeds, in the same unit.
        truth: the probability that the level beats its baseline in one more run.
        tables: simulated.
        covered: share of intervals that hold the truth.
        median: of the estimated probabilities.
    """

    levels: int
    others: int
    seeds: int
    effect: float
    gain_spread: float
    truth: float
    tables: int
    covered: float
    median: float

    @property
    def missed(self) -> bool:
        """Whether the coverage is outside what is to be reached, beyond the error of the simulation."""
        hits, low, high = round(self.covered * self.tables), *(UNLIKE if self.gain_spread else ALIKE)
        most = float(beta.ppf(0.995, hits + 1, self.tables - hits)) if hits < self.tables else 1.0
        least = float(beta.ppf(0.005, hits, self.tables - hits + 1)) if hits else 0.0
        return most < low or least > high


def simulate(
    levels: int, others: int, seeds: int, effect: float, gain_spread: float, rng: np.random.Generator
) -> pd.DataFrame:
    """One table; the first level of ``a`` is the baseline, its second one has the effect."""
    shift, gains = rng.normal(0, SEED_EFFECT, seeds), rng.normal(effect, gain_spread, seeds)
    rows = [
        {"seed": seed, "a": a, "b": b, "y": shift[seed] + (gains[seed] if a == 1 else 0.0) + rng.normal()}
        for seed, a, b in itertools.product(range(seeds), range(levels), range(others))
    ]
    return pd.DataFrame(rows)


def study(tables: int) -> Iterator[Scenario]:
    """Every scenario, each with its own stream of random numbers."""
    cases = [(*design, n, effect, 0.0) for design, n, effect in itertools.product(LEVELS_AND_OTHERS, SEEDS, EFFECTS)]
    cases += [(*design, n, 1.0, 1.0) for design, n in itertools.product(((2, 1), (2, 4)), SEEDS)]
    for number, (levels, others, seeds, effect, gain_spread) in enumerate(cases):
        rng = np.random.default_rng([2021, number])
        truth = float(norm.cdf(effect / np.sqrt(2 + gain_spread**2)))
        hits, estimates = 0, []
        for _ in range(tables):
            table = simulate(levels, others, seeds, effect, gain_spread, rng)
            factors = ["a", "b"] if others > 1 else ["a"]
            analysis = analyze(table, response="y", factors=factors, unit="pp", simple="none")
            row = next(row for row in analysis.headlines() if (row.factor, row.level) == ("a", "1"))
            assert row.p_better is not None and row.p_better_low is not None and row.p_better_high is not None
            hits += row.p_better_low <= truth <= row.p_better_high
            estimates.append(row.p_better)
        yield Scenario(
            levels, others, seeds, effect, gain_spread, truth, tables, hits / tables, float(np.median(estimates))
        )


def page(scenarios: list[Scenario]) -> list[str]:
    """The results as Markdown."""
    missed = sum(scenario.missed for scenario in scenarios)
    alike = [scenario.covered for scenario in scenarios if not scenario.gain_spread]
    lines = [
        f"{len(scenarios)} scenarios of {scenarios[0].tables:,} tables; {missed} outside what is to be reached. "
        f"Coverage of the 95% interval, mean over scenarios whose gains do not differ from seed to seed: "
        f"{100 * float(np.mean(alike)):.1f}% ({100 * min(alike):.1f} to {100 * max(alike):.1f}%).",
        "",
        "| levels | other factor's levels | seeds | effect | gain varies | probability | median estimate | covered |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {s.levels} | {s.others} | {s.seeds} | {s.effect:g} | {'yes' if s.gain_spread else 'no'} | {s.truth:.3f} | "
        f"{s.median:.3f} | {100 * s.covered:.1f}% |"
        for s in scenarios
    ]
    return lines


def main() -> int:
    """Runs the study and writes its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000, help="simulated tables in each scenario")
    parser.add_argument("--quick", action="store_true", help="a tenth of the tables")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    scenarios = []
    for scenario in study(max(options.tables // 10, 20) if options.quick else options.tables):
        print(f"{scenario}", file=sys.stderr, flush=True)
        scenarios.append(scenario)
    content = {**record.provenance("cpu"), "scenarios": [asdict(scenario) for scenario in scenarios]}
    print(record.write(options.out, "superiority", "Probability of superiority: coverage", page(scenarios), content))
    return 1 if any(scenario.missed for scenario in scenarios) else 0


if __name__ == "__main__":
    sys.exit(main())
