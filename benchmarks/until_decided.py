"""How often runs that go on until they are decided are wrong, what they find, and what they cost, by simulation.

``python benchmarks/until_decided.py`` simulates thousands of grids that stop as ``run --until-decided`` does, with its
own functions, and writes ``benchmarks/results/until_decided.json`` and ``.md``. A grid asks five questions: one
level of five against a common baseline, declared with 3 seeds and at most 20; one scenario is a full grid of three
factors. All cells share an effect of their seed, twice as large as the noise. Looks, boundaries and Holm's correction
are those of `sota_bench.stats.sequential` and `verdicts`; errors are those that `analyze` estimates for tables in which
decided cells have fewer seeds.

A grid is wrong when it claims an effect that is 0 ("helps", "hurts", "real but negligible"), no effect larger than
delta of one that is at least delta, or the wrong direction. The fixed design that the costs are compared with trains
every cell with as many seeds as find an effect of delta equally often with Holm's correction (which leaves every
effect of 0 undecided). Its number of seeds is interpolated between whole ones.

To reach, with true effects of 0, delta, 2 delta and 4 delta equally often: at most 5% of the grids wrong (upper end of
the 95% Monte Carlo interval at most 6%), an effect of delta found in at least 80%, at least 90% of the questions
decided, and on average at most 65% of the fixed design's trainings. In the other scenarios of one level against the
baseline the error holds likewise, within the simulation's own error. Exit code 1 where something is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import record
from numpy.typing import NDArray
from scipy.stats import beta

from sota_bench.stats.contrasts import Contrast, main_contrasts
from sota_bench.stats.design import Design
from sota_bench.stats.estimation import estimate
from sota_bench.stats.kernels import Array, Estimate
from sota_bench.stats.levels import Factor
from sota_bench.stats.moderation import moderated
from sota_bench.stats.sequential import Look, LookPlan, Settled, plan_looks
from sota_bench.stats.verdicts import DECIDED, EQUIVALENT, HELPS, HURTS, NEGLIGIBLE, judge

RESULTS = Path(__file__).resolve().parent / "results"
DELTA = 1.0
SEED_EFFECT = 2.0
FIRST, MOST = 3, 20
SIZES = (0.0, 1.0, 2.0, 4.0)
MOST_WRONG, MOST_WRONG_END = 0.05, 0.06
LEAST_POWER, LEAST_DECIDED, MOST_SHARE = 0.80, 0.90, 0.65
MOST_FIXED = 60

Marks = NDArray[np.bool_]


@dataclass(frozen=True)
class Scenario:
    """What is simulated.

    Attributes:
        title: its name in the results.
        levels: levels of each factor; the questions are all levels but the first.
        noise: standard deviation of a trial, in units of delta.
        truth: effect of each question in units of delta, with either sign; None draws `SIZES` equally often.
        noisier: how many times as noisy the last cell is.
        aims: whether power, decided questions and costs have targets too.
    """

    title: str
    levels: tuple[int, ...]
    noise: float
    truth: tuple[float, ...] | None = None
    noisier: float = 1.0
    aims: bool = False

    @property
    def questions(self) -> int:
        """Levels that are compared with a baseline."""
        return sum(count - 1 for count in self.levels)


@dataclass(frozen=True)
class Outcome:
    """One grid: its true effects, what is claimed of each, seeds of the look that ended each, and trainings."""

    truth: Array
    verdicts: list[str]
    seeds: list[int]
    trainings: int


@dataclass(frozen=True)
class Row:
    """What came of a scenario; None where it has no such effects."""

    title: str
    grids: int
    wrong: float
    wrong_low: float
    wrong_high: float
    wrong_effect: float
    wrong_equivalence: float
    power: float | None
    decided: float
    decided_by_size: dict[str, float]
    seeds_by_size: dict[str, float]
    trainings: float
    fixed_seeds: float | None
    share: float | None


def scenarios() -> list[Scenario]:
    """All of them; the first two have all targets."""
    star = (6,)
    return [
        Scenario("5 questions, noise 0.7 delta", star, 0.7, aims=True),
        Scenario("5 questions, noise 0.5 delta", star, 0.5, aims=True),
        Scenario("no effects, noise 0.7 delta", star, 0.7, (0.0,) * 5),
        Scenario("no effects, noise 3 delta", star, 3.0, (0.0,) * 5),
        Scenario("all effects delta, noise 0.5 delta", star, 0.5, (1.0,) * 5),
        Scenario("4 effects 0 and one delta, noise 0.6 delta", star, 0.6, (0.0, 0.0, 0.0, 0.0, 1.0)),
        Scenario("one question, no effect, noise 0.6 delta", (2,), 0.6, (0.0,)),
        Scenario("last level 5 times as noisy, noise 0.5 delta", star, 0.5, noisier=5.0),
        Scenario("full 2 x 2 x 2 grid, noise 1.2 delta", (2, 2, 2), 1.2),
    ]


def design_of(scenario: Scenario) -> Design:
    """The scenario's table, with a result in every place."""
    factors = tuple(
        Factor(f"factor {position}", tuple(map(str, range(count)))) for position, count in enumerate(scenario.levels)
    )
    cells = tuple(np.ndindex(*scenario.levels))
    y, seeds = np.zeros((MOST, len(cells), 1)), tuple(map(str, range(MOST)))
    return Design("accuracy", factors, "seed", cells, ((),), seeds, y, {"done": y.size}, (), (), {})


