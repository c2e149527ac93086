"""The paper's tuning (5.2, A.2.2, A.3.2): of several learning rates, the one that the selection split likes best."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from supertickets.errors import SuperticketsError

_SCORES = ("selection_score", "selection_loss", "report_score")


def chosen_rates(frame: pd.DataFrame, by: Sequence[str] = ("task",)) -> pd.DataFrame:
    """Mean scores of every group and learning rate, in order, with ``runs``, how many, and which rate is ``chosen``.

    A group has the same values in the columns ``by``, such as task and model. Its rate is that with the best mean
    selection score, ties go to the lower selection loss, then to the lower rate. A rate that lacks runs which another
    rate of the group has is no candidate, unless all do. Raises SuperticketsError if columns are missing.

    >>> runs = {"task": "RTE", "learning_rate": [1e-4, 2e-4], "selection_score": [0.5, 0.7], "selection_loss": 1.0}
    >>> found = chosen_rates(pd.DataFrame(runs | {"report_score": [0.6, 0.5]}))
    >>> found.loc[found["chosen"], "learning_rate"].tolist()
    [0.0002]
    """
    if lacking := [name for name in (*by, "learning_rate", *_SCORES[:2]) if name not in frame]:
        raise SuperticketsError(f"The runs have no {', '.join(lacking)}; run them first.")
    scores = [name for name in _SCORES if name in frame]
    groups = frame.groupby([*by, "learning_rate"], sort=False)
    table = groups[scores].mean().join(groups.size().rename("runs")).reset_index()
    complete = table["runs"] == table.groupby(list(by), sort=False)["runs"].transform("max")
    ordered = (
        table.loc[complete]
        .round({"selection_score": 9})
        .sort_values(["selection_score", "selection_loss", "learning_rate"], ascending=[False, True, True])
    )
    best = ordered.groupby(list(by), sort=False).head(1).index
    place = table.groupby(list(by), sort=False).ngroup()
    return (
        table.assign(chosen=table.index.isin(best), place=place)
        .sort_values(["place", "learning_rate"], kind="stable", ignore_index=True)
        .drop(columns="place")
    )


def at_chosen_rates(frame: pd.DataFrame, by: Sequence[str] = ("task",)) -> pd.DataFrame:
    """The rows at the rate that :func:`chosen_rates` chooses for their group, in their order."""
    table = chosen_rates(frame, by)
    keys = [*by, "learning_rate"]
    wanted = pd.MultiIndex.from_frame(table.loc[table["chosen"], keys])
    return frame.loc[pd.MultiIndex.from_frame(frame[keys]).isin(wanted)]
