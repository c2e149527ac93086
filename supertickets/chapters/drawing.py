"""What the figures of several chapters share: colours, curves with their bands, legends."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The paper's colours (winning blue, random orange, losing green) in the colour-blind safe palette of Okabe and Ito;
# markers differ too, so that nothing hangs on colour alone.
STYLE = {"winning": ("#0072B2", "o"), "random": ("#E69F00", "s"), "losing": ("#009E73", "^")}
FULL_COLOUR = "#777777"

# Okabe and Ito's colours, black last; the place of a wedge says the task too, so nothing hangs on colour alone.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
UNUSED = "#DDDDDD"


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


def seeds_said(n: Sequence[int]) -> str:
    """How many seeds the points of a panel rest on: "n = 5 seeds", or "n = 2 to 5 seeds" where runs are missing."""
    few, many = (min(n), max(n)) if len(n) else (0, 0)
    return f"n = {many if few == many else f'{few} to {many}'} seed{'' if many == 1 else 's'}"


def common_legend(fig: Figure, axes: Sequence[Axes]) -> None:
    """One legend below the panels, of everything that occurs in any of them."""
    found = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
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
