"""Standard deviations compared, against SciPy and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.statistics import spread


def test_sd_interval_is_the_chi_square_interval_and_covers():
    x = np.random.default_rng(7).normal(0, 2.0, size=(3000, 5))
    intervals = [spread.sd_interval(row) for row in x]
    assert abs(np.mean([i.low <= 2.0 <= i.high for i in intervals]) - 0.95) < 0.013
    s2 = x[0].var(ddof=1)
    assert intervals[0].low ** 2 == pytest.approx(4 * s2 / stats.chi2.ppf(0.975, 4))
    assert not spread.sd_interval([1.0]).known


def test_equal_variances_is_scipys_brown_forsythe():
    rng = np.random.default_rng(8)
    a, b = rng.normal(0, 1, 12), rng.normal(0, 3, 15)
    result, expected = spread.equal_variances(a, b), stats.levene(a, b, center="median")
    assert result == pytest.approx(expected.pvalue)
    assert math.isnan(spread.equal_variances([1.0, 1.0], [2.0, 2.0]))
    assert math.isnan(spread.equal_variances([1.0, 2.0], [2.0, 9.0]))  # scipy: 0, for any two pairs
    with pytest.raises(SuperticketsError, match="two values"):
        spread.equal_variances([1.0], [1.0, 2.0])


def test_pitman_morgan_is_the_correlation_of_sums_and_differences():
    rng = np.random.default_rng(9)
    a = rng.normal(0, 1, 12)
    b = 0.5 * a + rng.normal(0, 2, 12)
    result, (_, p) = spread.pitman_morgan(a, b), stats.pearsonr(a + b, a - b)
    assert result.p == pytest.approx(p, abs=1e-12)
    assert result.ratio == pytest.approx(a.std(ddof=1) / b.std(ddof=1))
    # Pitman's closed form of the statistic
    ratio, r = result.ratio**2, np.corrcoef(a, b)[0, 1]
    statistic = (ratio - 1) * math.sqrt(10 / (4 * ratio * (1 - r**2)))
    assert result.p == pytest.approx(2 * stats.t.sf(abs(statistic), 10))
    # the interval's ends are the ratios that are just rejected
    assert [spread.pitman_morgan(a, end * b).p for end in (result.low, result.high)] == pytest.approx([0.05, 0.05])
    back = spread.pitman_morgan(b, a)
    assert (back.p, back.low, back.high) == pytest.approx((result.p, 1 / result.high, 1 / result.low))


def test_pitman_morgan_keeps_its_error_rate_in_pairs_and_covers():
    rng = np.random.default_rng(10)
    common = rng.normal(size=(3000, 1, 5))
    found = [spread.pitman_morgan(a, b) for a, b in common + rng.normal(size=(3000, 2, 5))]
    assert abs(np.mean([result.p < 0.05 for result in found]) - 0.05) < 0.012  # three standard errors
    assert abs(np.mean([result.low <= 1 <= result.high for result in found]) - 0.95) < 0.012


def test_pitman_morgan_finds_a_true_difference_with_many_seeds_and_seldom_with_five():
    rng = np.random.default_rng(11)
    pairs = {n: rng.normal(size=(300, 2, n)) for n in (5, 40)}
    power = {n: np.mean([spread.pitman_morgan(a, 2 * b).p < 0.05 for a, b in x]) for n, x in pairs.items()}
    assert power[40] > 0.95
    assert power[5] < 0.3


def test_pitman_morgan_takes_failed_runs_for_spread_as_documented():
    rng = np.random.default_rng(12)
    for n, documented in ((5, 0.24), (20, 0.28)):
        x = rng.normal(size=(1500, 2, n)) - 6 * (rng.random((1500, 2, n)) < 0.1)
        assert np.mean([spread.pitman_morgan(a, b).p < 0.05 for a, b in x]) == pytest.approx(documented, abs=0.04)


def test_pitman_morgan_without_spread_or_pairs():
    flat, x = [0.7] * 5, [0.1, 0.2, 0.3, 0.4, 0.6]
    one_side = spread.pitman_morgan(flat, x)
    assert (one_side.ratio, one_side.p) == (0.0, 2 / 2**4)  # the median itself says nothing
    assert spread.pitman_morgan(x, flat).ratio == math.inf
    assert spread.pitman_morgan([0.7, 0.7, 0.7, 0.7, 0.8], flat).p == 1.0
    assert math.isnan(spread.pitman_morgan(flat, flat).p)
    assert math.isnan(spread.pitman_morgan([1.0, 2.0], [1.0, 5.0]).p)
    shifted = spread.pitman_morgan(x, [value + 1 for value in x])
    assert (shifted.p, shifted.low, shifted.high) == pytest.approx((1.0, 1.0, 1.0))
    with pytest.raises(SuperticketsError, match="two pairs"):
        spread.pitman_morgan([1.0], [2.0])
    with pytest.raises(SuperticketsError, match="2 and 3"):
        spread.pitman_morgan([1.0, 2.0], [1.0, 2.0, 3.0])
