"""The phase transition as a statistical claim: rise and fall, the three phases, and the winner's curse.

Scores are arrays (seeds, levels), higher is better, with ``levels[0]`` the full model (level 0). All three questions
look for a best level among several, and looking inflates what is found: each function says how it corrects for that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.statistics.intervals import Interval, expansion, mean_interval, score_matrix

BETA = 0.005
"""Error spent on setting aside levels that are clearly worse than the full model (first step of `_p_rise`)."""


@dataclass(frozen=True)
class RiseAndFall:
    """Result of :func:`rises_then_falls`.

    ``best_level`` has the highest mean; ``apparent_gain`` is its gain over the full model, too high because it was
    chosen for being high. ``gain`` judges each seed at the level that is best for the *other* seeds: the luck of a
    seed's own training is not in it, the luck of the examples, which all seeds share, is. ``fall`` is how far the last
    level lies below the full model. ``effect`` is the smaller of the two, and ``p`` its two-sided p: for an effect
    above zero twice the larger of ``p_rise`` (some level beats the full model) and ``p_fall`` (the last is below it).
    """

    n_seeds: int
    best_level: float
    apparent_gain: Interval
    gain: Interval
    fall: Interval
    effect: Interval
    p_rise: float
    p_fall: float
    p: float
    method: str


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


@dataclass(frozen=True)
class WinnersCurse:
    """Result of :func:`winners_curse`: what choosing the best level adds to a gain.

    Per seed, the level best on ``selection`` is chosen. ``apparent`` is its gain over the full model on the selection
    split, ``honest`` the same on the report split, ``optimism`` their difference, each a mean over seeds.
    ``placebo`` is the mean gain that choosing would show if all levels were equally good, ``placebo_high`` the upper
    5% point of that mean, and ``p`` the share of placebo means at least as high as ``apparent``.
    """

    n_seeds: int
    n_levels: int
    chosen: tuple[float, ...]
    apparent: Interval
    honest: Interval
    optimism: Interval
    placebo: float
    placebo_high: float
    p: float
    null: str


def rises_then_falls(
    levels: Sequence[float],
    scores: ArrayLike,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> RiseAndFall:
    """Test "rises, then falls" against a monotone curve.

    A curve that never rises has no interior level above the full model; one that never falls does not end below it.
    Both are rejected, or the claim is not: an intersection-union test (Berger 1982), whose p is max(p_rise, p_fall),
    without a correction for making two tests. The opposite is a curve that lies below the full model at *every*
    interior level (again the largest of their p-values), or that ends above it.

    *Rise.* The statistic is the largest paired t over the interior levels. First, levels that are clearly worse than
    the full model are set aside, at a cost of 0.005 added to p (the two-step method of Romano, Shaikh and Wolf,
    2014). For 8 seeds or more the null distribution is that of the largest t when the signs of whole seeds are
    flipped (all 2**n ways, or ``n_resamples`` drawn ones; Westfall and Young 1993). For fewer seeds sign flips can
    hardly reach 5%, and the one-sided t-test with Bonferroni's correction for the remaining levels is used.
    *Fall.* A one-sided paired t-test of the full model against the last level.

    *What luck stays in.* All seeds are scored on the same examples, and a level that happens to suit these is best for
    the other seeds too: ``gain`` says what another seed would gain on the same examples, not on new ones. Two seeds at
    least, three levels at least, or SuperticketsError.

    >>> rng = np.random.default_rng(0)
    >>> curve = np.array([0.80, 0.84, 0.83, 0.70])
    >>> result = rises_then_falls([0, 0.1, 0.2, 0.8], curve + 0.005 * rng.normal(size=(10, 4)))
    >>> result.best_level, result.effect == result.gain, result.p < 0.05
    (0.1, True, True)
    """
    x = _levels_and_scores(levels, scores)
    n = x.shape[0]
    gains = x[:, 1:] - x[:, :1]
    interior, last = gains[:, :-1], gains[:, -1]
    p_rise, method = _p_rise(interior, n_resamples, seed)
    p_fall = _p_below(_t(last[:, None]), n)

    best = int(np.argmax(interior.mean(axis=0)))
    others = (interior.sum(axis=0) - interior) / (n - 1)
    gain = mean_interval(interior[np.arange(n), np.argmax(others, axis=1)], confidence)
    fall = mean_interval(-last, confidence)
    effect = min(gain, fall, key=lambda interval: interval.mean)
    opposite = _p_below(_t(interior), n) if effect is gain else 1 - p_fall
    p = max(p_rise, p_fall) if effect.mean > 0 else opposite
    return RiseAndFall(
        n_seeds=n,
        best_level=float(levels[best + 1]),
        apparent_gain=mean_interval(interior[:, best], confidence),
        gain=gain,
        fall=fall,
        effect=effect,
        p_rise=p_rise,
        p_fall=p_fall,
        p=min(1.0, 2 * p),
        method=method,
    )


def phase_boundaries(
    levels: Sequence[float],
    winning: ArrayLike,
    random: ArrayLike,
    chance: float | None = None,
    collapse_share: float = 0.5,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> PhaseBoundaries:
    """Where Phase I ends and Phase III begins, with bootstrap intervals over seeds.

    As the paper puts it (sections 1 and 5.4): accuracy of the winning tickets rises up to a level (Phase I), then
    falls (Phase II) until it meets that of the random tickets (Phase III), where training collapses. ``best`` is the
    level with the highest mean score of ``winning``; ``meeting`` is the first point after it where the mean of
    ``winning`` is no longer above that of ``random``, interpolated between levels. The paper gives no number for
    "collapses": here ``collapse`` is where winning tickets keep only ``collapse_share`` of what the full model has
    over ``chance`` (the score of a model that learnt nothing; leave it out to have no collapse).

    ``winning`` and ``random`` are (seeds, levels) of the same seeds, resampled together. Means of resamples stray too
    little from the estimate: their deviations are expanded as those of :func:`supertickets.statistics.bootstrap` are,
    before the boundaries are read off the curves.

    >>> levels = [0, 0.2, 0.4, 0.6]
    >>> winning = [[0.80, 0.82, 0.76, 0.60], [0.81, 0.84, 0.74, 0.58]]
    >>> random = [[0.80, 0.75, 0.70, 0.64], [0.81, 0.75, 0.70, 0.64]]
    >>> found = phase_boundaries(levels, winning, random, chance=0.5)
    >>> found.best.level, round(found.meeting.level, 2), round(found.collapse.level, 2)
    (0.2, 0.5, 0.52)
    """
    w = _levels_and_scores(levels, winning, "scores of winning tickets")
    r = score_matrix(random, levels, "scores of random tickets")
    if w.shape != r.shape:
        raise SuperticketsError(
            f"Winning and random tickets need the same seeds: there are {w.shape[0]} and {r.shape[0]}."
        )
    x = np.asarray(levels, dtype=float)
    n = w.shape[0]
    rng, wider = np.random.default_rng(seed), expansion(n, confidence)
    draws = np.vstack([np.arange(n), rng.integers(0, n, size=(n_resamples, n))])
    w_means, r_means = (s.mean(axis=0) + wider * (s[draws].mean(axis=1) - s.mean(axis=0)) for s in (w, r))
    best_index = np.argmax(w_means, axis=1)
    meeting = [_first_below(x, a - b, start) for a, b, start in zip(w_means, r_means, best_index, strict=True)]
    collapse = None
    if chance is not None:
        kept = chance + collapse_share * (w_means[:, :1] - chance)
        collapse = [_first_below(x, row, start) for row, start in zip(w_means - kept, best_index, strict=True)]
    return PhaseBoundaries(
        n_seeds=n,
        best=_boundary(x[best_index], confidence),
        meeting=_boundary(np.array(meeting), confidence),
        collapse=None if collapse is None else _boundary(np.array(collapse), confidence),
    )


def winners_curse(
    levels: Sequence[float],
    selection_scores: ArrayLike,
    report_scores: ArrayLike,
    selection_values: ArrayLike | None = None,
    metric: Callable[[np.ndarray], np.ndarray] | None = None,
    confidence: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> WinnersCurse:
    """How much of a gain comes from choosing the best level on a small selection split.

    ``selection_scores`` and ``report_scores`` are (seeds, levels), level 0 first; as in section 5.2 of the paper the
    choice is among the pruned levels. The placebo gain, shown when no level is better than another, comes from

    * "exchanged examples", given ``selection_values`` (seeds, levels, examples), for example 1 where a prediction is
      right and 0 where it is wrong: for each seed and example the values are shuffled over the levels (full model
      included) and the best level chosen again. Levels that are clearly worse than the full model on the report split
      (one-sided paired t over seeds at 5%) take no part: luck does not choose them. ``metric`` maps (..., examples) to
      (...); the mean by default. This is the luck of a small selection split;
    * "centred scores" otherwise: every level's mean over seeds is set to that of the full model, its residuals
      (times sqrt(n / (n - 1))) kept, and seeds are drawn again. This is the luck of runs; luck that all seeds share,
      because they share the selection split, is not in it. Needs two seeds or more.

    >>> rng = np.random.default_rng(0)
    >>> right = (rng.random((6, 9, 50)) < 0.8).astype(float)
    >>> report = np.full((6, 9), 0.8)
    >>> result = winners_curse(range(9), right.mean(axis=2), report, right)
    >>> result.honest.mean, bool(result.optimism.mean > 0.02), bool(abs(result.placebo - result.apparent.mean) < 0.03)
    (0.0, True, True)
    """
    x = _levels_and_scores(levels, selection_scores, "selection scores", seeds=1)
    y = score_matrix(report_scores, levels, "report scores")
    if x.shape != y.shape:
        raise SuperticketsError(f"Selection and report need the same seeds: there are {x.shape[0]} and {y.shape[0]}.")
    n, k = x.shape
    chosen = 1 + np.argmax(x[:, 1:], axis=1)
    rows = np.arange(n)
    apparent, honest = x[rows, chosen] - x[:, 0], y[rows, chosen] - y[:, 0]
    rng = np.random.default_rng(seed)
    if selection_values is not None:
        half = stats.t.ppf(0.95, n - 1) * (y - y[:, :1]).std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else math.inf
        rivals = (y - y[:, :1]).mean(axis=0) + half >= 0
        null = "exchanged examples"
        placebo = _exchange(selection_values, x, metric, rivals, n_resamples, rng)
    elif n > 1:
        residuals = (x - x.mean(axis=0)) * math.sqrt(n / (n - 1))
        best = residuals[:, 1:].max(axis=1) - residuals[:, 0]
        null, placebo = "centred scores", best[rng.integers(0, n, size=(n_resamples, n))].mean(axis=1)
    else:
        raise SuperticketsError("The placebo gain of one seed needs selection_values; give them, or more seeds.")
    return WinnersCurse(
        n_seeds=n,
        n_levels=k - 1,
        chosen=tuple(float(levels[i]) for i in chosen),
        apparent=mean_interval(apparent, confidence),
        honest=mean_interval(honest, confidence),
        optimism=mean_interval(apparent - honest, confidence),
        placebo=float(placebo.mean()),
        placebo_high=float(np.quantile(placebo, 0.95)),
        p=float((1 + np.sum(placebo >= apparent.mean() - 1e-12)) / (1 + n_resamples)),
        null=null,
    )


def _levels_and_scores(levels: Sequence[float], scores: ArrayLike, name: str = "scores", seeds: int = 2) -> np.ndarray:
    x = score_matrix(scores, levels, name)
    if float(levels[0]) != 0:
        raise SuperticketsError(f"The first level must be the full model, 0, not {levels[0]}.")
    if x.shape[1] < 3:
        raise SuperticketsError("A curve needs the full model and at least two pruned levels.")
    if x.shape[0] < seeds:
        raise SuperticketsError(f"The {name} of {x.shape[0]} seed cannot show spread; at least {seeds} are needed.")
    return x


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


def _p_rise(gains: np.ndarray, n_resamples: int, seed: int) -> tuple[float, str]:
    """P-value of "no column of ``gains`` (seeds, levels) has a mean above 0"; see `rises_then_falls`."""
    n, k = gains.shape
    half = stats.t.ppf(1 - BETA / k, n - 1) * gains.std(axis=0, ddof=1) / math.sqrt(n)
    kept = gains[:, gains.mean(axis=0) + half > 0]
    cost = BETA if kept.shape[1] < k else 0.0
    if kept.shape[1] == 0:
        return 1.0, "every level clearly below the full model"
    observed = float(_t(kept).max())
    if n < 8 and math.isfinite(observed):
        p = kept.shape[1] * float(stats.t.sf(observed, n - 1))
        return min(1.0, p + cost), "Bonferroni t"
    if 2**n <= n_resamples:
        flips = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
    else:
        flips = np.random.default_rng(seed).choice((1.0, -1.0), size=(n_resamples, n))
        flips[0] = 1.0
    highest = _t((flips[:, :, None] * kept).transpose(1, 0, 2).reshape(n, -1)).reshape(len(flips), -1).max(axis=1)
    at_least = highest >= observed - 1e-9 * abs(observed) if math.isfinite(observed) else highest == observed
    return min(1.0, float(np.mean(at_least)) + cost), "sign flips of max t"


def _first_below(levels: np.ndarray, values: np.ndarray, start: int) -> float:
    """The first level after ``start`` where ``values`` reach 0 from above, interpolated; inf if they never do."""
    for i in range(int(start) + 1, len(levels)):
        if values[i] <= 0:
            before, after = values[i - 1], values[i]
            if before <= 0:
                return float(levels[i])
            return float(levels[i - 1] + (levels[i] - levels[i - 1]) * before / (before - after))
    return math.inf


def _boundary(values: np.ndarray, confidence: float) -> Boundary:
    """``values[0]`` is the estimate, the rest are resamples. Order statistics only: inf cannot be interpolated."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail], method="inverted_cdf")
    return Boundary(float(values[0]), float(low), float(high), float(np.isfinite(values[1:]).mean()))


def _exchange(
    values: ArrayLike,
    scores: np.ndarray,
    metric: Callable[[np.ndarray], np.ndarray] | None,
    rivals: np.ndarray,
    n_resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Placebo mean gains: values shuffled over the rivals, a mask of levels, within each seed and example."""
    v = np.asarray(values)
    if v.ndim != 3 or v.shape[:2] != scores.shape or v.shape[2] == 0:
        raise SuperticketsError(
            f"The selection values have shape {v.shape}; expected ({scores.shape[0]} seeds, {scores.shape[1]} levels, "
            "examples)."
        )
    score = metric or (lambda a: a.mean(axis=-1))
    if not np.allclose(score(v), scores, atol=1e-6):
        raise SuperticketsError("The selection values do not give the selection scores; check metric and split.")
    found = np.zeros(n_resamples)
    for i in range(n_resamples if rivals[1:].any() else 0):
        shuffled = score(rng.permuted(v[:, rivals], axis=1))
        found[i] = (shuffled[:, 1:].max(axis=1) - shuffled[:, 0]).mean()
    return found
