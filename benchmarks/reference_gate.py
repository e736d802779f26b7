"""How often `verify --reference` fails a sound run, and which losses it finds, by simulation.

``python benchmarks/reference_gate.py`` compares simulated runs with simulated reference runs through the functions that
`verify` uses, and writes ``benchmarks/results/reference_gate.json`` and ``.md``. Accuracies of a cell vary over seeds
with a standard deviation of 2 percentage points, half of whose variance is common to all cells of a seed; every cell is
compared, and the mean over them. Scenarios are every combination of

- 1, 12 and 24 cells; 5, 10 and 20 reference seeds; 1 and 3 seeds of the run;
- noise: normal, t with 3 degrees of freedom, skewed (exponential, its long tail downwards);
- margin: 3 points, the smallest effect of the quick start, with no difference between the machines ("same machine"),
  with the whole margin between them ("other machine": every accuracy of the run is lower by 3 points); and 0.

To reach: a sound run fails in at most 1% of the cases, in every scenario with normal noise, and with any noise where
a run of 3 seeds has the margin to itself. A single seed under heavy tails has no promise, nor has a machine that uses
up the whole margin; their rates are told. The sizes that are found in 90% of the runs, with normal noise, are a loss
in one cell, a loss in all of them, and a gain in one cell.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import record
from numpy.typing import NDArray
from scipy.stats import beta

from sota_bench.stats.convergence import ALPHA, one_sided

RESULTS = Path(__file__).resolve().parent / "results"
SPREAD_PP, MARGIN_PP = 2.0, 3.0
CELLS, REFERENCES, SEEDS = (1, 12, 24), (5, 10, 20), (1, 3)
NOISES = ("normal", "t(3)", "skewed")
SAME, OTHER, NONE = "same machine", "other machine", "no margin"
POWER = 0.90

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """What came of one scenario.

    Attributes:
        cells, references, seeds: of the grid, the reference and the run.
        noise, machine: as named above.
        runs: simulated runs.
        false_alarms: share of sound runs that failed; low and high are its 95% Monte Carlo interval.
        loss_in_one, loss_in_all, gain_in_one: percentage points that are found in 90% of the runs; None where they
            are not computed.
    """

    cells: int
    references: int
    seeds: int
    noise: str
    machine: str
    runs: int
    false_alarms: float
    low: float
    high: float
    loss_in_one: float | None = None
    loss_in_all: float | None = None
    gain_in_one: float | None = None


def draw(noise: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Noise with mean 0 and standard deviation 1."""
    if noise == "normal":
        return rng.standard_normal(shape)
    if noise == "t(3)":
        return np.asarray(rng.standard_t(3, shape) / np.sqrt(3))
    return np.asarray(1 - rng.exponential(1, shape))


def accuracies(noise: str, runs: int, cells: int, seeds: int, rng: np.random.Generator) -> Array:
    """Accuracies around 0 in percentage points [runs, cells, seeds]; the seeds of all cells vary together by half."""
    common, own = draw(noise, (runs, 1, seeds), rng), draw(noise, (runs, cells, seeds), rng)
    return np.asarray(SPREAD_PP * np.sqrt(0.5) * (common + own))


def fails(run: Array, reference: Array, margin: float) -> NDArray[np.bool_]:
    """Which runs fail in any comparison, corrected for all [runs]; the mean over cells is one of them.

    Args:
        run: [runs, cells, N].
        reference: [runs, cells, M].
        margin: in percentage points.
    """
    if run.shape[1] > 1:
        run, reference = (np.concatenate([y, y.mean(axis=1, keepdims=True)], axis=1) for y in (run, reference))
    smallest = np.minimum(*one_sided(run, reference, margin)).min(axis=1)
    return np.asarray(2 * run.shape[1] * smallest < ALPHA)


def found(run: Array, reference: Array, direction: Array) -> float:
    """The size of an effect, along ``direction`` [cells], with which 90% of the runs fail."""
    low, high = 0.0, 100.0
    for _ in range(12):
        middle = (low + high) / 2
        share = fails(run + middle * direction[:, None], reference, MARGIN_PP).mean()
        low, high = (low, middle) if share >= POWER else (middle, high)
    return high


