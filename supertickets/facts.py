"""What a record says of its tasks, so that every table and figure is made from records alone, without the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from supertickets.tasks import Examples, Task, score


@dataclass(frozen=True)
class TaskFacts:
    """What there is to know of a task without its texts.

    ``sizes`` counts the examples of "train", "dev", its parts "selection" and "report", and "test" where there is one.
    ``constant_score`` is what always answering the most frequent class of the report split scores there. ``groups``
    are the parts of a task that has several ("matched", "mismatched"); the arrays ``dev_groups`` and ``test_groups`` of
    its record count them from 0. The training set's ``texts`` per example, ``words`` per example (split at blanks),
    ``balance`` (share of each class; of scores, the least and the largest) and ``noise`` (share of wrong labels, or the
    standard deviation of score minus truth; known in the lab only) are those of Table 9; None where nobody counted.
    """

    kind: str
    label_names: tuple[str, ...]
    metrics: tuple[str, ...]
    sizes: Mapping[str, int]
    constant_score: float
    groups: tuple[str, ...] = ()
    texts: int | None = None
    words: float | None = None
    balance: tuple[float, ...] = ()
    noise: float | None = None

    @property
    def num_labels(self) -> int:
        """Outputs of the task head, as :attr:`supertickets.tasks.Task.num_labels`."""
        return len(self.label_names) if self.kind == "classification" else 1

    def columns(self) -> dict[str, float]:
        """What a row of a data frame of records says of its task."""
        return {"train_examples": self.sizes.get("train", np.nan), "constant_score": self.constant_score}

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskFacts:
        """Reads ``to_json``'s object; raises TypeError if fields are missing or unknown.

        >>> facts = TaskFacts("regression", (), ("pearson",), {"train": 5}, 0.0)
        >>> TaskFacts.from_json(facts.to_json()) == facts
        True
        """
        values: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in data.items()}
        return cls(**values)


def task_facts(task: Task, selection: np.ndarray) -> TaskFacts:
    """The facts of a task whose dev split is cut by the mask ``selection (n_dev,)``."""
    train, dev, report = task.train, task.dev, ~selection
    sizes = {"train": len(train), "dev": len(dev), "selection": int(selection.sum()), "report": int(report.sum())}
    groups = None if dev.groups is None else dev.groups[report]
    regression = task.kind == "regression"
    balance = (
        (train.labels.min(), train.labels.max())
        if regression
        else np.bincount(train.labels, minlength=task.num_labels) / len(train)
    )
    return TaskFacts(
        kind=task.kind,
        label_names=task.label_names,
        metrics=task.metrics,
        sizes=sizes if task.test is None else {**sizes, "test": len(task.test)},
        constant_score=constant_score(task.metrics, dev.labels[report], task.num_labels, groups),
        groups=_groups(task),
        texts=len(train.texts[0]),
        words=float(np.mean([sum(len(text.split()) for text in texts) for texts in train.texts])),
        balance=tuple(map(float, balance)),
        noise=_noise(train, regression),
    )


def split_arrays(task: Task, selection: np.ndarray, prefix: str = "") -> dict[str, np.ndarray]:
    """What a record keeps of a task beside the facts: labels, selection rows, and groups as whole numbers."""
    arrays = {f"{prefix}dev_labels": task.dev.labels, f"{prefix}selection": selection}
    if task.test is not None:
        arrays[f"{prefix}test_labels"] = task.test.labels
    for name, split in (("dev", task.dev), ("test", task.test)):
        if split is not None and split.groups is not None:
            arrays[f"{prefix}{name}_groups"] = np.searchsorted(_groups(task), split.groups).astype(np.uint8)
    return arrays


def constant_score(
    metrics: Sequence[str], labels: np.ndarray, num_labels: int, groups: np.ndarray | None = None
) -> float:
    """The score of always answering the most frequent class; 0 for scores, which nothing constant correlates with.

    >>> constant_score(["accuracy"], np.array([0, 1, 1, 1]), 2)
    0.75
    """
    if labels.dtype.kind == "f":
        return 0.0
    answer = np.zeros((len(labels), num_labels))
    answer[:, np.bincount(labels).argmax()] = 1.0
    return score(metrics, labels, answer, groups)["score"]


def _groups(task: Task) -> tuple[str, ...]:
    """The names of a task's parts, in the order in which they count."""
    groups = [split.groups for split in (task.dev, task.test) if split is not None and split.groups is not None]
    return tuple(sorted({str(name) for each in groups for name in np.unique(each)}))


def _noise(train: Examples, regression: bool) -> float | None:
    if train.probabilities is None:
        return None
    if regression:
        return float(np.std(train.labels - train.probabilities[:, 0]))
    return float(np.mean(train.labels != train.probabilities.argmax(axis=1)))
