"""The four losses of :mod:`supertickets.statistics.decomposition` as functions of weights over training sets.

Checks what a person hands in, makes one array of features per run of it, and gives the uncorrected terms for any
weights over training sets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from supertickets.errors import SuperticketsError

LOSSES = ("brier", "squared", "cross_entropy", "zero_one")
FLOOR = 1e-12  # smallest predicted probability in the cross-entropy; float32 softmax can underflow to 0
SUM_TOLERANCE = 1e-4  # how far probabilities may be from summing to 1: float32 rounding, not a mistake


@dataclass(frozen=True)
class Problem:
    """Checked input, averaged over the seeds of a set: T sets, N examples, C classes (1 for squared)."""

    loss: str
    design: str
    n_sets: int
    n_seeds: int
    known: bool
    runs: np.ndarray  # (T, S, N, C) features: p - truth, log p, or votes
    features: np.ndarray  # (T, C, N), mean of runs over seeds; sums over few classes are quick along a middle axis
    spread: np.ndarray  # (T, N), mean over seeds of the squared length of runs
    losses: np.ndarray  # (T, N), expected loss over labels, measured directly
    truth: np.ndarray  # (N, C), true distribution; zeros for squared and brier, whose features are p - truth
    noise: np.ndarray  # (N,)


def terms(problem: Problem, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Uncorrected terms per example, (B, N) each, for B rows of weights over training sets (each sums to 1)."""
    n_sets, n_classes, n_examples = problem.features.shape
    mean = (weights @ problem.features.reshape(n_sets, -1)).reshape(len(weights), n_classes, n_examples)
    error = weights @ problem.losses
    noise = np.broadcast_to(problem.noise, error.shape)
    truth = problem.truth.T
    if problem.loss == "zero_one":
        rows = np.arange(n_examples)
        main, best = mean.round(9).argmax(axis=1), truth.argmax(axis=0)  # rounded so that ties are ties
        right = mean[:, best, rows]
        biased = main != best
        disagreement = 1 - mean.max(axis=1)
        unbiased_variance, biased_variance = np.where(biased, 0, disagreement), np.where(biased, right, 0)
        lucky = (mean * truth).sum(axis=1) - right * truth[best, rows]
        return {
            "noise": right * noise - lucky,
            "bias2": biased.astype(float),
            "variance": unbiased_variance - biased_variance,
            "error": error,
            "bayes_error": noise,
            "main_disagreement": disagreement,
            "unbiased_variance": unbiased_variance,
            "biased_variance": biased_variance,
        }
    if problem.loss == "cross_entropy":
        highest = mean.max(axis=1)
        log_z = highest + np.log(np.exp(mean - highest[:, None]).sum(axis=1))
        return {
            "noise": noise,
            "bias2": -(mean * truth).sum(axis=1) - problem.noise + log_z,
            "variance": -log_z,
            "error": error,
        }
    bias2 = np.einsum("bcn,bcn->bn", mean, mean)
    return {"noise": noise, "bias2": bias2, "variance": weights @ problem.spread - bias2, "error": error}


def within_sets(problem: Problem) -> np.ndarray:
    """Variance over the seeds of each training set, corrected, (T, N)."""
    runs, n = problem.runs, problem.n_seeds
    if problem.loss != "cross_entropy":
        return runs.var(axis=1, ddof=1).sum(axis=-1)

    def minus_log_z(mean: np.ndarray) -> np.ndarray:
        return -np.log(np.exp(mean).sum(axis=-1))

    total = runs.sum(axis=1, keepdims=True)
    left_out = minus_log_z((total - runs) / (n - 1)).mean(axis=1)
    return n * minus_log_z(total[:, 0] / n) - (n - 1) * left_out


def crossed(runs: np.ndarray) -> dict[str, np.ndarray]:
    """Variance components of a two-way layout without replication, (N,) each (Searle et al. 1992, chapter 4)."""
    n_sets, n_seeds = runs.shape[:2]
    rows, columns = runs.mean(axis=1, keepdims=True), runs.mean(axis=0, keepdims=True)
    rest = runs - rows - columns + runs.mean(axis=(0, 1))
    interaction = (rest**2).sum(axis=(0, 1, 3)) / ((n_sets - 1) * (n_seeds - 1))
    return {
        "training_set": rows[:, 0].var(axis=0, ddof=1).sum(axis=-1) - interaction / n_seeds,
        "initialisation": columns[0].var(axis=0, ddof=1).sum(axis=-1) - interaction / n_sets,
        "interaction": interaction,
    }


