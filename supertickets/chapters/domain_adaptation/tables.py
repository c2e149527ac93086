"""Table 4 (section 7): accuracy of every source model on every target, by the number of training examples."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from supertickets.chapters import paper
from supertickets.errors import SuperticketsError
from supertickets.statistics import mean_interval
from supertickets.studies import at_chosen_rates

MODELS = ("ST-DNN", "SuperT", "MT-DNN", "Ticket-Share")

PRINTED = {
    "ST-DNN": "MNLI-ST-DNN base",
    "SuperT": "MNLI-SuperT base",
    "MT-DNN": "MT-DNN base",
    "Ticket-Share": "Ticket-Share base",
}
"""The models' names in the paper's Table 4."""

CLOSE = 1.2
"""Our number of examples and the paper's differ by this factor at most where its accuracy stands beside ours."""


def tuned(frame: pd.DataFrame) -> pd.DataFrame:
    """The runs at the learning rate that the selection split chooses, by target, number of examples and model (A.3.2).

    Every model alike; of the draws and seeds the mean counts. Raises SuperticketsError if there is no adaptation run.
    """
    if frame.empty or not {"model", "train_examples", "draw"} <= set(frame):
        raise SuperticketsError("There are no finished adaptation runs; run them first.")
    return at_chosen_rates(frame, ["task", "train_examples", "model"])


def by_seed(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores in points, a row per target, number of examples and seed and a column per model, draws averaged first.

    Each at its chosen rate (:func:`tuned`). The subsets are a seed's own, so the spread of these means over seeds is
    that over seeds and subsets together. A model of a seed that lacks a draw which another model of the seed has is
    left out (NaN), so that models are compared on the same subsets. Raises SuperticketsError as :func:`tuned` does.
    """
    frame = tuned(frame)
    key = ["task", "train_examples", "seed"]
    means, draws = (frame.pivot_table("report_score", key, "model", how) for how in ("mean", "count"))
    complete = draws.eq(draws.max(axis=1), axis=0)
    order = list(dict.fromkeys(frame["task"]))
    wide = (100 * means).where(complete).reset_index()
    wide = wide.sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")
    return wide.reset_index(drop=True).rename_axis(columns=None)


def table4(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 4: how well each source model adapts, a row per target, number of training examples and model, in points.

    Columns: examples, their share of the target's training set in percent, the learning rate chosen, seeds, subsets
    drawn for each seed, the mean score over seeds with its 95% t interval (each seed has subsets of its own, so it is
    over both; cut at the ends of the scale), its standard deviation over seeds (draws averaged first), and over the
    draws of a seed. Errors are those of :func:`by_seed`, as in :func:`table4_layout`.
    """
    means, frame = by_seed(frame), tuned(frame)
    lowest = -100.0 if {"report_mcc", "report_pearson"} & set(frame) else 0.0
    rows = []
    for _, group in means.groupby(["task", "train_examples"], sort=False):
        task, examples = str(group["task"].iloc[0]), int(group["train_examples"].iloc[0])
        runs = frame.loc[(frame["task"] == task) & (frame["train_examples"] == examples)]
        for model in (model for model in MODELS if model in group):
            values = group[model].dropna().to_numpy()
            if not len(values):
                continue
            interval = mean_interval(values)
            own = runs.loc[runs["model"] == model]
            draws = own.groupby("seed")["report_score"].std() * 100
            row: dict[str, Any] = {
                "target": task,
                "examples": examples,
                "share (%)": 100 * examples / own["of_examples"].iloc[0] if "of_examples" in own else math.nan,
                "model": model,
                "rate": f"{own['learning_rate'].iloc[0]:g}",
                "seeds": interval.n,
                "draws": own.groupby("seed")["draw"].nunique().max(),
                "score": interval.mean,
                "low": max(interval.low, lowest),  # NaN stays: it is what is compared first
                "high": min(interval.high, 100.0),
                "sd over seeds": interval.sd,
                "sd over draws": math.sqrt((draws**2).mean()) if draws.notna().any() else math.nan,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def table4_layout(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Table 4 as the paper lays it out, by target: a row per source model, a column per number of training examples.

    Points, with their intervals. The paper's accuracies of the kin target stand below ours (``paper: x``) where its
    number of examples is about ours (a factor of ``CLOSE`` at most), else in a column of their own, with its fraction
    of the training set.
    """
    layouts = {}
    for target, ours in table4(frame).groupby("target", sort=False):
        sizes = [int(size) for size in ours["examples"].unique()]
        cells: dict[int, dict[str, dict[str, float]]] = {size: {} for size in sizes}
        fractions: dict[int, str] = {}
        for row in ours.to_dict("records"):
            cells[row["examples"]][row["model"]] = {"": row["score"], ": low": row["low"], ": high": row["high"]}
        for row in (row for row in paper.table(4) if row["target"] == paper.kin_of(str(target))):
            theirs = printed_examples(row)
            near = (size for size in sizes if max(theirs, size) <= CLOSE * min(theirs, size))
            size = next(near, theirs)
            fractions[size] = f" ({row['fraction']})"
            model = next(name for name, printed in PRINTED.items() if printed == row["model"])
            cells.setdefault(size, {}).setdefault(model, {"": math.nan})["paper"] = row["accuracy"]
        table = pd.DataFrame({"model": [model for model in MODELS if model in set(ours["model"])]})
        for size in sorted(cells):
            name = f"{size:,}{fractions.get(size, '')}"
            for part in ("", ": low", ": high", "paper"):
                values = [cells[size].get(model, {}).get(part, math.nan) for model in table["model"]]
                if part == "" or not all(map(math.isnan, values)):
                    table[f"paper: {name}" if part == "paper" else f"{name}{part}"] = values
        layouts[str(target)] = table
    return layouts


def printed_examples(row: Mapping[str, Any]) -> int:
    """How many training examples a row of the paper's Table 4 stands for; SciTail's larger sizes are misprinted (P6).

    >>> [printed_examples(row) for row in paper.table(4)[16:20]]
    [23, 235, 2300, 23500]
    """
    told = paper.printed_count(row["train size"])
    return told // 10 if row["target"] == "SciTail" and told >= 23_000 else told
