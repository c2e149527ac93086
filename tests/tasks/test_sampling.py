"""Seeded orders, samples and splits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from small_tasks import examples, task

from supertickets.errors import SuperticketsError
from supertickets.tasks import Examples, Task, shuffled, split_dev
from supertickets.tasks.sampling import stratified_order

# --- order and splits -----------------------------------------------------------------------------------------------


def test_shuffled_is_pinned_and_seeded():
    assert shuffled(8, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert shuffled(8, 0).tolist() != shuffled(8, 1).tolist() != shuffled(8, 1, 1).tolist()
    with pytest.raises(SuperticketsError, match="at least 0, not -1"):
        shuffled(3, -1)


def test_shuffled_is_uniform():
    counts = np.zeros((4, 4))
    for seed in range(2000):
        counts[np.arange(4), shuffled(4, seed)] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(0, 50))
def test_every_prefix_of_the_stratified_order_is_proportional(strata, seed):
    strata = np.array(strata)
    order = stratified_order(strata, seed)
    assert sorted(order) == list(range(len(strata)))
    values, counts = np.unique(strata, return_counts=True)
    for n in range(len(values), len(strata) + 1):
        taken = np.array([(strata[order[:n]] == value).sum() for value in values])
        assert (taken >= 1).all()
        assert (np.abs(taken - n * counts / len(strata)) <= len(values)).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=2, max_size=4), st.floats(0.01, 0.99), st.integers(0, 99), st.booleans())
def test_selection_is_stratified_seeded_and_never_empties_a_class(sizes, fraction, seed, grouped):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    groups = np.where(np.arange(len(labels)) % 2, "matched", "mismatched") if grouped else None
    dev = Examples((("x",),) * len(labels), labels, groups)
    made = task(label_names=tuple("abcd"[: len(sizes)]), dev=dev)
    mask = split_dev(made, fraction, seed)
    assert mask.dtype == bool
    assert mask.shape == (len(labels),)
    assert (mask == split_dev(made, fraction, seed)).all()
    for label, size in enumerate(sizes):
        inside = int(mask[labels == label].sum())
        assert 1 <= inside <= size - 1
        assert abs(inside - fraction * size) <= 1.0


def test_selection_differs_between_seeds_and_takes_from_both_groups():
    groups = np.array(["matched"] * 100 + ["mismatched"] * 100)
    made = task(dev=examples(200, groups=groups))
    mask = split_dev(made)
    assert mask.sum() == 20
    assert abs(int(mask[:100].sum()) - 10) <= 2
    assert (mask != split_dev(made, seed=1)).any()


def test_selection_of_a_regression_task():
    scores = Task("sim", "regression", (), ("pearson",), examples(6), examples(50, labels=np.linspace(0, 5, 50)))
    assert split_dev(scores).sum() == 5
    assert split_dev(replace(scores, dev=examples(4, labels=np.arange(4.0)))).sum() == 2


def test_a_split_that_cannot_be_made_is_refused():
    rare = task(dev=examples(5, labels=np.array([0, 0, 0, 0, 1])))
    assert not split_dev(rare)[4]  # the only one of its class is reported on
    with pytest.raises(SuperticketsError, match=r"'toy' has 2 dev example\(s\) and no two of one class.*at least 2"):
        split_dev(task(dev=examples(2)))
    short = Task("sim", "regression", (), ("pearson",), examples(6), examples(3, labels=np.arange(3.0)))
    with pytest.raises(SuperticketsError, match=r"3 dev example\(s\) in all.*at least 4"):
        split_dev(short)
    with pytest.raises(SuperticketsError, match=r"between 0 and 1, not be 1\.0"):
        split_dev(task(), 1.0)
