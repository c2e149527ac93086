"""Table 3 and the claims of section 6.2, from the records of multi-task runs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from supertickets import paper
from supertickets.errors import SuperticketsError
from supertickets.statistics import Interval, mean_interval, paired_difference, verdict
from supertickets.tables import check_size, kin_of

ROWS = (
    ("MT-DNN", "multi-task"),
    ("MT-DNN", "fine-tuned"),
    ("Ticket-Share", "multi-task"),
    ("Ticket-Share", "fine-tuned"),
)
EQUAL = 1.0
"""Points that "on a par" and "equally well" may lose: the size of the gain that the paper reports."""


def row_name(model: str, stage: str) -> str:
    """The paper's name of a row of Table 3.

    >>> row_name("MT-DNN", "fine-tuned")
    'MT-DNN + ST fine-tuning'
    """
    return model if stage == "multi-task" else f"{model} + ST fine-tuning"


def matched(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows fine-tuned at the learning rate of the multi-task training: Table 3 leaves the others to Table 8."""
    if frame.empty or not {"run", "stage", "learning_rate"} <= set(frame):
        raise SuperticketsError("There are no finished multi-task runs; run them first.")
    together = frame.loc[frame["stage"] == "multi-task"].groupby("run")["learning_rate"].first()
    return frame.loc[frame["learning_rate"] == frame["run"].map(together)]


def averages(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """The average score of every seed, in points, one column per row of Table 3: the mean over tasks (P1).

    Only seeds that have every task count. Raises SuperticketsError if there is no multi-task run.
    """
    frame = matched(frame)
    if not {"model", column} <= set(frame):
        raise SuperticketsError(f"The multi-task runs have no {column!r}; run them first.")
    tasks = frame["task"].nunique()
    columns = {}
    for model, stage in ROWS:
        rows = frame.loc[(frame["model"] == model) & (frame["stage"] == stage)]
        wide = rows.pivot_table(index="seed", columns="task", values=column, aggfunc="first")
        if wide.shape[1] == tasks:
            columns[row_name(model, stage)] = 100 * wide.dropna().mean(axis=1)
    return pd.DataFrame(columns)


def table3(frame: pd.DataFrame, size: str = "base", column: str = "report_score") -> pd.DataFrame:
    """Table 3: MT-DNN and Ticket-Share, each also with single-task fine-tuning, in points.

    One row per model: seeds, the mean score of every task, the average score with its standard deviation over seeds,
    the paper's "average compression" (mean over tasks of what their tickets keep) and the share of the encoder that the
    shared model really stores (the union of the tickets, P10); then the paper's average and compression, over its eight
    tasks and BERT-``size``. Raises SuperticketsError as :func:`averages` does.
    """
    check_size(size)
    frame = matched(frame)
    means = averages(frame, column)
    printed = {row["model"]: row for row in paper.table(3)}
    rows = []
    for model, stage in ROWS:
        name = row_name(model, stage)
        own = frame.loc[(frame["model"] == model) & (frame["stage"] == stage)]
        if name not in means or own.empty:
            continue
        by_task = {str(task): 100 * group[column].mean() for task, group in own.groupby("task", sort=True)}
        values = means[name].dropna()
        theirs = printed[f"{model} {size}" if stage == "multi-task" else f"{model} {size} + ST fine-tuning"]
        rows.append(
            {
                "model": name,
                "seeds": len(values),
                **by_task,
                "average": values.mean(),
                "sd": values.std(ddof=1) if len(values) > 1 else math.nan,
                "average compression (%)": 100 * own["average_compression"].mean(),
                "stored (%)": 100 * own["stored"].mean(),
                "paper: average": theirs["average score"],
                "paper: compression (%)": theirs["weights remaining"],
            }
        )
    return pd.DataFrame(rows)


def sharing_claims(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """The claims of section 6.2, each with its paired difference over seeds, 95% t interval, p and verdict (points).

    1. Ticket-Share beats MT-DNN on average; 2. so it does after fine-tuning; 3. on the smallest task it is at least on
    a par with MT-DNN + fine-tuning; 4. on the largest task it does as well as MT-DNN. The last two are claims of no
    loss: supported if the whole interval lies above minus 1 point.
    A task is as large as its training set (``train_examples``). Claims that lack runs are left out.
    """
    frame = matched(frame)
    means = averages(frame, column)
    rows = []
    for claim, better, worse in (
        ("1 Ticket-Share above MT-DNN, average", "Ticket-Share", "MT-DNN"),
        ("2 the same after ST fine-tuning", "Ticket-Share + ST fine-tuning", "MT-DNN + ST fine-tuning"),
    ):
        if better in means and worse in means:
            both = means[[better, worse]].dropna().to_numpy()
            rows.append(_claim(claim, both))
    order = list(frame.sort_values("train_examples", kind="stable")["task"].unique())
    for claim, task, other in (
        ("3 smallest task: on a par with MT-DNN + ST fine-tuning", order[0], ("MT-DNN", "fine-tuned")),
        ("4 largest task: as well as MT-DNN", order[-1], ("MT-DNN", "multi-task")),
    ):
        scores = [_of_task(frame, task, *which, column) for which in (("Ticket-Share", "multi-task"), other)]
        both = pd.concat(scores, axis=1).dropna().to_numpy()
        if len(both):
            row = _claim(f"{claim} ({task}, {kin_of(task)})" if kin_of(task) != task else f"{claim} ({task})", both)
            interval: Interval = mean_interval(both[:, 0] - both[:, 1])
            rows.append(row | {"verdict": verdict(interval, -EQUAL)})
    return pd.DataFrame(rows)


def _of_task(frame: pd.DataFrame, task: str, model: str, stage: str, column: str) -> pd.Series:
    rows = frame.loc[(frame["task"] == task) & (frame["model"] == model) & (frame["stage"] == stage)]
    return 100 * rows.set_index("seed")[column]


def _claim(claim: str, both: np.ndarray) -> dict[str, object]:
    found = paired_difference(both[:, 0], both[:, 1])
    return {
        "claim": claim,
        "seeds": found.n,
        "difference": found.effect,
        "low": found.interval.low,
        "high": found.interval.high,
        "p": found.p,
        "verdict": verdict(found.interval),
    }
