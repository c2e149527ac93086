"""An interval over seeds and examples holds the truth as often as it says."""

import math

import numpy as np
import pytest

from supertickets.errors import SuperticketsError
from supertickets.statistics import mean_interval, two_level_bootstrap
from supertickets.tasks import score

SETTINGS = [(0.03, 0.05, 0.3), (0.0, 0.0, 0.4), (0.03, 0.3, 0.1), (0.0, 0.4, 0.1), (0.05, 0.05, 0.05)]
"""Standard deviations of differences: over seeds, over examples, and of single answers."""


def drawn(rng, n, m, over_seeds, over_examples, answers):
    seeds, examples = over_seeds * rng.normal(size=(n, 1)), over_examples * rng.normal(size=(1, m))
    return seeds + examples + answers * rng.normal(size=(n, m))


def of_means(values, n_resamples=200, seed=0):
    return two_level_bootstrap(lambda rows: values[:, rows].mean(axis=1), values.shape[1], n_resamples, seed)


def of_two_sets(values, others, n_resamples, seed):
    sizes = [values.shape[1], others.shape[1]]

    def difference(x, y):
        return others[:, y].mean(axis=1) - values[:, x].mean(axis=1)

    return two_level_bootstrap(difference, sizes, n_resamples, seed)


def missed(n, m, setting, times, n_resamples, sets=1):
    rng = np.random.default_rng([n, m])
    found = []
    for i in range(times):
        values, others = (drawn(rng, n, size, *setting) if size else None for size in (m, 3 * m * (sets > 1)))
        found.append(of_means(values, n_resamples, i) if sets == 1 else of_two_sets(values, others, n_resamples, i))
    outside = np.array([not each.low <= 0 <= each.high for each in found])
    np.testing.assert_array_equal(outside, [each.p < 0.05 for each in found])  # interval and p say the same
    return outside.mean()


@pytest.mark.parametrize(("n", "setting", "sets"), [(3, SETTINGS[0], 1), (3, SETTINGS[4], 1), (5, SETTINGS[2], 2)])
def test_truth_is_missed_as_rarely_as_it_says(n, setting, sets):
    assert 0 < missed(n, 100, setting, 300, 100, sets) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("m", [100, 400])
@pytest.mark.parametrize(("n", "sets"), [(3, 1), (4, 1), (5, 1), (10, 1), (3, 2), (5, 2)])
def test_intervals_of_95_percent_cover_92_to_98(n, m, setting, sets, record_property):
    rate = missed(n, m, setting, 1000, 200, sets)
    record_property("coverage", 1 - rate)
    assert 0.01 <= rate <= 0.09  # with a point for the simulation's own luck


def test_examples_alone_miss_a_spread_over_seeds_and_seeds_alone_one_over_examples():
    rng = np.random.default_rng(0)
    for setting, axis in (((0.05, 0.05, 0.05), 0), ((0.0, 0.4, 0.1), 1)):
        found = [mean_interval(drawn(rng, 3, 100, *setting).mean(axis=axis)) for _ in range(200)]
        assert np.mean([not each.low <= 0 <= each.high for each in found]) > 0.3


def test_an_interval_that_covers_more_is_no_shorter():
    rng, shorter = np.random.default_rng(0), 0
    for _ in range(100):
        values = drawn(rng, 3, 100, 0.05, 0.0, 0.3)
        alone, found = mean_interval(values.mean(axis=1)), of_means(values, 100)
        assert found.low <= alone.low + 1e-12 and alone.high <= found.high + 1e-12
        shorter += found.high - found.mean < 1.001 * (alone.high - alone.mean)
    assert 10 < shorter < 100  # where seeds alone decide, which without this rule would be shorter


def test_one_and_two_seeds_give_no_p():
    values = drawn(np.random.default_rng(0), 2, 400, 0.0, 0.0, 0.4) + 0.3
    for few in (values[:1], values):
        found = of_means(few, 2000)
        assert math.isnan(found.p) and found.low > 0  # though every example agrees
        assert found.n == len(few)
    one = mean_interval(values[0])
    found = of_means(values[:1], 2000)
    assert (found.low, found.high) == pytest.approx((one.low, one.high), abs=0.004)


def test_no_difference_is_certain_and_no_spread_proves_nothing():
    assert (of_means(np.zeros((4, 50))).p, of_means(np.zeros((4, 50))).mean) == (1.0, 0.0)
    assert math.isnan(of_means(np.full((4, 50), 0.25)).p)
    with pytest.raises(SuperticketsError, match="not on none"):
        two_level_bootstrap(lambda rows: [0.0], 0)
    with pytest.raises(SuperticketsError, match="not finite"):
        of_means(np.full((4, 50), math.nan))


def test_any_metric_will_do():
    rng = np.random.default_rng(1)
    labels = rng.integers(2, size=300)
    logits = rng.normal(size=(4, 2, 300, 2)) + 1.5 * np.eye(2)[labels]
    logits[:, 0] += 1.5 * np.eye(2)[labels]

    def difference(rows):
        scores = [[score(["f1", "mcc"], labels[rows], one[rows])["score"] for one in pair] for pair in logits]
        return np.subtract(*np.transpose(scores))

    found = two_level_bootstrap(difference, 300, 200)
    assert found.mean == pytest.approx(difference(np.arange(300)).mean()) and found.low > 0
