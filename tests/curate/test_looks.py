"""Copies, outliers, tiny images and wrong labels, each on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sota_bench.curate.copies import find_copies
from sota_bench.curate.flags import copy_flags, tiny
from sota_bench.curate.labels import check_labels, components, folds_of, out_of_fold
from sota_bench.curate.outliers import outlier_scores


def items(count: int, near_copies: dict[int, str] | None = None) -> pd.DataFrame:
    contents = [f"{number:064x}" for number in range(count)]
    groups = [(near_copies or {}).get(number, "") for number in range(count)]
    return pd.DataFrame({"sha256": contents, "near_copies": groups, "group": ""})


def looks(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (count, 24, 24)).astype(np.uint8), rng.standard_normal((count, 32)).astype(np.float16)


def test_a_mirrored_and_brighter_copy_is_found_and_a_look_alike_is_not() -> None:
    pictures, features = looks(40)
    pictures[7] = np.clip(pictures[3][:, ::-1] * 0.7 + 30, 0, 255)
    features[7] = features[3] + np.float16(0.01)
    features[11] = features[5] + np.float16(0.01)  # the same kind of thing, another picture
    copies = find_copies(items(40), np.zeros(40, np.int64), features, pictures)
    assert copies.groups == [[3, 7]]
    assert copies.similarity[7] > 0.99 and copies.similarity[0] == 0


def test_copies_of_another_class_are_found_by_the_scan() -> None:
    pictures, features = looks(10)
    labels = np.arange(10) % 2
    copies = find_copies(items(10, {2: "g", 5: "g"}), labels, features, pictures)
    assert copies.groups == [[2, 5]]


def test_leaks_and_copies_inside_a_split() -> None:
    pictures, features = looks(6)
    copies = find_copies(items(6, {0: "g", 1: "g", 3: "g", 4: "h", 5: "h"}), np.zeros(6, np.int64), features, pictures)
    splits = np.array(["train", "train", "train", "test", "select", "select"], dtype=object)
    near_copy, leak, copy_of = copy_flags(splits, list("abcdef"), copies)
    assert near_copy.tolist() == [False, True, False, False, False, True]
    assert leak.tolist() == [True, True, False, True, False, False]
    assert copy_of == ["d", "d", "", "a", "", "e"]


def test_an_image_far_from_all_others_is_an_outlier() -> None:
    rng = np.random.default_rng(1)
    projected = np.concatenate([rng.normal(3, 0.5, (200, 12)), rng.normal(-3, 0.5, (200, 12))]).astype(np.float32)
    projected[17] = np.where(np.arange(12) % 2, 8, -8)
    scores, outliers = outlier_scores(projected, np.arange(400), np.ones(400, bool))
    assert np.flatnonzero(outliers).tolist() == [17]
    assert scores.argmin() == 17 and np.median(scores) == pytest.approx(0.5, abs=1e-3)


def test_images_are_tiny_beside_the_others() -> None:
    assert tiny(np.array([160, 160, 20, 160, 0])).tolist() == [False, False, True, False, False]
    assert not tiny(np.full(5, 32)).any()  # a data set of small images


def test_near_copies_and_groups_share_a_fold() -> None:
    table = items(200, dict.fromkeys(range(10), "g"))
    table.loc[20:29, "group"] = "patient"
    folds = folds_of(table, 0, 5)
    assert len(set(folds[:10])) == 1 and len(set(folds[20:30])) == 1
    assert np.bincount(folds[30:], minlength=5).min() > 15


def test_wrong_labels_get_the_lowest_scores_and_are_flagged() -> None:
    pytest.importorskip("cleanlab")
    rng = np.random.default_rng(4)
    true = np.arange(600) % 3
    features = (rng.standard_normal((600, 40)) + 4 * np.eye(3, 40)[true]).astype(np.float16)
    given = true.copy()
    wrong = rng.choice(500, 30, replace=False)
    given[wrong] = (true[wrong] + 1) % 3
    train = np.arange(600) < 500
    projected = components(features, np.flatnonzero(train))
    folds = folds_of(items(600), 0, 5)
    probabilities = out_of_fold(projected, given, train, folds, 3, lambda done, total: None)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    check = check_labels(probabilities, given, np.ones(600, bool))
    lowest = set(np.argsort(check.scores)[:60].tolist())
    assert len(set(wrong.tolist()) & lowest) >= 0.9 * len(wrong)
    flagged = set(np.flatnonzero(check.wrong).tolist())
    assert len(flagged & set(wrong.tolist())) >= 0.8 * len(wrong) and len(flagged) < 2 * len(wrong)
    assert (check.suggested[wrong] == true[wrong]).mean() > 0.8


def test_an_image_is_judged_by_classifiers_that_have_not_seen_it() -> None:
    rng = np.random.default_rng(4)
    features = rng.standard_normal((300, 60)).astype(np.float32)
    labels = rng.integers(0, 2, 300)  # nothing to learn: a classifier that saw an image would know its label
    train = np.arange(300) < 240
    probabilities = out_of_fold(features, labels, train, folds_of(items(300), 0, 5), 2, lambda done, total: None)
    assert abs((probabilities.argmax(1) == labels).mean() - 0.5) < 0.1


def test_the_components_have_variance_one_and_leave_out_what_never_varies() -> None:
    rng = np.random.default_rng(6)
    features = np.zeros((500, 20), np.float16)
    features[:, :6] = rng.standard_normal((500, 6)) * (1, 2, 3, 4, 5, 6)
    projected = components(features, np.arange(400))
    assert projected.shape == (500, 6)
    assert np.allclose(projected[:400].std(axis=0), 1, atol=0.01)