def prepare(
    predictions: Sequence[ArrayLike] | ArrayLike,
    targets: ArrayLike | None,
    loss: str,
    target_probabilities: ArrayLike | None = None,
    noise_variance: ArrayLike | None = None,
    seed_axis: bool = False,
    design: str = "nested",
) -> Problem:
    """Check the input of :func:`supertickets.statistics.bias_variance` (same arguments) and compute features."""
    if loss not in LOSSES:
        raise SuperticketsError(f"Unknown loss {loss!r}; choose one of {', '.join(LOSSES)}.")
    if design not in ("nested", "crossed"):
        raise SuperticketsError(f"Unknown design {design!r}; choose 'nested' or 'crossed'.")
    if design == "crossed" and loss not in ("squared", "brier"):
        raise SuperticketsError(f"The crossed design needs loss 'squared' or 'brier', not {loss!r}; use 'nested'.")
    runs = _runs(predictions, loss, seed_axis)
    if loss == "squared":
        values, known = _values(targets, target_probabilities, runs.shape[2]), noise_variance is not None
        noise = np.broadcast_to(np.asarray(noise_variance if known else 0.0, dtype=float), values.shape)
        if not np.isfinite(noise).all() or (noise < 0).any():
            raise SuperticketsError("The noise variance must be finite and not negative.")
        features = (runs - values)[..., None]
        truth, losses = np.zeros((values.size, 1)), (features[..., 0] ** 2 + noise).mean(axis=1)
    elif noise_variance is not None:
        raise SuperticketsError("noise_variance belongs to loss 'squared'; give target_probabilities instead.")
    else:
        truth, known = _distribution(targets, target_probabilities, runs)
        if loss == "zero_one":
            votes = runs.argmax(axis=3) if runs.ndim == 4 else runs.astype(np.int64)
            if votes.max() >= truth.shape[1]:
                raise SuperticketsError(
                    f"A class {votes.max()} is predicted; the targets have {truth.shape[1]} classes."
                )
            features = np.eye(truth.shape[1])[votes]
            losses = (1 - truth[np.arange(len(truth)), votes]).mean(axis=1)
            noise = 1 - truth.max(axis=1)
        elif loss == "cross_entropy":
            floored = np.maximum(runs, FLOOR)
            features = np.log(floored / floored.sum(axis=-1, keepdims=True))
            losses = -(features * truth).sum(axis=-1).mean(axis=1)
            noise = -(truth * np.log(np.where(truth > 0, truth, 1.0))).sum(axis=1)
        else:
            losses = ((runs**2).sum(axis=-1) - 2 * (runs * truth).sum(axis=-1) + 1).mean(axis=1)
            noise = 1 - (truth**2).sum(axis=1)
            # Distances from the truth: bias^2 is then the squared length of their mean.
            features, truth = runs - truth, np.zeros_like(truth)
    averaged, spread = (
        np.ascontiguousarray(features.mean(axis=1).swapaxes(1, 2)),
        (features**2).sum(axis=-1).mean(axis=1),
    )
    n_sets, n_seeds = features.shape[:2]
    return Problem(loss, design, n_sets, n_seeds, known, features, averaged, spread, losses, truth, noise)