def draw(
    scenario: Scenario, design: Design, rng: np.random.Generator, seeds: int = MOST
) -> tuple[Array, Array]:
    """True effects [K] and responses of all seeds that may run [seeds, C]."""
    sizes = rng.choice(SIZES, scenario.questions) if scenario.truth is None else np.array(scenario.truth)
    truth = DELTA * sizes * rng.choice([-1.0, 1.0], scenario.questions)
    means, question = np.zeros(len(design.cells)), 0
    codes = np.array(design.cells)
    for position, count in enumerate(scenario.levels):
        for level in range(1, count):
            means += truth[question] * (codes[:, position] == level)
            question += 1
    scale = np.full(len(means), DELTA * scenario.noise)
    scale[-1] *= scenario.noisier
    seed_effect = SEED_EFFECT * DELTA * scenario.noise * rng.normal(size=(seeds, 1))
    return truth, means + scale * rng.normal(size=(seeds, len(means))) + seed_effect


def run(design: Design, contrasts: list[Contrast], plan: LookPlan, truth: Array, y: Array) -> Outcome:
    """One grid, look by look: what is undecided gets more seeds, in the cells that it compares."""
    settled: list[Settled | None] = [None] * len(contrasts)
    verdicts, seeds = ["open"] * len(contrasts), [plan.most] * len(contrasts)
    runs = np.zeros(len(design.cells), dtype=int)
    for number in range(1, len(plan.seeds) + 1):
        look = Look(plan, number)
        needed = np.unique(np.concatenate([
            contrast.cells for contrast, before in zip(contrasts, settled, strict=True) if before is None
        ]))  # fmt: skip
        runs[needed] = look.seeds
        present = np.arange(look.seeds)[:, None] < runs
        table = replace(design, y=np.where(present, y[: look.seeds], np.nan)[..., None])
        estimates = estimate(table, contrasts)
        spoken = Estimate(*(
            np.array([getattr(estimates.by_error[error], name)[index] for index, error in enumerate(estimates.speaks)])
            for name in Estimate._fields
        ))  # fmt: skip
        judged = judge(spoken, delta=DELTA, look=look, settled=settled)
        for index, verdict in enumerate(map(str, judged.verdict)):
            if settled[index] is None and verdict in DECIDED:
                settled[index] = Settled(verdict in (HELPS, HURTS, NEGLIGIBLE), verdict in (NEGLIGIBLE, EQUIVALENT))
                verdicts[index], seeds[index] = verdict, look.seeds
        if None not in settled:
            break
    return Outcome(truth, verdicts, seeds, int(runs.sum()))


def simulate(scenario: Scenario, grids: int, seed: int) -> list[Outcome]:
    """Many grids of one scenario."""
    rng = np.random.default_rng(seed)
    design, plan = design_of(scenario), plan_looks(FIRST, MOST)
    contrasts = main_contrasts(design)
    return [run(design, contrasts, plan, *draw(scenario, design, rng)) for _ in range(grids)]


def false_claims(outcome: Outcome) -> tuple[bool, bool]:
    """Whether a grid claims an effect that is not there (or in the wrong direction), and whether it denies one."""
    claims = list(zip(outcome.truth, outcome.verdicts, strict=True))
    effect = any(
        (verdict in (HELPS, HURTS, NEGLIGIBLE) and size == 0)
        or (verdict == HELPS and size < 0)
        or (verdict == HURTS and size > 0)
        for size, verdict in claims
    )
    return effect, any(verdict in (EQUIVALENT, NEGLIGIBLE) and abs(size) >= DELTA for size, verdict in claims)


def fixed_seeds(scenario: Scenario, power: float, grids: int) -> float:
    """Seeds of the fixed design that finds an effect of delta with the given probability, interpolated."""
    rng = np.random.default_rng(987)
    design = design_of(scenario)
    weights = np.stack([contrast.weights for contrast in main_contrasts(design)])
    before, seeds = 0.0, 2
    for seeds in range(2, MOST_FIXED):
        truths, tables = map(np.array, zip(*(draw(scenario, design, rng, seeds) for _ in range(grids)), strict=True))
        claimed = np.isin(judge(moderated(tables, weights)).verdict, [HELPS, HURTS])
        reached = float(claimed[np.abs(truths) == DELTA].mean())
        if reached >= power:
            return seeds - 1 + (power - before) / (reached - before)
        before = reached
    return float(seeds)


