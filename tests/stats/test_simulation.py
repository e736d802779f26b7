"""Intervals cover, families keep their error rate, and claims about power hold: by simulation of many experiments.

Each simulated experiment is a whole grid (2 x 3 cells, every cell under every seed) with seed effects, analysed with
the kernels and the judge that `analyze` uses; the first test ties the two. Margins are over three binomial standard
errors of the simulation at a fixed random stream.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sota_bench.stats import analyze
from sota_bench.stats.contrasts import main_contrasts
from sota_bench.stats.design import read_design
from sota_bench.stats.estimation import estimate
from sota_bench.stats.kernels import Array, Estimate, paired, pooled_blocks
from sota_bench.stats.moderation import moderated
from sota_bench.stats.power import minimum_detectable_effect, seeds_needed
from sota_bench.stats.verdicts import judge

FACTORS = {"a": ["0", "1"], "b": ["x", "y", "z"]}
CELLS = [(a, b) for a in FACTORS["a"] for b in FACTORS["b"]]
KERNELS = {"pooled": pooled_blocks, "paired": paired, "moderated": moderated}
REPEATS = 12_000


def to_table(y: Array) -> pd.DataFrame:
    return pd.DataFrame(
        [{"seed": s, "a": a, "b": b, "y": row[c]} for s, row in enumerate(y) for c, (a, b) in enumerate(CELLS)]
    )


def experiments(repeats: int, seeds: int, effects: Array, stream: int) -> Array:
    """Responses [repeats, seeds, cells] with a seed effect twice as large as the noise (standard deviation 1)."""
    rng = np.random.default_rng(stream)
    noise = rng.normal(size=(repeats, seeds, len(CELLS)))
    return effects + noise + 2.0 * rng.normal(size=(repeats, seeds, 1))


def weights() -> Array:
    design = read_design(to_table(np.zeros((2, 6))), response="y", factors=FACTORS, block="seed", within=())
    return np.array([contrast.weights for contrast in main_contrasts(design)])


EFFECTS = np.array([0.0, 0.4, -0.3, 1.0, 1.4, 0.7])  # additive: no interaction
TRUE = np.array([1.0, 0.4, -0.3])


@pytest.mark.parametrize("error", list(KERNELS))
def test_analyze_and_the_simulated_path_are_one(error: str) -> None:
    y = experiments(1, 4, EFFECTS, 3)
    found = analyze(to_table(y[0]), response="y", factors=FACTORS, delta=0.5)
    rows = [row for row in found.contrasts if row["kind"] == "main" and row["error"] == error]
    known = KERNELS[error](y, weights())
    judged = judge(known, delta=0.5)
    for name in ("low", "high", "p", "p_holm", "p_tost", "p_tost_holm"):
        assert [row[name] for row in rows] == pytest.approx(getattr(judged, name)[0])
    assert [row["verdict"] for row in rows] == list(judged.verdict[0])
    assert [row["se"] for row in rows] == pytest.approx(known.se[0])
    assert [row["estimate"] for row in rows] == pytest.approx(known.value[0])


@pytest.mark.parametrize("error", list(KERNELS))
@pytest.mark.parametrize("seeds", [3, 5])
def test_nominal_95_percent_intervals_cover_94_to_96_5(error: str, seeds: int) -> None:
    y = experiments(REPEATS, seeds, EFFECTS, seeds)
    judged = judge(KERNELS[error](y, weights()))
    coverage = ((judged.low <= TRUE) & (judged.high >= TRUE)).mean(axis=0)
    most = 0.965 if error == "moderated" else 0.96
    assert (coverage > 0.94).all() and (coverage < most).all(), coverage


@pytest.mark.parametrize("error", list(KERNELS))
@pytest.mark.parametrize("seeds", [3, 5])
def test_no_effect_gives_a_verdict_in_at_most_5_percent_of_families(error: str, seeds: int) -> None:
    y = experiments(5 * REPEATS, seeds, np.zeros(6), 10 + seeds)
    verdict = judge(KERNELS[error](y, weights())).verdict
    claimed = np.isin(verdict, ["helps", "hurts"]).any(axis=1).mean()
    assert claimed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(y)), claimed  # within the simulation's own error
    assert claimed > 0.02, "Holm is conservative, but not by half: the verdicts would be without power"


@pytest.mark.parametrize("error", list(KERNELS))
def test_an_effect_of_delta_is_called_negligible_in_at_most_5_percent(error: str) -> None:
    delta = 1.0
    y = experiments(REPEATS, 5, np.array([0, 0, 0, delta, delta, delta]), 21)
    verdict = judge(KERNELS[error](y, weights()), delta=delta).verdict[:, 0]
    assert np.isin(verdict, ["real but negligible", "no effect larger than delta"]).mean() <= 0.05


@pytest.mark.parametrize("error", ["pooled", "paired"])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_minimum_detectable_effect_is_detected_in_80_percent(error: str, seeds: int) -> None:
    df = (seeds - 1) * (5 if error == "pooled" else 1)
    se = np.sqrt(2 / 3 / seeds)  # the true standard error of a, two means over three cells and all seeds
    effect = minimum_detectable_effect(se, df, 0.05)
    y = experiments(REPEATS, seeds, np.array([0, 0, 0, effect, effect, effect]), 30 + seeds)
    found = KERNELS[error](y, weights()[:1])
    power = (judge(found).verdict[:, 0] == "helps").mean()
    assert power == pytest.approx(0.80, abs=0.012)


@pytest.mark.parametrize("error", ["pooled", "paired"])
def test_the_family_claim_is_kept_by_the_verdict(error: str) -> None:
    """mde_family is for Holm's first step: as one of three contrasts the effect gets its verdict in at least 80%."""
    seeds = 5
    df = (seeds - 1) * (5 if error == "pooled" else 1)
    effect = minimum_detectable_effect(np.sqrt(2 / 3 / seeds), df, 0.05 / 3)
    y = experiments(REPEATS, seeds, np.array([0, 0, 0, effect, effect, effect]), 41)
    power = (judge(KERNELS[error](y, weights())).verdict[:, 0] == "helps").mean()
    assert 0.79 <= power <= 0.85


