"""Seeds and images as crossed random effects: the image component, what an interval then covers, and where images are
the limit."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sota_bench.errors import UserError
from sota_bench.stats import Analysis, analyze, best_set, warning_sentences
from sota_bench.stats.crossed import ImageError, ImageScores, image_error, image_error_of_pairs, with_images
from sota_bench.stats.kernels import Estimate, paired
from sota_bench.stats.verdicts import HELPS, HURTS, judge

Values = NDArray[np.float32]


def crossed(
    seeds: int, cells: int, images: int, *, image: float, seed: float, flip: float, stream: int, repeats: int = 1
) -> Values:
    """Values [R, S, C, N] with normal effects of these standard deviations; all cells share an effect of the seed."""
    rng = np.random.default_rng(stream)
    shape = (repeats, seeds, cells, images)
    values = image * rng.normal(size=(repeats, 1, cells, images)) + flip * rng.normal(size=shape)
    values += seed * rng.normal(size=(repeats, seeds, cells, 1)) + 2 * rng.normal(size=(repeats, seeds, 1, 1))
    return values.astype(np.float32)


def scores(values: Values) -> ImageScores:
    return ImageScores(values, np.ones(values.shape[-3:-1], dtype=bool))


def right(seeds: int, cells: int, images: int, *, image: float, stream: int = 0, gain: float = 0.0) -> Values:
    """Which images are right [S, C, N]: a threshold of difficulty, of what a cell makes of an image, and of luck."""
    rng = np.random.default_rng(stream)
    margin = 0.5 + rng.normal(size=(1, 1, images)) + image * rng.normal(size=(1, cells, images))
    margin = margin + rng.normal(size=(seeds, cells, images)) + 0.01 * rng.normal(size=(seeds, cells, 1))
    margin[:, 1] += gain
    return np.asarray(margin > 0)


def table(correct: Values, columns: tuple[int, ...] = ()) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row per training and, with ``columns``, per evaluation: cell i is level i of ``a``, or of ``a`` and ``b``."""
    rows, predictions = [], {}
    for (seed, cell), images in zip(np.ndindex(correct.shape[:2]), correct.reshape(-1, correct.shape[2]), strict=True):
        levels = np.unravel_index(cell, columns) if columns else (cell,)
        trial = f"c{cell}-s{seed}"
        rows.append({"trial": trial, "seed": seed, "accuracy": 100 * float(images.mean()),
                     **dict(zip("ab", map(int, levels), strict=False))})  # fmt: skip
        predictions[trial] = images
    return pd.DataFrame(rows), predictions


def analysed(correct: Values, **options: Any) -> Analysis:
    rows, predictions = table(correct)
    return analyze(rows, response="accuracy", factors=["a"], predictions=predictions, **options)


# The component


def test_the_image_component_is_unbiased_and_its_spread_is_told() -> None:
    """Variances of 4 contrasts' image means over 50 images, 4 (-1, +1) cells of 1: 2 / 50 where there is one."""
    weights = np.array([[-1.0, 1.0, 0.0, 0.0], [-0.5, 0.5, -0.5, 0.5]])
    for image in (0.0, 1.0):
        values = crossed(4, 4, 50, image=image, seed=0.3, flip=1.5, stream=1, repeats=3000)
        found = image_error(scores(values), weights)
        true = image**2 * (weights**2).sum(axis=1) / 50
        error = found.variance.std(axis=0) / np.sqrt(3000)
        assert np.abs(found.variance.mean(axis=0) - true).max() < 4 * error.max()
        assert found.spread.mean(axis=0) == pytest.approx(found.variance.var(axis=0), rel=0.1)
        assert found.flips.mean(axis=0) == pytest.approx(1.5**2 * (weights**2).sum(axis=1) / 4 / 50, rel=0.02)


def test_it_agrees_with_owens_pigeonhole_bootstrap() -> None:
    """Resampling seeds and images independently gives var(seed) / S + var(image) / N + 3 var(flip) / (S N) in
    expectation (Owen 2007, equation 13 with one observation per pair): two flips more than the variance."""
    d = crossed(12, 2, 400, image=1.0, seed=0.1, flip=1.0, stream=2)[0] @ np.eye(400, dtype=np.float32)
    d = (d[:, 1] - d[:, 0]).astype(float)
    seeds, images = d.shape
    rng = np.random.default_rng(3)
    means = []
    for _ in range(4000):
        of_seeds = np.bincount(rng.integers(seeds, size=seeds), minlength=seeds) / seeds
        of_images = np.bincount(rng.integers(images, size=images), minlength=images) / images
        means.append(of_seeds @ d @ of_images)
    values = np.stack([np.zeros_like(d), d], axis=1).astype(np.float32)
    found = image_error(scores(values), np.array([[-1.0, 1.0]]))
    over_seeds = paired(values.mean(axis=2, dtype=float), np.array([[-1.0, 1.0]]))
    whole = (1 - 1 / seeds) * over_seeds.se[0] ** 2 + found.variance[0] + 2 * found.flips[0]
    assert np.var(means) == pytest.approx(whole, rel=0.1)