def summarized(scenario: Scenario, outcomes: list[Outcome]) -> Row:
    """The numbers of a scenario."""
    claims = np.array([false_claims(outcome) for outcome in outcomes])
    wrong, grids = int(claims.any(axis=1).sum()), len(outcomes)
    sizes = np.abs(np.concatenate([outcome.truth for outcome in outcomes])) / DELTA
    verdicts = np.concatenate([outcome.verdicts for outcome in outcomes])
    seeds = np.concatenate([outcome.seeds for outcome in outcomes])
    found = np.isin(verdicts, [HELPS, HURTS])
    present = [size for size in SIZES if (sizes == size).any()]
    trainings = float(np.mean([outcome.trainings for outcome in outcomes]))
    power = float(found[sizes == 1].mean()) if 1.0 in present else None
    fixed = None
    if power is not None and scenario.truth is None and scenario.noisier == 1:
        fixed = fixed_seeds(scenario, power, max(grids, 500))
    cells = int(np.prod(scenario.levels))
    return Row(
        title=scenario.title, grids=grids, wrong=wrong / grids,
        wrong_low=float(beta.ppf(0.025, wrong, grids - wrong + 1)) if wrong else 0.0,
        wrong_high=float(beta.ppf(0.975, wrong + 1, grids - wrong)),
        wrong_effect=float(claims[:, 0].mean()), wrong_equivalence=float(claims[:, 1].mean()), power=power,
        decided=float((verdicts != "open").mean()),
        decided_by_size={f"{size:g}": float((verdicts[sizes == size] != "open").mean()) for size in present},
        seeds_by_size={f"{size:g}": float(seeds[sizes == size].mean()) for size in present},
        trainings=trainings, fixed_seeds=fixed, share=None if fixed is None else trainings / (cells * fixed),
    )  # fmt: skip


def misses(scenario: Scenario, row: Row) -> list[str]:
    """What a scenario does not reach; without targets of its own, beyond the simulation's error."""
    lacking = []
    if (row.wrong > MOST_WRONG or row.wrong_high > MOST_WRONG_END) if scenario.aims else row.wrong_low > MOST_WRONG_END:
        lacking.append("wrong")
    if scenario.aims and (row.power or 0.0) < LEAST_POWER:
        lacking.append("power")
    if scenario.aims and row.decided < LEAST_DECIDED:
        lacking.append("decided")
    if scenario.aims and (row.share or 1.0) > MOST_SHARE:
        lacking.append("trainings")
    return lacking


def study(grids: int, progress: Callable[[str], None]) -> Iterator[tuple[Scenario, Row]]:
    """Every scenario, each with a stream of random numbers of its own."""
    for number, scenario in enumerate(scenarios()):
        row = summarized(scenario, simulate(scenario, grids, number))
        progress(f"{scenario.title}: wrong {100 * row.wrong:.1f}%, decided {100 * row.decided:.0f}%")
        yield scenario, row


def page(rows: list[tuple[Scenario, Row]]) -> list[str]:
    """The results as markdown."""

    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.0f}%"

    def by_size(values: dict[str, float], form: str) -> str:
        return ", ".join(f"{size}: {form.format(value)}" for size, value in values.items())

    lines = [
        [
            row.title,
            f"{100 * row.wrong:.1f}% ({100 * row.wrong_low:.1f} to {100 * row.wrong_high:.1f})",
            f"{100 * row.wrong_effect:.1f}%, {100 * row.wrong_equivalence:.1f}%",
            percent(row.power),
            percent(row.decided),
            by_size(row.seeds_by_size, "{:.1f}"),
            "" if row.fixed_seeds is None else f"{row.fixed_seeds:.1f}",
            percent(row.share),
            ", ".join(misses(scenario, row)) or "yes",
        ]
        for scenario, row in rows
    ]
    heads = ["scenario", "wrong grids (95% Monte Carlo interval)", "false effect, false equivalence",
             "effect of delta found", "questions decided", "mean seeds by effect / delta",
             "seeds of the fixed design", "trainings beside it", "reached"]  # fmt: skip
    return [
        f"{rows[0][1].grids:,} grids a scenario, looks at {', '.join(map(str, plan_looks(FIRST, MOST).seeds))} seeds. "
        "To reach with noise of 0.7 and 0.5 delta and effects of 0, 1, 2 and 4 delta equally often: at most 5% wrong "
        "(upper end at most 6%), an effect of delta found in 80%, 90% of the questions decided, at most 65% of the "
        "trainings of the fixed design that finds delta as often. In a full grid every question needs every cell, so "
        "there it saves less.",
        "",
        *record.table(heads, lines),
    ]


def main() -> int:
    """Runs the study and writes its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", type=int, default=1000, help="simulated grids in each scenario")
    parser.add_argument("--quick", action="store_true", help="100 grids, and no targets")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    grids = 100 if options.quick else options.grids
    rows = list(study(grids, lambda line: print(line, file=sys.stderr, flush=True)))
    content: dict[str, Any] = {**record.provenance("cpu"), "scenarios": [asdict(row) for _, row in rows]}
    title = "Runs that go on until they are decided, by simulation"
    print(record.write(options.out, "until_decided", title, page(rows), content))
    return 1 if not options.quick and any(misses(scenario, row) for scenario, row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
