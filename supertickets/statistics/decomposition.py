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


@dataclass(frozen=True, eq=False)
class Resampled:
    """The terms of one condition: their ``estimate``, and their uncorrected values by resample, (n_resamples,) each.

    ``plain`` is the uncorrected variance of the estimate, NaN where nothing is corrected ("zero_one").
    """

    n_sets: int
    n_seeds: int
    n_examples: int
    over: tuple[str, ...]
    estimate: dict[str, float]
    plain: float
    drawn: dict[str, np.ndarray]


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
    **options,
) -> dict[str, Interval]:
    """Bootstrap intervals of noise, bias2, variance and error (and of nested seed parts), by name.

    Values are those of :func:`resample`, which takes the same arguments. A resample
    has repeated sets and so too little spread: the resampled values are shifted to have the estimate as their mean
    and, when sets are resampled, widened by sqrt(T / (T - 1)) x t(T - 1) / z, the "expanded percentile" interval of
    Hesterberg 2015 (The American Statistician 69). The variance, being a scale, has its interval on the log scale
    and reflected, as the chi-square interval of a variance is, without the factor t / z, which it does not need.
    Intervals of bias2 are wider than they need be where bias2 is smaller than variance / T. ``n`` of an interval is
    T, the number of training sets.

    >>> p = np.random.default_rng(0).dirichlet([2, 1], size=(8, 30))
    >>> found = bootstrap(p, np.zeros(30, int), n_resamples=200)
    >>> bool(found["variance"].low < found["variance"].mean < found["variance"].high)
    True
    """
    drawn = resample(predictions, targets, loss, **options)
    scales = () if loss == "zero_one" else ("variance", "initialisation")
    return _intervals(*_mean_of([drawn]), drawn, scales)


def compare(new: Sequence[Resampled], old: Sequence[Resampled]) -> dict[str, Interval]:
    """Bootstrap intervals of the change of each term from the conditions ``old`` to ``new``, each side their mean.

    All are of models trained on the *same* training sets in the same order (the full and a pruned model, say) and
    resampled alike (:func:`resample`): the same sets and examples are drawn for all, so what they share cancels. Judge
    "variance falls, bias rises" by these: bands of single levels overlap even when every training set agrees. Raises
    SuperticketsError for different numbers of sets or examples.

    >>> rng = np.random.default_rng(0)
    >>> f = rng.normal(size=50)
    >>> predictions = f + rng.normal(size=(12, 50))
    >>> full, shrunk = (resample(x, f, "squared", n_resamples=200) for x in (predictions, 0.5 * predictions))
    >>> change = compare([shrunk], [full])
    >>> change["variance"].high < 0 < change["bias2"].low
    True
    """
    shapes = sorted({(x.n_sets, x.n_seeds, x.n_examples) for x in (*new, *old)})
    if len(shapes) > 1:
        runs = " and ".join(f"{sets} x {seeds} runs on {examples} examples" for sets, seeds, examples in shapes)
        fix = "leave out the sets that one side lacks"
        raise SuperticketsError(f"A comparison needs the same training sets and examples, not {runs}; {fix}.")
    (a, drawn_a), (b, drawn_b) = _mean_of(new), _mean_of(old)
    change = {name: value - b[name] for name, value in a.items()}
    return _intervals(change, {name: values - drawn_b[name] for name, values in drawn_a.items()}, new[0], ())


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


def resample(
    predictions: Sequence[ArrayLike] | ArrayLike,
    targets: ArrayLike | None = None,
    loss: str = "brier",
    *,
    over: Sequence[str] = ("sets", "examples"),
    n_resamples: int = 1000,
    seed: int = 0,
    **options,
) -> Resampled:
    """What :func:`bootstrap` makes its intervals of, once for all comparisons of a condition.

    Draws whole training sets and, independently, examples (Owen 2007), or only what ``over`` names; ``options`` go to
    :func:`bias_variance`.
    """
    problem = prepare(predictions, targets, loss, **options)
    if not over or not set(over) <= {"sets", "examples"}:
        raise SuperticketsError(f"Cannot resample {tuple(over)}; choose 'sets', 'examples' or both.")
    n_sets, n_classes, n_examples = problem.features.shape
    rng = np.random.default_rng(seed)
    equal = np.full((1, n_sets), 1 / n_sets)
    weights = _shares(rng, n_sets, n_resamples) if "sets" in over else np.repeat(equal, n_resamples, axis=0)
    found = _estimate(problem)
    estimate = {**{name: getattr(found, name) for name in TERMS}, **found.parts}
    plain = math.nan if loss == "zero_one" else float(terms(problem, equal)["variance"].mean())
    nested = problem.design == "nested" and "initialisation" in estimate
    within = within_sets(problem) if nested else np.zeros((n_sets, n_examples))
    parts: dict[str, list[np.ndarray]] = {}
    step = max(1, 200_000 // (n_examples * n_classes))  # what fits a processor's cache
    for start in range(0, n_resamples, step):
        chunk = weights[start : start + step]
        share = np.full((len(chunk), n_examples), 1 / n_examples)
        if "examples" in over:
            share = _shares(rng, n_examples, len(chunk))
        for name, x in (terms(problem, chunk) | ({"initialisation": chunk @ within} if nested else {})).items():
            parts.setdefault(name, []).append(np.einsum("bn,bn->b", x, share))
    drawn = {name: np.concatenate(x) for name, x in parts.items()}
    return Resampled(n_sets, problem.n_seeds, n_examples, tuple(over), estimate, plain, drawn)


def _mean_of(conditions: Sequence[Resampled]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Terms of the mean of some conditions, and their corrected values by resample.

    The jackknife would be slow inside a bootstrap: the variance of every resample is corrected by the factor it
    changed the estimate by, which for "squared" and "brier" is exactly T / (T - 1).
    """
    first, plain = conditions[0], float(np.mean([x.plain for x in conditions]))
    estimate = {name: float(np.mean([x.estimate[name] for x in conditions])) for name in first.estimate}
    drawn = {name: np.mean([x.drawn[name] for x in conditions], axis=0) for name in first.drawn}
    if not math.isnan(plain):
        drawn["variance"] = drawn["variance"] * (estimate["variance"] / plain if plain > 0 else 1.0)
        drawn["bias2"] = drawn["error"] - drawn["noise"] - drawn["variance"]
    if "initialisation" in drawn:
        drawn["training_set"] = drawn["variance"] - drawn["initialisation"]
    return estimate, drawn


def _shares(rng: np.random.Generator, n: int, n_resamples: int) -> np.ndarray:
    """How often each of n things is drawn in n draws with replacement, as a share, (n_resamples, n).

    Counting drawn indices is far quicker than NumPy's multinomial, which draws n binomials per resample.
    """
    drawn = rng.integers(0, n, size=(n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_resamples * n).reshape(n_resamples, n) / n


def _intervals(
    estimate: dict[str, float], resampled: dict[str, np.ndarray], like: Resampled, scales: Sequence[str]
) -> dict[str, Interval]:
    """Expanded percentile intervals; of the terms named in ``scales``, reflected and on the log scale."""
    n = like.n_sets
    wider, expanded = (math.sqrt(n / (n - 1)), expansion(n)) if "sets" in like.over else (1.0, 1.0)
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
