"""What a record says of its tasks, so that every table and figure is made from records alone, without the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from supertickets.tasks.metrics import score
from supertickets.tasks.task import Task


@dataclass(frozen=True)
class TaskFacts:
    """What there is to know of a task without its texts.

    ``sizes`` counts the examples of "train", "dev", its parts "selection" and "report", and "test" where there is one.
    ``constant_score`` is that of always answering the most frequent class, on the report split. ``groups`` are the
    parts of a task that has several ("matched", "mismatched"), which the record's arrays ``dev_groups`` and
    ``test_groups`` count from 0. The rest is of the training set, for Table 9, None in records of the old form: texts
    and words (split at blanks) per example, the share of each class (of scores: the least and the largest), and, where
    the truth is known, the share of wrong labels (of scores: the standard deviation of their noise).
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

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what JSON makes of an object's ``vars``; raises TypeError if fields are missing or unknown."""
        values: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in data.items()}
        return cls(**values)


def task_facts(task: Task, selection: np.ndarray) -> TaskFacts:
    """The facts of a task whose dev split is cut by the mask ``selection (n_dev,)``."""
    train, dev, report = task.train, task.dev, ~selection
    sizes = {"train": len(train), "dev": len(dev), "selection": int(selection.sum()), "report": int(report.sum())}
    if task.kind == "regression":
        balance = (float(train.labels.min()), float(train.labels.max()))
        noise = None if train.probabilities is None else np.std(train.labels - train.probabilities[:, 0])
    else:
        balance = tuple((np.bincount(train.labels, minlength=task.num_labels) / len(train)).tolist())
        noise = None if train.probabilities is None else np.mean(train.labels != train.probabilities.argmax(axis=1))
    groups = None if dev.groups is None else dev.groups[report]
    return TaskFacts(
        kind=task.kind,
        label_names=task.label_names,
        metrics=task.metrics,
        sizes=sizes if task.test is None else {**sizes, "test": len(task.test)},
        constant_score=constant_score(task.metrics, dev.labels[report], task.num_labels, groups),
        groups=_groups(task),
        texts=len(train.texts[0]),
        words=float(np.mean([sum(len(text.split()) for text in texts) for texts in train.texts])),
        balance=balance,
        noise=None if noise is None else float(noise),
    )


def split_arrays(task: Task, selection: np.ndarray) -> dict[str, np.ndarray]:
    """What a record keeps of a task beside the facts: labels, selection rows, and groups as whole numbers."""
    arrays = {"dev_labels": task.dev.labels, "selection": selection}
    if task.test is not None:
        arrays["test_labels"] = task.test.labels
    for name, split in (("dev", task.dev), ("test", task.test)):
        if split is not None and split.groups is not None and (names := _groups(task)):
            arrays[f"{name}_groups"] = np.searchsorted(names, split.groups).astype(np.uint8)
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
    return () if task.dev.groups is None else tuple(map(str, np.unique(task.dev.groups)))
