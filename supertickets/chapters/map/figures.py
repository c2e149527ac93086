"""The map drawn: heat maps by training-set size and label noise, and the gain against the fall of variance."""

import math
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from supertickets.chapters.claims import UNKNOWN
from supertickets.chapters.drawing import FULL_COLOUR, subplots
from supertickets.chapters.map.tables import TERMS

# In every panel blue speaks for light pruning and orange against it; the middle is no pure white, which would turn dark
# with the page while the number on it does not.
_AGAINST, _NEITHER, _FOR = "#D55E00", "#F6F6F6", "#0072B2"
_BY_NOISE = ("#7A5CC4", "#0072B2", "#00808A", "#009E73", "#7A8B00")  # contrast 3 on a light and on a dark page
_PANELS = {
    "gain": ("gain", (_AGAINST, _NEITHER, _FOR)),
    "fall of variance": ("fall of variance", (_AGAINST, _NEITHER, _FOR)),
    "rise of bias": ("rise of bias$^2$", (_FOR, _NEITHER, _AGAINST)),
}


def map_data(table: pd.DataFrame, gains: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`~supertickets.chapters.map.tables.map_table` with the gain's interval and verdict.

    ``gains`` is :func:`~supertickets.chapters.map.claims.gains` of the same cells, in the same order.
    """
    own = gains.loc[gains["detail"].astype(bool)] if len(table) > 1 else gains
    columns = {"low": "gain: low", "high": "gain: high", "p (Holm)": "p (Holm)", "verdict": "verdict"}
    return table.assign(**{new: own[old].to_numpy() for old, new in columns.items()})


def map_figure(data: pd.DataFrame) -> Figure:
    """Three heat maps over training-set size (down) and label noise (across): gain, fall of variance, rise of bias.

    ``data`` is :func:`map_data` of one encoder. A number is bold, with a star, where its 95% interval excludes zero;
    a gain has a frame where the difference holds after the correction over cells too.
    """
    fig, axes = subplots(1, 3, "white", figsize=(7.9, 1.0 + 0.36 * data["train_size"].nunique()))
    for axis, name in zip(axes, TERMS, strict=True):
        _heat(axis, data, name)
    axes[0].set_ylabel("training examples")
    return fig


def _heat(axis: Axes, data: pd.DataFrame, name: str) -> None:
    title, colours = _PANELS[name]
    wide = data.pivot(index="train_size", columns="noise", values=name)
    most = float(np.abs(data[name].to_numpy()).max()) or 1.0
    colour = sns.blend_palette(colours, as_cmap=True)
    numbers = wide.map(lambda value: f"{value:+.1f}".replace("-0.0", "+0.0"))
    sns.heatmap(wide, ax=axis, cmap=colour, vmin=-most, vmax=most, annot=numbers, fmt="", cbar=False, linewidths=1)
    rows = data.set_index(["train_size", "noise"])
    for words in axis.texts:
        x, y = (math.floor(value) for value in words.get_position())
        key = (wide.index[y], wide.columns[x])
        words.set_fontsize(9)
        if key not in rows.index:
            words.set_text("")
        elif rows.loc[key, f"{name}: low"] * rows.loc[key, f"{name}: high"] > 0:
            words.set(text=f"{words.get_text()}*", fontweight="bold")
            if name == "gain" and rows.loc[key, "verdict"] != UNKNOWN:
                frame = Rectangle((x + 0.04, y + 0.06), 0.92, 0.88, fill=False, edgecolor="#202020", linewidth=1.6)
                axis.add_patch(frame)
    axis.set(title=title, xlabel="labels wrong", ylabel="")
    axis.set_xticklabels([f"{noise:.0%}" for noise in wide.columns])
    axis.tick_params(length=0, labelrotation=0)


def explanation_figure(data: pd.DataFrame, others: pd.DataFrame) -> Figure:
    """The gain of every cell against the fall of variance, with 95% intervals; ``others`` are real encoders' cells.

    Colour says how many labels are wrong, area how many training examples there are; long intervals leave the picture.
    Both frames are
    :func:`map_data`'s; the variance needs no true labels, so that real data have their place here.
    """
    fig, axis = subplots(figsize=(7.2, 4.4))
    axis.axhline(0, color=FULL_COLOUR, linewidth=0.8)
    axis.axvline(0, color=FULL_COLOUR, linewidth=0.8)
    for colour, noise in zip(_BY_NOISE, sorted(data["noise"].unique()), strict=False):
        own = data.loc[data["noise"] == noise]
        _points(axis, own, colour, 8 * np.sqrt(own["train_size"]) / 2, "o", f"{noise:.0%} wrong")
    named: Any = others.groupby(["encoder", "task"], sort=False) if len(others) else ()
    for marker, ((encoder, task), own) in zip("DsPX^v", named, strict=False):
        sizes = [f"{size}" for size in own["train_size"]]
        _points(axis, own, _AGAINST, 60, marker, f"{encoder}, {task}: {', '.join(sizes)}")
        if len(own) > 1:
            around = cycle([(6, 6), (6, -13), (-24, 6), (-24, -13)])  # such cells lie close to each other
            for size, *where in zip(sizes, own["fall of variance"], own["gain"], strict=True):
                axis.annotate(size, where, next(around), textcoords="offset points", fontsize=9)
    both = pd.concat([data, others])
    # The limits are those of the points: some intervals are many times wider.
    for limit, name, room in ((axis.set_xlim, "fall of variance", 0.3), (axis.set_ylim, "gain", 1.5)):
        values = both[name].to_numpy(float)
        limit(np.nanmin(values) - room, np.nanmax(values) + room)
    axis.set(xlabel="fall of variance (hundredths of the Brier loss)", ylabel="gain (points)")
    fig.legend(loc="outside right upper", frameon=False)
    sns.despine(ax=axis)
    return fig


def _points(axis: Axes, own: pd.DataFrame, colour: Any, area: Any, marker: str, label: str) -> None:
    x, y = own["fall of variance"], own["gain"]
    ends = [
        np.abs([own[name] - own[f"{name}: low"], own[f"{name}: high"] - own[name]])
        for name in ("fall of variance", "gain")
    ]
    axis.errorbar(x, y, ends[1], ends[0], fmt="none", ecolor=colour, elinewidth=0.6)
    axis.scatter(x, y, area, color=[colour], marker=marker, label=label, zorder=3, edgecolor="white", linewidth=0.6)
