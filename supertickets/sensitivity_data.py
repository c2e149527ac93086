"""Scores by model, task, seed and learning rate: what the sensitivity analysis (section 8, A.4) is made from."""

from __future__ import annotations

import pandas as pd

from supertickets.errors import SuperticketsError
from supertickets.experiments import super_tickets

MODELS = ("ST-DNN", "SuperT", "MT-DNN", "Ticket-Share")


def rate_scores(
    multi: pd.DataFrame, column: str = "report_score", fewest_rates: int = 2
) -> dict[str, dict[str, pd.DataFrame]]:
    """Scores after single-task fine-tuning, in points, by task and model: a row per seed, a column per learning rate.

    Only learning rates that every model of the task has, and only seeds that have all of them; a model with fewer than
    two seeds is left out, and so is a task with fewer than ``fewest_rates``. Raises SuperticketsError if nothing is
    left, if columns are missing, and where a task has runs of several encoders or training sets, or a seed twice.
    """
    needed = ("model", "stage", "task", "seed", "learning_rate", column)
    if multi.empty or not {*needed} <= {*multi}:
        missing = ", ".join(repr(name) for name in needed if name not in multi) or "rows"
        raise SuperticketsError(f"The multi-task runs have no {missing}; carry out multi-task runs with fine-tuning.")
    rows = multi.loc[(multi["stage"] == "fine-tuned") & multi["model"].isin(MODELS)].dropna(subset=[column])
    _one_setting(rows, ["model", "task", "seed", "learning_rate"])
    found: dict[str, dict[str, pd.DataFrame]] = {}
    most = 0
    for task, group in rows.groupby("task", sort=False):
        wide = {
            str(model): 100 * own.pivot(index="seed", columns="learning_rate", values=column).sort_index()
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
    single: pd.DataFrame | None, multi: pd.DataFrame | None, column: str
) -> dict[tuple[str, str], tuple[pd.Series, int]]:
    """Scores by seed, in points, and how many learning rates they are means of, by (model, task) in the paper's order.

    ST-DNN is the full model, SuperT the choice of :func:`supertickets.experiments.super_tickets`; MT-DNN and
    Ticket-Share are those of :func:`rate_scores`, averaged over learning rates, of which one is enough. What has fewer
    than two seeds is left out. Raises SuperticketsError if nothing is left, and as :func:`rate_scores` does.
    """
    found: dict[tuple[str, str], tuple[pd.Series, int]] = {}
    tasks: dict[str, None] = {}
    if single is not None and len(single):
        needed = ("encoder", "task", "data", "seed", "kind", "level", "selection_score", "selection_loss", column)
        if missing := [repr(name) for name in needed if name not in single]:
            raise SuperticketsError(
                f"The single-task runs have no {', '.join(missing)}; give the frame of a run store."
            )
        for model, rows in (("ST-DNN", single.loc[single["kind"] == "full"]), ("SuperT", super_tickets(single))):
            rows = pd.DataFrame(rows).dropna(subset=[column])
            _one_setting(rows, ["task", "seed"])
            for task, group in rows.groupby("task", sort=False):
                scores = pd.Series(100 * group[column].to_numpy(), index=group["seed"].to_numpy()).sort_index()
                found[model, str(task)] = scores, 1
        tasks |= dict.fromkeys(single["task"].astype(str))
    if multi is not None and len(multi):
        for task, models in rate_scores(multi, column, fewest_rates=1).items():
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
