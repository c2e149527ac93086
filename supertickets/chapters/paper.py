"""The paper's own numbers as data, and the places where they do not agree with each other.

Everything printed in Tables 1-9 and Figure 3 of Liang et al. (ACL 2021, arXiv:2105.12002v2) is kept in
``paper_tables.json`` beside this module, exactly as printed. Nothing here is a result of ours.
"""

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tasks import LAB_TASKS

TASKS = ("RTE", "MRPC", "CoLA", "SST-2", "STS-B", "QNLI", "QQP", "MNLI")
"""The eight GLUE tasks of the paper, in the column order of Tables 1-3."""


@lru_cache(maxsize=1)
def paper_facts() -> dict[str, Any]:
    """What ``paper_tables.json`` holds."""
    return json.loads(
        resources.files("supertickets.chapters").joinpath("paper_tables.json").read_text(encoding="utf-8")
    )


def kin_of(task: str) -> str:
    """The GLUE task a lab task mirrors; any other task is its own kin.

    >>> kin_of("entailment"), kin_of("MRPC")
    ('RTE', 'MRPC')
    """
    return LAB_TASKS[task].kin if task in LAB_TASKS else task


def check_size(size: str) -> None:
    """Raise SuperticketsError unless ``size`` is one of the paper's two encoders, "base" and "large"."""
    if size not in ("base", "large"):
        raise SuperticketsError(f"The paper has no BERT-{size}; choose size 'base' or 'large'.")


def scores(n: int) -> dict[str, dict[str, dict[str, float]]]:
    """Tables 1-3 as ``{model: {task: {metric: printed value in percent}}}``.

    >>> scores(1)["SuperT base"]["MRPC"]
    {'accuracy': 87.5, 'f1': 91.1}
    """
    if n not in (1, 2, 3):
        raise SuperticketsError(f"Table {n} has no scores per task and metric; choose 1, 2 or 3.")
    return {model: copy.deepcopy(row["scores"]) for model, row in paper_facts()[f"table{n}"].items()}


def table(n: int) -> list[dict[str, Any]]:
    """Table ``n`` of the paper (1-9), one flat dict per row, ready for ``pandas.DataFrame``.

    Tables 1-3: ``model``, ``"<task> <metric>"`` in percent, ``average score``, ``weights remaining`` in percent.
    Table 4: one row per ``target``, ``model`` and ``fraction``, with the ``train size`` as printed and ``accuracy``.
    Tables 5, 6, 8: ``model`` and a standard deviation in points per task. Table 7: ``model``, ``statistic``
    ("mean" or "sd") and a fraction (not percent) per task. Table 9: ``corpus`` and its columns, as printed.

    Raises SuperticketsError for a number that is no table of the paper.

    >>> table(1)[1]["RTE accuracy"], table(1)[1]["average score"]
    (72.5, 83.7)
    >>> table(9)[0]["train"]
    '8.5k'
    """
    if (facts := paper_facts().get(f"table{n}")) is None:
        raise SuperticketsError(f"The paper has no Table {n}; choose a number from 1 to 9.")
    if n <= 3:
        return [
            {
                "model": model,
                **{f"{task} {metric}": x for task, cell in row["scores"].items() for metric, x in cell.items()},
                "average score": row["average_score"],
                "weights remaining": row["weights_remaining_percent"],
            }
            for model, row in facts.items()
        ]
    if n == 4:
        return [
            {"target": target, "model": model, "fraction": fraction, "train size": size, "accuracy": accuracy}
            for target in ("SNLI", "SciTail")
            for model, row in facts[target]["accuracy"].items()
            for fraction, size, accuracy in zip(facts["fractions"], facts[target]["train_sizes"], row, strict=True)
        ]
    columns, name = (facts["columns"], "corpus") if n == 9 else (facts["tasks"], "model")
    rows = [({name: key}, row) for key, row in facts["rows"].items()]
    if n == 7:
        rows = [({**start, "statistic": which}, row) for start, both in rows for which, row in both.items()]
    return [{**start, **dict(zip(columns, row, strict=True))} for start, row in rows]


def column(n: int, name: str) -> dict[str, Any]:
    """A column of Table ``n``, by model.

    >>> column(1, "average score")["SuperT base"]
    83.7
    """
    return {row["model"]: row[name] for row in table(n)}


def figure3() -> list[dict[str, Any]]:
    """Figure 3: per task, train size, weights remaining (fractions, as printed) and gain in points.

    The figure draws the gains as bars without numbers; they are recomputed here from Table 1, as the mean over a
    task's metrics of SuperT minus ST-DNN.

    >>> [(row["task"], row["train size"], round(row["gain base"], 2)) for row in figure3()][0]
    ('RTE', '2.49k', 3.3)
    """
    facts, table1 = paper_facts()["figure3"], scores(1)
    rows = []
    for i, (task, size) in enumerate(zip(facts["tasks"], facts["train_sizes"], strict=True)):
        row = {"task": task, "train size": size, "train examples": printed_count(size)}
        row |= {f"weights remaining {x}": facts["weights_remaining"][f"SuperT {x}"][i] for x in ("base", "large")}
        for scale in ("base", "large"):
            gain = task_score(table1[f"SuperT {scale}"][task]) - task_score(table1[f"ST-DNN {scale}"][task])
            row[f"gain {scale}"] = gain
        rows.append(row)
    return rows


def printed_count(text: str) -> int:
    """A count as the paper prints it, as a number of examples.

    >>> printed_count("2.49k"), printed_count("872")
    (2490, 872)
    """
    return round(float(text[:-1]) * 1000) if text.endswith("k") else int(text)


def task_score(cell: float | Mapping[str, float]) -> float:
    """A task's score: the mean of its metrics (the score of the paper's Tables 1 and 3).

    >>> task_score({"accuracy": 90.0, "f1": 92.0})
    91.0
    """
    return float(np.mean(list(cell.values()))) if isinstance(cell, Mapping) else float(cell)


def average_score(row: Mapping[str, float | Mapping[str, float]], rule: str = "tasks") -> float:
    """The paper's "Average Score" of a row ``{task: value or {metric: value}}``.

    ``rule="tasks"`` is the rule of Tables 1 and 3: the mean over tasks, a task with two metrics counting their mean
    once (P1). ``rule="columns"`` is that of Table 2: every printed column counts once, MNLI-m and MNLI-mm apart (P2).
    Raises SuperticketsError for another rule or an empty row.

    >>> row = {"RTE": 60.0, "MNLI": {"matched": 80.0, "mismatched": 82.0}}
    >>> average_score(row), average_score(row, "columns")
    (70.5, 74.0)
    """
    if not row:
        raise SuperticketsError("An average score needs at least one task; the row is empty.")
    if rule == "tasks":
        return float(np.mean([task_score(cell) for cell in row.values()]))
    if rule == "columns":
        return float(
            np.mean([x for cell in row.values() for x in (cell.values() if isinstance(cell, Mapping) else [cell])])
        )
    raise SuperticketsError(f"Unknown averaging rule {rule!r}; choose 'tasks' (Tables 1, 3) or 'columns' (Table 2).")
