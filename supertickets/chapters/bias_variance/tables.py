"""Figure 1 measured: score, bias and variance of the tickets of many independent training sets.

The paper sketches its middle and right panels. Here they are estimated: every training set is fine-tuned, scored,
pruned and rewound on its own, all are evaluated on one dev set, and :mod:`supertickets.statistics.decomposition` splits
the expected loss of every kind and level into noise, bias and variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from supertickets.errors import SuperticketsError
from supertickets.runs import Record
from supertickets.statistics import TERMS, Interval, bias_variance, bootstrap, compare, verdict
from supertickets.tasks import LAB_TASKS

CONDITION = ["kind", "level"]


def trade_off(records: Iterable[Record], loss: str = "", n_resamples: int = 1000) -> pd.DataFrame:
    """Noise, bias^2 and variance by kind and level, over training sets: the numbers behind Figure 1.

    ``records`` are the runs of one task (with arrays) that differ in their training set
    (:func:`supertickets.studies.training_set_sweeps`). Predictions are those on the report split. ``loss`` is
    "brier", "cross_entropy" or "zero_one" for classification (default "brier") and "squared" for regression. In the
    lab the true distribution of the labels is known, and with it the noise; elsewhere noise is part of ``bias2``.

    One row per condition and term (noise, bias2, variance, error): ``value`` with its bootstrap interval ``low``,
    ``high`` over training sets and examples; ``change``, ``change_low``, ``change_high`` against the full model on the
    same training sets and examples (NaN for the full model itself and where training sets are missing); ``n_sets``;
    ``residual`` = noise + bias2 + variance - error; ``weights_remaining``.

    Raises SuperticketsError if the records are of several tasks or dev sets, or no condition has two training sets.
    """
    usable, first, report, loss, truth = _setting(records, loss)
    predictions = {
        # Of several seeds of a training set the lowest counts, being the last to be put in.
        condition: {key[0]: _predictions(runs[key], first, report, loss) for key in reversed(runs)}
        for condition, runs in usable.items()
    }
    full = predictions.get(("full", 0.0), {})
    rows = []
    for condition, sets in predictions.items():
        array = np.stack(list(sets.values()))
        estimate = bias_variance(array, loss=loss, **truth)
        intervals = bootstrap(array, loss=loss, n_resamples=n_resamples, **truth)
        shared = [key for key in sets if key in full] if condition[0] != "full" else []
        changes: dict[str, Interval] = {}
        if len(shared) > 1:
            both = [np.stack([source[key] for key in shared]) for source in (sets, full)]
            changes = compare(*both, loss=loss, n_resamples=n_resamples, **truth)
        size = np.mean([record.size["weights_remaining"] for record in usable[condition].values()])
        for term in TERMS:
            change = changes.get(term)
            rows.append(
                {
                    "kind": condition[0],
                    "level": condition[1],
                    "weights_remaining": size,
                    "n_sets": len(sets),
                    "term": term,
                    "value": intervals[term].mean,
                    "low": intervals[term].low,
                    "high": intervals[term].high,
                    "change": change.mean if change else math.nan,
                    "change_low": change.low if change else math.nan,
                    "change_high": change.high if change else math.nan,
                    "residual": estimate.residual,
                    "loss": loss,
                    "noise_known": estimate.noise_known,
                }
            )
    order = {"full": 0, "winning": 1, "random": 2, "losing": 3}
    return (
        pd.DataFrame(rows)
        .sort_values(
            CONDITION, key=lambda column: column.map(order) if column.name == "kind" else column, kind="stable"
        )
        .reset_index(drop=True)
    )


def variance_parts(records: Iterable[Record], loss: str = "", n_resamples: int = 1000) -> pd.DataFrame:
    """How much of the variance is the training set's, and how much initialisation's and order's.

    ``records`` hold several seeds for every training set (``training_set_sweeps(..., repeats=2)``). One row per kind
    and level, with the two parts of the variance, their bootstrap intervals and the training set's share. Training
    sets that lack a seed are left out; conditions with fewer than two sets or seeds have no row.
    """
    usable, first, report, loss, truth = _setting(records, loss)
    rows = []
    for condition, runs in usable.items():
        by_set: dict[int, list[Record]] = {}
        for (train_seed, _), record in runs.items():
            by_set.setdefault(train_seed, []).append(record)
        n_seeds = max(map(len, by_set.values()))
        complete = [those for those in by_set.values() if len(those) == n_seeds]
        if n_seeds < 2 or len(complete) < 2:
            continue
        array = np.stack([[_predictions(record, first, report, loss) for record in those] for those in complete])
        found = bootstrap(array, loss=loss, n_resamples=n_resamples, seed_axis=True, **truth)
        row: dict[str, Any] = {"kind": condition[0], "level": condition[1], "sets": len(complete), "seeds": n_seeds}
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
    return {
        "targets": dev.probabilities[rows, 0],
        "noise_variance": np.full(
            np.count_nonzero(rows), (5.0 * noise) ** 2
        ),  # as supertickets.tasks.lab_tasks draws it
    }


def directions(frame: pd.DataFrame, kind: str = "winning") -> pd.DataFrame:
    """Does variance fall and bias rise with pruning? The change of both against the full model, level by level.

    ``frame`` is that of :func:`trade_off`. "supported" means that the whole interval of the change lies on the
    claimed side: below zero for variance, above zero for bias^2.
    """
    rows = []
    for term, direction in (("variance", "below"), ("bias2", "above")):
        for _, row in frame.loc[(frame["kind"] == kind) & (frame["term"] == term)].iterrows():
            interval = Interval(
                int(row["n_sets"]), row["change"], math.nan, row["change_low"], row["change_high"], method="bootstrap"
            )
            rows.append(
                {
                    "claim": f"{'variance falls' if term == 'variance' else 'bias rises'}",
                    "level": row["level"],
                    "training sets": int(row["n_sets"]),
                    "full model": row["value"] - row["change"],
                    "change": row["change"],
                    "low": row["change_low"],
                    "high": row["change_high"],
                    "verdict": verdict(interval, direction=direction),
                }
            )
    return pd.DataFrame(rows)


_Runs = dict[tuple[str, float], dict[tuple[int, int], Record]]


def _setting(records: Iterable[Record], loss: str) -> tuple[_Runs, Record, np.ndarray, str, dict[str, Any]]:
    """Runs by condition, then (training set, seed); one of them; report rows; the loss; what is known of the labels."""
    groups: _Runs = {}
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


def _predictions(record: Record, first: Record, report: np.ndarray, loss: str) -> np.ndarray:
    """A run's predictions on the report split: probabilities (examples, classes) or scores (examples,)."""
    same = record.spec.data.name == first.spec.data.name and np.array_equal(~record.arrays["selection"], report)
    if not same or not np.array_equal(record.arrays["dev_labels"], first.arrays["dev_labels"]):
        raise SuperticketsError(
            f"Run {record.id} (task {record.spec.data.name}) was not evaluated on the dev set of run {first.id}: bias "
            "and variance compare predictions for the same examples."
        )
    logits = record.arrays["dev_logits"][report].astype(np.float64)
    return logits[:, 0] if loss == "squared" else softmax(logits, axis=1)
