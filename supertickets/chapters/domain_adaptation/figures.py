"""Domain adaptation drawn: accuracy against the share of the target's training set."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from supertickets.chapters import paper
from supertickets.chapters.domain_adaptation.tables import MODELS, table4
from supertickets.chapters.drawing import common_legend, subplots

STYLE = {
    "ST-DNN": ("#777777", "--", "s"),
    "SuperT": ("#0072B2", "-", "o"),
    "MT-DNN": ("#D55E00", "--", "D"),
    "Ticket-Share": ("#009E73", "-", "^"),
}


def adaptation_figure(frame: pd.DataFrame) -> Figure:
    """Score against the number of training examples, a panel per target, a line per source model, with the intervals.

    Numbers are those of :func:`~supertickets.chapters.domain_adaptation.tables.table4`. Solid lines have tickets,
    dashed ones do not; wide intervals are cut at the edge. Raises SuperticketsError as ``by_seed`` there does.
    """
    data = table4(frame)
    targets = list(dict.fromkeys(data["target"]))
    fig, axes = subplots(1, len(targets), figsize=(4.2 * len(targets), 3.3), squeeze=False)
    for ax, target in zip(axes[0], targets, strict=True):
        for place, model in enumerate(MODELS):
            rows = data.loc[(data["target"] == target) & (data["model"] == model)]
            if rows.empty:
                continue
            colour, dashes, marker = STYLE[model]
            errors = (rows[["low", "high"]].to_numpy().T - rows["score"].to_numpy()) * np.array([[-1], [1]])
            x = rows["examples"].to_numpy() * 1.04 ** (place - 1.5)  # side by side, so that no interval hides another
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.4, "capsize": 2}
            ax.errorbar(x, rows["score"], np.nan_to_num(errors), linestyle=dashes, label=model, **style)
        scores = data.loc[data["target"] == target, "score"]
        # Intervals of few seeds are wider than the page has use for: they are cut at the edge.
        ax.set_ylim(scores.min() - 6, min(100.5, scores.max() + 6))
        ax.set_xscale("log")
        sizes = sorted(data.loc[data["target"] == target, "examples"].unique())
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.set_title(target if paper.kin_of(target) == target else f"{target} (as {paper.kin_of(target)})", fontsize=10)
        ax.set_xlabel("training examples of the target")
    axes[0][0].set_ylabel("score (points)")
    common_legend(fig, axes[0])
    sns.despine(fig)
    return fig
