"""Figure 1 measured: score, bias and variance of the tickets of many independent training sets.

The paper sketches its middle and right panels. Here they are estimated: every training set is fine-tuned, scored,
pruned and rewound on its own, all are evaluated on one dev set, and :mod:`supertickets.statistics.decomposition` splits
the expected loss of every kind and level into noise, bias and variance.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from supertickets.errors import SuperticketsError
from supertickets.runs import Record
from supertickets.statistics import TERMS, bias_variance, bootstrap
from supertickets.tasks import LAB_TASKS


def trade_off(records: Iterable[Record], loss: str = "", n_resamples: int = 1000) -> pd.DataFrame:
    """Noise, bias^2 and variance by kind and level, over training sets: the numbers behind Figure 1.

    ``records`` are the runs of one task (with arrays) that differ in their training set
    (:func:`supertickets.studies.training_set_sweeps`). Predictions are those on the report split. ``loss`` is
    "brier", "cross_entropy" or "zero_one" for classification (default "brier") and "squared" for regression. In the
    lab the true distribution of the labels is known, and with it the noise; elsewhere noise is part of ``bias2``.

    One row per condition and term (noise, bias2, variance, error): ``value`` with its bootstrap interval ``low``,
    ``high`` over training sets and examples; ``n_sets``; ``residual`` = noise + bias2 + variance - error;
    ``weights_remaining``. Raises SuperticketsError if the records are of several tasks or dev sets, or no condition has
    two training sets.
    """
    usable, first, report, loss, truth = usable_runs(records, loss)
    rows = []
    for (kind, level), sets in by_set(usable, first, report, loss).items():
        array = np.stack(list(sets.values()))
        estimate = bias_variance(array, loss=loss, **truth)
        intervals = bootstrap(array, loss=loss, n_resamples=n_resamples, **truth)
        size = np.mean([record.size["weights_remaining"] for record in usable[kind, level].values()])
        row = {"kind": kind, "level": level, "weights_remaining": size, "n_sets": len(sets)}
        rest = {"residual": estimate.residual, "loss": loss, "noise_known": estimate.noise_known}
        for term in TERMS:
            found = intervals[term]
            rows.append(row | {"term": term, "value": found.mean, "low": found.low, "high": found.high} | rest)
    order = {"full": 0, "winning": 1, "random": 2, "losing": 3}
    table = pd.DataFrame(rows).sort_values("level", kind="stable")
    return table.sort_values("kind", key=lambda kinds: kinds.map(order), kind="stable", ignore_index=True)


def variance_parts(records: Iterable[Record], loss: str = "", n_resamples: int = 1000) -> pd.DataFrame:
    """How much of the variance is the training set's, and how much initialisation's and order's.

    ``records`` hold several seeds for every training set (``training_set_sweeps(..., repeats=2)``). One row per kind
    and level, with the two parts of the variance, their bootstrap intervals and the training set's share. Training
    sets that lack a seed are left out; conditions with fewer than two sets or seeds have no row.
    """
    usable, first, report, loss, truth = usable_runs(records, loss)
    rows = []
    for (kind, level), runs in usable.items():
        repeats: dict[int, list[Record]] = {}
        for (train_seed, _), record in runs.items():
            repeats.setdefault(train_seed, []).append(record)
        n_seeds = max(map(len, repeats.values()))
        complete = [those for those in repeats.values() if len(those) == n_seeds]
        if n_seeds < 2 or len(complete) < 2:
            continue
        array = np.stack([[predictions_of(record, first, report, loss) for record in those] for those in complete])
        found = bootstrap(array, loss=loss, n_resamples=n_resamples, seed_axis=True, **truth)
        row: dict[str, Any] = {"kind": kind, "level": level, "sets": len(complete), "seeds": n_seeds}
        row["variance"] = found["variance"].mean
        for part in ("training_set", "initialisation"):
            row |= {part: found[part].mean, f"{part}: low": found[part].low, f"{part}: high": found[part].high}
        rows.append(row | {"training set's share": found["training_set"].mean / found["variance"].mean})
    return pd.DataFrame(rows)


def true_values(record: Record, rows: np.ndarray, loss: str) -> dict[str, Any]:
    """What :func:`supertickets.statistics.bias_variance` is told about the ``rows`` of a run's dev split.

    The lab's true distribution of labels, or noise-free scores with the variance of their noise; else the labels.
    """
    data = record.spec.data
    if not data.in_lab:
        return {"targets": record.arrays["dev_labels"][rows]}
    dev = data.load().dev  # drawn again
    assert dev.probabilities is not None
    if loss != "squared":
        return {"target_probabilities": dev.probabilities[rows]}
    noise = LAB_TASKS[data.name].noise if data.noise is None else data.noise
    variance = np.full(np.count_nonzero(rows), (5.0 * noise) ** 2)  # as supertickets.tasks.lab_tasks draws it
    return {"targets": dev.probabilities[rows, 0], "noise_variance": variance}


Condition = tuple[str, float]
Runs = dict[Condition, dict[tuple[int, int], Record]]
"""Runs by kind and level, then by training set and seed."""


def usable_runs(records: Iterable[Record], loss: str) -> tuple[Runs, Record, np.ndarray, str, dict[str, Any]]:
    """Runs by condition, then (training set, seed); one of them; report rows; the loss; what is known of the labels."""
    groups: Runs = {}
    for record in records:
        rule, data = record.spec.ticket, record.spec.data
        groups.setdefault((rule.kind, rule.level), {})[data.train_seed or 0, record.spec.seed] = record
    usable = {
        condition: dict(sorted(runs.items()))
        for condition, runs in groups.items()
        if len({train_seed for train_seed, _ in runs}) > 1
    }
    if not usable:
        raise SuperticketsError(
            "Bias and variance need at least two training sets of one condition; run the sweep of training sets first."
        )
    first = next(iter(next(iter(usable.values())).values()))
    report = ~first.arrays["selection"]
    loss = loss or ("squared" if first.arrays["dev_labels"].dtype.kind == "f" else "brier")
    return usable, first, report, loss, true_values(first, report, loss)


def by_set(usable: Runs, first: Record, report: np.ndarray, loss: str) -> dict[Condition, dict[int, np.ndarray]]:
    """Predictions (:func:`predictions_of`) by condition and training set.

    Of several seeds of a training set the lowest counts, being the last to be put in.
    """
    return {
        condition: {key[0]: predictions_of(runs[key], first, report, loss) for key in reversed(runs)}
        for condition, runs in usable.items()
    }


def predictions_of(record: Record, first: Record, report: np.ndarray, loss: str) -> np.ndarray:
    """A run's predictions on the report split: probabilities (examples, classes) or scores (examples,)."""
    same = record.spec.data.name == first.spec.data.name and np.array_equal(~record.arrays["selection"], report)
    if not same or not np.array_equal(record.arrays["dev_labels"], first.arrays["dev_labels"]):
        raise SuperticketsError(
            f"Run {record.id} (task {record.spec.data.name}) was not evaluated on the dev set of run {first.id}: bias "
            "and variance compare predictions for the same examples."
        )
    logits = record.arrays["dev_logits"][report].astype(np.float64)
    return logits[:, 0] if loss == "squared" else softmax(logits, axis=1)
