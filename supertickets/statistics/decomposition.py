"""Noise, bias and variance from stored predictions: no model is trained and nothing is sampled here but the bootstrap.

Given the predictions of models trained on several independent training sets, on one evaluation set, the expected
loss splits into noise (what nobody can predict), bias (the error of the average prediction) and variance (how far
single predictions stray from it), the quantities sketched in Figure 1 of the paper. Four losses:

* ``"squared"``: real predictions; bias^2 = (mean - f)^2, variance around the mean (Geman et al. 1992).
* ``"brier"``: probabilities; the squared loss summed over classes, noise = 1 - sum of q^2.
* ``"cross_entropy"``: noise = entropy of q, bias = KL(q, m), variance = mean KL(m, p), where m is the normalised
  geometric mean of the predictions p (Heskes 1998; Yang et al. 2020, arXiv:2002.11328, appendix).
* ``"zero_one"``: Domingos 2000. The main prediction is the most frequent class. bias = 1 where it is not the most
  probable class, else 0; the variance *adds* to the error where the main prediction is right (unbiased variance) and
  *takes away* from it where it is wrong (biased variance). See :func:`bias_variance` for what adds up.

Everything is an average, over training sets, of a feature of the predictions (p, log p, the vote), followed by a
function of that average, so one function of weights over training sets gives the estimate (equal weights), the
finite-sample correction (each set left out in turn) and the bootstrap (random weights).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from supertickets.errors import SuperticketsError
from supertickets.statistics.intervals import TAIL, Interval, expanded_interval, expansion
from supertickets.statistics.loss_terms import Problem, crossed, prepare, terms, within_sets

TERMS = ("noise", "bias2", "variance", "error")


@dataclass(frozen=True)
class Decomposition:
    """Expected loss and its terms, averaged over examples: ``noise + bias2 + variance = error``.

    ``per_example`` has the same terms as arrays (examples,), ``parts`` splits the variance further where the loss or
    the design allows (see :func:`bias_variance`). Where ``noise_known`` is False, since only labels were given, the
    noise sits inside ``bias2``. ``error`` is computed from the predictions directly, not as the sum of the terms.
    """

    loss: str
    noise: float
    bias2: float
    variance: float
    error: float
    n_sets: int
    n_seeds: int
    n_examples: int
    noise_known: bool
    parts: dict[str, float] = field(default_factory=dict)
    per_example: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def residual(self) -> float:
        """``noise + bias2 + variance - error``: zero but for rounding."""
        return self.noise + self.bias2 + self.variance - self.error


def bias_variance(
    predictions: Sequence[ArrayLike] | ArrayLike,
    targets: ArrayLike | None = None,
    loss: str = "brier",
    *,
    target_probabilities: ArrayLike | None = None,
    noise_variance: ArrayLike | None = None,
    seed_axis: bool = False,
    design: str = "nested",
) -> Decomposition:
    """Noise, bias and variance of models trained on independent training sets.

    ``predictions``: (training sets, examples, classes) probabilities, or (training sets, examples) real values for
    "squared", or either for "zero_one" (class indices or probabilities, ties to the lower class). With
    ``seed_axis=True`` a second axis holds several seeds per training set. ``targets``: labels (examples,), or for
    "squared" the noise-free values, with ``noise_variance`` known apart. ``target_probabilities``: the true
    distribution (examples, classes) labels are drawn from; with it the noise is known and the error is the
    expectation over labels. With labels alone there is no noise term and bias includes it.

    *Finite samples.* With T training sets the plain variance is too low by a factor (T - 1) / T and the plain bias^2
    too high by variance / T. Variance is corrected by the jackknife (Quenouille 1956), which for "squared" and
    "brier" is exactly the n - 1 rule, and for "cross_entropy" removes the error of order 1/T; bias^2 gives up what
    variance gains, so the sum is still the measured error. The bias^2 of single examples can then be slightly
    negative. "zero_one" is left uncorrected: a majority vote has no such expansion.

    *zero_one.* ``bias2`` is the bias, ``variance`` the net variance (unbiased - biased) and ``noise`` the net noise,
    so that they add up; ``parts`` has ``bayes_error`` (the noise N), ``main_disagreement`` (the variance V),
    ``unbiased_variance`` and ``biased_variance``. With two classes the net noise is N (2 P(right) - 1) and the net
    variance V where unbiased, -V where biased; with more, biased variance counts only the predictions that hit the
    most probable class, and net noise is P(right) N minus the chance that a wrong prediction equals the label.

    *Seeds* ("squared", "brier", "cross_entropy"). ``parts`` splits the variance into ``training_set`` and
    ``initialisation`` (seed, order) by the law of total variance, each corrected. ``design="nested"``: every training
    set has seeds of its own. ``design="crossed"``: seed j is the same initialisation for every training set (two-way
    random effects; squared and Brier only), with ``interaction`` as a third part.

    Raises SuperticketsError for shapes that do not fit, fewer than two training sets (or seeds), values that are not
    finite, and probabilities that do not sum to one.

    >>> p = np.array([[[0.9, 0.1], [0.4, 0.6]], [[0.7, 0.3], [0.2, 0.8]]])
    >>> d = bias_variance(p, [0, 1])
    >>> round(d.variance, 4), round(d.bias2, 4), round(d.error, 4), abs(d.residual) < 1e-12
    (0.04, 0.11, 0.15, True)
    """
    return _estimate(prepare(predictions, targets, loss, target_probabilities, noise_variance, seed_axis, design))


def bootstrap(
    predictions: Sequence[ArrayLike] | ArrayLike,
    targets: ArrayLike | None = None,
    loss: str = "brier",
    *,
    baseline: Sequence[ArrayLike] | ArrayLike | None = None,
    over: Sequence[str] = ("sets", "examples"),
    n_resamples: int = 1000,
    seed: int = 0,
    copies: int = 1,
    **options,
) -> dict[str, Interval]:
    """Bootstrap intervals of noise, bias2, variance and error (and of nested seed parts), by name.

    Resamples whole training sets and, independently, examples (Owen 2007), or only what ``over`` names. A resample
    has repeated sets and so too little spread: the resampled values are shifted to have the estimate as their mean
    and, when sets are resampled, widened by sqrt(T / (T - 1)) x t(T - 1) / z, the "expanded percentile" interval of
    Hesterberg 2015 (The American Statistician 69). The variance, being a scale, has its interval on the log scale
    and reflected, as the chi-square interval of a variance is, without the factor t / z, which it does not need.
    Intervals of bias2 are wider than they need be where bias2 is smaller than variance / T. ``n`` of an interval is
    T, the number of training sets; ``options`` go to :func:`bias_variance`.

    With a ``baseline``, the intervals are of the change of each term from it. Both are predictions on one evaluation
    set of models trained on the *same* training sets in the same order (the full and a pruned model, say); the same
    sets and examples are drawn for both, so what they share cancels. Judge "variance falls, bias rises" by these: bands
    of single levels overlap even when every training set agrees. For the mean change of several levels, put their
    predictions one behind another along the axis of examples, and say in ``copies`` how often the examples come: the
    copies of an example are drawn together.

    >>> rng = np.random.default_rng(0)
    >>> f = rng.normal(size=50)
    >>> full = f + rng.normal(size=(12, 50))
    >>> change = bootstrap(0.5 * full, f, "squared", baseline=full, n_resamples=200)
    >>> change["variance"].high < 0 < change["bias2"].low
    True
    """
    scales = () if loss == "zero_one" or baseline is not None else ("variance", "initialisation")
    problem = prepare(predictions, targets, loss, **options)
    estimate, drawn = _terms_of(problem), _resample(problem, over, n_resamples, seed, copies)
    if baseline is not None:
        old = prepare(baseline, targets, loss, **options)
        if (problem.n_sets, problem.n_seeds) != (old.n_sets, old.n_seeds):
            runs = f"{problem.n_sets} x {problem.n_seeds} and {old.n_sets} x {old.n_seeds} runs"
            fix = "leave out the sets that one side lacks"
            raise SuperticketsError(f"A comparison needs the same training sets on both sides, not {runs}; {fix}.")
        before, others = _terms_of(old), _resample(old, over, n_resamples, seed, copies)
        estimate = {name: value - before[name] for name, value in estimate.items()}
        drawn = {name: values - others[name] for name, values in drawn.items()}
    return _intervals(estimate, drawn, problem.n_sets, over, scales)


def _estimate(problem: Problem) -> Decomposition:
    n_sets, n_seeds = problem.n_sets, problem.n_seeds
    found = {name: x[0] for name, x in terms(problem, np.full((1, n_sets), 1 / n_sets)).items()}
    parts = {name: found.pop(name) for name in list(found) if name not in TERMS}
    if problem.loss != "zero_one":
        left_out = (1 - np.eye(n_sets)) / (n_sets - 1)
        variance = n_sets * found["variance"] - (n_sets - 1) * terms(problem, left_out)["variance"].mean(axis=0)
        if n_seeds > 1 and problem.design == "crossed":
            parts = crossed(problem.runs)
            variance = sum(parts.values(), np.zeros_like(variance))
        elif n_seeds > 1:
            within = within_sets(problem).mean(axis=0)
            parts = {"training_set": variance - within, "initialisation": within}
        found["bias2"] = found["bias2"] + found["variance"] - variance
        found["variance"] = variance
    return Decomposition(
        loss=problem.loss,
        **{name: float(found[name].mean()) for name in TERMS},
        n_sets=n_sets,
        n_seeds=n_seeds,
        n_examples=problem.noise.size,
        noise_known=problem.known,
        parts={name: float(x.mean()) for name, x in parts.items()},
        per_example={**found, **parts},
    )


def _terms_of(problem: Problem) -> dict[str, float]:
    d = _estimate(problem)
    return {**{name: getattr(d, name) for name in TERMS}, **d.parts}


def _resample(problem: Problem, over: Sequence[str], n_resamples: int, seed: int, copies: int) -> dict[str, np.ndarray]:
    """Terms averaged over examples for each resample, (n_resamples,) each.

    The jackknife would be slow inside a bootstrap: the variance of every resample is corrected by the factor it
    changed the estimate by, which for "squared" and "brier" is exactly T / (T - 1).
    """
    if not over or not set(over) <= {"sets", "examples"}:
        raise SuperticketsError(f"Cannot resample {tuple(over)}; choose 'sets', 'examples' or both.")
    n_sets, n_examples, n_classes = problem.features.shape
    rng = np.random.default_rng(seed)
    equal = np.full((1, n_sets), 1 / n_sets)
    weights = _shares(rng, n_sets, n_resamples) if "sets" in over else np.repeat(equal, n_resamples, axis=0)
    estimate = _estimate(problem)
    plain = float(terms(problem, equal)["variance"].mean())
    factor = estimate.variance / plain if problem.loss != "zero_one" and plain > 0 else 1.0
    nested = problem.design == "nested" and "initialisation" in estimate.parts
    within = within_sets(problem) if nested else np.zeros((n_sets, n_examples))
    found: dict[str, list[np.ndarray]] = {}
    step = max(1, 2_000_000 // (n_examples * n_classes))
    for start in range(0, n_resamples, step):
        chunk = weights[start : start + step]
        share = np.full((len(chunk), n_examples), 1 / n_examples)
        if "examples" in over:
            share = np.tile(_shares(rng, n_examples // copies, len(chunk)) / copies, copies)
        drawn = {name: (x * share).sum(axis=1) for name, x in terms(problem, chunk).items()}
        if problem.loss != "zero_one":
            drawn["variance"] = drawn["variance"] * factor
            drawn["bias2"] = drawn["error"] - drawn["noise"] - drawn["variance"]
        if nested:
            drawn["initialisation"] = ((chunk @ within) * share).sum(axis=1)
            drawn["training_set"] = drawn["variance"] - drawn["initialisation"]
        for name, x in drawn.items():
            found.setdefault(name, []).append(x)
    return {name: np.concatenate(x) for name, x in found.items()}


def _shares(rng: np.random.Generator, n: int, n_resamples: int) -> np.ndarray:
    """How often each of n things is drawn in n draws with replacement, as a share, (n_resamples, n).

    Counting drawn indices is far quicker than NumPy's multinomial, which draws n binomials per resample.
    """
    drawn = rng.integers(0, n, size=(n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_resamples * n).reshape(n_resamples, n) / n


def _intervals(
    estimate: dict[str, float], resampled: dict[str, np.ndarray], n: int, over: Sequence[str], scales: Sequence[str]
) -> dict[str, Interval]:
    """Expanded percentile intervals; of the terms named in ``scales``, reflected and on the log scale."""
    wider, expanded = (math.sqrt(n / (n - 1)), expansion(n)) if "sets" in over else (1.0, 1.0)
    found = {}
    for name, values in resampled.items():
        value = estimate[name]
        found[name] = expanded_interval(value, values, n, expanded)
        if name in scales and value > 0:
            # Two resampled sets can be the same set, without variance: far out, but not at minus infinity.
            logs = np.log(np.maximum(values, 1e-3 * value))
            low, high = value * np.exp(-wider * np.quantile(logs - logs.mean(), [TAIL, 1 - TAIL]))
            found[name] = replace(found[name], low=float(low), high=float(high))
    return found
