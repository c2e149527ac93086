"""What a task is: examples in splits, labels, and the metrics of its score.

A :class:`Task` is plain data (no tokenizer, no tensors). Where tasks come from is the business of
:mod:`supertickets.tasks.sources`; how they become batches is the business of :mod:`supertickets.training.batching`.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tasks.metrics import METRICS, REGRESSION_METRICS, own_metric


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
    metrics: tuple[str, ...]  # see tasks.metrics; the score is their mean
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
