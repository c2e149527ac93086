"""Figures of the paper, each one function of a frame of records (:meth:`supertickets.store.RunStore.frame`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from supertickets.errors import SuperticketsError
from supertickets.experiments import super_tickets
from supertickets.statistics import mean_interval
from supertickets.tickets import Scores, Ticket

# The paper's colours (winning blue, random orange, losing green) in the colour-blind safe palette of Okabe and Ito;
# markers differ too, so that nothing hangs on colour alone.
STYLE = {"winning": ("#0072B2", "o"), "random": ("#E69F00", "s"), "losing": ("#009E73", "^")}
FULL_COLOUR = "#777777"


def phase_transition_data(frame: pd.DataFrame, score: str = "report_score") -> pd.DataFrame:
    """Mean score and 95% t interval over seeds, by task, kind and level: the numbers behind Figures 1 (left), 4, 7.

    Columns: task, kind, level, weights_remaining (mean), n (seeds), mean, low, high; low and high are NaN for one seed.
    """
    rows = []
    condition = ["task", "kind", "level"]
    for _, group in frame.groupby(condition, sort=False):
        interval = mean_interval(group[score].to_numpy())
        rows.append(
            {
                **group.loc[:, condition].iloc[0].to_dict(),
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
    data = phase_transition_data(frame.loc[frame["task"].isin(tasks)], score)
    n_columns = min(len(tasks), 2)
    n_rows = math.ceil(len(tasks) / n_columns)
    with sns.axes_style("ticks"):
        fig, axes = plt.subplots(
            n_rows, n_columns, figsize=(4.2 * n_columns, 3.1 * n_rows), squeeze=False, layout="constrained"
        )
    for axis, task in zip(axes.flat, tasks, strict=False):
        _panel(axis, data.loc[data["task"] == task], _usual_level(frame.loc[frame["task"] == task]))
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


def importance_figure(scores: Scores) -> Figure:
    """Importance of heads (after layer-wise l2 normalisation, as they are ranked) and of FFNs, by layer."""
    heads = scores.normalised_heads()
    fig, (left, right) = plt.subplots(
        1,
        2,
        figsize=(7.2, 0.42 * len(heads) + 1.2),
        width_ratios=[heads.shape[1], 5],
        sharey=True,
        layout="constrained",
    )
    sns.heatmap(heads, ax=left, cmap="Blues", vmin=0, annot=heads.shape[1] <= 8, fmt=".2f", cbar=False, linewidths=0.5)
    left.set(xlabel="head", ylabel="layer", title="heads, normalised by layer")
    right.barh(range(len(heads)), scores.ffns, color=STYLE["winning"][0], height=0.7)
    # The heatmap centres row i at i + 0.5.
    for bar in right.patches:
        bar.set_y(bar.get_y() + 0.5)
    right.set(xlabel=f"importance ({scores.estimator})", title="FFNs")
    sns.despine(ax=right)
    return fig


def tickets_figure(tickets: Sequence[Ticket]) -> Figure:
    """Which units tickets keep: a panel per ticket, layers down, heads across, the FFN set apart; filled = kept."""
    n_layers, n_heads = tickets[0].shape
    fig, axes = plt.subplots(
        1, len(tickets), figsize=(0.3 * (n_heads + 3) * len(tickets), 0.3 * n_layers + 1.1), squeeze=False, sharey=True
    )
    for axis, ticket in zip(axes.flat, tickets, strict=True):
        units = [
            *np.argwhere(np.ones(ticket.shape, dtype=bool)),
            *((layer, n_heads + 0.6) for layer in range(n_layers)),
        ]
        kept = np.concatenate([ticket.heads.ravel(), ticket.ffns])
        for (layer, column), keep in zip(units, kept, strict=True):
            axis.plot(
                column,
                layer,
                marker="o" if column < n_heads else "s",
                markersize=8,
                color=STYLE["winning"][0],
                fillstyle="full" if keep else "none",
                alpha=1.0 if keep else 0.45,
            )
        axis.set_title(f"{ticket.level:.0%} pruned" if ticket.level else "", fontsize=10)
        axis.set_xticks([*range(n_heads), n_heads + 0.6], [*map(str, range(n_heads)), "FFN"], fontsize=7)
        axis.set_yticks(range(n_layers))
        axis.set(xlim=(-0.7, n_heads + 1.3), ylim=(n_layers - 0.4, -0.6))
        axis.tick_params(length=0)
        sns.despine(ax=axis, left=True, bottom=True)
    axes[0, 0].set_ylabel("layer")
    fig.tight_layout()
    return fig


def draw_curves(axis: Axes, data: pd.DataFrame) -> None:
    """The kinds' curves with their bands against the weights remaining (%), and the full model as a dashed line.

    ``data`` has the columns kind, level, weights_remaining, mean, low, high.
    """
    full = data[data["kind"] == "full"]
    if not full.empty:
        row = full.iloc[0]
        axis.axhline(row["mean"], color=FULL_COLOUR, linestyle="--", linewidth=1.2, label="full model")
        axis.axhspan(row["low"], row["high"], color=FULL_COLOUR, alpha=0.15, linewidth=0)
    for kind, (colour, marker) in STYLE.items():
        curve = data.loc[data["kind"] == kind].sort_values("level")
        if curve.empty:
            continue
        x = 100 * curve["weights_remaining"]
        axis.plot(x, curve["mean"], color=colour, marker=marker, markersize=4.5, linewidth=1.5, label=kind)
        axis.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)


def _panel(axis: Axes, data: pd.DataFrame, star: float | None) -> None:
    draw_curves(axis, data)
    chosen = data[(data["kind"] == "winning") & (data["level"] == star)]
    if not chosen.empty:
        x_star = 100 * chosen["weights_remaining"]
        axis.plot(x_star, chosen["mean"], "*", color=STYLE["winning"][0], markersize=14, markeredgecolor="white")
    axis.invert_xaxis()  # as in the paper: pruning grows to the right
    axis.set_ylim(top=min(axis.get_ylim()[1], 1.03))  # no score is above 1; a t interval of few seeds may be
    sns.despine(ax=axis)


def _usual_level(frame: pd.DataFrame) -> float | None:
    chosen = super_tickets(frame)["level"] if "winning" in set(frame["kind"]) else pd.Series(dtype=float)
    return None if chosen.empty else float(chosen.mode().iloc[0])
