"""Figures of the paper, each one function of a frame of records (:meth:`supertickets.store.RunStore.frame`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from supertickets import paper
from supertickets.errors import SuperticketsError
from supertickets.experiments import super_tickets
from supertickets.statistics import mean_interval
from supertickets.summaries import figure3_data, shrinking_data
from supertickets.tables import kin_of
from supertickets.tickets import Scores, Ticket

# The paper's colours (winning blue, random orange, losing green) in the colour-blind safe palette of Okabe and Ito;
# markers differ too, so that nothing hangs on colour alone.
STYLE = {"winning": ("#0072B2", "o"), "random": ("#E69F00", "s"), "losing": ("#009E73", "^")}
FULL_COLOUR = "#777777"


def phase_transition_data(frame: pd.DataFrame, score: str = "report_score") -> pd.DataFrame:
    """Mean score and 95% t interval over seeds, by task, kind and level: the numbers behind Figures 1 (left), 4, 7.

    Columns: task, kind, level, weights_remaining (mean), n (seeds), mean, low, high; low and high are NaN for one seed.
    Runs without a value of ``score`` are left out. Raises SuperticketsError without runs.
    """
    rows = []
    condition = ["task", "kind", "level"]
    if frame.empty or score not in frame:
        raise SuperticketsError(f"There are no finished runs with a {score!r} to draw; run the sweep first.")
    for _, group in frame.dropna(subset=[score]).groupby(condition, sort=False):
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
    marks the level chosen most often as super ticket on selection data. What is there is drawn: a panel whose points
    rest on different numbers of seeds says so, a task without runs gets an empty panel, and
    :func:`supertickets.summaries.missing_sentence` names what is missing. Bands far wider than the curves are cut at
    the edge. Raises SuperticketsError without any run.
    """
    if frame.empty:
        raise SuperticketsError("There are no finished runs to draw; run the sweep first.")
    tasks = list(tasks) or list(dict.fromkeys(frame["task"]))
    data = phase_transition_data(frame, score)
    n_columns = min(len(tasks), 2)
    n_rows = math.ceil(len(tasks) / n_columns)
    with sns.axes_style("ticks"):
        fig, axes = plt.subplots(
            n_rows, n_columns, figsize=(4.2 * n_columns, 3.1 * n_rows), squeeze=False, layout="constrained"
        )
    for axis, task in zip(axes.flat, tasks, strict=False):
        panel = data.loc[data["task"] == task]
        axis.set_title(f"{task} ({_seeds(panel['n'].to_list())})", fontsize=10)
        if panel.empty:
            axis.text(0.5, 0.5, "no finished runs", transform=axis.transAxes, ha="center", color=FULL_COLOUR)
            axis.set(xticks=[], yticks=[])
            continue
        _panel(axis, panel, _usual_level(frame.loc[frame["task"] == task]))
    for axis in list(axes.flat)[len(tasks) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel(score_name)
    for axis in list(axes.flat)[max(0, len(tasks) - n_columns) : len(tasks)]:  # the lowest of every column
        axis.set_xlabel("weights remaining (%)")
    _legend(fig, list(axes.flat))
    return fig


def figure3(
    frame: pd.DataFrame,
    size: str = "base",
    score: str = "report_score",
) -> Figure:
    """Figure 3: gain of the super ticket (above) and its weights remaining (below), smallest training set first.

    Left our runs, with 95% t intervals over seeds; right, in grey, the paper's eight tasks for BERT-``size``. Both
    share their axes. The numbers, and what is raised, are those of :func:`supertickets.summaries.figure3_data`.
    """
    ours = figure3_data(frame, size, score)
    if ours.empty:
        raise SuperticketsError("No task has both a full model and a winning ticket yet; run the sweep first.")
    theirs = paper.figure3()
    own, slant = _task_labels(ours)
    left = max(0.62 * len(ours) if slant or len(ours) > 4 else 0.9 * len(ours), 2.0)
    with sns.axes_style("ticks"):
        fig, axes = plt.subplots(
            2,
            2,
            figsize=(left + 0.55 * len(theirs) + 1.0, 4.8),
            width_ratios=[left, 0.55 * len(theirs)],
            sharex="col",
            sharey="row",
            layout="constrained",
        )
    x, seeds = np.arange(len(ours)), _seeds(ours.loc[:, "seeds"].to_list())
    columns = (
        (f"our runs ({seeds})", STYLE["winning"][0], ours["gain"], ours["weights"]),
        (
            f"the paper, BERT-{size}",
            "#AAAAAA",
            [row[f"gain {size}"] for row in theirs],
            [100 * row[f"weights remaining {size}"] for row in theirs],
        ),
    )
    for column, (title, colour, gains, weights) in enumerate(columns):
        axes[0, column].bar(range(len(gains)), gains, width=0.6, color=colour)
        axes[0, column].axhline(0, color="black", linewidth=0.8)
        axes[0, column].set_title(title, fontsize=10)
        axes[1, column].plot(range(len(weights)), weights, "o", color=colour, markersize=7)
    for row, name in enumerate(("gain", "weights")):
        centre, low, high = (ours[column].to_numpy() for column in (name, f"{name}, low", f"{name}, high"))
        axes[row, 0].errorbar(x, centre, [centre - low, high - centre], fmt="none", ecolor="black", capsize=3, lw=1.2)
    axes[1, 0].set_xticks(x, own, fontsize=8, **slant)
    axes[1, 0].set_xlim(-0.7, len(ours) - 0.3)
    axes[1, 1].set_xticks(range(len(theirs)), [f"{row['task']}\n{row['train size']}" for row in theirs], fontsize=8)
    axes[0, 0].set_ylabel("gain (points)")
    axes[1, 0].set_ylabel("weights remaining (%)")
    fig.supxlabel("task and its training examples", fontsize=10)
    sns.despine(fig)
    return fig


def _task_labels(data: pd.DataFrame) -> tuple[list[str], dict[str, Any]]:
    """Name, kin and training size of each task; many long names are slanted, on one line each."""
    kin = ["" if kin_of(task) == task else f"({kin_of(task)})" for task in data["task"]]
    parts = zip(data["task"], kin, (f"{size:,}" for size in data["train size"]), strict=True)
    crowded = len(data) > 4 and max(map(len, data["task"])) > 8
    labels = [(" " if crowded else "\n").join(filter(None, part)) for part in parts]
    return labels, {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if crowded else {}


def shrinking_figure(
    frame: pd.DataFrame,
    kinds: Sequence[str] = ("winning",),
    score: str = "report_score",
    bottom: float | None = None,
) -> Figure:
    """Figure 5: the phase transition of one task as its training set shrinks, a panel per size, largest first.

    Each panel shows what the tickets of ``kinds`` gain over the full model trained on the same examples (the dashed
    line), in points, against the weights remaining; bands are 95% t intervals over runs, paired by training set and
    seed. The winning tickets' curves of the other sizes are drawn in grey. Several tasks give several rows of panels.
    Bands far wider than the curves are cut at the edge, and so is all below ``bottom`` points; what is raised is
    that of :func:`supertickets.summaries.shrinking_data`.
    """
    data = shrinking_data(frame, score)
    data = data.loc[data["kind"].isin(kinds)]
    if data.empty:
        raise SuperticketsError(
            f"There are no finished runs of {', '.join(kinds)} tickets to draw; run the sweep first."
        )
    panels = {task: list(dict.fromkeys(group["train_size"])) for task, group in data.groupby("task", sort=False)}
    n_columns = max(map(len, panels.values()))
    with sns.axes_style("ticks"):
        fig, axes = plt.subplots(
            len(panels),
            n_columns,
            figsize=(2.7 * n_columns + 0.6, 2.9 * len(panels) + 0.4),
            squeeze=False,
            sharex=True,
            sharey="row",
            layout="constrained",
        )
    for line, (task, sizes) in zip(axes, panels.items(), strict=True):
        own = data.loc[data["task"] == task]
        for axis, size in zip(line, sizes, strict=False):
            _shrinking_panel(axis, own, size)
            here = own.loc[own["train_size"] == size]
            examples = "all" if size == "all" else f"{size:,}"
            axis.set_title(f"{task}, {examples} examples\n{_seeds(here['n'].to_list())}", fontsize=9)
        for axis in line[len(sizes) :]:
            axis.set_visible(False)
        line[0].set_ylabel("gain over the full model (points)", fontsize=9)
        _keep_to_means(line[0], [0, *own["gain"]])
        if bottom is not None:
            line[0].set_ylim(bottom=bottom)
    for column in axes.T:
        lowest = [axis for axis in column if axis.get_visible()][-1]
        lowest.set_xlabel("weights remaining (%)")
        lowest.tick_params(labelbottom=True)
    axes[0, 0].invert_xaxis()  # as in the paper: pruning grows to the right; the axis is shared
    _legend(fig, list(axes.flat))
    return fig


def _shrinking_panel(axis: Axes, data: pd.DataFrame, size: Any) -> None:
    others = data.loc[(data["kind"] == "winning") & (data["train_size"] != size)]
    for i, (_, curve) in enumerate(others.groupby("train_size", sort=False)):
        label = "winning, other sizes" if i == 0 else "_other"
        axis.plot(100 * curve["weights_remaining"], curve["gain"], color="#BBBBBB", linewidth=1, label=label)
    axis.axhline(0, color=FULL_COLOUR, linestyle="--", linewidth=1.2, label="full model")
    for kind, (colour, marker) in STYLE.items():
        curve = data.loc[(data["kind"] == kind) & (data["train_size"] == size)].sort_values("level")
        if not curve.empty:
            x = 100 * curve["weights_remaining"]
            axis.plot(x, curve["gain"], color=colour, marker=marker, markersize=4.5, linewidth=1.5, label=kind)
            axis.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.18, linewidth=0)
    sns.despine(ax=axis)


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


def _seeds(n: Sequence[int]) -> str:
    """How many seeds the points of a panel rest on: "n = 5 seeds", or "n = 2 to 5 seeds" where runs are missing."""
    few, many = (min(n), max(n)) if len(n) else (0, 0)
    return f"n = {many if few == many else f'{few} to {many}'} seed{'' if many == 1 else 's'}"


def _legend(fig: Figure, axes: Sequence[Axes]) -> None:
    """One legend below the panels, of everything that occurs in any of them."""
    found = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    order = [label for label in ("full model", *STYLE) if label in found]
    order += [label for label in found if label not in order]
    if order:
        fig.legend(
            [found[label] for label in order], order, loc="outside lower center", ncols=len(order), frameon=False
        )


def _panel(axis: Axes, data: pd.DataFrame, star: float | None) -> None:
    draw_curves(axis, data)
    chosen = data[(data["kind"] == "winning") & (data["level"] == star)]
    if not chosen.empty:
        x_star = 100 * chosen["weights_remaining"]
        axis.plot(x_star, chosen["mean"], "*", color=STYLE["winning"][0], markersize=14, markeredgecolor="white")
    axis.invert_xaxis()  # as in the paper: pruning grows to the right
    _keep_to_means(axis, data["mean"].to_list())
    axis.set_ylim(top=min(axis.get_ylim()[1], 1.03))  # no score is above 1; a t interval of few seeds may be
    sns.despine(ax=axis)


def _keep_to_means(axis: Axes, means: Sequence[float]) -> None:
    """Cut bands that are much wider than the spread of the means: those of two seeds would flatten every curve."""
    room = max(max(means) - min(means), 0.1 * max(map(abs, means))) * 0.6
    if room == 0:  # nothing but zeros
        return
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, min(means) - room), min(high, max(means) + room))


def _usual_level(frame: pd.DataFrame) -> float | None:
    chosen = super_tickets(frame)["level"] if "winning" in set(frame["kind"]) else pd.Series(dtype=float)
    return None if chosen.empty else float(chosen.mode().iloc[0])
