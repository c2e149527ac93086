"""Seeded orders, samples and splits: the same on every machine, smaller ones within larger ones."""

from dataclasses import replace

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tasks.task import Examples, Task


def nested_subset(
    labels: np.ndarray, fraction: float = 1.0, draw: int = 0, name: str = "target", size: int | None = None
) -> np.ndarray:
    """Rows of a random subset, in ascending order: ``size``, or else ``fraction`` of them (rounded down), by class.

    For one ``draw`` smaller subsets lie within larger ones. Real-valued labels have no classes. Raises
    SuperticketsError, naming the task ``name``, if there are not so many examples, or fewer than classes.

    >>> labels = np.array([0, 1] * 10)
    >>> small, large = nested_subset(labels, 0.1), nested_subset(labels, 0.5)
    >>> len(small), int(labels[small].sum()), set(small) <= set(large)
    (2, 1, True)
    """
    strata = np.zeros(len(labels), dtype=int) if labels.dtype.kind == "f" else labels
    count = int(fraction * len(labels) + 1e-9) if size is None else size  # 0.29 x 100 is 29
    if count > len(labels):
        raise SuperticketsError(
            f"The training set of {name} has {len(labels)} examples, not the {count} that a subset was to have; leave "
            "that size out, or give all of its training set."
        )
    if count < (classes := len(np.unique(strata))):
        share = f"{fraction:.3%} of the training set of {name} are " if size is None else f"A subset of {name} has "
        raise SuperticketsError(
            f"{share}{count} of {len(labels)} examples, fewer than one for each of its {classes} classes; use more."
        )
    return np.sort(stratified_order(strata, draw, 4)[:count])


def sample(task: Task, train_size: int | None = None, dev_size: int | None = None, seed: int = 0) -> Task:
    """Return the task with at most ``train_size`` and ``dev_size`` examples, stratified by class and group.

    A smaller sample of the same seed is contained in a larger one; examples stay in their original order.
    """
    chosen = {}
    for split, size in (("train", train_size), ("dev", dev_size)):
        examples: Examples = getattr(task, split)
        if size is not None and size < len(examples):
            if split == "train" and size < len(task.label_names):
                raise SuperticketsError(
                    f"A train_size of {size} is too small for the {len(task.label_names)} classes of task "
                    f"{task.name!r}: take one example of each at least (--train-size)."
                )
            chosen[split] = subset(examples, np.sort(_stratified(task, split, seed)[:size]))
    return replace(task, **chosen)


def cut_dev(task: Task, share: float, seed: int = 0) -> Task:
    """Return the task whose dev split is a stratified ``share`` of its train split, which keeps the rest.

    Rows whose texts stand in the rest too stay there, so nothing is trained on and scored. Raises SuperticketsError for
    a share outside (0, 1).
    """
    if not 0.0 < share < 1.0:
        raise SuperticketsError(f"The share of train that becomes dev must lie between 0 and 1, not be {share}.")
    order = _stratified(task, "train", seed)
    n_dev = max(1, round(share * len(order)))
    kept = {task.train.texts[row] for row in order[:-n_dev]}  # first in the order is an example of each class
    is_dev = np.zeros(len(order), dtype=bool)
    is_dev[[row for row in order[-n_dev:] if task.train.texts[row] not in kept]] = True
    return replace(task, train=subset(task.train, ~is_dev), dev=subset(task.train, is_dev))


def disjoint_part(task: Task, size: int, k: int, seed: int = 0) -> Examples:
    """Return the ``k``-th (from 0) of the disjoint training sets of ``size`` rows.

    One order of all rows is cut into blocks. It depends on ``seed`` only and holds the classes in their overall
    proportions throughout, so each set is a stratified sample without a row in common with another, and set 0 is that
    of :func:`sample`. Examples stay in their original order. Raises SuperticketsError if there is no such set, or if
    it lacks a class.

    >>> from supertickets.tasks.task import Examples, Task
    >>> rows = Examples(tuple((str(i),) for i in range(6)), np.array([0, 1] * 3))
    >>> task = Task("t", "classification", ("no", "yes"), ("accuracy",), rows, rows)
    >>> sorted(text for k in range(3) for (text,) in disjoint_part(task, 2, k).texts)
    ['0', '1', '2', '3', '4', '5']
    """
    n_sets = len(task.train) // size
    if not 0 <= k < n_sets:
        sets = f"{n_sets} disjoint training set{'s' * (n_sets != 1)} of {size}"
        allowed = f"train_seed must be 0 to {n_sets - 1}, not {k}" if n_sets else "lower the train_size"
        raise SuperticketsError(f"Task {task.name!r} has {len(task.train)} training examples, so {sets}: {allowed}.")
    part = subset(task.train, np.sort(_stratified(task, "train", seed)[k * size : (k + 1) * size]))
    lost = [] if task.kind == "regression" else sorted(set(task.train.labels.tolist()) - set(part.labels.tolist()))
    if lost:
        raise SuperticketsError(
            f"Disjoint training set {k} of {size} examples of task {task.name!r} has none of class "
            f"{task.label_names[lost[0]]!r}, which is rare: raise the train_size."
        )
    return part


