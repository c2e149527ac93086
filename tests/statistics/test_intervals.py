"""Intervals, paired tests and Holm's correction, against SciPy and by simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.statistics import intervals as st


def test_mean_interval_is_scipys_t_interval():
    x = np.random.default_rng(0).normal(size=7)
    interval = st.mean_interval(x)
    low, high = stats.t.interval(0.95, 6, loc=x.mean(), scale=stats.sem(x))
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-12)
    assert (interval.n, interval.mean, interval.sd) == pytest.approx((7, x.mean(), x.std(ddof=1)))


def test_mean_interval_of_one_and_of_equal_values():
    one = st.mean_interval([0.5])
    assert one.mean == 0.5
    assert not one.known
    same = st.mean_interval([0.5, 0.5, 0.5])
    assert (same.low, same.high, same.sd) == (0.5, 0.5, 0.0)


def test_mean_interval_covers():
    x = np.random.default_rng(1).normal(size=(3000, 5))
    intervals = [st.mean_interval(row) for row in x]
    covered = np.mean([i.low <= 0 <= i.high for i in intervals])
    assert abs(covered - 0.95) < 0.013  # three standard errors


def test_the_mean_of_means_is_welchs_test_and_covers():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.5, 1, 17), rng.normal(0, 3, 60)
    found = st.mean_of_means([a, -b])
    welch: Any = stats.ttest_ind(a, b, equal_var=False)
    assert (2 * found.mean, found.p, found.n) == pytest.approx((a.mean() - b.mean(), welch.pvalue, 77))
    assert (2 * found.low, 2 * found.high) == pytest.approx(tuple(welch.confidence_interval()))
    one, plain = st.mean_of_means([a]), st.mean_interval(a)
    assert (one.low, one.high, one.sd, one.p) == pytest.approx((plain.low, plain.high, plain.sd, plain.p))
    tasks = ((2, 60), (6, 17), (1, 40), (3, 40))
    intervals = [st.mean_of_means(rng.normal(0, sd, n) for sd, n in tasks) for _ in range(2000)]
    assert abs(np.mean([i.low <= 0 <= i.high for i in intervals]) - 0.95) < 0.015  # three standard errors


def test_paired_difference_is_scipys_paired_test():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.3, 1, 9), rng.normal(0, 1, 9)
    result, expected = st.paired_difference(a, b), stats.ttest_rel(a, b)
    ends = expected.confidence_interval(0.95)
    assert result.p == pytest.approx(expected.pvalue, abs=1e-12)
    assert (result.low, result.high) == pytest.approx((ends.low, ends.high))
    assert result.mean == pytest.approx((a - b).mean())


def test_paired_difference_without_spread():
    zero = st.paired_difference([0.5, 0.6], [0.5, 0.6])
    assert (zero.p, zero.low, zero.high) == (1.0, 0.0, 0.0)
    shifted = st.paired_difference([0.6, 0.7, 0.9], [0.5, 0.6, 0.8])
    assert shifted.p == 0.25
    assert shifted.mean == pytest.approx(0.1)


def test_paired_difference_of_one_pair_gives_the_effect_only():
    result = st.paired_difference([0.9], [0.7])
    assert result.mean == pytest.approx(0.2)
    assert math.isnan(result.p)


def test_paired_t_keeps_its_error_rate():
    rng = np.random.default_rng(3)
    p = np.array([st.paired_difference(a, b).p for a, b in rng.normal(size=(2000, 2, 5))])
    assert abs(np.mean(p < 0.05) - 0.05) < 0.015


def test_holm_by_hand_and_with_a_missing_test():
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, then made to rise
    assert st.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = st.holm([0.01, math.nan, 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04])
    assert math.isnan(adjusted[1])
    assert st.holm([0.9, 0.8]).max() == 1.0
    assert st.holm([]).size == 0


def test_holm_controls_the_family_wise_error():
    p = np.random.default_rng(6).uniform(size=(4000, 8))
    assert np.mean([st.holm(row).min() < 0.05 for row in p]) == pytest.approx(0.049, abs=0.011)


def test_mistakes_are_named():
    with pytest.raises(SuperticketsError, match="3 and 2"):
        st.paired_difference([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(SuperticketsError, match="not finite"):
        st.mean_interval([1.0, math.nan])
    with pytest.raises(SuperticketsError, match="at least one run"):
        st.mean_interval([])
    with pytest.raises(SuperticketsError, match="p-values"):
        st.holm([1.2])
