"""What the choices change, ranked, and the random tickets' curve over nominal and real sparsity."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from supertickets.chapters.drawing import FULL_COLOUR, STYLE, lines_around_zero, subplots

_LOOK = {
    "full": (FULL_COLOUR, "D"),
    **{kind: STYLE[kind] for kind in ("winning", "random")},
    "shared": ("#7A5CC4", "P"),
}


def changes_figure(claims: pd.DataFrame) -> Figure:
    """Every change with its 95% interval, a line per choice, the one that moves most on top; filled: it stands.

    ``claims`` are the rows of :func:`~supertickets.chapters.choices.claims.change_claims`.
    """
    claims = claims.dropna(subset=["effect"])
    cases = list(dict.fromkeys(claims["where"]))
    fig, axis = lines_around_zero(cases, "change of the score as published (points)")
    for (kind, (colour, marker)), shift in zip(_LOOK.items(), (-0.24, 0.0, 0.24, 0.0), strict=True):
        own = claims.loc[claims["kind"] == kind]
        if own.empty:
            continue
        at = np.array([cases.index(where) for where in own["where"]]) + shift
        ends = np.nan_to_num([own["effect"] - own["low"], own["high"] - own["effect"]])
        axis.errorbar(own["effect"], at, xerr=ends, fmt="none", ecolor=colour, elinewidth=1)
        stands = (own["verdict"] != "cannot tell").to_numpy()
        faces = [colour if filled else "white" for filled in stands]
        axis.scatter(own["effect"], at, 30, c=faces, edgecolors=colour, marker=marker, label=kind, zorder=3)
    fig.legend(loc="outside upper right", ncols=4, frameon=False)
    return fig


def random_figure(table: pd.DataFrame) -> Figure:
    """Scores of random tickets against the level they are named by, and against the share of heads they really lose.

    ``table`` is :func:`~supertickets.chapters.choices.tables.random_table`'s; bars are 95% intervals.
    """
    parts = list(table.groupby("task", sort=False)) if "task" in table else [("", table)]
    fig, axes = subplots(len(parts), 2, figsize=(7.2, 0.4 + 2.8 * len(parts)), sharey="row", squeeze=False)
    looks = {
        "paper": (STYLE["random"][0], "s", "-"),
        "replacement": ("#CC79A7", "o", "--"),
        "published": (FULL_COLOUR, "^", ":"),
    }
    columns = {"level": "nominal sparsity", "heads pruned": "heads really pruned"}
    for row, (task, part) in zip(axes, parts, strict=True):
        for axis, column in zip(row, columns, strict=True):
            for case, own in part.groupby("case", sort=False):
                colour, marker, line = looks[str(case)]
                ends = np.nan_to_num([own["score"] - own["low"], own["high"] - own["score"]])
                style = {"color": colour, "marker": marker, "linestyle": line, "markersize": 5, "elinewidth": 0.8}
                label = case if axis is axes[0, 0] else None
                axis.errorbar(own[column], own["score"], ends, label=label, **style)
            axis.set(xlabel=columns[column])
        row[0].set_ylabel(f"{task} score (points)".strip())
    fig.legend(loc="outside upper right", ncols=3, frameon=False)
    sns.despine(fig)
    return fig
