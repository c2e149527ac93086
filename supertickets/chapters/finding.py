"""Section 3: the sizes of tickets, how far the importance estimators agree, and both drawn."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from supertickets.chapters.drawing import STYLE, units_axis
from supertickets.runs import Record
from supertickets.tickets import ESTIMATORS, EncoderShape, Scores, Ticket, pruned_counts, random_ticket


def importance_figure(scores: Scores) -> Figure:
    """Importance of heads (after layer-wise l2 normalisation, as they are ranked) and of FFNs, by layer."""
    heads = scores.normalised_heads()
    size, ratios = (7.2, 0.42 * len(heads) + 1.2), [heads.shape[1], 5]
    fig, (left, right) = plt.subplots(1, 2, figsize=size, width_ratios=ratios, sharey=True, layout="constrained")
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
    size = (0.3 * (n_heads + 3) * len(tickets), 0.3 * n_layers + 1.1)
    fig, axes = plt.subplots(1, len(tickets), figsize=size, squeeze=False, sharey=True)
    for axis, ticket in zip(axes.flat, tickets, strict=True):
        for layer, (heads, ffn) in enumerate(zip(ticket.heads, ticket.ffns, strict=True)):
            units = [*((column, "o", kept) for column, kept in enumerate(heads)), (n_heads + 0.6, "s", ffn)]
            for column, marker, kept in units:
                style: dict[str, Any] = {"marker": marker, "fillstyle": "full" if kept else "none", "markersize": 8}
                axis.plot(column, layer, color=STYLE["winning"][0], **style)
        axis.set_title(f"{ticket.level:.0%} pruned" if ticket.level else "", fontsize=10)
        units_axis(n_layers, n_heads, axis, size=7)
    axes[0, 0].set_ylabel("layer")
    fig.tight_layout()
    return fig


def ticket_sizes(shape: EncoderShape, levels: Sequence[float]) -> pd.DataFrame:
    """Units pruned and shares kept at every level; the same for winning, random and losing tickets."""
    rows = []
    for level in levels:
        heads, ffns = pruned_counts((shape.n_layers, shape.n_heads), level)
        row: dict[str, Any] = {"level": f"{level:.0%}", "heads pruned": f"{heads} of {shape.n_layers * shape.n_heads}"}
        row["FFNs pruned"] = f"{ffns} of {shape.n_layers}"
        # Which units go does not matter for the size, so any ticket of the level will do.
        ticket = random_ticket((shape.n_layers, shape.n_heads), level, seed=0)
        row["weights remaining"] = ticket.weights_remaining(shape)
        rows.append(row | {"without embeddings": ticket.weights_remaining(shape, embeddings=False)})
    return pd.DataFrame(rows)


def estimator_agreement(record: Record) -> pd.DataFrame:
    """Spearman's rank correlation between the importance estimators of a full run, for heads and for FFNs.

    Heads are compared as they are ranked, after layer-wise normalisation. One row per estimator, two columns per other.
    """
    scores = {name: record.scores(name) for name in ESTIMATORS if f"importance/{name}/heads" in record.arrays}
    heads = pd.DataFrame({name: own.normalised_heads().ravel() for name, own in scores.items()}).corr("spearman")
    ffns = pd.DataFrame({name: own.ffns for name, own in scores.items()}).corr("spearman")
    both = (("heads", heads), ("FFNs", ffns))
    columns = {f"{name}: {unit}": table[name] for name in scores for unit, table in both}
    return pd.DataFrame(columns).rename_axis("estimator").reset_index()