def study(runs: int) -> Iterator[Scenario]:
    """Every scenario, each with a stream of random numbers of its own."""
    number = 0
    for cells in CELLS:
        for references in REFERENCES:
            for seeds in SEEDS:
                for noise in NOISES:
                    number += 1
                    rng = np.random.default_rng([number])
                    reference = accuracies(noise, runs, cells, references, rng)
                    run = accuracies(noise, runs, cells, seeds, rng)
                    one, every = np.eye(cells)[0], np.ones(cells)
                    for machine, margin, shift in (
                        (SAME, MARGIN_PP, 0.0), (OTHER, MARGIN_PP, -MARGIN_PP), (NONE, 0.0, 0.0),
                    ):  # fmt: skip
                        count = int(fails(run + shift, reference, margin).sum())
                        sizes: list[float | None] = [None] * 3
                        if noise == "normal" and machine == SAME:
                            sizes = [found(run, reference, direction) for direction in (-one, -every, one)]
                        yield Scenario(
                            cells, references, seeds, noise, machine, runs, count / runs,
                            float(beta.ppf(0.025, count, runs - count + 1)) if count else 0.0,
                            float(beta.ppf(0.975, count + 1, runs - count)), *sizes,
                        )  # fmt: skip


def must_hold(scenario: Scenario) -> bool:
    """Whether a scenario is one of those whose false alarms are promised."""
    return scenario.noise == "normal" or (scenario.machine == SAME and scenario.seeds >= 3)


def reached(scenario: Scenario) -> bool:
    """Whether sound runs fail no more often than promised, beyond what the simulation's own error allows."""
    return scenario.low <= ALPHA


def page(scenarios: list[Scenario]) -> list[str]:
    """The results as markdown."""
    promised = [scenario for scenario in scenarios if must_hold(scenario)]
    missed = sum(not reached(scenario) for scenario in promised)
    worst = max(scenario.false_alarms for scenario in scenarios)
    lines = [
        f"{len(scenarios)} scenarios. To reach: at most {100 * ALPHA:g}% false alarms in {len(promised)} of them; "
        f"missed in {missed}. "
        f"The highest share in any scenario, those without a promise included, is {100 * worst:.1f}%. "
        f"Cells vary by {SPREAD_PP:g} points over seeds, and the margin is {MARGIN_PP:g} points.",
        "",
        "## False alarms",
        "",
    ]
    rows = [
        [
            scenario.noise, scenario.machine, scenario.cells, scenario.references, scenario.seeds,
            f"{100 * scenario.false_alarms:.2f}% ({100 * scenario.low:.2f} to {100 * scenario.high:.2f})",
            "yes" if reached(scenario) else "NO" if must_hold(scenario) else "no promise",
        ]
        for scenario in sorted(scenarios, key=lambda one: (one.machine, one.noise))
    ]  # fmt: skip
    heads = ["noise", "run on", "cells", "reference seeds", "seeds", "sound runs that fail (95% interval)", "reached"]
    lines += record.table(heads, rows)
    lines += ["", "## What is found in 90% of the runs", ""]
    rows = [
        [
            f"{scenario.cells} x {scenario.references} x {scenario.seeds}",
            *(f"{size:.1f} pp" for size in (scenario.loss_in_one, scenario.loss_in_all, scenario.gain_in_one) if size),
        ]
        for scenario in scenarios
        if scenario.loss_in_one is not None
    ]
    heads = ["cells x reference seeds x seeds", "loss in one cell", "loss in all cells", "gain in one cell"]
    return lines + record.table(heads, rows)


def main() -> int:
    """Runs the study and writes its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="simulated runs in each scenario")
    parser.add_argument("--quick", action="store_true", help="500 runs in each scenario, as a check of this command")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    scenarios = list(study(500 if options.quick else options.runs))
    content: dict[str, Any] = {**record.provenance("cpu"), "scenarios": [asdict(scenario) for scenario in scenarios]}
    title = "The comparison with reference runs: false alarms, and losses that are found, by simulation"
    print(record.write(options.out, "reference_gate", title, page(scenarios), content))
    return 0 if all(reached(scenario) for scenario in scenarios if must_hold(scenario)) else 1


if __name__ == "__main__":
    sys.exit(main())
