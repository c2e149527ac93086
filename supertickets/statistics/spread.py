"""Standard deviations compared: intervals, equality of variances, and the power of such tests."""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.statistics.intervals import TAIL, Interval, checked_sample, paired_values

ALPHA, POWER = 0.05, 0.8
"""The level of every test, and the power for which runs are counted."""


def spread_power(sd_ratio: float, seeds: int) -> float:
    """Probability that the two-sided F-test finds two standard deviations of this ratio different, ``seeds`` runs each.

    For normal values, unpaired. Raises SuperticketsError for a ratio that is not positive, or fewer than two seeds.

    >>> round(spread_power(1.0, 5), 3), round(spread_power(0.07 / 0.16, 5), 2)
    (0.05, 0.29)
    """
    if not (math.isfinite(sd_ratio) and sd_ratio > 0):
        raise SuperticketsError(f"A ratio of standard deviations is a positive number, not {sd_ratio}.")
    if seeds < 2:
        raise SuperticketsError(f"Power needs two seeds at least, not {seeds}.")
    f = stats.f(seeds - 1, seeds - 1)
    return float(f.cdf(f.ppf(ALPHA / 2) / sd_ratio**2) + f.sf(f.ppf(1 - ALPHA / 2) / sd_ratio**2))


def seeds_needed(sd_ratio: float) -> int:
    """The fewest seeds, of each model, with which :func:`spread_power` reaches 80%.

    Raises SuperticketsError for a ratio of 1, which no number of seeds tells apart.

    >>> seeds_needed(0.16 / 0.17), seeds_needed(0.5)
    (2138, 19)
    """
    if sd_ratio == 1:
        raise SuperticketsError("Seeds can be counted for a ratio other than 1.")
    return 2 + bisect_left(range(2, 2**30), POWER, key=lambda seeds: spread_power(sd_ratio, seeds))


@dataclass(frozen=True)
class SpreadComparison:
    """Two standard deviations, their ratio ``sd_a / sd_b``, whose interval ends at ``low`` and ``high`` (NaN where the
    test gives none), and the p-value of "equal spread".
    """

    sd_a: float
    sd_b: float
    ratio: float
    p: float = math.nan
    low: float = math.nan
    high: float = math.nan


def sd_interval(values: ArrayLike) -> Interval:
    """Chi-square interval of a standard deviation of normal values; ``mean`` and ``sd`` are both the estimate.

    For 5 seeds it runs from 0.6 to 2.9 times the estimate, which is why a table of standard deviations over 5 seeds
    (the paper's Tables 5, 6, 8) says little by itself.

    >>> interval = sd_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> round(interval.low / interval.sd, 2), round(interval.high / interval.sd, 2)
    (0.6, 2.87)
    """
    x = checked_sample(values, "values")
    if x.size == 1:
        return Interval(1, *[math.nan] * 4)
    sd, df = float(x.std(ddof=1)), x.size - 1
    low, high = sd * np.sqrt(np.divide(df, stats.chi2.interval(0.95, df)))[::-1]
    return Interval(x.size, sd, sd, float(low), float(high))


def equal_variances(a: ArrayLike, b: ArrayLike) -> float:
    """The p of equal spread by the Brown-Forsythe test (Levene's test around the median, ``scipy.stats.levene``).

    NaN when both samples have no spread, and for two values each, whose distances from their median are equal.
    Raises SuperticketsError for fewer than two values in a sample.

    >>> round(equal_variances([1.0, 2.0, 3.0, 4.0], [2.0, 2.4, 2.6, 3.0]), 2)
    0.07
    """
    x, y = checked_sample(a, "the first sample"), checked_sample(b, "the second sample")
    if min(x.size, y.size) < 2:
        raise SuperticketsError("Comparing spreads needs at least two values in each sample; add seeds.")
    if x.size == y.size == 2 or np.ptp(x) == np.ptp(y) == 0:
        return math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(stats.levene(x, y, center="median").pvalue)


def pitman_morgan(a: ArrayLike, b: ArrayLike) -> SpreadComparison:
    """Pitman-Morgan test of equal spread in pairs, with the interval of ``sd_a / sd_b`` (Pitman 1939, Morgan 1939).

    Sums and differences of the pairs are uncorrelated exactly if the spreads are equal: their correlation is tested, t
    with n - 2 degrees of freedom. It is exact for normal values and takes outliers for spread: with one run in ten
    failing by six standard deviations, it calls 24% of 5 and 28% of 20 equal pairs different at 5% (measured). Two
    pairs, or no spread at all, give NaN. If only one side has no spread, normal theory would claim certainty, so p is
    that of exchanging the two within pairs, 2 / 2**k, where k deviations from the median are not zero.
    Raises SuperticketsError for fewer than two pairs or arrays of different length.

    >>> found = pitman_morgan([1.0, 2.0, 3.0, 4.0, 6.0], [2.0, 2.4, 2.5, 3.1, 3.3])
    >>> round(found.ratio, 2), found.low < found.ratio < found.high, found.p < 0.05
    (3.62, True, True)
    """
    paired_values(a, b)
    x, y = (np.asarray(values, dtype=float).ravel() for values in (a, b))
    n = x.size
    if n < 2:
        raise SuperticketsError("Comparing spreads needs at least two pairs; add seeds.")
    tiny = 1e-12 * max(1.0, float(np.abs([x, y]).max()))
    sd_x, sd_y = (sd if (sd := float(z.std(ddof=1))) > tiny else 0.0 for z in (x, y))
    ratio = sd_x / sd_y if sd_y else math.inf if sd_x else math.nan
    found = SpreadComparison(sd_x, sd_y, ratio)
    if n == 2 or sd_x == sd_y == 0:
        return found
    if 0 in (sd_x, sd_y):
        away = np.count_nonzero(np.abs([x - np.median(x), y - np.median(y)]) > tiny)
        return replace(found, p=min(1.0, 2.0 / 2**away))
    total, difference = x + y, x - y
    if min(total.std(), difference.std()) <= tiny:  # all pairs alike, or mirrored: equal spread, without a doubt
        return replace(found, p=1.0, low=ratio, high=ratio)
    r, along = (float(np.clip(np.corrcoef(pair)[0, 1], -1, 1)) for pair in ((total, difference), (x, y)))
    statistic = r * math.sqrt((n - 2) / (1 - r**2)) if abs(r) < 1 else math.copysign(math.inf, r)
    quantile = float(stats.t.ppf(TAIL, n - 2))
    k = 1 + 2 * (1 - along**2) * quantile**2 / (n - 2)
    wide = math.sqrt(k + math.sqrt(k**2 - 1))  # the ratios that the test does not reject
    p = float(2 * stats.t.sf(abs(statistic), n - 2))
    return SpreadComparison(sd_x, sd_y, ratio, p, ratio / wide, ratio * wide)