def test_pairs_and_sparse_weights_are_the_same_contrasts() -> None:
    correct = 100.0 * right(4, 5, 300, image=0.5, stream=4).astype(np.float32)
    present = np.ones((4, 5), dtype=bool)
    present[2, 3] = False
    given = ImageScores(np.where(present[..., None], correct, 0).astype(np.float32), present)
    pairs = image_error_of_pairs(given)
    weights = np.array([np.eye(5)[i] - np.eye(5)[j] for i in range(5) for j in range(5)])
    dense, sparse = image_error(given, weights), image_error(given, csr_array(weights))
    for name in ("variance", "flips"):
        for other in (getattr(sparse, name), getattr(pairs, name).reshape(-1)):
            assert other == pytest.approx(getattr(dense, name), rel=1e-3, abs=1e-6)
    assert sparse.spread == pytest.approx(dense.spread, rel=1e-3)
    off = ~np.eye(5, dtype=bool)
    assert pairs.spread[off] == pytest.approx(dense.spread.reshape(5, 5)[off], rel=0.5), "normal theory, 0/1 data"


def test_missing_runs_cost_no_bias() -> None:
    values = crossed(4, 3, 60, image=1.0, seed=0.3, flip=1.0, stream=5, repeats=2000)
    present = np.ones((4, 3), dtype=bool)
    present[0, 1] = present[3, 2] = present[2, 2] = False
    found = image_error(ImageScores(values * present[..., None], present), np.array([[-1.0, 1, 0], [-1, 0, 1]]))
    assert found.variance.mean(axis=0) == pytest.approx([2 / 60, 2 / 60], rel=0.03)
    present[:, 2] = False
    assert np.isnan(
        image_error(ImageScores(values * present[..., None], present), np.array([[-1.0, 0, 1]])).variance
    ).all()


def test_a_negative_component_leaves_the_interval_over_seeds() -> None:
    over_seeds = Estimate(np.ones(2), np.array([0.5, 0.5]), np.array([4.0, 4.0]))
    whole = with_images(over_seeds, ImageError(np.array([-0.1, 0.75]), np.full(2, 1e-3), np.zeros(2)))
    assert whole.se == pytest.approx([0.5, 1.0]) and whole.df[0] == 4
    assert whole.df[1] == pytest.approx(1 / (0.25**2 / 4 + 1e-3 / 2))


# The verdict


def test_verdicts_cover_seeds_and_images_and_the_narrower_question_stays_by_name() -> None:
    correct = right(6, 3, 500, image=0.6)
    both, narrow = analysed(correct), analysed(correct, scope="these images")
    plain = analyze(table(correct)[0], response="accuracy", factors=["a"])
    assert both.overview.scope == "seeds and images" and narrow.overview.scope == "these images"
    assert plain.overview.scope == "these images" and plain.headlines()[0].se_images is None
    for wide, thin, alone in zip(both.headlines(), narrow.headlines(), plain.headlines(), strict=True):
        assert wide.scope == "seeds and images" and thin.scope == "these images"
        assert wide.se == pytest.approx(np.hypot(wide.se_seeds or 0, wide.se_images or 0)) and wide.df_images
        assert thin.se == wide.se_seeds == alone.se and thin.df == wide.df_seeds == alone.df
        assert (thin.low, thin.high) == (wide.low_seeds, wide.high_seeds) == (alone.low, alone.high)
        assert wide.low is not None and thin.low is not None and wide.low < thin.low
        assert thin.se_images == wide.se_images, "both components are told, whichever interval is read"
    assert Analysis.from_dict(both.to_dict()) == both


def test_false_verdicts_do_not_grow_with_seeds() -> None:
    """20 seeds agree on what is an accident of 250 images; none of the cells is better."""
    weights, tables = np.array([[-1.0, 1.0]]), 400
    correct = np.stack([right(20, 2, 250, image=0.5, stream=stream) for stream in range(100, 100 + tables)])
    values = (100 * correct).astype(np.float32)
    narrow = paired(values.mean(axis=-1, dtype=float), weights)
    wide = with_images(narrow, image_error(scores(values), weights))
    wrong = {name: float(np.isin(judge(found).verdict, [HELPS, HURTS]).mean())
             for name, found in (("narrow", narrow), ("wide", wide))}  # fmt: skip
    assert wrong["wide"] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables) and wrong["narrow"] > 0.2


