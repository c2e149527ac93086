"""The paper's claims about ticket sharing (section 6), put to the test."""

from __future__ import annotations

import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.claims import MARGIN, TOGETHER, claim, judged
from supertickets.chapters.multi_task.tables import averages, matched
from supertickets.chapters.pairs import check_size, kin_of

TUNED = " + ST fine-tuning"


def sharing_claims(frame: pd.DataFrame, column: str = "report_score", size: str = "base") -> pd.DataFrame:
    """The claims of section 6.2, judged as one family, in points.

    1. Ticket-Share beats MT-DNN, 2. so it does after fine-tuning (means over tasks, then over seeds); 3. on the
    smallest task it is at least on a par with MT-DNN + ST fine-tuning, 4. on the largest as good as MT-DNN: no loss
    beyond ``MARGIN``. A task is as large as its training set (``train_examples``). The effects expected are those of
    the paper's Table 3 for BERT-``size``, whose smallest task is RTE and largest MNLI. Claims that lack runs are left
    out. Raises SuperticketsError as :func:`~supertickets.chapters.multi_task.tables.averages` does.
    """
    check_size(size)
    frame = matched(frame)
    means, rows = averages(frame, column), []
    for after in ("", TUNED):
        if {f"Ticket-Share{after}", f"MT-DNN{after}"} <= set(means):
            gains = (means[f"Ticket-Share{after}"] - means[f"MT-DNN{after}"]).dropna()
            text = f"Ticket-Share{after} is better than MT-DNN{after}"
            rows.append(claim(text, TOGETHER, gains, expected=_printed(f"{size}{after}", f"{size}{after}")))
    order = list(frame.sort_values("train_examples", kind="stable")["task"].unique())
    for text, task, after, theirs in (
        ("Ticket-Share is on a par with MT-DNN + ST fine-tuning on the smallest task", order[0], TUNED, "RTE"),
        ("Ticket-Share is as good as MT-DNN on the largest task", order[-1], "", "MNLI"),
    ):
        scores = _of_task(frame, task, "Ticket-Share", "multi-task", column)
        others = _of_task(frame, task, "MT-DNN", "fine-tuned" if after else "multi-task", column)
        if len(gains := (scores - others).dropna()):
            where = task if kin_of(task) == task else f"{task}, {kin_of(task)}"
            printed = _printed(size, f"{size}{after}", theirs)
            rows.append(claim(text, where, gains, limit=-MARGIN, expected=printed))
    return judged(rows)


def _of_task(frame: pd.DataFrame, task: str, model: str, stage: str, column: str) -> pd.Series:
    rows = frame.loc[(frame["task"] == task) & (frame["model"] == model) & (frame["stage"] == stage)]
    return 100 * rows.set_index("seed")[column]


def _printed(ours: str, theirs: str, task: str = "") -> float:
    """Ticket-Share minus MT-DNN in Table 3, on average or on one task."""
    if not task:
        averages = {row["model"]: row["average score"] for row in paper.table(3)}
        return averages[f"Ticket-Share {ours}"] - averages[f"MT-DNN {theirs}"]
    scores = paper.scores(3)
    better, worse = scores[f"Ticket-Share {ours}"][task], scores[f"MT-DNN {theirs}"][task]
    return paper.task_score(better) - paper.task_score(worse)
