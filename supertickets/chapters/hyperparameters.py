"""Appendix B: the paper's settings (5.2, A.1 to A.3) beside our profiles', from data, and what tuning would change."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.claims import MARGIN, judged_apart, told
from supertickets.studies import SETTINGS, TASK_DROPOUT, Profile, chosen_rates, multi_task_hyper

SILENT = "not said"
"""What stands for the paper where it says nothing."""


def hyperparameter_table(profiles: Sequence[Profile]) -> pd.DataFrame:
    """A row per setting: where the paper speaks of it, its value, and a column with each profile's.

    >>> from supertickets.studies import get_profile
    >>> table = hyperparameter_table([get_profile("paper-base")]).set_index("setting")
    >>> table.loc["learning rates tried", ["the paper", "paper-base"]].tolist()
    ['5e-05, 0.0001, 0.0002', '5e-05, 0.0001, 0.0002']
    """
    hyper = paper.paper_facts()["hyperparameters"]
    together, after, dropout = hyper["multi_task"], hyper["multi_task_fine_tuning"], hyper["task_layer_dropout"]
    rows: list[tuple[str, str, Any, Callable[[Profile], Any]]] = [
        ("5.1", "tasks", paper.TASKS, lambda x: x.tasks),
        ("5.1", "training examples of a task at most", "all", lambda x: x.data.get("train_size") or "all"),
        ("5.3", "seeds", hyper["seeds"], lambda x: len(x.seeds)),
        ("5.2", "sparsity levels", hyper["sparsity_levels"], lambda x: x.levels),
        ("A.1.2", "optimiser", hyper["optimizer"], lambda x: "Adamax"),
        ("5.2", "learning rates tried", hyper["learning_rates"], lambda x: x.rates),
        ("5.2", "learning rate of Table 1", "chosen among them", _rates),
        ("5.2", "batch size", hyper["batch_sizes"], lambda x: x.hyper.batch_size),
        ("A.1.2", "epochs at most", hyper["max_epochs"], lambda x: x.hyper.epochs),
        ("A.1.2", "epochs without progress before it stops", SILENT, lambda x: x.hyper.patience),
        ("A.1.2", "warm-up, share of the steps", hyper["warmup"], lambda x: x.hyper.warmup),
        ("A.1.2", "largest gradient norm", hyper["gradient_norm_clip"], lambda x: x.hyper.clip),
        ("A.1.2", "weight decay", SILENT, lambda x: x.hyper.weight_decay),
        ("A.1.2", "task-head dropout", dropout["default"], lambda x: x.hyper.task_dropout),
        ("A.1.2", "the same, MNLI", dropout["MNLI"], lambda x: TASK_DROPOUT["MNLI"]),
        ("A.1.2", "the same, CoLA", dropout["CoLA"], lambda x: TASK_DROPOUT["CoLA"]),
        ("A.1.2", "word pieces of a text at most", hyper["max_tokens"], lambda x: x.hyper.max_length),
        ("", "precision", SILENT, lambda x: x.hyper.precision),
        ("A.2.1", "together: learning rate", together["learning_rate"], lambda x: x.rates),
        ("A.2.1", "together: batch size", together["batch_size"], lambda x: multi_task_hyper(x.hyper).batch_size),
        ("A.2.1", "together: epochs at most", together["max_epochs"], lambda x: multi_task_hyper(x.hyper).epochs),
        ("A.2.2", "then alone: learning rates", after["learning_rates"], lambda x: (*x.lower_rates, *x.rates)),
        ("A.2.2", "then alone: task-head dropout", after["task_layer_dropout"], lambda x: "as above"),
        (
            "A.3.2",
            "adapting: learning rates",
            hyper["adaptation_from_mnli"]["learning_rates"],
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


def tuned_settings(frame: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Mean scores of every setting that was tried, by task, and which the selection split chose (5.2, A.2.2).

    ``frame`` holds the runs of the experiment "tuning", of which those of the profile's own seeds are the tuning.
    """
    return chosen_rates(frame.loc[frame["seed"].isin(profile.seeds)], over=SETTINGS)


def tuning_claims(frame: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Are the profile's settings as good as tuned ones, for full models and light tickets? Claims, then by task.

    Effects are points of the report score on seeds that chose nothing, paired by seed: the profile's settings minus
    those of :func:`tuned_settings`, and the gain of light tickets (mean over levels) when all is tuned minus that when
    nothing is. "As good" allows for :data:`~supertickets.chapters.claims.MARGIN` points less.
    """
    table, fresh = tuned_settings(frame, profile), frame.loc[~frame["seed"].isin(profile.seeds)]
    full: dict[str, pd.Series] = {}
    light: dict[str, pd.Series] = {}
    for tuned in table.loc[table["chosen"]].to_dict("records"):
        task, own = tuned["task"], vars(profile.hyper_of(tuned["task"]))
        for found, kind in ((full, "full"), (light, "winning")):
            runs = fresh.loc[(fresh["task"] == task) & (fresh["kind"] == kind)]
            found[task] = (_at(runs, own) - _at(runs, tuned)).dropna()
    gain = {task: (full[task] - light[task]).dropna() for task in full}
    claims = {
        "full models are as good as tuned ones": full,
        "light tickets are as good as tuned ones": light,
        "light tickets of tuned models gain as much": gain,
    }
    rows = [row for text, values in claims.items() for row in told(text, values, limit=-MARGIN, expected=0.0)]
    return judged_apart(rows)


def tuned_sentences(frame: pd.DataFrame, profile: Profile) -> list[str]:
    """Of every task that the profile's settings cost more than ``MARGIN`` points: which rate is chosen, and the cost.

    ``frame`` is that of :func:`tuning_claims`, whose numbers these are.
    """
    cost = {(row["where"], row["claim"]): row for row in tuning_claims(frame, profile).to_dict("records")}
    table, found = tuned_settings(frame, profile), []
    for tuned in table.loc[table["chosen"]].to_dict("records"):
        task, rate = tuned["task"], tuned["learning_rate"]
        rows = {
            models: cost[task, f"{models} are as good as tuned ones"] for models in ("full models", "light tickets")
        }
        words = (
            f"to {models} {-row['effect']:+.2f} points [{-row['high']:.2f}, {-row['low']:.2f}]"
            for models, row in rows.items()
        )
        own = profile.hyper_of(task).learning_rate
        if min(row["effect"] for row in rows.values()) < -MARGIN and own != rate:
            found.append(
                f"The rate of {own:g} is {'low' if own < rate else 'high'} for {task}: tuning chooses {rate:g}; on "
                f"{rows['full models']['n']} seeds that chose nothing that adds {', '.join(words)}."
            )
    return found


def _at(runs: pd.DataFrame, settings: Mapping[Any, Any]) -> pd.Series:
    """Mean report scores by seed, in points, of the runs at these settings."""
    here = (runs[[*SETTINGS]] == [settings[name] for name in SETTINGS]).all(axis=1)
    return 100 * runs.loc[here].groupby("seed")["report_score"].mean()


def _rates(profile: Profile) -> list[float]:
    return sorted({profile.hyper_of(task).learning_rate for task in profile.tasks})


def _words(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    return ", ".join(map(str, value)) if len(value) < 6 else f"{len(value)}: {value[0]} to {value[-1]}"