@pytest.mark.parametrize("error", ["pooled", "paired"])
def test_seeds_needed_are_enough_and_not_too_many(error: str) -> None:
    delta, now = 0.8, 3
    df = (now - 1) * (5 if error == "pooled" else 1)
    needed = seeds_needed(delta, np.sqrt(2 / 3 / now), df, now, 0.05)
    assert needed is not None

    def power(seeds: int) -> float:
        y = experiments(REPEATS, seeds, np.array([0, 0, 0, delta, delta, delta]), seeds)
        return float((judge(KERNELS[error](y, weights()[:1])).verdict == "helps").mean())

    assert power(needed) >= 0.79
    assert power(needed - 1) <= 0.81


def test_within_run_differences_keep_their_level_when_seeds_vary_them() -> None:
    """The paired error of a within-run factor stays honest where the gain differs between seeds."""
    rng = np.random.default_rng(6)
    gain = rng.normal(size=(REPEATS, 4, 1)) + 0.3 * rng.normal(size=(REPEATS, 4, 6))
    found = paired(gain, np.full((1, 6), 1 / 6))
    assert isinstance(found, Estimate)
    assert (judge(found).p < 0.05).mean() == pytest.approx(0.05, abs=0.006)


def headline_rates(table: pd.DataFrame, ys: Array, factors: list[str], within: list[str], shares: str | None) -> Array:
    """Share of experiments ``ys [repeats, S, C, W]`` in which each headline's p-value is below 0.05."""
    design = read_design(table, response="y", factors=factors, block="seed", within=within, shares=shares)
    contrasts = main_contrasts(design)
    read = []
    for y in ys:
        found = estimate(replace(design, y=y), contrasts)
        read.append([[part[i] for part in found.by_error[error]] for i, error in enumerate(found.speaks)])
    return np.asarray((judge(Estimate(*np.moveaxis(np.array(read), -1, 0))).p < 0.05).mean(axis=0))


