"""Table 3 and the claims of section 6.2, from the records of multi-task runs."""

from __future__ import annotations

import math

import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.pairs import check_size
from supertickets.errors import SuperticketsError

ROWS = (
    ("MT-DNN", "multi-task"),
    ("MT-DNN", "fine-tuned"),
    ("Ticket-Share", "multi-task"),
    ("Ticket-Share", "fine-tuned"),
)


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
