"""Intervals and tests over seeds, each a small function of plain arrays.

The unit of replication is the *run*: one seed, or one independent training set. Comparisons are paired by seed,
because the runs of one seed share their data order, their head initialisation and (in the lab) their training set.
What looks for a best level, and so needs a correction for having looked, is in :mod:`supertickets.statistics.phases`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from supertickets.errors import SuperticketsError

TAIL = 0.975
"""Where every interval ends at the top: all are two-sided 95% intervals."""
FEWEST_SEEDS = 3
"""With fewer the spread over seeds is a guess, and so there is no p."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided 95% interval, and the two-sided p of "it is 0".

    ``n`` runs, their ``mean`` (the estimate), their standard deviation ``sd`` (n - 1 in the denominator) and the ends
    of the interval, NaN where the data cannot give one (one run), as is ``p``.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    p: float = math.nan

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def times(self, factor: float) -> "Interval":
        """The same in another unit: a hundredfold in points, say."""
        return Interval(self.n, factor * self.mean, factor * self.sd, factor * self.low, factor * self.high, self.p)


def mean_interval(values: ArrayLike) -> Interval:
    """Student's t interval of a mean: mean +- t(n - 1) x sd / sqrt(n).

    With one value the ends are NaN; with equal values they equal the mean. Raises SuperticketsError for no values, any
    that is not finite.

    >>> interval = mean_interval([0.91, 0.92, 0.93])
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.8952, 0.9448)
    """
    x = checked_sample(values, "values")
    return t_interval(x.size, float(x.mean()), float(x.std(ddof=1)) if x.size > 1 else math.nan)


def t_interval(n: int, estimate: float, sd: float) -> Interval:
    """Student's t interval and p of an estimate whose standard error is sd / sqrt(n); its ends are NaN for n = 1.

    p is NaN without an interval, and where there is no spread; 1 where the estimate is 0 itself.

    >>> round(t_interval(3, 2.0, 1.0).p, 4)
    0.0742
    """
    half = float(stats.t.ppf(TAIL, n - 1)) * sd / math.sqrt(n) if n > 1 else math.nan
    found = Interval(n, estimate, sd, estimate - half, estimate + half)
    if not found.known or (sd == 0 and estimate):
        return found
    away = abs(estimate)
    return replace(found, p=float(2 * stats.t.sf(away * math.sqrt(n) / sd, n - 1)) if away else 1.0)


def mean_of_means(groups: Iterable[ArrayLike]) -> Interval:
    """The mean of independent groups' means, all groups alike, with Satterthwaite's t interval (1946) and p.

    The groups, of two values or more, may differ in size and spread; ``n`` counts all values, and ``sd`` is the
    standard error times the root of n. Of a single group it is :func:`mean_interval`.

    >>> found = mean_of_means([[1.0, 2.0, 3.0], [4.0, 6.0]])
    >>> found.mean, round(found.low, 2), round(found.high, 2)
    (3.5, 0.51, 6.49)
    """
    each = [mean_interval(values) for values in groups]
    parts = np.array([(one.sd / len(each)) ** 2 / one.n for one in each])  # of the mean's variance
    n, mean, error = sum(one.n for one in each), float(np.mean([one.mean for one in each])), math.sqrt(parts.sum())
    freedom = error**4 / (parts**2 / [one.n - 1 for one in each]).sum() if error else math.nan
    half, p = stats.t.ppf(TAIL, freedom) * error, 2 * stats.t.sf(abs(mean) / (error or math.nan), freedom)
    return Interval(n, mean, error * math.sqrt(n), mean - float(half), mean + float(half), float(p))


def paired_difference(a: ArrayLike, b: ArrayLike) -> Interval:
    """Paired Student t-test of ``a`` against ``b``, two-sided (the test of section 5.3 of the paper).

    One pair: the mean difference is given, interval and p are NaN. All differences zero: interval [0, 0] and p = 1.
    All equal but not zero: a t-test would claim certainty from rounding, so p is that of the exact sign-flip test,
    2 / 2**n, and the interval is NaN. Raises SuperticketsError for arrays of different length.

    >>> result = paired_difference([3.0, 4.0, 6.0], [1.0, 3.0, 3.0])
    >>> result.mean, round(result.p, 4)
    (2.0, 0.0742)
    """
    d = paired_values(a, b)
    interval = mean_interval(d)
    if interval.n > 1 and interval.sd <= 1e-12 * max(1.0, float(np.abs(d).max())):
        if np.allclose(d, 0.0, atol=1e-15):
            return Interval(interval.n, 0.0, 0.0, 0.0, 0.0, 1.0)
        return Interval(interval.n, interval.mean, 0.0, math.nan, math.nan, min(1.0, 2.0 / 2**interval.n))
    return interval


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given; a NaN, a test not made, stays and is none.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    adjusted = np.array(p_values, dtype=float).ravel()
    made = np.flatnonzero(~np.isnan(adjusted))
    if np.any((adjusted[made] < 0) | (adjusted[made] > 1)):
        raise SuperticketsError("Holm's correction needs p-values between 0 and 1; check the tests they come from.")
    rising = made[np.argsort(adjusted[made], kind="stable")]
    stepped = np.maximum.accumulate(np.arange(len(rising), 0, -1) * adjusted[rising])
    adjusted[rising] = np.minimum(1.0, stepped)
    return adjusted


def checked_sample(values: ArrayLike, name: str) -> np.ndarray:
    """The values as a vector; raises SuperticketsError, naming them, if there are none or one is not finite."""
    x = np.asarray(values, dtype=float).ravel()
    if x.size == 0:
        raise SuperticketsError(f"There are no {name}; at least one run is needed.")
    if not np.isfinite(x).all():
        raise SuperticketsError(f"Among {name} there is one that is not finite; leave out missing runs first.")
    return x


