"""Metrics of outputs against labels, and the score that stands for a task in the paper's averages."""

import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from supertickets.errors import SuperticketsError

METRICS = ("accuracy", "f1", "mcc", "pearson", "spearman", "macro_f1")
REGRESSION_METRICS = ("pearson", "spearman")


def metric_values(metrics: Sequence[str], labels: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Return each named metric of ``outputs`` against ``labels``, as a fraction (not in per cent).

    ``outputs`` are logits (n, n_classes) for accuracy, f1 (of class 1, see ``positive`` of
    :func:`supertickets.tasks.load_task`), macro_f1 (mean of all classes' F1) and mcc (Matthews correlation), scores
    (n,) or (n, 1) for pearson and spearman. Accuracy and F1 lie in [0, 1], the others in [-1, 1]. A metric of one's own
    is ``module:function``, as in ``sklearn.metrics:balanced_accuracy_score``: a function of the labels and the answers
    (classes, or scores of a regression) that is higher for better answers. Where a correlation is
    undefined because the labels or the predictions are constant it counts as 0, without a warning: such a model
    has learned nothing. Raises SuperticketsError for an unknown metric, unequal lengths, or outputs that are not
    finite or have the wrong shape.

    >>> metric_values(["accuracy", "f1"], np.array([0, 1, 1]), np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]]))
    {'accuracy': 0.6666666666666666, 'f1': 0.6666666666666666}
    """
    labels, outputs = np.asarray(labels), np.asarray(outputs, dtype=np.float64)
    if len(labels) != len(outputs) or len(labels) == 0:
        raise SuperticketsError(
            f"Metrics need as many outputs as labels, at least one: got {len(outputs)} outputs "
            f"for {len(labels)} labels."
        )
    if not np.isfinite(outputs).all():
        raise SuperticketsError("The model's outputs are not finite, so no metric is defined: training diverged.")
    return {metric: _metric(metric, labels, outputs) for metric in metrics}


def _metric(metric: str, labels: np.ndarray, outputs: np.ndarray) -> float:
    if ":" in metric:
        return _own(metric, labels, outputs.argmax(axis=1) if outputs.ndim == 2 and outputs.shape[1] > 1 else outputs)
    if metric not in METRICS:
        raise SuperticketsError(
            f"Unknown metric {metric!r}: the metrics are {', '.join(METRICS)}, or one of your own as module:function."
        )
    if metric in REGRESSION_METRICS:
        if outputs.size != len(labels):
            raise SuperticketsError(f"Metric {metric!r} needs one output per example, not shape {outputs.shape}.")
        return _correlation(metric, labels.astype(np.float64), outputs.reshape(-1))
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise SuperticketsError(f"Metric {metric!r} needs logits of shape (n, n_classes), not {outputs.shape}.")
    predicted = outputs.argmax(axis=1)
    if metric == "accuracy":
        return float(np.mean(predicted == labels))
    from sklearn.metrics import f1_score, matthews_corrcoef  # slow to import: only where it is used

    if metric == "f1":
        if outputs.shape[1] != 2:
            raise SuperticketsError(f"Metric 'f1' is of class 1 of two, but there are {outputs.shape[1]} classes.")
        found = np.any((labels == 1) & (predicted == 1))  # with none f1 is 0, or 0/0, which counts as 0
        return float(f1_score(labels, predicted)) if found else 0.0
    if metric == "macro_f1":
        return float(f1_score(labels, predicted, average="macro", zero_division=0.0))  # pyright: ignore[reportArgumentType]
    constant = np.ptp(labels) == 0 or np.ptp(predicted) == 0
    return 0.0 if constant else float(matthews_corrcoef(labels, predicted))


def own_metric(metric: str) -> Callable[[np.ndarray, np.ndarray], Any]:
    """The function that ``module:function`` names; raises SuperticketsError if it cannot be had, or is a loss."""
    module, _, function = metric.partition(":")
    if function.endswith(("_error", "_loss")):
        raise SuperticketsError(f"Metric {metric!r} is lower for better answers: name a function that is higher.")
    try:
        return getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SuperticketsError(
            f"Metric {metric!r} cannot be imported ({error}): name a function as module:function, on the PYTHONPATH."
        ) from None


def _own(metric: str, labels: np.ndarray, answers: np.ndarray) -> float:
    try:
        value = float(own_metric(metric)(labels, answers.reshape(-1)))
    except SuperticketsError:
        raise
    except Exception as error:  # somebody else's function may raise anything
        raise SuperticketsError(f"Metric {metric!r} failed ({type(error).__name__}: {error}).") from error
    if not np.isfinite(value):
        raise SuperticketsError(f"Metric {metric!r} is {value} of {len(labels)} examples: it must be finite.")
    return value


def _correlation(metric: str, labels: np.ndarray, scores: np.ndarray) -> float:
    if len(labels) < 2 or np.ptp(labels) == 0 or np.ptp(scores) == 0:
        return 0.0
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "nearly constant": the value is still the best there is
        result: Any = stats.pearsonr(labels, scores) if metric == "pearson" else stats.spearmanr(labels, scores)
    return float(result.statistic) if np.isfinite(result.statistic) else 0.0


def score(
    metrics: Sequence[str], labels: np.ndarray, outputs: np.ndarray, groups: np.ndarray | None = None
) -> dict[str, float]:
    """Return all metrics and the ``score`` that stands for the task in the paper's averages.

    The rule is the one behind Tables 1 and 3 (their printed averages recompute with it, Table 2's do not): a task
    with two metrics counts their mean, and MNLI counts the mean of its matched and mismatched accuracy. With
    ``groups`` each metric is also given per group (``accuracy_matched``) and the score averages over groups; the
    plain name is the metric of all examples pooled. Values and errors as in :func:`metric_values`.

    >>> logits = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> score(["accuracy"], np.array([0, 0, 1]), logits, np.array(["m", "m", "mm"]))
    {'score': 0.5, 'accuracy': 0.6666666666666666, 'accuracy_m': 1.0, 'accuracy_mm': 0.0}
    """
    values = metric_values(metrics, labels, outputs)
    parts = values
    if groups is not None:
        groups = np.asarray(groups)
        parts = {}
        for group in np.unique(groups):
            rows = groups == group
            inside = metric_values(metrics, np.asarray(labels)[rows], np.asarray(outputs)[rows])
            parts.update({f"{metric}_{group}": value for metric, value in inside.items()})
    # Groups are equal in number for every metric, so this is the mean over metrics of the mean over groups.
    return {"score": float(np.mean(list(parts.values()))), **values, **parts}
