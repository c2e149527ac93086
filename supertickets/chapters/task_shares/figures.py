"""Figure 6: a pie per unit, its area the Ticket Importance and its slices the Task Shares; close-ups; agreement."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from supertickets.chapters.drawing import COLOURS, draw_wheel, subplots, swatch
from supertickets.chapters.task_shares.tables import UNIT, share_tasks, unit_name
from supertickets.errors import SuperticketsError

LARGEST = 0.48
"""Radius of the most important pie of its kind, in distances between pies."""
NONE = "none"
"""What a cell says where there is no correlation: one seed has no ceiling."""


def pies_figure(shares: pd.DataFrame) -> Figure:
    """Figure 6: every head a pie at (head, layer), every FFN one in a column of its own, from ``task_shares``.

    The area is proportional to the Ticket Importance: the largest pie of each kind, heads and FFNs, which are
    normalised apart, is its most important unit. Slices are Task Shares, clockwise from the top in the order of the
    legend. A unit without any importance has no pie. Raises SuperticketsError for more than eight tasks.
    """
    tasks = _checked(shares)
    n_heads, n_layers = shares["head"].to_numpy().max(), shares["layer"].to_numpy().max()
    columns = {head: float(head) for head in range(1, n_heads + 1)} | {0: n_heads + 1.5}
    right = columns[0] + 0.7
    size = 0.5 if n_layers <= 12 else 0.42
    shape = (max(size * (right + 1.3), 3.2), size * (n_layers + 0.6) + 1.2)
    fig, axis = subplots(figsize=shape)
    axis.set_xticks(list(columns.values()), [str(head) if head else "FFN" for head in columns], fontsize=8)
    axis.set_yticks(range(1, n_layers + 1))
    axis.tick_params(length=0, labelsize=8)
    axis.set(xlim=(0.4, right), ylim=(n_layers + 0.6, 0.4), aspect="equal", ylabel="layer")
    for _, kind in shares.groupby("unit", sort=False):
        largest = kind["importance"].to_numpy().max()
        for row in kind.to_dict("records"):
            if row["importance"] > 0:
                place = (columns[row["head"]], row["layer"])
                scale = math.sqrt(row["importance"] / largest)
                # Thinner lines between the slices of smaller pies, which they would fill.
                slices = [(row[task], colour) for task, colour in zip(tasks, COLOURS, strict=False)]
                draw_wheel(axis, place, LARGEST * scale, slices, max(0.3, 0.6 * scale))
    _task_legend(fig, tasks)
    axis.set_xlabel("head")
    sns.despine(ax=axis, left=True, bottom=True)
    return fig


def close_ups_figure(shares: pd.DataFrame, units: Mapping[str, tuple[str, int, int]]) -> Figure:
    """Figure 6 (a)-(d): single units drawn large, with every task's share in percent.

    ``units`` maps a title to (unit, layer, head), as ``close_up_units`` does. All pies have one size. Raises
    SuperticketsError without units, for one that has no shares, and for more than eight tasks.
    """
    tasks = _checked(shares)
    if not units:
        raise SuperticketsError("There is no unit to draw close up; choose some with close_up_units.")
    known = shares.set_index(UNIT)[tasks].dropna()
    n_columns = min(len(units), 4)
    n_rows, words = math.ceil(len(units) / n_columns), 0.2 * len(tasks) + 0.1
    size, ratios = (2.4 * n_columns, n_rows * (2.9 + words)), [2.4, words] * n_rows  # rows of pies and of percentages
    fig, axes = subplots(2 * n_rows, n_columns, "white", figsize=size, height_ratios=ratios, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    places = zip(axes[::2].flat, axes[1::2].flat, units.items(), strict=False)
    for i, (axis, below, (title, place)) in enumerate(places):
        if place not in known.index:
            raise SuperticketsError(f"There are no shares of {unit_name(*place)} to draw; choose another unit.")
        values = [float(value) for value in known.loc[[place]].to_numpy()[0]]
        axis.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
        draw_wheel(axis, (0, 0), 1, list(zip(values, COLOURS, strict=False)), 1.0)
        name = textwrap.fill(f"({chr(97 + i)}) {title}", 22)
        axis.set_title(f"{name}\n{unit_name(*place)}", fontsize=9)
        handles = [swatch(colour) for colour in COLOURS[: len(tasks)]]
        labels = [f"{task}  {value:.0%}" for task, value in zip(tasks, values, strict=True)]
        below.legend(handles, labels, loc="upper center", borderaxespad=0, frameon=False, fontsize=9)
    return fig


def agreement_figure(agreement: pd.DataFrame, order: Sequence[str] = ()) -> Figure:
    """How alike tasks rank the units: a heat map of ``rank_agreement``, the seed ceiling framed on the diagonal.

    Up to five tasks, a cell has its 95% interval too. ``order`` arranges the tasks, for example that of
    ``cluster_tasks``. Raises SuperticketsError without pairs, or if it lacks a task.
    """
    if agreement.empty:
        raise SuperticketsError("There is no agreement to draw; compute it with rank_agreement first.")
    tasks = list(order) or list(dict.fromkeys(agreement["a"]))
    if set(tasks) != set(agreement["a"]):
        raise SuperticketsError(f"The order must name the tasks {', '.join(sorted(set(agreement['a'])))}, each once.")
    cells = pd.DataFrame(np.nan, index=tasks, columns=tasks)
    words = pd.DataFrame(NONE, index=tasks, columns=tasks)
    for row in agreement.to_dict("records"):
        text = NONE if math.isnan(row["correlation"]) else f"{row['correlation']:.2f}"
        if len(tasks) <= 5 and not math.isnan(row["low"]):
            text += f"\n{row['low']:.2f} to {row['high']:.2f}"
        for a, b in ((row["a"], row["b"]), (row["b"], row["a"])):
            cells.loc[a, b], words.loc[a, b] = row["correlation"], text
    size, lowest = 1.05 if len(tasks) <= 5 else 0.62, cells.min(axis=None)
    fig, axis = subplots(style="white", figsize=(size * len(tasks) + 2.4, size * len(tasks) + 1.2))
    look = {"cmap": "Blues", "square": True, "linewidths": 1, "annot_kws": {"fontsize": 8}}
    look["cbar_kws"] = {"label": "mean rank correlation", "shrink": 0.8}
    sns.heatmap(cells, ax=axis, vmin=min(0.0, np.nan_to_num(lowest)), vmax=1, annot=words, fmt="", **look)
    for i in range(len(tasks)):
        if math.isnan(cells.iloc[i, i]):
            axis.text(i + 0.5, i + 0.5, NONE, ha="center", va="center", color="black")
        axis.add_patch(Rectangle((i, i), 1, 1, fill=False, edgecolor="#D55E00", linewidth=2, clip_on=False))
    axis.set(xlabel="framed: two seeds of one task, the ceiling", ylabel="")
    axis.tick_params(axis="y", rotation=0)
    plt.setp(axis.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    return fig


def _checked(shares: pd.DataFrame) -> list[str]:
    tasks = share_tasks(shares)
    if len(tasks) > len(COLOURS):
        raise SuperticketsError(f"Figure 6 tells {len(COLOURS)} tasks apart, not {len(tasks)}; draw fewer at once.")
    return tasks


def _task_legend(fig: Figure, tasks: list[str]) -> None:
    handles = [swatch(colour, task) for task, colour in zip(tasks, COLOURS, strict=False)]
    longest = 0.075 * max(map(len, tasks)) + 0.65  # inches that an entry takes
    rows = math.ceil(len(tasks) / max(1, int(fig.get_figwidth() / longest)))
    columns = math.ceil(len(tasks) / rows)
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