@pytest.mark.parametrize("shared", [0.0, 1.0, 2.0])
def test_headlines_keep_their_level_where_trainings_share_a_prefix(shared: float) -> None:
    """Three seeds; two cells with and without a mitigation share all that comes before it."""
    rng = np.random.default_rng(70)
    cells = [(n, m, w) for n in (0, 1) for m in (0, 1) for w in (0, 1)]
    table = pd.DataFrame(
        [{"seed": s, "n": n, "m": m, "w": w, "p": f"{n}{m}", "y": rng.normal()} for s in range(3) for n, m, w in cells]
    )
    repeats = 1000
    prefix = shared * rng.normal(size=(repeats, 3, 4)).repeat(2, axis=2)
    ys = prefix + rng.normal(size=(repeats, 3, 8)) + 2.0 * rng.normal(size=(repeats, 3, 1))
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)
    rates = headline_rates(table, ys[..., None], ["n", "m", "w"], [], "p")
    assert (rates <= limit).all() and (rates > 0.025).all(), rates
    if shared == 2.0:  # what it would be if nobody said so
        assert headline_rates(table, ys[:500, ..., None], ["n", "m", "w"], [], None)[0] > 0.1


@pytest.mark.parametrize("shared", [0.0, 2.0])
def test_headlines_keep_their_level_where_only_some_trainings_share_a_prefix(shared: float) -> None:
    """A mitigation exists with a rising resolution alone, so that plots hold one cell or two."""
    rng = np.random.default_rng(72)
    cells = [(n, r, m) for n in (0, 1) for r, m in ((0, 0), (1, 0), (1, 1))]
    table = pd.DataFrame(
        [{"seed": s, "n": n, "r": r, "m": m, "p": f"{n}{r}", "y": rng.normal()} for s in range(3) for n, r, m in cells]
    )
    repeats = 1000
    prefix = shared * rng.normal(size=(repeats, 3, 4))[..., [0, 1, 1, 2, 3, 3]]
    ys = prefix + rng.normal(size=(repeats, 3, 6)) + 2.0 * rng.normal(size=(repeats, 3, 1))
    rates = headline_rates(table, ys[..., None], ["n", "r", "m"], [], "p")
    assert (rates <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)).all() and (rates > 0.015).all(), rates


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_headlines_of_within_run_gains_keep_their_level(spread: float) -> None:
    """Test-time augmentation without any mean gain, but with one of each seed's own."""
    rng = np.random.default_rng(71)
    table = pd.DataFrame(
        [{"seed": s, "a": a, "tta": v, "y": rng.normal()} for s in range(3) for a in range(8) for v in (0, 1)]
    )
    repeats = 1000
    ys = rng.normal(size=(repeats, 3, 8, 2)) / np.sqrt(2)
    ys[..., 1] += spread * rng.normal(size=(repeats, 3, 1))
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)
    assert headline_rates(table, ys, ["tta", "a"], ["tta"], None)[0] <= limit


def test_missing_trials_do_not_spoil_coverage() -> None:
    """Two of eighteen trials missing, three seeds, both errors, the contrast of the two-level factor."""
    rng = np.random.default_rng(8)
    whole = read_design(to_table(np.zeros((3, 6))), response="y", factors=FACTORS, block="seed", within=())
    contrasts = main_contrasts(whole)[:1]
    covered, repeats = {"pooled": 0, "paired": 0, "moderated": 0}, 600
    for y in experiments(repeats, 3, EFFECTS, 50):
        y.flat[rng.choice(18, size=2, replace=False)] = np.nan
        for error, found in estimate(replace(whole, y=y[:, :, None]), contrasts).by_error.items():
            judged = judge(found)
            covered[error] += bool(judged.low[0] <= 1.0 <= judged.high[0])
    for count in covered.values():
        assert 0.93 <= count / repeats <= 0.98, covered
