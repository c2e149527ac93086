"""The paper's claims about ticket sharing (section 6), put to the test; errors are those of ``tables.averages``."""

import numpy as np
import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.claims import MARGIN, TOGETHER, claim, judged
from supertickets.chapters.multi_task.tables import averages, tuned
from supertickets.chapters.single_task.claims import size_relation
from supertickets.studies import at_own_rates

TUNED = " + ST fine-tuning"


def sharing_claims(frame: pd.DataFrame, size: str = "base") -> pd.DataFrame:
    """The claims of section 6.2, judged as one family, in points.

    1. Ticket-Share beats MT-DNN, 2. so it does after fine-tuning (means over tasks, then over seeds); 3. on the
    smallest task it is at least on a par with MT-DNN + ST fine-tuning, 4. on the largest as good as MT-DNN: no loss
    beyond ``MARGIN``; 5. it helps small tasks most: its gain falls with the task's size
    (:func:`~supertickets.chapters.single_task.claims.size_relation`); 6. SST-2 "benefits little from tickets sharing"
    (section 8): less than the other tasks. A task is as large as its training set (``train_examples``). Every row is at
    its chosen rates (:func:`~supertickets.chapters.multi_task.tables.tuned`). The effects expected are those of the
    paper's Table 3 for BERT-``size``, whose smallest task is RTE and largest MNLI. Claims that lack runs are left out,
    3 and 4 among tasks of one size.
    """
    paper.check_size(size)
    means, frame, rows = averages(frame), tuned(frame), []
    for after in ("", TUNED):
        if {f"Ticket-Share{after}", f"MT-DNN{after}"} <= set(means):
            gains = (means[f"Ticket-Share{after}"] - means[f"MT-DNN{after}"]).dropna()
            text = f"Ticket-Share{after} is better than MT-DNN{after}"
            rows.append(claim(text, TOGETHER, gains, expected=_printed(f"{size}{after}", f"{size}{after}")))
    order = list(frame.sort_values("train_examples", kind="stable")["task"].unique())
    extremes = (
        ("Ticket-Share is on a par with MT-DNN + ST fine-tuning on the smallest task", order[0], TUNED, "RTE"),
        ("Ticket-Share is as good as MT-DNN on the largest task", order[-1], "", "MNLI"),
    )
    for text, task, after, theirs in extremes if len(set(frame["train_examples"])) > 1 else ():
        scores = _of_task(frame, task, "Ticket-Share", "multi-task")
        others = _of_task(frame, task, "MT-DNN", "fine-tuned" if after else "multi-task")
        if len(gains := (scores - others).dropna()):
            where = task if paper.kin_of(task) == task else f"{task}, {paper.kin_of(task)}"
            printed = _printed(size, f"{size}{after}", theirs)
            rows.append(claim(text, where, gains, limit=-MARGIN, expected=printed))
    together = frame.loc[frame["stage"] == "multi-task"]
    keys = ["model", "task"]
    wide = 100 * together.pivot_table(index="seed", columns=keys, values="report_score", aggfunc="first").dropna()
    if not {"Ticket-Share", "MT-DNN"} <= set(wide.columns.get_level_values(0)) or wide.empty:
        return judged(rows)
    by_task = (wide["Ticket-Share"] - wide["MT-DNN"]).dropna(axis=1)
    printed = {task: _printed(size, size, task) for task in paper.TASKS}
    if by_task.shape[1] > 1:
        examples = dict(zip(frame["task"], frame["train_examples"], strict=True))
        gains = {str(task): by_task[task] for task in by_task}
        text = "Ticket-Share gains less over MT-DNN in larger tasks"
        rows.append(size_relation(text, gains, examples, printed, side="below"))
    kin = [task for task in by_task if paper.kin_of(str(task)) == "SST-2"]
    if kin and by_task.shape[1] > 1:
        less = by_task[kin[0]] - by_task.drop(columns=kin[0]).mean(axis=1)
        expected = printed["SST-2"] - float(np.mean([gain for task, gain in printed.items() if task != "SST-2"]))
        text = "Ticket-Share gains less over MT-DNN on SST-2 than on the other tasks"
        rows.append(claim(text, f"{kin[0]} against {by_task.shape[1] - 1}", less, side="below", expected=expected))
    return judged(rows)


def fine_tuning_claims(frame: pd.DataFrame, size: str = "base") -> pd.DataFrame:
    """Does fine-tuning each task afterwards, at its chosen rate, help MT-DNN and Ticket-Share? One family, in points.

    Means over tasks, paired by seed; expected are the paper's of Table 3.
    """
    paper.check_size(size)
    means, printed = averages(frame), paper.column(3, "average score")
    return judged(
        claim(
            f"ST fine-tuning helps {model}",
            TOGETHER,
            (means[f"{model}{TUNED}"] - means[model]).dropna(),
            expected=printed[f"{model} {size}{TUNED}"] - printed[f"{model} {size}"],
        )
        for model in ("MT-DNN", "Ticket-Share")
        if {model, f"{model}{TUNED}"} <= set(means)
    )


def with_hindsight(frame: pd.DataFrame) -> list[str]:
    """What fine-tuning changes at the rates that report scores like best, by model: no choice of rates does more."""
    keys, score = ["model", "stage", "task"], "report_score"
    means = at_own_rates(frame).pivot_table(index=[*keys, "learning_rate"], values=score).reset_index()
    best = 100 * means.pivot_table(index=keys, values=score, aggfunc="max").reset_index().pivot_table(
        index="model", columns="stage", values=score
    )
    return [
        f"{row['model']}: at the rates that look best with hindsight, on the report split itself, fine-tuning changes "
        f"the average by {row['fine-tuned'] - row['multi-task']:+.2f} points."
        for row in best.reset_index().to_dict("records")
        if bool(pd.notna(row.get("fine-tuned")))
    ]


def _of_task(frame: pd.DataFrame, task: str, model: str, stage: str) -> pd.Series:
    rows = frame.loc[(frame["task"] == task) & (frame["model"] == model) & (frame["stage"] == stage)]
    return 100 * rows.set_index("seed")["report_score"]


def _printed(ours: str, theirs: str, task: str = "") -> float:
    """Ticket-Share minus MT-DNN in Table 3, on average or on one task."""
    if not task:
        averages = paper.column(3, "average score")
        return averages[f"Ticket-Share {ours}"] - averages[f"MT-DNN {theirs}"]
    scores = paper.scores(3)
    better, worse = scores[f"Ticket-Share {ours}"][task], scores[f"MT-DNN {theirs}"][task]
    return paper.task_score(better) - paper.task_score(worse)
