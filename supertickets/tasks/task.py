"""What a task is: examples in splits, labels, and the metrics of its score.

A :class:`Task` is plain data (no tokenizer, no tensors). Where tasks come from is the business of
:mod:`supertickets.tasks.sources`; how they become batches is the business of :mod:`supertickets.training.batching`.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from supertickets.errors import SuperticketsError


@dataclass(frozen=True)
class Examples:
    """One split: ``texts[i]`` is ``(sentence,)`` or ``(sentence_a, sentence_b)``; ``labels[i]`` its label.

    Labels are int64 class indices (classification) or float64 scores (regression); in a test split whose labels
    are not published every one is -1, or NaN for scores (see :attr:`labelled`). ``groups`` names the part
    of the split each example belongs to where a task has several ("matched" / "mismatched"), else None.
    ``probabilities`` (n, n_classes) is the true distribution P(y | x) the labels were drawn from, known only
    in the lab; for regression it is (n, 1), the noise-free score.
    """

    texts: tuple[tuple[str, ...], ...]
    labels: np.ndarray
    groups: np.ndarray | None = None
    probabilities: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labelled(self) -> bool:
        """Whether the labels are known, so that there is something to score."""
        hidden = np.isnan(self.labels) if self.labels.dtype.kind == "f" else self.labels == -1
        return not hidden.all()


@dataclass(frozen=True)
class Task:
    """A task: its splits, label names (empty for regression) and the metrics of its score, main ones first."""

    name: str
    kind: str  # "classification" or "regression"
    label_names: tuple[str, ...]
    metrics: tuple[str, ...]  # of METRICS, or of one's own; the score is their mean
    train: Examples
    dev: Examples
    test: Examples | None = None
    source: str = ""
    fingerprint: str = field(default="")

    @property
    def num_labels(self) -> int:
        """Outputs of the task head: the number of classes, or 1 for regression."""
        return len(self.label_names) if self.kind == "classification" else 1


def fingerprint_of(train: Examples, dev: Examples, test: Examples | None = None) -> str:
    """Return the SHA-256 (hex) of what the splits hold: texts, labels and groups, in order.

    It does not depend on the platform, the hash seed or where the rows came from. Label names, metrics and the lab's
    true ``probabilities`` are left out: they do not change what a model is trained on.

    >>> split = Examples((("a",), ("b",)), np.array([0, 1]))
    >>> fingerprint_of(split, split) == fingerprint_of(split, split, split)
    False
    """
    digest = hashlib.sha256(b"supertickets task 1\n")
    for name, split in (("train", train), ("dev", dev), ("test", test)):
        if split is None:
            continue
        digest.update(f"{name} {len(split)}\n".encode())
        # Field counts and character lengths go in beside the joined text: ("ab", "c") is not ("a", "bc").
        digest.update(np.fromiter(map(len, split.texts), "<i4", len(split)).tobytes())
        _hash_strings(digest, [text for texts in split.texts for text in texts])
        labels = np.asarray(split.labels)
        digest.update(
            labels.astype("<f8" if labels.dtype.kind == "f" else "<i8").tobytes() + labels.dtype.kind.encode()
        )
        if split.groups is not None:
            _hash_strings(digest, [str(group) for group in split.groups])
    return digest.hexdigest()


def _hash_strings(digest: "hashlib._Hash", strings: list[str]) -> None:
    digest.update(np.fromiter(map(len, strings), "<i4", len(strings)).tobytes())
    digest.update("".join(strings).encode("utf-8", "surrogatepass"))


def validate_task(task: Task) -> Task:
    """Return ``task`` unchanged if one can train and score on it; else raise SuperticketsError saying why not.

    A test split may be without labels altogether.
    """
    name = f"Task {task.name!r}"
    if task.kind not in ("classification", "regression"):
        raise SuperticketsError(f"{name} is of kind {task.kind!r}: choose 'classification' or 'regression'.")
    regression = task.kind == "regression"
    allowed = [metric for metric in METRICS if (metric in REGRESSION_METRICS) == regression]
    for metric in (own := [metric for metric in task.metrics if ":" in metric]):
        own_metric(metric)
    wrong = [metric for metric in task.metrics if metric not in (*allowed, *own)]
    if wrong or not task.metrics:
        raise SuperticketsError(
            f"{name} ({task.kind}) cannot be scored by {', '.join(map(repr, wrong)) or 'no metric'}: "
            f"choose from {', '.join(allowed)}."
        )
    if "f1" in task.metrics and len(task.label_names) != 2:
        raise SuperticketsError(f"{name} has {len(task.label_names)} classes, but metric 'f1' needs two: use macro_f1.")
    for split_name, split in (("train", task.train), ("dev", task.dev), ("test", task.test)):
        if split is not None:
            what = f"{name}: the {split_name} split"
            _validate_split(what, split, len(task.label_names), regression, hidden_ok=split_name == "test")
    widths = {len(texts) for split in (task.train, task.dev, task.test) if split for texts in split.texts}
    if widths not in ({1}, {2}):
        raise SuperticketsError(f"{name} must have one text per example, or two, in every example of every split.")
    known = np.unique(task.train.labels)
    if len(known) < 2:
        what = f"score is {known[0]:g}" if regression else f"label is {task.label_names[known[0]]!r}"
        raise SuperticketsError(f"{name}: every training {what}, so there is nothing to learn: give varied examples.")
    unseen = [] if regression else sorted(set(task.dev.labels.tolist()) - set(known.tolist()))
    if unseen:
        names = ", ".join(repr(task.label_names[label]) for label in unseen)
        raise SuperticketsError(
            f"{name}: dev has label(s) {names} that no training example has: check the label column."
        )
    return task


def _validate_split(what: str, split: Examples, n_classes: int, regression: bool, hidden_ok: bool) -> None:
    if len(split) == 0:
        raise SuperticketsError(f"{what} is empty: give at least one example.")
    for part, array in (("labels", split.labels), ("groups", split.groups), ("probabilities", split.probabilities)):
        if array is not None and len(array) != len(split):
            raise SuperticketsError(
                f"{what} has {len(split)} texts but {len(array)} {part}: they must be equal in number."
            )
    if hidden_ok and not split.labelled:
        return
    if regression:
        bad = np.flatnonzero(~np.isfinite(split.labels))
        if len(bad):
            raise SuperticketsError(f"{what} has a score that is not finite (example {bad[0] + 1}): remove or mend it.")
    elif split.labels.dtype.kind not in "iu" or split.labels.min() < 0 or split.labels.max() >= n_classes:
        raise SuperticketsError(f"{what} has labels that are not class indices from 0 to {n_classes - 1}.")


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
