"""Appendix B: the paper's settings (section 5.2, A.1 to A.3) beside those of our profiles, from data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from supertickets.chapters import paper
from supertickets.studies import TASK_DROPOUT, Profile, multi_task_hyper

SILENT = "not said"
"""What stands for the paper where it says nothing."""


def hyperparameter_table(profiles: Sequence[Profile]) -> pd.DataFrame:
    """A row per setting: where the paper speaks of it, its value, and a column with each profile's.

    >>> from supertickets.studies import get_profile
    >>> table = hyperparameter_table([get_profile("paper-base")]).set_index("setting")
    >>> table.loc["learning rates tried", ["the paper", "paper-base"]].tolist()
    ['5e-05, 0.0001, 0.0002', '5e-05, 0.0001, 0.0002']
    """
    told = paper.hyperparameters()
    together, after, dropout = told["multi_task"], told["multi_task_fine_tuning"], told["task_layer_dropout"]
    rows: list[tuple[str, str, Any, Callable[[Profile], Any]]] = [
        ("5.1", "tasks", paper.TASKS, lambda x: x.tasks),
        ("5.1", "training examples of a task at most", "all", lambda x: x.data.get("train_size") or "all"),
        ("5.3", "seeds", told["seeds"], lambda x: len(x.seeds)),
        ("5.2", "sparsity levels", told["sparsity_levels"], lambda x: x.levels),
        ("A.1.2", "optimiser", told["optimizer"], lambda x: "Adamax"),
        ("5.2", "learning rates tried", told["learning_rates"], lambda x: x.rates),
        ("5.2", "learning rate of Table 1", "chosen among them", _rates),
        ("5.2", "batch size", told["batch_sizes"], lambda x: x.hyper.batch_size),
        ("A.1.2", "epochs at most", told["max_epochs"], lambda x: x.hyper.epochs),
        ("A.1.2", "epochs without progress before it stops", SILENT, lambda x: x.hyper.patience),
        ("A.1.2", "warm-up, share of the steps", told["warmup"], lambda x: x.hyper.warmup),
        ("A.1.2", "largest gradient norm", told["gradient_norm_clip"], lambda x: x.hyper.clip),
        ("A.1.2", "weight decay", SILENT, lambda x: x.hyper.weight_decay),
        ("A.1.2", "task-head dropout", dropout["default"], lambda x: x.hyper.task_dropout),
        ("A.1.2", "the same, MNLI", dropout["MNLI"], lambda x: TASK_DROPOUT["MNLI"]),
        ("A.1.2", "the same, CoLA", dropout["CoLA"], lambda x: TASK_DROPOUT["CoLA"]),
        ("A.1.2", "word pieces of a text at most", told["max_tokens"], lambda x: x.hyper.max_length),
        ("", "precision", SILENT, lambda x: x.hyper.precision),
        ("A.2.1", "together: learning rate", together["learning_rate"], lambda x: x.rates),
        ("A.2.1", "together: batch size", together["batch_size"], lambda x: multi_task_hyper(x.hyper).batch_size),
        ("A.2.1", "together: epochs at most", together["max_epochs"], lambda x: multi_task_hyper(x.hyper).epochs),
        ("A.2.2", "then alone: learning rates", after["learning_rates"], lambda x: x.rates),
        ("A.2.2", "then alone: task-head dropout", after["task_layer_dropout"], lambda x: "as above"),
        (
            "A.3.2",
            "adapting: learning rates",
            told["adaptation_from_mnli"]["learning_rates"],
            lambda x: x.adaptation.rates or x.hyper.learning_rate,
        ),
    ]
    return pd.DataFrame(
        {"section": where, "setting": name, "the paper": _words(theirs)}
        | {profile.name: _words(ours(profile)) for profile in profiles}
        for where, name, theirs, ours in rows
    )


def departures(table: pd.DataFrame, profile: str) -> list[str]:
    """The settings in which a profile's column of :func:`hyperparameter_table` is not what the paper says."""
    other = (table[profile] != table["the paper"]) & (table["the paper"] != SILENT)
    return table.loc[other, "setting"].tolist()


def _rates(profile: Profile) -> list[float]:
    return sorted({profile.hyper_of(task).learning_rate for task in profile.tasks})


def _words(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    return ", ".join(map(str, value)) if len(value) < 6 else f"{len(value)}: {value[0]} to {value[-1]}"
