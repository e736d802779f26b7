"""Splits follow from each image's own content: what was assigned stays assigned, whatever comes or goes."""

import hashlib
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sota_bench.data.split import HALVES, THREE_PARTS, divide, halve, image_ids

PRIORITIES = {halve: ("select", "test"), divide: ("train", "select", "test")}


def sha(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def items(labels):
    return pd.DataFrame({"label": list(labels), "sha256": [sha(n) for n in range(len(labels))]}, dtype=object)


def complete(rule, frame):
    """Labels of the classes that have an image in every split by the hashes alone."""
    others = items(["x"] * 400)  # in so large a class no split is empty by chance
    others["sha256"] = [f"{n:064x}" for n in range(400)]
    own = rule(pd.concat([others, frame.assign(label="x")], ignore_index=True))[400:]
    return {label for label in set(frame["label"]) if set(own[frame["label"] == label]) == set(PRIORITIES[rule])}


@pytest.mark.parametrize("rule", [halve, divide])
@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.sampled_from("abc"), min_size=1, max_size=25), data=st.data())
def test_images_that_come_or_go_move_no_other_image(rule, labels, data):
    """Exact wherever the hashes alone leave no split of a class empty; elsewhere one image a split may move."""
    before = items(labels)
    after = pd.concat([before, items(data.draw(st.lists(st.sampled_from("abcd"), max_size=25)))], ignore_index=True)
    after.loc[len(before) :, "sha256"] = [sha(f"new{n}") for n in range(len(after) - len(before))]
    moved = Counter(before["label"][rule(before) != rule(after)[: len(before)]])
    whole = complete(rule, before)
    for label, count in moved.items():
        assert label not in whole
        assert count <= len(PRIORITIES[rule]) - 1


def test_an_image_that_changes_its_class_moves_no_other_image():
    before = items("ab" * 100)
    after = before.copy()
    after.loc[:9, "label"] = "b"
    assert (halve(before) == halve(after)).all()


@pytest.mark.parametrize("rule", [halve, divide])
@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.sampled_from("abcd"), max_size=30))
def test_no_split_of_a_class_is_empty_where_there_are_images_for_it(rule, labels):
    frame = items(labels)
    splits = rule(frame)
    assert set(splits) <= set(PRIORITIES[rule])
    for label, count in Counter(labels).items():
        present = set(splits[(frame["label"] == label).to_numpy()])
        if rule is divide or count > 1:
            assert present >= set(PRIORITIES[rule][:count])


@pytest.mark.parametrize(("rule", "shares"), [(halve, HALVES), (divide, THREE_PARTS)])
def test_shares_are_right_within_their_deviation(rule, shares):
    """Four standard deviations of a binomial count in each of 20 classes of 500."""
    frame = items([str(n % 20) for n in range(10_000)])
    splits = rule(frame)
    for split, share in shares.items():
        counts = [(splits[(frame["label"] == str(label)).to_numpy()] == split).sum() for label in range(20)]
        assert np.abs(np.array(counts) - 500 * share).max() < 4 * np.sqrt(500 * share * (1 - share))
        assert abs(sum(counts) - 10_000 * share) < 4 * np.sqrt(10_000 * share * (1 - share))


def test_image_ids_are_numbers_of_the_content_alone():
    ids = image_ids([sha(n) for n in range(1000)])
    assert ids.dtype == np.int64
    assert (ids >= 0).all()
    assert len(set(ids.tolist())) == 1000
    assert ids[7] == int(sha(7), 16) >> 193
    assert image_ids([sha(7)])[0] == ids[7]