def _stratified(task: Task, split: str, seed: int) -> np.ndarray:
    """Return the order of a split's rows from which samples are taken; groups and classes are spread evenly over it."""
    examples: Examples = getattr(task, split)
    strata = np.zeros(len(examples), int) if task.kind == "regression" else examples.labels
    if examples.groups is not None:
        strata = strata * len(set(examples.groups)) + np.unique(examples.groups, return_inverse=True)[1]
    return stratified_order(strata, seed, ("train", "dev").index(split))


def shuffled(n: int, *key: int) -> np.ndarray:
    """Return a permutation of ``range(n)`` that depends on the integers ``key`` only (each >= 0).

    It sorts raw PCG64 output, whose stream NumPy promises to keep; ``Generator.permutation`` carries no such
    promise, and a split or a batch order must not change with NumPy's version.

    >>> sorted(shuffled(5, 1, 2).tolist())
    [0, 1, 2, 3, 4]
    """
    if any(part < 0 for part in key):
        raise SuperticketsError(f"A seed must be a whole number of at least 0, not {min(key)}.")
    return np.argsort(np.random.PCG64(np.random.SeedSequence(key)).random_raw(n), kind="stable")


def stratified_order(strata: np.ndarray, *key: int) -> np.ndarray:
    """Return a seeded permutation of which every prefix holds the strata in nearly their overall proportions.

    The first n entries are thus a stratified sample of n, and smaller samples are contained in larger ones. One
    example of each stratum comes first, so that no class is missing from a sample at least as large as the number
    of classes.

    >>> labels = np.array([0] * 6 + [1] * 2)
    >>> np.bincount(labels[stratified_order(labels, 0)[:4]]).tolist()
    [3, 1]
    """
    order = shuffled(len(strata), *key)
    rank = np.empty(len(strata))
    for value in np.unique(strata):
        rows = order[strata[order] == value]
        rank[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
        rank[rows[0]] = 0.0
    return order[np.argsort(rank[order], kind="stable")]


def subset(examples: Examples, rows: np.ndarray) -> Examples:
    """Return the examples at ``rows`` (indices or a boolean mask), in that order.

    >>> subset(Examples((("a",), ("b",)), np.array([0, 1])), np.array([False, True])).texts
    (('b',),)
    """
    rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
    return Examples(
        texts=tuple(examples.texts[row] for row in rows),
        labels=examples.labels[rows],
        groups=None if examples.groups is None else examples.groups[rows],
        probabilities=None if examples.probabilities is None else examples.probabilities[rows],
    )


def split_dev(task: Task, fraction: float = 0.1, seed: int = 0) -> np.ndarray:
    """Return the mask (n_dev,) of the `selection` part of the dev split; the rest is `report`.

    The paper (5.2) chooses the super ticket on a random 10% of the dev set. Here that part is kept apart from the
    part a score is reported on. For classification it is stratified by class (and by group, "matched" and
    "mismatched", within a class), with at least one example of each class on either side; the only example of a
    class goes to `report`. Raises SuperticketsError where one part would be empty, or for a fraction outside (0, 1).

    >>> split = Examples((("a",),) * 20, np.array([0, 1] * 10))
    >>> int(split_dev(Task("t", "classification", ("no", "yes"), ("accuracy",), split, split), 0.2).sum())
    4
    """
    if not 0.0 < fraction < 1.0:
        raise SuperticketsError(f"The selection fraction must lie between 0 and 1, not be {fraction}.")
    dev = task.dev
    groups = np.zeros(len(dev), int) if dev.groups is None else np.unique(dev.groups, return_inverse=True)[1]
    regression = task.kind == "regression"
    strata = np.zeros(len(dev), int) if regression else dev.labels
    least = 2 if regression else 1  # a correlation needs two points
    order = stratified_order(groups, seed)
    selection = np.zeros(len(dev), bool)
    for value in np.unique(strata):
        rows = order[strata[order] == value]
        if len(rows) >= 2 * least:
            selection[rows[: int(np.clip(round(fraction * len(rows)), least, len(rows) - least))]] = True
    if not selection.any():
        what = "in all" if regression else "and no two of one class"
        raise SuperticketsError(
            f"Task {task.name!r} has {len(dev)} dev example(s) {what}, too few to split into selection and report "
            f"parts: give at least {2 * least}."
        )
    return selection
