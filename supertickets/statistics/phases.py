"""The phase transition as a statistical claim: rise and fall, the three phases, and the winner's curse.

Scores are arrays (seeds, levels), higher is better, ``levels[0]`` being the full model (level 0). All three questions
look for a best level among several, and looking inflates what is found: each function says how it corrects for that.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.statistics.intervals import TAIL, Interval, expansion, jackknife, mean_interval

BETA = 0.005
"""Error spent on setting aside levels that are clearly worse than the full model (first step of `_p_rise`)."""


@dataclass(frozen=True)
class RiseAndFall:
    """Result of :func:`rises_then_falls`.

    ``gain`` judges each seed at the level that is best for the *other* seeds, so that the luck of its own training is
    not in it. ``fall`` is how far the last level lies below the full model. ``effect`` is the smaller of the two, and
    ``p`` its two-sided p: for an effect above zero twice the larger of ``p_rise`` (some level beats the full model) and
    ``p_fall`` (the last is below it).
    """

    gain: Interval
    fall: Interval
    effect: Interval
    p_rise: float
    p_fall: float
    p: float


@dataclass(frozen=True)
class Boundary:
    """A boundary between phases, as a sparsity level; ``inf`` means beyond the last level tested.

    ``low`` and ``high`` are percentiles over the resampled curves; ``found`` is the share of those with a boundary
    within the levels tested.
    """

    level: float
    low: float
    high: float
    found: float


@dataclass(frozen=True)
class PhaseBoundaries:
    """Phase I ends at ``best``, Phase II at ``meeting``; ``collapse`` is ours, None without chance."""

    n_seeds: int
    best: Boundary
    meeting: Boundary
    collapse: Boundary | None


def rises_then_falls(
    levels: Sequence[float], scores: ArrayLike, n_resamples: int = 2000, chosen_by: ArrayLike | None = None
) -> RiseAndFall:
    """Test "rises, then falls" against a monotone curve.

    A curve that never rises has no interior level above the full model; one that never falls does not end below it.
    Both are rejected, or the claim is not: an intersection-union test (Berger 1982), whose p is max(p_rise, p_fall),
    uncorrected. The opposite is a curve that lies below the full model at *every* interior level (again the largest of
    their p-values), or that ends above it.

    *Rise.* The statistic is the largest paired t over the interior levels. First, levels that are clearly worse than
    the full model are set aside, at a cost of 0.005 added to p (the two-step method of Romano, Shaikh and Wolf,
    2014). For 8 seeds or more the null distribution is that of the largest t when the signs of whole seeds are
    flipped (all 2**n ways, or ``n_resamples`` drawn ones; Westfall and Young 1993). For fewer seeds sign flips can
    hardly reach 5%, and the one-sided t-test with Bonferroni's correction for the remaining levels is used.
    *Fall.* A one-sided paired t-test of the full model against the last level.

    *Gain.* The other seeds' best level is that of their scores in ``chosen_by``, an array as ``scores`` of other
    examples. Without it the same examples choose and judge, and a level that happens to suit these is best for the
    other seeds too: ``gain`` then says what another seed would gain on the same examples, not on new ones. The interval
    is the jackknife's: seeds that choose for each other are not independent, and of equal levels a t interval of their
    gains covers 86% (12 seeds). Two seeds, which have none, at least, three levels at least, or SuperticketsError.

    >>> rng = np.random.default_rng(0)
    >>> curve = np.array([0.80, 0.84, 0.83, 0.70])
    >>> result = rises_then_falls([0, 0.1, 0.2, 0.8], curve + 0.005 * rng.normal(size=(10, 4)))
    >>> result.effect == result.gain, result.p < 0.05
    (True, True)
    """
    x = _levels_and_scores(levels, scores)
    n = x.shape[0]
    gains = x[:, 1:] - x[:, :1]
    interior, last = gains[:, :-1], gains[:, -1]
    p_rise = _p_rise(interior, n_resamples)
    p_fall = _p_below(_t(last[:, None]), n)
    by = x if chosen_by is None else _levels_and_scores(levels, chosen_by, "scores to choose by", n, n)
    rows = np.arange(n)
    gain = jackknife(*_gain_elsewhere(interior, by[:, 1:-1], [rows, *(np.delete(rows, i) for i in rows)]))
    fall = mean_interval(-last)
    effect = min(gain, fall, key=lambda interval: interval.mean)
    opposite = _p_below(_t(interior), n) if effect is gain else 1 - p_fall
    p = max(p_rise, p_fall) if effect.mean > 0 else opposite
    return RiseAndFall(gain, fall, effect, p_rise, p_fall, min(1.0, 2 * p))


def phase_boundaries(
    levels: Sequence[float], winning: ArrayLike, random: ArrayLike, chance: float | None = None, n_resamples: int = 2000
) -> PhaseBoundaries:
    """Where Phase I ends and Phase III begins, with bootstrap intervals over seeds.

    As the paper puts it (sections 1 and 5.4): accuracy of the winning tickets rises up to a level (Phase I), then
    falls (Phase II) until it meets that of the random tickets (Phase III), where training collapses. ``best`` is the
    level with the highest mean score of ``winning``; ``meeting`` is the first point after it where their mean is no
    longer above that of ``random``, interpolated between levels. The paper gives no number for "collapses": here
    ``collapse`` is where winning tickets keep only half of what the full model has over ``chance`` (the score of a
    model that learnt nothing; leave it out to have no collapse).

    ``winning`` and ``random`` are (seeds, levels) of the same seeds, resampled together. Means of resamples stray too
    little: their deviations are expanded as those of :func:`supertickets.statistics.bootstrap` are, before the
    boundaries are read off the curves.

    >>> levels = [0, 0.2, 0.4, 0.6]
    >>> winning = [[0.80, 0.82, 0.76, 0.60], [0.81, 0.84, 0.74, 0.58]]
    >>> random = [[0.80, 0.75, 0.70, 0.64], [0.81, 0.75, 0.70, 0.64]]
    >>> found = phase_boundaries(levels, winning, random, chance=0.5)
    >>> found.best.level, round(found.meeting.level, 2), round(found.collapse.level, 2)
    (0.2, 0.5, 0.52)
    """
    w = _levels_and_scores(levels, winning, "scores of winning tickets")
    r = _levels_and_scores(levels, random, "scores of random tickets", len(w), len(w))
    x = np.asarray(levels, dtype=float)
    n = w.shape[0]
    rng, wider = np.random.default_rng(0), expansion(n)
    draws = np.vstack([np.arange(n), rng.integers(0, n, size=(n_resamples, n))])
    w_means, r_means = (s.mean(axis=0) + wider * (s[draws].mean(axis=1) - s.mean(axis=0)) for s in (w, r))
    best_index = np.argmax(w_means, axis=1)
    meeting = [_first_below(x, a - b, start) for a, b, start in zip(w_means, r_means, best_index, strict=True)]
    collapse = None
    if chance is not None:
        kept = chance + (w_means[:, :1] - chance) / 2
        collapse = [_first_below(x, row, start) for row, start in zip(w_means - kept, best_index, strict=True)]
    return PhaseBoundaries(
        n_seeds=n,
        best=_boundary(x[best_index]),
        meeting=_boundary(np.array(meeting)),
        collapse=None if collapse is None else _boundary(np.array(collapse)),
    )


def placebo_gain(
    levels: Sequence[float],
    selection_scores: ArrayLike,
    report_scores: ArrayLike,
    selection_values: ArrayLike,
    metric: Callable[[np.ndarray], np.ndarray] | None = None,
    n_resamples: int = 1000,
) -> float:
    """The mean gain that choosing the best level on a small selection split shows when no level is better than another.

    Scores are (seeds, levels), level 0 first; as in section 5.2 of the paper the choice is among the pruned levels.
    ``selection_values`` (seeds, levels, examples) are what ``metric`` maps from (..., examples) to (...): the mean by
    default, of 1 where a prediction is right and 0 where it is wrong, say. For each seed and example they are shuffled
    over the levels, full model included, and the best level is chosen again. Levels that are clearly worse than the
    full model on the report split (one-sided paired t over seeds at 5%) take no part: luck does not choose them.

    >>> rng = np.random.default_rng(0)
    >>> right = (rng.random((6, 9, 50)) < 0.8).astype(float)
    >>> chosen = (right.mean(axis=2)[:, 1:].max(axis=1) - right.mean(axis=2)[:, 0]).mean()
    >>> bool(abs(placebo_gain(range(9), right.mean(axis=2), np.full((6, 9), 0.8), right) - chosen) < 0.03)
    True
    """
    x = _levels_and_scores(levels, selection_scores, "selection scores", fewest=1)
    y = _levels_and_scores(levels, report_scores, "report scores", len(x), len(x))
    v, n = np.asarray(selection_values), len(x)
    if v.ndim != 3 or v.shape[:2] != x.shape or v.shape[2] == 0:
        expected = f"({n} seeds, {x.shape[1]} levels, examples)"
        raise SuperticketsError(f"The selection values have shape {v.shape}; expected {expected}.")
    score = metric or (lambda a: a.mean(axis=-1))
    if not np.allclose(score(v), x, atol=1e-6):
        raise SuperticketsError("The selection values do not give the selection scores; check metric and split.")
    half = stats.t.ppf(0.95, n - 1) * (y - y[:, :1]).std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else math.inf
    rivals = (y - y[:, :1]).mean(axis=0) + half >= 0
    if not rivals[1:].any():
        return 0.0
    rng, found = np.random.default_rng(0), []
    for _ in range(n_resamples):
        shuffled = score(rng.permuted(v[:, rivals], axis=1))
        found.append((shuffled[:, 1:].max(axis=1) - shuffled[:, 0]).mean())
    return float(np.mean(found))


def _levels_and_scores(
    levels: Sequence[float], scores: ArrayLike, name: str = "scores", fewest: int = 2, most: float = math.inf
) -> np.ndarray:
    """The scores as a finite array (seeds, levels), checked against the levels and the number of seeds it takes."""
    try:
        x = np.asarray(scores, dtype=float)
    except ValueError:
        raise SuperticketsError(f"The {name} have rows of different length; give every seed every level.") from None
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] != len(levels):
        raise SuperticketsError(f"The {name} have shape {x.shape}; expected (seeds, {len(levels)} levels).")
    if not np.isfinite(x).all():
        raise SuperticketsError(f"The {name} contain a value that is not finite; leave out seeds with missing runs.")
    if float(levels[0]) != 0 or len(levels) < 3 or np.any(np.diff(np.asarray(levels, dtype=float)) <= 0):
        needed = "levels that rise: the full model, 0, and two pruned ones or more"
        raise SuperticketsError(f"A curve needs {needed}, not {list(levels)}.")
    if not fewest <= len(x) <= most:
        more = "" if fewest == most else " or more"
        raise SuperticketsError(f"The {name} are of {len(x)} seed(s); {fewest}{more} are needed, the same in all.")
    return x


def _gain_elsewhere(gains: np.ndarray, by: np.ndarray, samples: list[np.ndarray]) -> tuple[float, list[float]]:
    """Mean gain of a sample's seeds at the level that has the best sum of ``by`` over its other seeds; first, others.

    NaN for a sample of a single seed, for which nobody chooses.
    """
    found = []
    for kept in samples:
        best = np.argmax(by[kept].sum(axis=0) - by[kept], axis=1)
        found.append(float(gains[kept, best].mean()) if len(kept) > 1 else math.nan)
    return found[0], found[1:]


def _t(gains: np.ndarray) -> np.ndarray:
    """One-sample t per column; without spread +-inf by the sign of the mean, and 0 where all values are 0."""
    mean, sd = gains.mean(axis=0), gains.std(axis=0, ddof=1)
    flat = sd <= 1e-12 * np.maximum(1e-3, np.abs(mean))
    safe = np.where(flat, 1.0, sd)
    return np.where(flat, np.where(mean == 0, 0.0, np.copysign(np.inf, mean)), mean / safe * math.sqrt(len(gains)))


def _p_below(t: np.ndarray, n: int) -> float:
    """One-sided p of "every mean is below 0". Without spread, where t would be certain, that of the sign flips."""
    highest = float(t.max())
    return float(stats.t.cdf(highest, n - 1)) if math.isfinite(highest) else 0.5**n if highest < 0 else 1 - 0.5**n


def _p_rise(gains: np.ndarray, n_resamples: int) -> float:
    """P-value of "no column of ``gains`` (seeds, levels) has a mean above 0"; see `rises_then_falls`."""
    n, k = gains.shape
    half = stats.t.ppf(1 - BETA / k, n - 1) * gains.std(axis=0, ddof=1) / math.sqrt(n)
    kept = gains[:, gains.mean(axis=0) + half > 0]
    cost = BETA if kept.shape[1] < k else 0.0
    if kept.shape[1] == 0:
        return 1.0  # every level clearly below the full model
    observed = float(_t(kept).max())
    if n < 8 and math.isfinite(observed):
        return min(1.0, kept.shape[1] * float(stats.t.sf(observed, n - 1)) + cost)
    if 2**n <= n_resamples:
        flips = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
    else:
        flips = np.random.default_rng(0).choice((1.0, -1.0), size=(n_resamples, n))
        flips[0] = 1.0
    highest = _t((flips[:, :, None] * kept).transpose(1, 0, 2).reshape(n, -1)).reshape(len(flips), -1).max(axis=1)
    at_least = highest >= observed - 1e-9 * abs(observed) if math.isfinite(observed) else highest == observed
    return min(1.0, float(np.mean(at_least)) + cost)


def _first_below(levels: np.ndarray, values: np.ndarray, start: int) -> float:
    """The first level after ``start`` where ``values`` reach 0 from above, interpolated; inf if they never do."""
    below = start + 1 + np.flatnonzero(values[start + 1 :] <= 0)
    if not len(below):
        return math.inf
    i = below[0]
    before, after = values[i - 1], values[i]
    return float(levels[i - 1] + (levels[i] - levels[i - 1]) * before / (before - after) if before > 0 else levels[i])


def _boundary(values: np.ndarray) -> Boundary:
    """``values[0]`` is the estimate, the rest are resamples. Order statistics only: inf cannot be interpolated."""
    low, high = np.quantile(values[1:], [1 - TAIL, TAIL], method="inverted_cdf")
    return Boundary(float(values[0]), float(low), float(high), float(np.isfinite(values[1:]).mean()))
