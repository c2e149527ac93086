"""Figure 1 drawn from measurements: score, variance and bias against the weights remaining."""

import math
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from supertickets.chapters.bias_variance.claims import LOSSES
from supertickets.chapters.drawing import common_legend, draw_curves, subplots
from supertickets.chapters.single_task.figures import phase_transition_data
from supertickets.statistics import PhaseBoundaries


def trade_off_figure(frame: pd.DataFrame, terms: pd.DataFrame, phases: PhaseBoundaries | None = None) -> Figure:
    """Figure 1: phase transition (left), variance (middle) and bias^2 (right) against the weights remaining.

    ``frame`` holds the records of one task on many training sets, ``terms`` is
    :func:`~supertickets.chapters.bias_variance.tables.trade_off` of the same runs. Bands are 95% intervals; the noise
    floor, where known, is given in the panels' titles. With ``phases`` the three phases are shaded and named in every
    panel. Conditions without runs are left out.
    """
    fig, axes = subplots(1, 3, figsize=(11.4, 3.5))
    data = phase_transition_data(frame)
    draw_curves(axes[0], data)
    axes[0].set(title=f"phase transition (n = {frame['seed'].nunique()} training sets)", ylabel="score")
    axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 1.03))
    names = {"variance": "variance", "bias2": "bias$^2$"}
    for axis, term in zip(axes[1:], names, strict=True):
        chosen = terms.loc[terms["term"] == term]
        draw_curves(axis, chosen.rename(columns={"value": "mean"}))
        axis.set(title=f"{names[term]} of the {LOSSES[chosen['loss'].iloc[0]]} loss", ylabel=names[term])
        axis.set_ylim(bottom=0)
    noise = terms.loc[(terms["term"] == "noise") & terms["noise_known"], "value"]
    if len(noise):
        for axis in axes[1:]:  # drawn to scale it would press the curves flat: it is a number, the same at every point
            axis.set_title(f"{axis.get_title()}\nabove a noise floor of {noise.iloc[0]:.3f}", fontsize=10)
    for axis in axes:
        axis.set_xlabel("weights remaining (%)")
        axis.invert_xaxis()  # as in the paper: pruning grows to the right
        if phases is not None:
            _shade(axis, phases, data)
        sns.despine(ax=axis)
    common_legend(fig, axes[:1])
    return fig


def _shade(axis: Axes, phases: PhaseBoundaries, data: pd.DataFrame) -> None:
    """The phases as shades of grey, on the axis of weights remaining; levels in between are interpolated."""
    curve = data.loc[data["kind"].isin(["full", "winning"])].sort_values("level")
    x = 100 * curve["weights_remaining"].to_numpy()

    def place(level: float) -> float:
        return float(np.interp(level, curve["level"], x)) if math.isfinite(level) else float(x.min())

    edges = [float(x.max()), place(phases.best.level), place(phases.meeting.level), float(x.min())]
    for name, left, right, shade in zip(("I", "II", "III"), edges[:-1], edges[1:], (0.0, 0.06, 0.14), strict=True):
        if left > right:
            axis.axvspan(right, left, color="black", alpha=shade, linewidth=0, zorder=-1)
            text: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 9, "color": "black"}
            axis.text((left + right) / 2, 0.99, name, transform=axis.get_xaxis_transform(), **text)
