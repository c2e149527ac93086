"""The paper's tuning (5.2, A.2.2, A.3.2): of several settings of a run, the one that the selection split likes best."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd

from supertickets.errors import SuperticketsError
from supertickets.runs import RunSpec, TicketRule

SETTINGS = ("learning_rate", "batch_size", "task_dropout")
"""What the paper tunes; learning rates alone unless all three are asked for."""
_SCORES = ("selection_score", "selection_loss", "report_score")


def chosen_rates(
    frame: pd.DataFrame, by: Sequence[str] = ("task",), over: Sequence[str] = SETTINGS[:1]
) -> pd.DataFrame:
    """Mean scores of every group and learning rate, in order, with ``runs``, how many, and which rate is ``chosen``.

    A group has the same values in the columns ``by``, such as task and model. Its rate (or its setting, where ``over``
    has more of :data:`SETTINGS`) is that with the best mean selection score, ties go to the lower selection loss, then
    to the lower rate. A rate that lacks runs which another rate of the group has is no candidate, unless all do. Raises
    SuperticketsError if columns are missing.

    >>> runs = {"task": "RTE", "learning_rate": [1e-4, 2e-4], "selection_score": [0.5, 0.7], "selection_loss": 1.0}
    >>> found = chosen_rates(pd.DataFrame(runs | {"report_score": [0.6, 0.5]}))
    >>> found.loc[found["chosen"], "learning_rate"].tolist()
    [0.0002]
    """
    if lacking := [name for name in (*by, *over, *_SCORES[:2]) if name not in frame]:
        raise SuperticketsError(f"The runs have no {', '.join(lacking)}; run them first.")
    keys, scores = [*by, *over], [name for name in _SCORES if name in frame]
    rows = []
    for place, (_, group) in enumerate(frame.groupby(list(by), sort=False)):
        for _, own in group.groupby(list(over)):
            # Rounded, else floating-point noise decides between equals.
            means = {name: round(float(np.mean(own[name].to_numpy())), 9) for name in scores}
            rows.append({name: own[name].iloc[0] for name in keys} | means | {"runs": len(own), "group": place})
    table = pd.DataFrame(rows, columns=[*keys, *scores, "runs", "group"])
    complete = table["runs"] == table.groupby("group")["runs"].transform("max")
    order = ["selection_score", "selection_loss", *over]
    best = (
        table.loc[complete]
        .sort_values(order, ascending=[False, *(True for _ in order[1:])])
        .groupby("group")
        .head(1)
        .index
    )
    return table.drop(columns="group").assign(chosen=table.index.isin(best))


def at_chosen_rates(frame: pd.DataFrame, by: Sequence[str] = ("task",)) -> pd.DataFrame:
    """The rows at the rate that :func:`chosen_rates` chooses for their group, in their order."""
    table, keys = chosen_rates(frame, by), [*by, "learning_rate"]
    wanted = set(table.loc[table["chosen"], keys].itertuples(index=False, name=None))
    return frame.loc[[row in wanted for row in frame[keys].itertuples(index=False, name=None)]]


def at_own_rates(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of multi-task runs that were trained together at their model's chosen rate, fine-tuned ones included.

    ``frame`` holds rows of :class:`supertickets.runs.SharingSpec`; the rate of a model is chosen by the mean over tasks
    and seeds. Raises SuperticketsError without multi-task runs.
    """
    if frame.empty or not {"run", "stage", "model", "learning_rate"} <= set(frame):
        raise SuperticketsError("There are no finished multi-task runs; run them first.")
    together = frame.loc[frame["stage"] == "multi-task"]
    own, chosen = together.groupby("run")["learning_rate"].first(), own_rates(frame)
    kept = frame.loc[frame["run"].map(own.to_dict().get) == frame["model"].map(chosen.get)]
    return kept.drop_duplicates(["model", "stage", "task", "seed", "learning_rate"])  # with and without fine-tuning


def own_rates(frame: pd.DataFrame) -> dict[str, float]:
    """The chosen rate of training together by model, from rows of multi-task runs; none without any."""
    if frame.empty:
        return {}
    together = frame.loc[frame["stage"] == "multi-task"]
    table = chosen_rates(together.drop_duplicates(["model", "task", "seed", "learning_rate"]), ["model"])
    best = table.loc[table["chosen"]]
    return dict(zip(best["model"], best["learning_rate"], strict=True))


def mismatched(tuning: Iterable[RunSpec], sweep: Iterable[RunSpec], levels: Sequence[float]) -> list[RunSpec]:
    """Winning tickets of a sweep's levels, rewound as there, but found at another learning rate (A.2.1).

    ``tuning`` are full models at several rates, of which that farthest from the sweep's own gives the scores.
    """
    found, parents = [], list(tuning)
    for full in (spec for spec in sweep if spec.ticket.kind == "full"):
        own = full.hyper.learning_rate
        near = [x for x in parents if (x.data, x.seed) == (full.data, full.seed) and x.hyper.learning_rate != own]
        if near:
            parent = max(near, key=lambda spec: abs(math.log(spec.hyper.learning_rate / own)))
            rules = (TicketRule("winning", level, parent.id) for level in levels)
            found += [replace(full, ticket=rule, estimators=()) for rule in rules]
    return found


def at_rates(sweep: Iterable[RunSpec], frame: pd.DataFrame, over: Sequence[str] = SETTINGS[:1]) -> list[RunSpec]:
    """The runs of a sweep again, every task at what :func:`chosen_rates` chooses ``over`` ``frame``'s full models.

    Tasks of which there is none stay as they are, and a run's parent is at the same setting.
    """
    table = chosen_rates(frame, over=over) if len(frame) else pd.DataFrame(columns=["task", *over, "chosen"])
    rows = table.loc[table["chosen"].astype(bool), ["task", *over]].to_dict("records")
    best = {row.pop("task"): row for row in rows}
    made: dict[str, RunSpec] = {}
    for spec in sweep:  # a full model stands before its tickets
        hyper = replace(spec.hyper, **best.get(spec.data.name, {}))
        parent = made[spec.ticket.parent].id if spec.ticket.parent else ""
        made[spec.id] = replace(spec, hyper=hyper, ticket=replace(spec.ticket, parent=parent))
    return list(made.values())


def at_each(specs: Iterable[RunSpec], name: str, values: Iterable[float]) -> list[RunSpec]:
    """Runs again at every value of a hyper-parameter, no run twice."""
    again = (replace(spec, hyper=replace(spec.hyper, **{name: value})) for spec, value in product(specs, values))
    return list({spec.id: spec for spec in again}.values())
