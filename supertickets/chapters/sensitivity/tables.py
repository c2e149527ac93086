"""Section 8 and appendix A.4: how much scores spread over random seeds (Table 5) and learning rates (Table 8).

A single-task frame holds rows of :class:`supertickets.runs.RunSpec`, a multi-task frame those of
:class:`supertickets.runs.SharingSpec`, of which only the "fine-tuned" ones count here. Only seeds that have
every learning rate count, and where both multi-task models are there, only learning rates that both have.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters import paper
from supertickets.errors import SuperticketsError
from supertickets.runs import super_tickets
from supertickets.statistics import expanded_interval, expansion, sd_interval
from supertickets.studies import at_chosen_rates

MODELS = ("ST-DNN", "SuperT", "MT-DNN", "Ticket-Share")


def tuned_single(frame: pd.DataFrame) -> pd.DataFrame:
    """Full models and super tickets at the learning rate that the selection split chooses, by task and model (5.2).

    ``frame`` holds single-task runs at several rates. Tickets that were found at another rate than they were rewound at
    do not count (A.2.1); the super ticket of a seed is chosen at every rate before the rates are compared.
    """
    full = frame.loc[frame["kind"] == "full"]
    winning = frame.loc[(frame["kind"] == "winning") & (found_at(frame) == frame["learning_rate"])]
    found = [super_tickets(rows) for _, rows in winning.groupby("learning_rate")]
    return pd.concat([at_chosen_rates(rows) for rows in (full, *([pd.concat(found)] if found else [])) if len(rows)])


def found_at(frame: pd.DataFrame) -> pd.Series:
    """The learning rate of the run that a row's ticket was read off; NaN where that run is not in the frame."""
    full = frame.loc[frame["kind"] == "full"]
    rates = dict(zip(full["run"], full["learning_rate"], strict=True))
    return pd.Series([rates.get(parent, math.nan) for parent in frame["parent"]], frame.index, dtype=float)


def table5(single: pd.DataFrame | None, multi: pd.DataFrame | None) -> pd.DataFrame:
    """Table 5: standard deviation over seeds, in points, one row per model and task.

    As in A.4.1, a multi-task result is that after single-task fine-tuning, averaged over the learning ``rates`` before
    the spread over seeds is taken. ``low`` and ``high`` are the 95% chi-square interval; the last columns are the
    paper's value of the kin task for BERT-large. A frame may be empty or None, and what lacks two seeds is left out.
    Raises SuperticketsError if nothing is left, if columns are missing, and where a task has runs of several encoders
    or training sets.
    """
    found, theirs = seed_scores(single, multi), printed_spreads()
    rows = []
    for (model, task), (scores, rates) in found.items():
        interval = sd_interval(scores.to_numpy())
        row = {"model": model, "task": task, "rates": rates, "seeds": interval.n}
        row |= {"sd": interval.sd, "low": interval.low, "high": interval.high}
        rows.append(row | paper_columns(theirs, model, task))
    return pd.DataFrame(rows)


def table8(multi: pd.DataFrame, n_resamples: int = 9999) -> pd.DataFrame:
    """Table 8: standard deviation over fine-tuning learning rates, in points, one row per multi-task model and task.

    As in A.4.2, each rate's score is averaged over seeds first. ``low`` and ``high`` are a 95% bootstrap interval over
    seeds, all rates of a seed drawn together, recentred and widened by Student's t for the few seeds, as those of
    :func:`supertickets.statistics.bootstrap`. ``by chance`` is what seeds alone let one expect if the rate did
    not matter at all (from the residuals after seed and rate). The last columns are the paper's value of the kin task
    (BERT-large only). What lacks two rates or two seeds is left out. Raises SuperticketsError if nothing is left, and
    as :func:`rate_scores` does.
    """
    rows, theirs = [], of_large(8)
    for task, models in rate_scores(multi).items():
        for model, scores in models.items():
            values = scores.to_numpy()
            n, rates = values.shape
            shares = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=n_resamples) / n
            drawn = (shares @ values).std(axis=1, ddof=1)
            interval = expanded_interval(float(values.mean(axis=0).std(ddof=1)), drawn, n, expansion(n))
            chance = values.mean(axis=0).var(ddof=1) - rate_variance(values)
            row = {"model": model, "task": task, "rates": rates, "seeds": n, "sd": interval.mean}
            row |= {"low": max(0.0, interval.low), "high": interval.high, "by chance": math.sqrt(max(0.0, chance))}
            rows.append(row | paper_columns(theirs, model, task))
    return pd.DataFrame(rows).sort_values("model", kind="stable").reset_index(drop=True)


def rate_variance(values: np.ndarray) -> float:
    """Variance over rates of scores (seeds, rates) beyond chance: the mean over pairs of seeds of their covariance.

    It is the square of Table 8's "sd" less that of "by chance", without bias: below zero as often as above where the
    rate does not matter.

    >>> rate_variance(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])), rate_variance(np.array([[1.0, 3.0], [0.0, 2.0]]))
    (-1.0, 2.0)
    """
    n, rates = values.shape
    away = values - values.mean(axis=1, keepdims=True)
    return float(((away.sum(axis=0) ** 2).sum() - (away**2).sum()) / (n * (n - 1) * (rates - 1)))


def paper_columns(printed: Mapping[tuple[str, str], float], model: str, task: str) -> dict[str, Any]:
    """The paper's sd of a model on a kin task as columns; none where it prints none."""
    kin = paper.kin_of(task)
    theirs = printed.get((model, kin))
    return {} if theirs is None else {"paper: task": kin, "paper: sd": theirs}


