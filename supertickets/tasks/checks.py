"""What is wrong, or worth knowing, with data that can be trained on: said before the first run, and in the report."""

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tasks.metrics import score
from supertickets.tasks.published import benchmark
from supertickets.tasks.sources import DataRef
from supertickets.tasks.task import Examples, Task


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
