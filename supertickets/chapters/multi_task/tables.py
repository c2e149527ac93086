"""Table 3 from the records of multi-task runs; without any every function raises SuperticketsError."""

import pandas as pd

from supertickets.chapters import paper
from supertickets.studies import at_chosen_rates, at_own_rates, chosen_rates

ROWS = (
    ("MT-DNN", "multi-task"),
    ("MT-DNN", "fine-tuned"),
    ("Ticket-Share", "multi-task"),
    ("Ticket-Share", "fine-tuned"),
)


def row_name(model: str, stage: str) -> str:
    """The paper's name of a row of Table 3.

    >>> row_name("MT-DNN", "fine-tuned")
    'MT-DNN + ST fine-tuning'
    """
    return model if stage == "multi-task" else f"{model} + ST fine-tuning"


def tuned(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows at the learning rates that the selection split chooses, for every model alike (A.2.2).

    Of training together by model, of single-task fine-tuning by model and task.
    """
    own = at_own_rates(frame)
    together = own["stage"] == "multi-task"
    return pd.concat([own.loc[together], at_chosen_rates(own.loc[~together], ["model", "task"])], ignore_index=True)


def rates_tried(frame: pd.DataFrame) -> pd.DataFrame:
    """Which learning rates were tried for each row of Table 3, what they scored, and which was chosen.

    One row per model, stage and task ("all": training together); columns are the rates' mean selection scores in
    points, then ``chosen``, with the grid that the paper searched (A.2), and the report score at it (points).
    """
    own, theirs = at_own_rates(frame), paper.paper_facts()["hyperparameters"]
    together = frame.loc[frame["stage"] == "multi-task"].drop_duplicates(["model", "task", "seed", "learning_rate"])
    grids = {
        "multi-task": (together.assign(task="all"), [theirs["multi_task"]["learning_rate"]]),
        "fine-tuned": (own.loc[own["stage"] == "fine-tuned"], theirs["multi_task_fine_tuning"]["learning_rates"]),
    }
    rows = []
    for stage, (runs, grid) in grids.items():
        for _, tried in chosen_rates(runs, ["model", "task"]).groupby(["model", "task"], sort=True):
            best = tried.loc[tried["chosen"]].iloc[0]
            scores = zip(tried["learning_rate"], tried["selection_score"], strict=True)
            row = {"model": row_name(best["model"], stage), "task": best["task"]}
            row |= {f"at {rate:g}": 100 * score for rate, score in scores}
            searched = f"{min(grid):g}" + (f" to {max(grid):g}, of {len(grid)}" if len(grid) > 1 else "")
            row |= {"chosen": f"{best['learning_rate']:g}", "paper: chosen": searched}
            rows.append(row | {"report score": 100 * best["report_score"]})
    table = pd.DataFrame(rows)
    last = ["chosen", "paper: chosen", "report score"]
    rates = sorted((name for name in table if name.startswith("at ")), key=lambda name: float(name[3:]))
    return table.loc[:, ["model", "task", *rates, *last]]


def averages(frame: pd.DataFrame) -> pd.DataFrame:
    """The average score of every seed, in points, one column per row of Table 3: the mean over tasks (P1).

    Every row at its chosen rates (:func:`tuned`). Only seeds that have every task count.
    """
    frame = tuned(frame)
    tasks, columns = frame["task"].nunique(), {}
    for model, stage in ROWS:
        rows = frame.loc[(frame["model"] == model) & (frame["stage"] == stage)]
        wide = rows.pivot_table(index="seed", columns="task", values="report_score", aggfunc="first")
        if wide.shape[1] == tasks:
            columns[row_name(model, stage)] = 100 * wide.dropna().mean(axis=1)
    return pd.DataFrame(columns)


def table3(frame: pd.DataFrame, size: str = "base") -> pd.DataFrame:
    """Table 3: MT-DNN and Ticket-Share, each also with single-task fine-tuning, at their chosen rates, in points.

    One row per model: seeds, the mean score of every task, the average score with its standard deviation over seeds,
    the paper's "average compression" (mean over tasks of what their tickets keep) and the share of the encoder that the
    shared model really stores (the union of the tickets, P10); then the paper's average and compression, over its eight
    tasks and BERT-``size``.
    """
    paper.check_size(size)
    means, frame = averages(frame), tuned(frame)
    printed = {row["model"]: row for row in paper.table(3)}
    rows = []
    for model, stage in ROWS:
        name = row_name(model, stage)
        own = frame.loc[(frame["model"] == model) & (frame["stage"] == stage)]
        if name not in means or own.empty:
            continue
        values, theirs = means[name].dropna(), printed[row_name(f"{model} {size}", stage)]
        row = {"model": name, "seeds": len(values)}
        row |= {str(task): 100 * group["report_score"].mean() for task, group in own.groupby("task", sort=True)}
        row |= {"average": values.mean(), "sd": values.std()}
        row |= {"average compression (%)": 100 * own["average_compression"].mean()}
        row |= {"stored (%)": 100 * own["stored"].mean(), "paper: average": theirs["average score"]}
        rows.append(row | {"paper: average compression (%)": theirs["weights remaining"]})
    return pd.DataFrame(rows)
