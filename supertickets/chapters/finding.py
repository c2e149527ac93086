"""Section 3: the sizes of tickets, how far the importance estimators agree, and both drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from supertickets.chapters.drawing import STYLE
from supertickets.runs import Record
from supertickets.tickets import ESTIMATORS, EncoderShape, Scores, Ticket, pruned_counts, random_ticket


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
    left.set_xticks(np.arange(heads.shape[1]) + 0.5, range(1, heads.shape[1] + 1))
    left.set_yticks(np.arange(len(heads)) + 0.5, range(1, len(heads) + 1), rotation=0)
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
        axis.set_xticks([*range(n_heads), n_heads + 0.6], [*map(str, range(1, n_heads + 1)), "FFN"], fontsize=7)
        axis.set_yticks(range(n_layers), range(1, n_layers + 1))
        axis.set(xlim=(-0.7, n_heads + 1.3), ylim=(n_layers - 0.4, -0.6))
        axis.tick_params(length=0)
        sns.despine(ax=axis, left=True, bottom=True)
    axes[0, 0].set_ylabel("layer")
    fig.tight_layout()
    return fig


def ticket_sizes(shape: EncoderShape, levels: Sequence[float]) -> pd.DataFrame:
    """Units pruned and shares kept at every level; the same for winning, random and losing tickets."""
    rows = []
    for level in levels:
        heads, ffns = pruned_counts((shape.n_layers, shape.n_heads), level)
        # Which units go does not matter for the size, so any ticket of the level will do.
        ticket = random_ticket((shape.n_layers, shape.n_heads), level, seed=0)
        rows.append(
            {
                "level": f"{level:.0%}",
                "heads pruned": f"{heads} of {shape.n_layers * shape.n_heads}",
                "FFNs pruned": f"{ffns} of {shape.n_layers}",
                "weights remaining": ticket.weights_remaining(shape),
                "without embeddings": ticket.weights_remaining(shape, embeddings=False),
            }
        )
    return pd.DataFrame(rows)


def estimator_agreement(record: Record) -> pd.DataFrame:
    """Spearman's rank correlation between the importance estimators of a full run, for heads and for FFNs.

    Heads are compared as they are ranked, after layer-wise normalisation. One row per estimator, two columns per other.
    """
    names = [name for name in ESTIMATORS if f"importance/{name}/heads" in record.arrays]
    scores = {name: record.scores(name) for name in names}
    rows = []
    for name in names:
        row: dict[str, str | float] = {"estimator": name}
        for other in names:
            a, b = scores[name], scores[other]
            row[f"{other}: heads"] = _rank_correlation(a.normalised_heads(), b.normalised_heads())
            row[f"{other}: FFNs"] = _rank_correlation(a.ffns, b.ffns)
        rows.append(row)
    return pd.DataFrame(rows)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    result: Any = spearmanr(a.ravel(), b.ravel())  # SciPy's own type of it has no fields
    return float(result.statistic)