def test_evaluations_of_one_training_have_their_own_images_component() -> None:
    """Test-time augmentation: the same checkpoints with other predictions, of which the difference is what counts."""
    correct = right(4, 4, 400, image=0.4, stream=6)
    rows, predictions = table(correct, (2, 2))
    found = analyze(rows, response="accuracy", factors=["a", "b"], within=["b"], predictions=predictions)
    row = next(row for row in found.headlines() if row.factor == "b")
    difference = np.stack([correct[:, 0::2], correct[:, 1::2]], axis=2).astype(np.float32).mean(axis=1) * 100
    expected = image_error(scores(difference), np.array([[-1.0, 1.0]]))
    assert row.se_images == pytest.approx(np.sqrt(max(expected.variance[0], 0)), rel=1e-3)


def test_trials_without_predictions_and_levels_without_any() -> None:
    rows, predictions = table(right(4, 3, 200, image=0.5, stream=7))
    fewer = {name: images for name, images in predictions.items() if not name.startswith("c2") and name != "c1-s0"}
    found = analyze(rows, response="accuracy", factors=["a"], predictions=fewer)
    first, second = found.headlines()
    assert first.scope == "seeds and images" and second.scope == "these images" and second.se_images is None
    assert sum("No predictions for 5 trials (c1-s0, c2-s0" in warning for warning in found.warnings) == 1


def test_images_that_differ_with_the_seed_are_in_the_spread_over_seeds() -> None:
    rows, predictions = table(right(4, 2, 200, image=0.5, stream=8))
    found = analyze(
        rows.assign(on=rows["seed"]), response="accuracy", factors=["a"], predictions=predictions, judged="on"
    )
    (row,) = found.headlines()
    assert row.scope == found.overview.scope == "seeds and images"
    assert row.se == row.se_seeds and row.se_images is None
    assert warning_sentences.images_by_seed("seed") in found.notes


def test_sets_of_images_each_give_their_part() -> None:
    """An interaction of cells that are judged on two sets: the variances of both sets add up."""
    correct = right(4, 4, 300, image=0.5, stream=9)
    rows, predictions = table(correct, (2, 2))
    predictions = {name: images[:200] if name[1] in "13" else images for name, images in predictions.items()}
    rows["accuracy"] = [100 * float(predictions[name].mean()) for name in rows["trial"]]
    found = analyze(
        rows.assign(on=rows["b"]), response="accuracy", factors=["a", "b"], predictions=predictions, judged="on"
    )
    crossing = next(row for row in found.interactions if row.headline)
    parts = [
        image_error(scores(100 * correct[:, cells, :size].astype(np.float32)), np.array([[-1.0, 1.0]])).variance[0]
        for cells, size in (([0, 2], 300), ([1, 3], 200))
    ]
    assert crossing.se_images == pytest.approx(np.sqrt(sum(parts)), rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given | {"c1-s0": given["c1-s0"][:-1]}, "199 images, and those of c0-s0 of 200"),
        (lambda given: given | {"c1-s0": ~given["c1-s0"]}, "c1-s0: its predictions give accuracy"),
    ],
)
def test_predictions_that_cannot_be_those_of_the_table(change: Any, message: str) -> None:
    rows, predictions = table(right(3, 2, 200, image=0.5, stream=10))
    with pytest.raises(UserError, match=message):
        analyze(rows, response="accuracy", factors=["a"], predictions=change(predictions))


def test_the_best_set_is_wider_where_images_decide() -> None:
    correct = right(12, 4, 150, image=1.0, stream=11, gain=0.3)
    rows, predictions = table(correct)
    sizes = [
        int(best_set(rows, response="accuracy", cell="a", predictions=predictions, scope=scope)["in_best_set"].sum())
        for scope in ("seeds and images", "these images")
    ]
    assert sizes[0] > sizes[1]


# The limit


def test_where_images_are_the_limit_it_says_so_and_how_many_would_decide() -> None:
    correct = right(12, 2, 200, image=0.8, stream=12)
    found = analysed(correct, delta=2.0)
    (row,) = found.headlines()
    assert row.images_needed_family and row.images_needed_family > 200 and row.seeds_needed_family is None
    assert "The 200 images are the limit: about " in row.words and row.words.endswith("would detect 2.0 pp.")
    images = row.images_needed_family
    more = analysed(right(12, 2, images, image=0.8, stream=13), delta=2.0).headlines()[0]
    assert more.mde_family == pytest.approx(2.0, rel=0.25)
    seeds = analysed(right(3, 2, 4000, image=0.0, stream=14), delta=0.5).headlines()[0]
    assert seeds.images_needed_family is None and "more seeds would detect" in seeds.words


def test_ten_thousand_images_twenty_seeds_and_dozens_of_contrasts_take_seconds() -> None:
    correct = right(20, 36, 10_000, image=0.3, stream=15)
    rows, predictions = table(correct, (6, 6))
    begun = time.process_time()
    found = analyze(rows, response="accuracy", factors=["a", "b"], predictions=predictions, delta=0.5)
    assert len(found.headlines()) + sum(row.headline for row in found.interactions) == 35
    assert time.process_time() - begun < 30
