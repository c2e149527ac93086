"""The paper's claims about ticket sharing (section 6), put to the test."""

from __future__ import annotations

import numpy as np
import pandas as pd

from supertickets.chapters.multi_task.tables import averages, matched
from supertickets.chapters.pairs import kin_of
from supertickets.statistics import Interval, mean_interval, paired_difference, verdict

EQUAL = 1.0
"""Points that "on a par" and "equally well" may lose: the size of the gain that the paper reports."""


def sharing_claims(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """The claims of section 6.2, each with its paired difference over seeds, 95% t interval, p and verdict (points).

    1. Ticket-Share beats MT-DNN on average; 2. so it does after fine-tuning; 3. on the smallest task it is at least on
    a par with MT-DNN + fine-tuning; 4. on the largest task it does as well as MT-DNN. The last two are claims of no
    loss: supported if the whole interval lies above minus 1 point.
    A task is as large as its training set (``train_examples``). Claims that lack runs are left out.
    """
    frame = matched(frame)
    means = averages(frame, column)
    rows = []
    for claim, better, worse in (
        ("1 Ticket-Share above MT-DNN, average", "Ticket-Share", "MT-DNN"),
        ("2 the same after ST fine-tuning", "Ticket-Share + ST fine-tuning", "MT-DNN + ST fine-tuning"),
    ):
        if better in means and worse in means:
            both = means[[better, worse]].dropna().to_numpy()
            rows.append(_claim(claim, both))
    order = list(frame.sort_values("train_examples", kind="stable")["task"].unique())
    for claim, task, other in (
        ("3 smallest task: on a par with MT-DNN + ST fine-tuning", order[0], ("MT-DNN", "fine-tuned")),
        ("4 largest task: as well as MT-DNN", order[-1], ("MT-DNN", "multi-task")),
    ):
        scores = [_of_task(frame, task, *which, column) for which in (("Ticket-Share", "multi-task"), other)]
        both = pd.concat(scores, axis=1).dropna().to_numpy()
        if len(both):
            row = _claim(f"{claim} ({task}, {kin_of(task)})" if kin_of(task) != task else f"{claim} ({task})", both)
            interval: Interval = mean_interval(both[:, 0] - both[:, 1])
            rows.append(row | {"verdict": verdict(interval, -EQUAL)})
    return pd.DataFrame(rows)


def _of_task(frame: pd.DataFrame, task: str, model: str, stage: str, column: str) -> pd.Series:
    rows = frame.loc[(frame["task"] == task) & (frame["model"] == model) & (frame["stage"] == stage)]
    return 100 * rows.set_index("seed")[column]


def _claim(claim: str, both: np.ndarray) -> dict[str, object]:
    found = paired_difference(both[:, 0], both[:, 1])
    return {
        "claim": claim,
        "seeds": found.n,
        "difference": found.effect,
        "low": found.interval.low,
        "high": found.interval.high,
        "p": found.p,
        "verdict": verdict(found.interval),
    }
