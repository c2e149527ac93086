"""The hyper-parameter study of appendix A.4.2 as a figure: score against the learning rate of the fine-tuning."""

import math
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from supertickets.chapters.drawing import FULL_COLOUR, STYLE, common_legend, panels, seeds_said
from supertickets.chapters.sensitivity.tables import rate_scores
from supertickets.statistics import mean_interval

# As in the other figures: what has tickets is blue with circles, what has none is grey and dashed.
LINES = {"MT-DNN": (FULL_COLOUR, "s", "--"), "Ticket-Share": (STYLE["winning"][0], "o", "-")}


def rates_data(multi: pd.DataFrame) -> pd.DataFrame:
    """Mean score over seeds, in points, with its 95% t interval, by task, model and learning rate.

    Columns: task, model, learning_rate, n (seeds), mean, low, high. Left out is, and SuperticketsError raised, as by
    :func:`supertickets.chapters.sensitivity.tables.rate_scores`.
    """
    rows = []
    for task, models in rate_scores(multi).items():
        for model, scores in models.items():
            for rate, values in scores.items():
                interval = mean_interval(values.to_numpy())
                row = {"task": task, "model": model, "learning_rate": rate, "n": interval.n, "mean": interval.mean}
                rows.append(row | {"low": interval.low, "high": interval.high})
    return pd.DataFrame(rows)


def rates_figure(multi: pd.DataFrame) -> Figure:
    """Score after fine-tuning against its learning rate (A.4.2), MT-DNN and Ticket-Share, a panel per task.

    Points are means over seeds, bars 95% t intervals; the two models are drawn a little apart. A flat line is a model
    that does not mind the learning rate. The numbers, and what is raised, are those of :func:`rates_data`.
    """
    data = rates_data(multi)
    tasks = list(dict.fromkeys(data["task"]))
    n_rows = math.ceil(len(tasks) / 4)
    n_columns = math.ceil(len(tasks) / n_rows)
    size = (max(2.5 * n_columns + 0.4, 4.0), 2.5 * n_rows + 0.5)
    fig, axes = panels(len(tasks), n_columns, size, "learning rate (ten-thousandths)", "score (points)")
    for axis, task in zip(axes, tasks, strict=True):
        panel = data.loc[data["task"] == task]
        axis.set_title(f"{task} ({seeds_said(panel['n'].to_list())})", fontsize=9)
        _panel(axis, panel)
    common_legend(fig, axes)
    return fig


def _panel(axis: Axes, data: pd.DataFrame) -> None:
    rates = np.unique(data["learning_rate"].to_numpy())
    apart = float(rates[-1] / rates[0]) ** 0.015
    for (model, (colour, marker, line)), shift in zip(LINES.items(), (1 / apart, apart), strict=True):
        curve = data.loc[data["model"] == model].sort_values("learning_rate")
        if curve.empty:
            continue
        x, centre = shift * curve["learning_rate"].to_numpy(), curve["mean"].to_numpy()
        ends = [centre - curve["low"].clip(lower=-100), curve["high"].clip(upper=100) - centre]  # of the scale
        style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": line}
        axis.errorbar(x, centre, ends, label=model, markersize=4.5, linewidth=1.5, elinewidth=1.0, capsize=3, **style)
    axis.set_xscale("log")
    axis.set_xticks(rates, [f"{1e4 * rate:g}" for rate in rates])
    axis.xaxis.set_minor_locator(NullLocator())
    sns.despine(ax=axis)
