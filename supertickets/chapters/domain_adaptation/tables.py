"""Table 4 (section 7): accuracy of every source model on every target and fraction."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.pairs import kin_of
from supertickets.errors import SuperticketsError
from supertickets.statistics import mean_interval

MODELS = ("ST-DNN", "SuperT", "MT-DNN", "Ticket-Share")

PRINTED = {
    "ST-DNN": "MNLI-ST-DNN base",
    "SuperT": "MNLI-SuperT base",
    "MT-DNN": "MT-DNN base",
    "Ticket-Share": "Ticket-Share base",
}
"""The models' names in the paper's Table 4."""


def by_seed(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """Scores in points, one row per target, fraction and seed and one column per model; draws are averaged first.

    A model of a seed that lacks a draw which another model of the seed has is left out (NaN), so that models are
    compared on the same subsets. Raises SuperticketsError if there is no adaptation run or no such column.
    """
    if frame.empty or not {"model", "fraction", "draw", column} <= set(frame):
        raise SuperticketsError("There are no finished adaptation runs; run them first.")
    key = ["task", "fraction", "seed"]
    means, draws = (
        frame.pivot_table(index=key, columns="model", values=column, aggfunc=how) for how in ("mean", "count")
    )
    complete = draws.eq(draws.max(axis=1), axis=0)
    order = list(dict.fromkeys(frame["task"]))
    wide = (100 * means).where(complete).reset_index()
    wide = wide.sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")
    return wide.reset_index(drop=True).rename_axis(columns=None)


def table4(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """Table 4: how well each source model adapts, one row per target, fraction and model, in points.

    Columns: training examples, seeds, subsets drawn per seed, the mean score over seeds with its 95% t interval, its
    standard deviation over seeds (draws averaged first), and over the draws of a seed; then the paper's accuracy for
    the kin target at the same fraction, where it has one. Raises SuperticketsError as :func:`by_seed` does.
    """
    means = by_seed(frame, column)
    printed = {(row["target"], row["model"], row["fraction"]): row["accuracy"] for row in paper.table(4)}
    rows = []
    for _, group in means.groupby(["task", "fraction"], sort=False):
        task, fraction = group["task"].iloc[0], group["fraction"].iloc[0]
        runs = frame.loc[(frame["task"] == task) & (frame["fraction"] == fraction)]
        for model in (model for model in MODELS if model in group):
            values = group[model].dropna().to_numpy()
            if not len(values):
                continue
            interval = mean_interval(values)
            draws = runs.loc[runs["model"] == model].groupby("seed")[column].std() * 100
            row: dict[str, Any] = {
                "target": task,
                "fraction": f"{float(fraction):.3g}",
                "examples": int(runs["train_examples"].iloc[0]),
                "model": model,
                "seeds": interval.n,
                "draws": runs["draw"].nunique(),
                "score": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "sd over seeds": interval.sd,
                "sd over draws": math.sqrt((draws**2).mean()) if draws.notna().any() else math.nan,
            }
            kin = kin_of(str(task))
            theirs = printed.get((kin, PRINTED[model], f"{100 * float(fraction):g}%"))
            rows.append(row | ({} if theirs is None else {"paper: target": kin, "paper: accuracy": theirs}))
    return pd.DataFrame(rows)
