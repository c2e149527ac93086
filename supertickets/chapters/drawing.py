"""What the figures of several chapters share: colours, curves with their bands, legends."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch, Wedge

# The paper's colours (winning blue, random orange, losing green) in the colour-blind safe palette of Okabe and Ito, of
# which only the darker orange has contrast 3 on white and on black; markers differ too: nothing hangs on colour alone.
STYLE = {"winning": ("#0072B2", "o"), "random": ("#D55E00", "s"), "losing": ("#009E73", "^")}
FULL_COLOUR = "#777777"

# Okabe and Ito's colours, black last; the place of a wedge says the task too, so nothing hangs on colour alone. Light
# ones need an edge in black.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
UNUSED = "#DDDDDD"


def subplots(
    rows: int = 1, columns: int = 1, style: Literal["ticks", "white"] = "ticks", **options: Any
) -> tuple[Figure, Any]:
    """:func:`matplotlib.pyplot.subplots` in one of seaborn's styles, with matplotlib's own layout."""
    with sns.axes_style(style):
        return plt.subplots(rows, columns, layout="constrained", **options)


def lines_around_zero(names: Sequence[str], unit: str) -> tuple[Figure, Axes]:
    """An axis with a line for every name, the first on top, and a stroke at zero, for effects in ``unit``."""
    fig, axis = subplots(figsize=(7.2, 1.2 + 0.34 * len(names)))
    axis.axvline(0, color=FULL_COLOUR, linewidth=0.8)
    axis.set_yticks(range(len(names)), names)
    axis.set(ylim=(len(names) - 0.4, -0.6), xlabel=unit)
    sns.despine(ax=axis)
    return fig, axis


def units_axis(n_layers: int, n_heads: int, axis: Axes, size: int) -> None:
    """An axis of units: layers down, heads across, the FFNs apart at ``n_heads + 0.6``, letters of a ``size``."""
    axis.set_xticks([*range(n_heads), n_heads + 0.6], [*map(str, range(1, n_heads + 1)), "FFN"], fontsize=size)
    axis.set_yticks(range(n_layers), list(map(str, range(1, n_layers + 1))))
    axis.set(xlim=(-0.7, n_heads + 1.3), ylim=(n_layers - 0.4, -0.6))
    axis.tick_params(length=0)
    sns.despine(ax=axis, left=True, bottom=True)


def panels(n: int, n_columns: int, size: tuple[float, float], x_name: str, y_name: str) -> tuple[Figure, list[Axes]]:
    """``n`` panels in rows of ``n_columns``, with names left of the first column and below the lowest of every one."""
    fig, grid = subplots(math.ceil(n / n_columns), n_columns, figsize=size, squeeze=False)
    axes = list(grid.flat)
    for axis in axes[n:]:
        axis.set_visible(False)
    for axis in grid[:, 0]:
        axis.set_ylabel(y_name)
    for axis in axes[max(0, n - n_columns) : n]:
        axis.set_xlabel(x_name)
    return fig, axes[:n]


def draw_wheel(
    axis: Axes, place: tuple[float, float], radius: float, slices: Sequence[tuple[float, str]], line: float
) -> None:
    """Slices (share, colour) clockwise from the top, on an axis whose limits are set: where y points down, angles turn
    round."""
    turn, start = 1 if axis.yaxis_inverted() else -1, 0.0
    for share, colour in slices:
        if share > 0:
            ends = sorted((turn * (360 * start - 90), turn * (360 * (start + share) - 90)))
            piece = Circle(place, radius) if share >= 1 else Wedge(place, radius, *ends)
            piece.set(facecolor=colour, edgecolor="black", linewidth=line)
            axis.add_patch(piece)
        start += share


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


def swatch(colour: str, label: str | None = None) -> Patch:
    """What a legend shows of a filled colour: with an edge, for colours that are light."""
    return Patch(facecolor=colour, edgecolor="black", linewidth=0.6, label=label)


def seeds_said(n: Sequence[int]) -> str:
    """How many seeds the points of a panel rest on: "n = 5 seeds", or "n = 2 to 5 seeds" where runs are missing."""
    few, many = (min(n), max(n)) if len(n) else (0, 0)
    return f"n = {many if few == many else f'{few} to {many}'} seed{'' if many == 1 else 's'}"


def common_legend(fig: Figure, axes: Sequence[Axes]) -> None:
    """One legend below the panels, of everything that occurs in any of them."""
    found = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            line = handle[0] if isinstance(handle, ErrorbarContainer) else handle  # whose dashes and marker tell it
            found.setdefault(label, line)
    order = [label for label in ("full model", *STYLE) if label in found]
    order += [label for label in found if label not in order]
    handles = [found[label] for label in order]
    if order:
        fig.legend(handles, order, loc="outside lower center", ncols=len(order), frameon=False)


def keep_to_means(axis: Axes, means: Sequence[float]) -> None:
    """Cut bands that are much wider than the spread of the means: those of two seeds would flatten every curve."""
    room = max(max(means) - min(means), 0.1 * max(map(abs, means))) * 0.6
    if room == 0:  # nothing but zeros
        return
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, min(means) - room), min(high, max(means) + room))
