"""What choosing the best level adds to a super ticket's gain: the winner's curse, on the runs themselves (P9)."""

import math
from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from supertickets.chapters.single_task.examples import answers, scored
from supertickets.runs import Record, super_tickets
from supertickets.statistics import placebo_gain


def optimism(frame: pd.DataFrame, luck: Mapping[str, float] | None = None) -> pd.DataFrame:
    """What choosing the best level on selection data promises, and what held-out data keep of it, in points.

    ``promised`` is the super ticket's gain over the full model on the selection split it was chosen on, ``kept`` its
    gain on the report split, ``whole dev`` the paper's protocol, which contains the selection data (P9). ``promised if
    nothing were there`` is the task's :func:`luck_of_the_choice`, where that is given.
    """
    chosen, full = super_tickets(frame), frame.loc[frame["kind"] == "full"]
    merged = chosen.merge(full, on=["encoder", "task", "seed", "data"], suffixes=("", "_full"))
    rows = []
    for task, group in merged.groupby("task", sort=False):
        row: dict[str, object] = {"task": task}
        for name, split in (("promised", "selection"), ("kept", "report"), ("whole dev", "dev")):
            row[name] = 100 * (group[f"{split}_score"] - group[f"{split}_score_full"]).mean()
        rows.append(row | ({} if luck is None else {"promised if nothing were there": luck.get(str(task), math.nan)}))
    return pd.DataFrame(rows)


def luck_of_the_choice(records: Iterable[Record], n_resamples: int = 200) -> dict[str, float]:
    """The gain, in points, that choosing the best level shows on the selection split when there is none, by task.

    ``records`` (with arrays) are full models and winning tickets of one encoder. Their stored predictions are exchanged
    between the full model and the levels that are not clearly worse, example by example, and the best level is chosen
    again (:func:`supertickets.statistics.placebo_gain`). NaN for a task without a seed that has every level.
    """
    by_task: dict[str, dict[int, dict[float, Record]]] = {}
    for record in records:
        if record.spec.ticket.kind in ("full", "winning"):
            seeds = by_task.setdefault(record.spec.data.name, {})
            seeds.setdefault(record.spec.seed, {})[record.spec.ticket.level] = record
    found = {}
    for task, seeds in by_task.items():
        levels = sorted(set().union(*seeds.values()))
        complete = [[runs[level] for level in levels] for runs in seeds.values() if len(runs) == len(levels)]
        if not complete or levels[0] != 0 or len(levels) < 3:
            found[task] = math.nan
            continue
        first = complete[0][0]
        rows, facts = first.arrays["selection"], first.tasks[task]
        labels, groups = first.arrays["dev_labels"][rows], first.arrays.get("dev_groups")
        values = np.array([[answers(record, rows) for record in runs] for runs in complete])
        selection, report = (
            [[record.metrics[split]["score"] for record in runs] for runs in complete]
            for split in ("selection", "report")
        )
        metric = partial(scored, facts.metrics, labels, None if groups is None else groups[rows])
        found[task] = 100 * placebo_gain(levels, selection, report, values, metric, n_resamples)
    return found
