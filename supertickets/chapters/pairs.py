"""The super ticket beside the full model of the same task and seed, and the GLUE kin of a lab task."""

import pandas as pd

from supertickets.errors import SuperticketsError
from supertickets.runs import super_tickets
from supertickets.tasks import LAB_TASKS, METRICS


def kin_of(task: str) -> str:
    """The GLUE task a lab task mirrors; any other task is its own kin.

    >>> kin_of("entailment"), kin_of("MRPC")
    ('RTE', 'MRPC')
    """
    return LAB_TASKS[task].kin if task in LAB_TASKS else task


def super_ticket_pairs(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """The super ticket and the full model side by side, wherever a task and seed has both.

    One row per task and seed, in the frame's order of tasks; columns task, seed, ``full`` and ``super`` (``column`` of
    each, in points), ``level`` and ``weights_remaining`` (a fraction) of the super ticket
    (:func:`supertickets.runs.super_tickets`). Runs without a value of ``column`` are left out. Raises SuperticketsError
    without runs, for an unknown column, and where a task and seed has several full models.
    """
    if frame.empty:
        raise SuperticketsError("There are no finished runs to tabulate; run the sweep first.")
    if column not in frame:
        raise SuperticketsError(f"The runs have no {column!r}; choose one of {', '.join(scores_in(frame))}.")
    key = ["encoder", "task", "data", "seed"]
    full = frame.loc[frame["kind"] == "full", [*key, column]]
    both = full.merge(super_tickets(frame)[[*key, column, "level", "weights_remaining"]], on=key).dropna()
    twice = both.loc[both.duplicated(["task", "seed"]), ["task", "seed"]]
    if len(twice):
        several = "Task {!r} has several full models with seed {}".format(*twice.iloc[0])
        raise SuperticketsError(f"{several}; keep one encoder and one training set per table.")
    order = list(dict.fromkeys(frame["task"]))
    both = both.assign(full=100 * both[f"{column}_x"], super=100 * both[f"{column}_y"])
    both = both.sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")
    return both[["task", "seed", "full", "super", "level", "weights_remaining"]].reset_index(drop=True)


def scores_in(frame: pd.DataFrame) -> list[str]:
    """Columns of scores and metrics, such as "report_f1" and "dev_accuracy_matched", metrics in the usual order."""
    wanted = [f"{split}_{name}" for split in ("report", "selection", "dev", "test") for name in ("score", *METRICS)]
    return [name for start in wanted for name in frame if name == start or str(name).startswith(f"{start}_")]


def check_size(size: str) -> None:
    """Raise SuperticketsError unless ``size`` is one of the paper's two encoders, "base" and "large"."""
    if size not in ("base", "large"):
        raise SuperticketsError(f"The paper has no BERT-{size}; choose size 'base' or 'large'.")