def paired_values(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """``a - b``; raises SuperticketsError unless they are of one length."""
    x, y = checked_sample(a, "first values"), checked_sample(b, "second values")
    if x.size != y.size:
        raise SuperticketsError(f"Pairs need equal lengths, not {x.size} and {y.size}; match the runs by seed.")
    return x - y


def jackknife(estimate: float, without: Iterable[float]) -> Interval:
    """The jackknife's interval (Tukey 1958) of an estimate, from its values with every replicate left out once.

    With Student's t; of a mean it equals :func:`mean_interval`. Its ends are NaN for fewer than two replicates, or a
    NaN.

    >>> interval = jackknife(0.92, [0.925, 0.92, 0.915])  # of 0.91, 0.92, 0.93
    >>> round(interval.low, 4), round(interval.high, 4)
    (0.8952, 0.9448)
    """
    values = np.array(list(without), dtype=float)
    n = len(values)
    if n < 2 or not np.isfinite([estimate, *values]).all():
        return Interval(n, estimate, math.nan, math.nan, math.nan)
    return t_interval(n, estimate, (n - 1) * float(values.std(ddof=1)))  # of pseudo-values


def expansion(n: int) -> float:
    """How much too short bootstrap deviations of n replicates are: sqrt(n / (n - 1)) x t(n - 1) / z (Hesterberg 2015).

    >>> [round(expansion(n), 2) for n in (3, 5, 12)]
    [2.69, 1.58, 1.17]
    """
    return math.sqrt(n / (n - 1)) * float(stats.t.ppf(TAIL, n - 1) / stats.norm.ppf(TAIL))


def expanded_interval(estimate: float, drawn: np.ndarray, n: int, wider: float) -> Interval:
    """The bootstrap's interval from values drawn: shifted so that the estimate is their mean, and widened."""
    low, high = estimate + wider * np.quantile(drawn - drawn.mean(), [1 - TAIL, TAIL])
    return Interval(n, estimate, float(drawn.std(ddof=1)), float(low), float(high))


def two_level_bootstrap(
    difference: Callable[..., ArrayLike], n_examples: int | Sequence[int], n_resamples: int = 500, seed: int = 0
) -> Interval:
    """Mean difference of two models, with interval and p for other seeds *and* other examples.

    ``difference(rows)`` gives the difference of every seed on the examples ``rows`` (indices, some of them twice), both
    models and all seeds on the same ones, so that what they share cancels: the paired design of the multi-bootstrap of
    MultiBERTs (Sellam et al. 2022, section 3). Of several sets of examples, ``n_examples`` their sizes, it is given
    rows of each, drawn apart. That one reads quantiles off draws of both; measured, they cover 76% of
    the time for 3 seeds that differ much, and 99% for seeds that do not. So examples are resampled, any metric will do,
    and seeds enter by their variance: that of the mean is the one over seeds plus the one over examples less what both
    count, with Student's t of Hillis's degrees of freedom (2007). Coverage is 92 to 99% from 3 seeds on. Of few seeds
    that happen to differ little those degrees are so many that the interval would be shorter than the one over seeds
    alone, which covers less: then that one, and its p, stand.

    ``sd`` is the standard error times the root of the number of seeds. With one or two seeds the interval is
    over examples only, and p is NaN. Raises SuperticketsError without examples, or for differences that are not finite.

    >>> rng = np.random.default_rng(0)
    >>> better = 0.1 + 0.02 * rng.normal(size=(4, 1)) + 0.3 * rng.normal(size=(4, 200))  # by seed and example
    >>> found = two_level_bootstrap(lambda rows: better[:, rows].mean(axis=1), 200)
    >>> found.low > 0, found.p < 0.05
    (True, True)
    """
    sizes = np.atleast_1d(n_examples)
    if sizes.min() < 1:
        raise SuperticketsError("Two models can be compared on one example at least, not on none.")
    each = checked_sample(difference(*map(np.arange, sizes)), "differences")
    rng = np.random.default_rng(seed)
    draws = np.array([difference(*(rng.integers(0, m, m) for m in sizes)) for _ in range(n_resamples)])  # (draws, n)
    n, mean = each.size, float(each.mean())
    by_examples = float(draws.mean(axis=1).var(ddof=1))
    if n < FEWEST_SEEDS:
        half = float(stats.norm.ppf(TAIL)) * math.sqrt(by_examples)
        return Interval(n, mean, math.sqrt(n * by_examples), mean - half, mean + half)
    by_seeds = float(each.var(ddof=1)) / n
    twice = max(0.0, (float(draws.var(axis=0, ddof=1).mean()) - by_examples) / (n - 1))  # seeds x examples
    variance = max(by_seeds + by_examples - twice, by_seeds, by_examples)
    if variance == 0:
        return Interval(n, mean, 0.0, mean, mean, math.nan if mean else 1.0)
    error = math.sqrt(variance)
    ways = [(error, min(1e9, (n - 1) * (variance / by_seeds) ** 2) if by_seeds else 1e9)]
    ways += [(math.sqrt(by_seeds), n - 1)] if by_seeds else []
    half = max(float(stats.t.ppf(TAIL, freedom)) * size for size, freedom in ways)
    p = max(float(2 * stats.t.sf(abs(mean) / size, freedom)) for size, freedom in ways)
    return Interval(n, mean, error * math.sqrt(n), mean - half, mean + half, p)
