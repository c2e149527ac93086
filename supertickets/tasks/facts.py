"""What there is to know of a task: what is wrong with its data, or worth knowing, said before the first run; and what
a record says of it, so that every table and figure is made from records alone, without the data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tasks.published import benchmark
from supertickets.tasks.sources import DataRef
from supertickets.tasks.task import Examples, Task, score


def inferred(ref: DataRef, task: Task) -> str:
    """What was made of the data, and how to say otherwise: kind, classes, positive class, metric, sizes."""
    if task.kind == "regression":
        least, most = float(task.train.labels.min()), float(task.train.labels.max())
        kind, other = f"regression on scores from {least:g} to {most:g}", "classification"
    else:
        named = [f"{name[:40]} ({n})" for name, n in zip(task.label_names, _counts(task, task.train), strict=True)]
        listed = ", ".join(named[:12]) + (f" and {len(named) - 12} more" if len(named) > 12 else "")
        kind, other = f"classification, {len(named)} classes: {listed}", "regression"
        if not all(name.lstrip("-").isdigit() for name in task.label_names):
            other = ""  # words are nothing else
    sure = not other or ref.kind or ref.in_lab or benchmark(ref.name)
    told = "" if sure else f" (told from the labels; else --kind {other})"
    return (
        f"Task {task.name}: {kind}{told}; scored by {' and '.join(metric_names(task))}; {len(task.train)} training and "
        f"{len(task.dev)} dev examples."
    )


def metric_names(task: Task) -> list[str]:
    """The task's metrics in words: F1 is that of a class."""
    return [f"F1 of class {task.label_names[1]!r}" if name == "f1" else name for name in task.metrics]


def data_notes(task: Task, selection: np.ndarray) -> list[str]:
    """One sentence a doubt: overlap of train and dev, texts that stand twice, rare classes, labels that may be none.

    ``selection (n_dev,)`` marks the selection rows of dev. Raises SuperticketsError if all of dev was trained on.
    """
    train, dev = task.train, task.dev
    known, asked = set(train.texts), dev.texts
    examples = set(zip(train.texts, train.labels.tolist(), strict=True))
    if examples.issuperset(zip(asked, dev.labels.tolist(), strict=True)):
        raise SuperticketsError(
            f"Every dev example of task {task.name!r} is a training example too, so dev says nothing about new texts: "
            "give other rows as dev, or a share of train (--dev-share)."
        )
    notes = []
    if n := sum(text in known for text in asked):
        notes.append(
            f"{n} of {len(dev)} dev texts are training texts too ({n / len(dev):.0%}): scores on them are not held out."
        )
    chosen = {text for text, inside in zip(asked, selection, strict=True) if inside}
    if n := sum(text in chosen for text, inside in zip(asked, selection, strict=True) if not inside):
        notes.append(f"{n} report texts stand among the selection rows too: the choice of the level has seen them.")
    if n := len(train) - len(known):
        unlike = len(examples) - len(known)
        notes.append(f"{n} training texts stand there twice" + (f", {unlike} with another label." if unlike else "."))
    if task.kind == "regression":
        return notes
    counts = _counts(task, dev)
    if rare := [name for name, n in zip(task.label_names, counts, strict=True) if n == 1]:
        notes.append(f"Of {', '.join(map(repr, rare))} dev has one example, which is a report row.")
    if "-1" in task.label_names and set(task.label_names) - {"-1", "0", "1"}:
        notes.append("One class is '-1', which often marks rows without a label: leave them out if it does here.")
    if "f1" in task.metrics and counts[1] > counts[0]:
        least, most = task.label_names
        notes.append(
            f"F1 is of {most!r}, the commoner class: always answering it scores {2 / (2 + counts[0] / counts[1]):.2f}; "
            f"--positive {least} is usual."
        )
    return notes


def best_constant(task: Task) -> tuple[np.ndarray, str]:
    """Outputs (n_dev, n_outputs) that always give the same answer, the one that scores best on dev, and that answer.

    It is the yardstick of whether a model has learnt anything: of correlations the best constant scores 0.
    """
    if task.kind == "regression":
        mean = float(task.dev.labels.mean())
        return np.full((len(task.dev), 1), mean), f"{mean:.3g}"
    answers = [np.tile(row, (len(task.dev), 1)) for row in np.eye(task.num_labels)]
    scores = [score(task.metrics, task.dev.labels, answer, task.dev.groups)["score"] for answer in answers]
    best = int(np.argmax(scores))
    return answers[best], repr(task.label_names[best][:40])


def _counts(task: Task, split: Examples) -> list[int]:
    return np.bincount(split.labels, minlength=task.num_labels).tolist()


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
