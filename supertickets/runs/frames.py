"""Frames of records: the super tickets in them, pairs, means, and what is missing."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from supertickets.errors import SuperticketsError
from supertickets.runs.spec import Spec, kind_of, task_of
from supertickets.tasks import METRICS


def super_tickets(frame: pd.DataFrame) -> pd.DataFrame:
    """The super ticket of every encoder, data and seed: the winning row with the best *selection* score (section 3).

    Ties go to the lower selection loss, then to the lighter level. The full model is not a candidate, as in the
    paper. Report scores play no part. The result has the columns of ``frame`` and one row per (encoder, data, seed).
    """
    winning = frame.loc[frame["kind"] == "winning"]
    ordered = winning.sort_values(["selection_score", "selection_loss", "level"], ascending=[False, True, True])
    return ordered.groupby(["encoder", "task", "data", "seed"], sort=False).head(1).sort_index()


def super_ticket_pairs(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """The super ticket and the full model side by side, wherever a task and seed has both.

    One row per task and seed, in the frame's order of tasks; columns task, seed, ``full`` and ``super`` (``column`` of
    each, in points), ``level`` and ``weights_remaining`` (a fraction) of the super ticket
    (:func:`super_tickets`). Runs without a value of ``column`` are left out. Raises SuperticketsError
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


def paired_scores(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """Scores of one task as a table: one row per seed, one column per (kind, level); seeds lacking a run have NaN."""
    return frame.pivot_table(index="seed", columns=["kind", "level"], values=column, aggfunc="first").sort_index(axis=1)


def _listed(numbers: Sequence[int]) -> str:
    """Rising numbers in words, three or more in a row as a range.

    >>> _listed([0, 1, 4, 5, 6, 9])
    '0, 1, 4 to 6, 9'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{x[0]} to {x[-1]}" if len(x) > 2 else ", ".join(map(str, x)) for x in runs)


def missing_sentence(frame: pd.DataFrame, specs: Sequence[Spec]) -> str:
    """Which of some runs have no record in a frame, in one sentence: how many of which task and kind, of which seeds.

    >>> from supertickets.runs import RunSpec
    >>> from supertickets.tasks import DataRef
    >>> missing_sentence(pd.DataFrame(), [RunSpec("lab-base", "1", DataRef("entailment"), seed=3)])
    '1 of 1 runs is missing: entailment (1 full; seed 3).'
    """
    there = set(frame["run"]) if "run" in frame else set()
    lacking: dict[str, list[Spec]] = {}
    for spec in specs:
        if spec.id not in there:
            lacking.setdefault(task_of(spec), []).append(spec)
    if not lacking:
        return f"All {len(specs)} runs are there."
    planned = Counter(map(task_of, specs))
    whole = [task for task, n in planned.items() if n == len(lacking.get(task, ()))]
    whole = whole if len(whole) > 1 else []  # of a single one, what its runs are
    parts = [f"all of {', '.join(whole)}"] if whole else []
    for task, runs in lacking.items():
        if task not in whole:
            kinds = Counter(map(kind_of, runs))
            seeds = sorted({spec.seed for spec in runs})
            told = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            parts.append(f"{task} ({told}; seed{'s' if len(seeds) > 1 else ''} {_listed(seeds)})")
    n = sum(map(len, lacking.values()))
    verb = "is" if n == 1 else "are"
    return f"{n} of {len(specs)} runs {verb} missing: {', '.join(parts)}."
