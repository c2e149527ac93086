"""Figures 3, 4, 5 and 7: gain by training size, and phase transitions."""

import math
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from supertickets.chapters import drawing, paper
from supertickets.errors import SuperticketsError
from supertickets.runs import super_ticket_pairs, super_tickets
from supertickets.statistics import mean_interval, paired_difference


def phase_transition_data(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean score and 95% t interval over seeds, by task, kind and level: the numbers behind Figures 1 (left), 4, 7.

    Columns: task, kind, level, weights_remaining (mean), n (seeds), mean, low, high; low and high are NaN for one seed.
    Raises SuperticketsError without runs.
    """
    if frame.empty:
        raise SuperticketsError("There are no finished runs to draw; run the sweep first.")
    rows, condition = [], ["task", "kind", "level"]
    for _, group in frame.dropna(subset=["report_score"]).groupby(condition, sort=False):
        interval = mean_interval(group["report_score"].to_numpy())
        row = {**group[condition].iloc[0].to_dict(), "weights_remaining": group["weights_remaining"].mean()}
        rows.append(row | {"n": interval.n, "mean": interval.mean, "low": interval.low, "high": interval.high})
    return pd.DataFrame(rows)


FIGURE_4 = ("RTE", "MRPC", "SST-2", "MNLI")
"""The tasks of the paper's Figure 4; its Figure 7 has those that are absent from it (A.5)."""


def figures_4_and_7(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows that belong into Figure 4 and into Figure 7, by the GLUE task that each task mirrors; no empty ones.

    A frame without any of Figure 4's tasks is Figure 4 as a whole: tasks of one's own are in neither.
    """
    ours = np.array([paper.kin_of(task) in FIGURE_4 for task in frame["task"]])
    parts = {"figure-4": frame.loc[ours], "figure-7": frame.loc[~ours]} if ours.any() else {"figure-4": frame}
    return {name: part for name, part in parts.items() if len(part)}


def phase_transition_figure(frame: pd.DataFrame, score_name: str = "score", star: float | None = None) -> Figure:
    """Figure 4 (and 7): score of winning, random and losing tickets against the weights remaining, one panel per task.

    Points are means over seeds, bands 95% t intervals; the dashed line is the full model with its own band; a star
    marks the level ``star`` (0: none), or that chosen most often as super ticket on selection data. What is there is
    drawn: a panel whose points rest on different numbers of seeds says so, and
    :func:`supertickets.runs.missing_sentence` names what is missing. Bands far wider than the curves are cut at the
    edge. Raises SuperticketsError without any run.
    """
    data = phase_transition_data(frame)
    tasks = list(dict.fromkeys(frame.loc[frame["task"].isin(data["task"]), "task"]))
    n_columns = min(len(tasks), 2)
    size = (4.2 * n_columns, 3.1 * math.ceil(len(tasks) / n_columns))
    fig, axes = drawing.panels(len(tasks), n_columns, size, "weights remaining (%)", score_name)
    for axis, task in zip(axes, tasks, strict=True):
        panel = data.loc[data["task"] == task]
        axis.set_title(f"{task} ({drawing.seeds_said(panel['n'].to_list())})", fontsize=10)
        _panel(axis, panel, _usual_level(frame.loc[frame["task"] == task]) if star is None else star)
    drawing.common_legend(fig, axes)
    return fig


def figure3(frame: pd.DataFrame) -> Figure:
    """Figure 3: gain of the super ticket (above) and its weights remaining (below), smallest training set first.

    Left our runs, with 95% t intervals over seeds; right, in grey, the paper's eight tasks for BERT-base. Both
    share their axes. The numbers, and what is raised, are those of :func:`figure3_data`.
    """
    ours = figure3_data(frame)
    if ours.empty:
        raise SuperticketsError("No task has both a full model and a winning ticket yet; run the sweep first.")
    theirs = paper.figure3()
    own, slant = _task_labels(ours)
    left = max(0.62 * len(ours) if slant or len(ours) > 4 else 0.9 * len(ours), 2.0)
    right = 0.55 * len(theirs)
    size = (left + right + 1.0, 4.8)
    fig, axes = drawing.subplots(2, 2, figsize=size, width_ratios=[left, right], sharex="col", sharey="row")
    x, seeds = np.arange(len(ours)), drawing.seeds_said(ours.loc[:, "seeds"].to_list())
    printed = [100 * row["weights remaining base"] for row in theirs]
    columns = (
        (f"our runs ({seeds})", drawing.STYLE["winning"][0], ours["gain"], ours["weights"]),
        ("the paper, BERT-base", "#888888", [row["gain base"] for row in theirs], printed),
    )
    for column, (title, colour, gains, weights) in enumerate(columns):
        axes[0, column].bar(range(len(gains)), gains, width=0.6, color=colour)
        axes[0, column].axhline(0, color="black", linewidth=0.8)
        axes[0, column].set_title(title, fontsize=10)
        axes[1, column].plot(range(len(weights)), weights, "o", color=colour, markersize=7)
    for row, name in enumerate(("gain", "weights")):
        centre, low, high = (ours[column].to_numpy() for column in (name, f"{name}, low", f"{name}, high"))
        ends = [centre - low, np.minimum(high, 100) - centre]  # nothing remains of more than all
        axes[row, 0].errorbar(x, centre, ends, fmt="none", ecolor="black", capsize=3, lw=1.2)
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
    kin = ["" if paper.kin_of(task) == task else f"({paper.kin_of(task)})" for task in data["task"]]
    parts = zip(data["task"], kin, (f"{size:,}" for size in data["train size"]), strict=True)
    crowded = len(data) > 4 and max(map(len, data["task"])) > 8
    labels = [(" " if crowded else "\n").join(filter(None, part)) for part in parts]
    return labels, {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if crowded else {}


def shrinking_figure(frame: pd.DataFrame) -> Figure:
    """Figure 5: the phase transition of one task as its training set shrinks, a panel per size, largest first.

    Each panel shows what winning tickets gain over the full model trained on the same examples (the dashed line), in
    points, against the weights remaining; bands are 95% t intervals over runs, paired by training set and seed. The
    curves of the other sizes are drawn in grey. Several tasks give several rows of panels. Bands far wider than the
    curves are cut at the edge; what is raised is that of :func:`shrinking_data`.
    """
    data = shrinking_data(frame)
    data = data.loc[data["kind"] == "winning"]
    if data.empty:
        raise SuperticketsError("There are no finished runs of winning tickets to draw; run the sweep first.")
    panels = {task: list(dict.fromkeys(group["train_size"])) for task, group in data.groupby("task", sort=False)}
    n_columns = max(map(len, panels.values()))
    size = (2.7 * n_columns + 0.6, 2.9 * len(panels) + 0.4)
    fig, axes = drawing.subplots(len(panels), n_columns, figsize=size, squeeze=False, sharex=True, sharey="row")
    for line, (task, sizes) in zip(axes, panels.items(), strict=True):
        own = data.loc[data["task"] == task]
        for axis, size in zip(line, sizes, strict=False):
            _shrinking_panel(axis, own, size)
            here = own.loc[own["train_size"] == size]
            axis.set_title(f"{task}, {size:,} examples\n{drawing.seeds_said(here['n'].to_list())}", fontsize=9)
        for axis in line[len(sizes) :]:
            axis.set_visible(False)
        line[0].set_ylabel("gain over the full model (points)", fontsize=9)
        drawing.keep_to_means(line[0], [0, *own["gain"]])
    for column in axes.T:
        lowest = [axis for axis in column if axis.get_visible()][-1]
        lowest.set_xlabel("weights remaining (%)")
        lowest.tick_params(labelbottom=True)
    axes[0, 0].invert_xaxis()  # as in the paper: pruning grows to the right; the axis is shared
    drawing.common_legend(fig, list(axes.flat))
    return fig


def _shrinking_panel(axis: Axes, data: pd.DataFrame, size: Any) -> None:
    others = data.loc[data["train_size"] != size]
    for i, (_, curve) in enumerate(others.groupby("train_size", sort=False)):
        label = "winning, other sizes" if i == 0 else "_other"
        axis.plot(100 * curve["weights_remaining"], curve["gain"], color="#888888", linewidth=1, label=label)
    axis.axhline(0, color=drawing.FULL_COLOUR, linestyle="--", linewidth=1.2, label="full model")
    drawing.draw_curves(axis, data.loc[data["train_size"] == size].rename(columns={"gain": "mean"}))
    sns.despine(ax=axis)


def _panel(axis: Axes, data: pd.DataFrame, star: float | None) -> None:
    drawing.draw_curves(axis, data)
    chosen = data[(data["kind"] == "winning") & (data["level"] == star)]
    if not chosen.empty:
        x_star = 100 * chosen["weights_remaining"]
        axis.plot(
            x_star, chosen["mean"], "*", color=drawing.STYLE["winning"][0], markersize=14, markeredgecolor="white"
        )
    axis.invert_xaxis()  # as in the paper: pruning grows to the right
    drawing.keep_to_means(axis, data["mean"].to_list())
    axis.set_ylim(top=min(axis.get_ylim()[1], 1.03))  # no score is above 1; a t interval of few seeds may be
    sns.despine(ax=axis)


def _usual_level(frame: pd.DataFrame) -> float | None:
    chosen = super_tickets(frame)["level"] if "winning" in set(frame["kind"]) else pd.Series(dtype=float)
    return None if chosen.empty else float(chosen.mode().iloc[0])


def figure3_data(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers behind :func:`figure3`: one row per task, smallest training set first.

    Columns: task, train size (examples), seeds; gain of the super ticket over the full model (points, paired by seed)
    with the ends of its 95% t interval; weights remaining (%) with the ends of theirs; then the paper's task, train
    size, gain (recomputed from its Table 1) and weights remaining (%) for BERT-base. Raises SuperticketsError as
    :func:`supertickets.runs.super_ticket_pairs` does.
    """
    theirs = {row["task"]: row for row in paper.figure3()}
    rows = []
    for name, group in super_ticket_pairs(frame).groupby("task", sort=False):
        task = str(name)
        examples = int(frame.loc[frame["task"] == task, "train_examples"].max())
        gain = paired_difference(group["super"], group["full"])
        weights = mean_interval(100 * group["weights_remaining"])
        row = {"task": task, "train size": examples, "seeds": gain.n}
        row |= {"gain": gain.mean, "gain, low": gain.low, "gain, high": gain.high}
        row |= {"weights": weights.mean, "weights, low": weights.low, "weights, high": min(weights.high, 100.0)}
        if kin := theirs.get(paper.kin_of(task)):
            row |= {"paper: task": kin["task"], "paper: train size": kin["train size"]}
            row |= {"paper: gain": kin["gain base"], "paper: weights": 100 * kin["weights remaining base"]}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("train size", kind="stable", ignore_index=True) if rows else pd.DataFrame()


def shrinking_data(frame: pd.DataFrame) -> pd.DataFrame:
    """What a ticket gains over the full model of the same training set, by training size (the numbers of Figure 5).

    One row per task, train_size (largest first), kind and level: weights_remaining (mean), n (runs), ``full`` (the full
    model's mean score), ``gain`` over it and the ends ``low``, ``high`` of its 95% t interval, in points. A ticket is
    paired with the full model of its own data and seed; runs without that are left out. A missing ``train_size`` means
    the whole training set, of ``train_examples``. Raises SuperticketsError without such pairs, and for a frame without
    these columns.
    """
    if frame.empty or not {"train_size", "train_examples"} <= set(frame):
        raise SuperticketsError("There are no finished runs with a train_size; run the sweep first.")
    key, condition = ["encoder", "task", "data", "seed", "size"], ["task", "size", "kind", "level"]
    runs = frame.assign(size=frame["train_size"].astype(float).fillna(math.inf), score=100 * frame["report_score"])
    full = runs.loc[runs["kind"] == "full", [*key, "score"]]
    both = runs.loc[runs["kind"] != "full"].merge(full, on=key, suffixes=("", "_full"))
    both = both.dropna(subset=["score", "score_full"])
    if both.empty:
        raise SuperticketsError("No ticket has the full model of its own training set beside it; run the sweep first.")
    rows = []
    for _, group in both.groupby(condition, sort=False):
        first = group.iloc[0]
        interval = paired_difference(group["score"], group["score_full"])
        row = {"task": first["task"], "train_size": first["size"], "kind": first["kind"], "level": first["level"]}
        row |= {"weights_remaining": group["weights_remaining"].mean(), "n": interval.n}
        row |= {"full": group["score_full"].mean(), "gain": interval.mean, "low": interval.low, "high": interval.high}
        rows.append(row)
    data = pd.DataFrame(rows).sort_values(["train_size", "level"], ascending=[False, True], kind="stable")
    whole = runs.loc[runs["size"] == math.inf].groupby("task")["train_examples"].max()
    sizes = data["train_size"].where(data["train_size"] != math.inf, data["task"].map(whole))
    data["train_size"] = sizes.astype(int)
    names = list(dict.fromkeys(frame["task"]))
    return data.sort_values("task", key=lambda tasks: tasks.map(names.index), kind="stable", ignore_index=True)
