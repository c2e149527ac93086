"""Figures of the paper, each one function of a frame of records (:meth:`supertickets.store.RunStore.frame`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from supertickets.errors import SuperticketsError
from supertickets.experiments import super_tickets
from supertickets.statistics import mean_interval

# The paper's colours (winning blue, random orange, losing green) in the colour-blind safe palette of Okabe and Ito;
# markers differ too, so that nothing hangs on colour alone.
STYLE = {"winning": ("#0072B2", "o"), "random": ("#E69F00", "s"), "losing": ("#009E73", "^")}
FULL_COLOUR = "#777777"


def phase_transition_data(frame: pd.DataFrame, score: str = "report_score") -> pd.DataFrame:
    """Mean score and 95% t interval over seeds, by task, kind and level: the numbers behind Figures 1 (left), 4, 7.

    Columns: task, kind, level, weights_remaining (mean), n (seeds), mean, low, high; low and high are NaN for one seed.
    """
    rows = []
    for (task, kind, level), group in frame.groupby(["task", "kind", "level"], sort=False):
        interval = mean_interval(group[score].to_numpy())
        rows.append(
            {
                "task": task,
                "kind": kind,
                "level": level,
                "weights_remaining": group["weights_remaining"].mean(),
                "n": interval.n,
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return pd.DataFrame(rows)


def phase_transition_figure(
    frame: pd.DataFrame, tasks: Sequence[str] = (), score: str = "report_score", score_name: str = "score"
) -> Figure:
    """Figure 4 (and 7): score of winning, random and losing tickets against the weights remaining, one panel per task.

    Points are means over seeds, bands 95% t intervals; the dashed line is the full model with its own band; a star
    marks the level chosen most often as super ticket on selection data. What is there is drawn; a frame without any
    run raises SuperticketsError.
    """
    if frame.empty:
        raise SuperticketsError("There are no finished runs to draw; run the sweep first.")
    tasks = list(tasks) or list(dict.fromkeys(frame["task"]))
    data = phase_transition_data(frame[frame["task"].isin(tasks)], score)
    n_columns = min(len(tasks), 2)
    n_rows = math.ceil(len(tasks) / n_columns)
    with sns.axes_style("ticks"):
        fig, axes = plt.subplots(
            n_rows, n_columns, figsize=(4.2 * n_columns, 3.1 * n_rows), squeeze=False, layout="constrained"
        )
    for axis, task in zip(axes.flat, tasks, strict=False):
        _panel(axis, data[data["task"] == task], _usual_level(frame[frame["task"] == task]))
        n_seeds = frame.loc[frame["task"] == task, "seed"].nunique()
        axis.set_title(f"{task} (n = {n_seeds} seed{'s' if n_seeds > 1 else ''})", fontsize=10)
    for axis in list(axes.flat)[len(tasks) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel(score_name)
    for axis in axes[-1]:
        axis.set_xlabel("weights remaining (%)")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return fig


def _panel(axis: Axes, data: pd.DataFrame, star: float | None) -> None:
    full = data[data["kind"] == "full"]
    if not full.empty:
        row = full.iloc[0]
        axis.axhline(row["mean"], color=FULL_COLOUR, linestyle="--", linewidth=1.2, label="full model")
        axis.axhspan(row["low"], row["high"], color=FULL_COLOUR, alpha=0.15, linewidth=0)
    for kind, (colour, marker) in STYLE.items():
        curve = data[data["kind"] == kind].sort_values("level")
        if curve.empty:
            continue
        x = 100 * curve["weights_remaining"]
        axis.plot(x, curve["mean"], color=colour, marker=marker, markersize=4.5, linewidth=1.5, label=kind)
        axis.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)
        chosen = curve[curve["level"] == star]
        if kind == "winning" and not chosen.empty:
            x_star = 100 * chosen["weights_remaining"]
            axis.plot(x_star, chosen["mean"], "*", color=colour, markersize=14, markeredgecolor="white")
    axis.invert_xaxis()  # as in the paper: pruning grows to the right
    sns.despine(ax=axis)


def _usual_level(frame: pd.DataFrame) -> float | None:
    chosen = super_tickets(frame)["level"] if "winning" in set(frame["kind"]) else pd.Series(dtype=float)
    return None if chosen.empty else float(chosen.mode().iloc[0])