def printed_spreads() -> dict[tuple[str, str], float]:
    """Table 5, and what Table 6 has beyond it, by model and task."""
    return of_large(6) | of_large(5)


def of_large(n: int) -> dict[tuple[str, str], float]:
    """The paper's Table ``n`` for BERT-large, by model and task."""
    rows = [row for row in paper.table(n) if row["model"].endswith(" large")]
    return {(row["model"].removesuffix(" large"), task): row[task] for row in rows for task in row if task != "model"}


def rate_scores(multi: pd.DataFrame, fewest_rates: int = 2) -> dict[str, dict[str, pd.DataFrame]]:
    """Scores after single-task fine-tuning, in points, by task and model: a row per seed, a column per learning rate.

    Only learning rates that every model of the task has, and only seeds that have all of them; a model with fewer than
    two seeds is left out, and so is a task with fewer than ``fewest_rates``. Raises SuperticketsError if nothing is
    left, if columns are missing, and where a task has runs of several encoders or training sets, or a seed twice.
    """
    needed = ("model", "stage", "task", "seed", "learning_rate", "report_score")
    if multi.empty or not {*needed} <= {*multi}:
        missing = ", ".join(repr(name) for name in needed if name not in multi) or "rows"
        raise SuperticketsError(f"The multi-task runs have no {missing}; carry out multi-task runs with fine-tuning.")
    rows = multi.loc[(multi["stage"] == "fine-tuned") & multi["model"].isin(MODELS)].dropna(subset=["report_score"])
    _one_setting(rows, ["model", "task", "seed", "learning_rate"])
    found: dict[str, dict[str, pd.DataFrame]] = {}
    most = 0
    for task, group in rows.groupby("task", sort=False):
        wide = {
            str(model): 100 * own.pivot(index="seed", columns="learning_rate", values="report_score").sort_index()
            for model, own in group.groupby("model", sort=True)
        }
        rates = sorted(set.intersection(*(set(scores) for scores in wide.values())))
        most = max(most, len(rates))
        complete = {model: scores[rates].dropna() for model, scores in wide.items()}
        enough = {model: scores for model, scores in complete.items() if len(scores) > 1}
        if len(rates) >= fewest_rates and enough:
            found[str(task)] = enough
    if not found and most < fewest_rates:
        had = "one learning rate" if most == 1 else f"{most or 'no'} learning rates in common"
        raise SuperticketsError(f"The multi-task runs were fine-tuned with {had}; it takes {fewest_rates} at least.")
    if not found:
        raise SuperticketsError("A spread needs two seeds with every learning rate; run more multi-task runs.")
    return found


def seed_scores(
    single: pd.DataFrame | None, multi: pd.DataFrame | None
) -> dict[tuple[str, str], tuple[pd.Series, int]]:
    """Scores by seed, in points, and how many learning rates they are means of, by (model, task) in the paper's order.

    ST-DNN is the full model, SuperT the choice of :func:`supertickets.runs.super_tickets`; MT-DNN and
    Ticket-Share are those of :func:`rate_scores`, averaged over learning rates, of which one is enough. What has fewer
    than two seeds is left out. Raises SuperticketsError if nothing is left, and as :func:`rate_scores` does.
    """
    found: dict[tuple[str, str], tuple[pd.Series, int]] = {}
    tasks: dict[str, None] = {}
    if single is not None and len(single):
        needed = ("encoder", "task", "data", "seed", "kind", "level")
        needed += ("selection_score", "selection_loss", "report_score")
        if missing := [repr(name) for name in needed if name not in single]:
            raise SuperticketsError(
                f"The single-task runs have no {', '.join(missing)}; give the frame of a run store."
            )
        for model, rows in (("ST-DNN", single.loc[single["kind"] == "full"]), ("SuperT", super_tickets(single))):
            rows = pd.DataFrame(rows).dropna(subset=["report_score"])
            _one_setting(rows, ["task", "seed"])
            for task, group in rows.groupby("task", sort=False):
                scores = pd.Series(group.set_index("seed")["report_score"]).sort_index()
                found[model, str(task)] = 100 * scores, 1
        tasks |= dict.fromkeys(single["task"].astype(str))
    if multi is not None and len(multi):
        for task, models in rate_scores(multi, fewest_rates=1).items():
            tasks[task] = None
            found |= {(model, task): (scores.mean(axis=1), scores.shape[1]) for model, scores in models.items()}
    wanted = ((model, task) for model in MODELS for task in tasks)
    enough = {key: found[key] for key in wanted if key in found and len(found[key][0]) > 1}
    if not enough:
        raise SuperticketsError("A spread over seeds needs two seeds of one model and task at least; run more seeds.")
    return enough


def _one_setting(rows: pd.DataFrame, key: list[str]) -> None:
    """Raise SuperticketsError where a spread would be one over encoders, training sets or repeated runs as well."""
    for name in ("encoder", "data"):
        if name in rows and (several := rows.groupby("task")[name].nunique().loc[lambda counts: counts > 1]).size:
            task, what = several.index[0], "encoders" if name == "encoder" else "training sets"
            raise SuperticketsError(
                f"Task {task!r} has runs of several {what}; keep one encoder and one training set per table."
            )
    if (twice := rows.loc[rows.duplicated(key), key]).size:
        where = ", ".join(f"{name.replace('_', ' ')} {value!r}" for name, value in twice.iloc[0].to_dict().items())
        raise SuperticketsError(f"There are several runs of {where}; keep one of each.")