def _runs(predictions: Sequence[ArrayLike] | ArrayLike, loss: str, seed_axis: bool) -> np.ndarray:
    """Predictions as (T, S, N) or, for probabilities, (T, S, N, C)."""
    shapes = [np.shape(p) for p in predictions] if isinstance(predictions, (list, tuple)) else []
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise SuperticketsError(
                f"The predictions of training set {i} have shape {shape}, those of set 0 {shapes[0]}; "
                "all must be predictions on the same examples."
            )
    x = np.asarray(predictions, dtype=float)
    kinds = {"squared": (2,), "zero_one": (2, 3)}.get(loss, (3,))
    if x.ndim - seed_axis not in kinds:
        sets = "training sets, seeds" if seed_axis else "training sets"
        axes = " or ".join(f"({sets}, examples{', classes' if k == 3 else ''})" for k in kinds)
        raise SuperticketsError(f"Predictions for loss {loss!r} must be {axes}; these have shape {x.shape}.")
    if not seed_axis:
        x = x[:, None]
    if x.shape[0] < 2:
        raise SuperticketsError(f"Variance needs at least two training sets; there are {x.shape[0]}.")
    if seed_axis and x.shape[1] < 2:
        raise SuperticketsError(f"A seed axis needs at least two seeds per training set; there are {x.shape[1]}.")
    if 0 in x.shape:
        raise SuperticketsError(f"The predictions are empty: their shape is {x.shape}.")
    finite = np.isfinite(x).all(axis=tuple(range(1, x.ndim)))
    if not finite.all():
        raise SuperticketsError(f"The predictions of training set {finite.argmin()} have a value that is not finite.")
    if x.ndim == 4:
        _check_probabilities(x, "predictions")
    elif loss == "zero_one" and (np.any(x < 0) or np.any(x != np.round(x))):
        raise SuperticketsError("Predictions for loss 'zero_one' must be class indices or probabilities.")
    return x


def _values(targets: ArrayLike | None, noise_free: ArrayLike | None, n_examples: int) -> np.ndarray:
    """Targets of a regression, (N,)."""
    x = np.asarray(targets if noise_free is None else noise_free, dtype=float)
    if x.ndim == 2 and x.shape[1] == 1:
        x = x[:, 0]
    if x.shape != (n_examples,):
        raise SuperticketsError(f"The targets have shape {x.shape}, not a value for each of {n_examples} examples.")
    if not np.isfinite(x).all():
        raise SuperticketsError("The targets contain a value that is not finite.")
    return x


def _distribution(
    targets: ArrayLike | None, target_probabilities: ArrayLike | None, runs: np.ndarray
) -> tuple[np.ndarray, bool]:
    """The distribution of labels (N, C), and whether it is the true one rather than the labels themselves."""
    n_examples, n_classes = runs.shape[2], runs.shape[3] if runs.ndim == 4 else None
    if target_probabilities is None and targets is not None and np.ndim(targets) == 2:
        target_probabilities = targets
    if target_probabilities is not None:
        q = np.asarray(target_probabilities, dtype=float)
        if q.ndim != 2 or len(q) != n_examples or n_classes not in (None, q.shape[1]):
            expected = f"({n_examples}, {n_classes or 'classes'})"
            raise SuperticketsError(f"The target probabilities have shape {q.shape}; expected {expected}.")
        if not np.isfinite(q).all():
            raise SuperticketsError("The target probabilities contain a value that is not finite.")
        _check_probabilities(q, "target probabilities")
        return q / q.sum(axis=1, keepdims=True), True
    if targets is None:
        raise SuperticketsError("There is nothing to compare with: give targets or target_probabilities.")
    labels = np.asarray(targets)
    if labels.shape != (n_examples,) or labels.dtype.kind not in "iub":
        found = f"The labels are {labels.dtype} of shape {labels.shape}"
        raise SuperticketsError(f"{found}; expected integers, one for each of {n_examples} examples.")
    classes = n_classes or int(max(labels.max(), runs.max())) + 1
    if labels.min() < 0 or labels.max() >= classes:
        raise SuperticketsError(f"The labels run from {labels.min()} to {labels.max()}, outside the {classes} classes.")
    return np.eye(classes)[labels.astype(np.int64)], False


def _check_probabilities(x: np.ndarray, name: str) -> None:
    worst = float(np.abs(x.sum(axis=-1) - 1).max())
    if worst > SUM_TOLERANCE or (x < -SUM_TOLERANCE).any():
        why = f"they are negative or off from summing to 1 by {worst:.3g}; give softmax outputs, not logits"
        raise SuperticketsError(f"The {name} are not probabilities: {why}.")
