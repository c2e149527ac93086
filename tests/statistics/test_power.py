"""Power of tests of spread."""

import math

import numpy as np
import pytest
from scipy import stats

from supertickets.statistics import seeds_needed, spread_power


def test_power_is_that_of_a_simulated_f_test():
    rng = np.random.default_rng(9)
    a, b = rng.normal(0, 2, (20000, 5)), rng.normal(0, 1, (20000, 5))
    f = a.var(axis=1, ddof=1) / b.var(axis=1, ddof=1)
    rejected = np.mean(2 * np.minimum(stats.f.cdf(f, 4, 4), stats.f.sf(f, 4, 4)) < 0.05)
    assert spread_power(2.0, 5) == pytest.approx(rejected, abs=0.009)
    assert spread_power(0.5, 5) == pytest.approx(spread_power(2.0, 5))


@pytest.mark.parametrize("ratio", [0.16 / 0.17, 0.5, 1.3, 4.0])
def test_seeds_needed_are_the_fewest(ratio):
    n = seeds_needed(ratio)
    assert spread_power(ratio, n) >= 0.8 > spread_power(ratio, n - 1)
    # var(log sd) is about 1 / (2 (n - 1)) for each model
    assert n == pytest.approx(2 + ((1.96 + 0.8416) / math.log(ratio)) ** 2, rel=0.02, abs=3)
