"""Tables of the paper, each one function of a frame of records, with the paper's own numbers beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from supertickets import paper
from supertickets.experiments import paired_scores, super_tickets
from supertickets.importance import ESTIMATORS
from supertickets.lab.tasks import LAB_TASKS
from supertickets.phases import winners_curse
from supertickets.runs import Record
from supertickets.statistics import Interval, holm, mean_interval, paired_difference, verdict
from supertickets.tickets import EncoderShape, pruned_counts, random_ticket

MIDDLE_LEVELS = (0.3, 0.4, 0.5, 0.6)
"""The levels at which the order winning, random, losing is judged: neither nearly full nor nearly collapsed."""


def kin_of(task: str) -> str:
    """The GLUE task a lab task mirrors; any other task is its own kin.

    >>> kin_of("entailment"), kin_of("MRPC")
    ('RTE', 'MRPC')
    """
    return LAB_TASKS[task].kin if task in LAB_TASKS else task


def table1(frame: pd.DataFrame, column: str = "report_score", size: str = "base") -> pd.DataFrame:
    """Table 1: the full model (ST-DNN) against the super ticket (SuperT), one row per task, in points.

    The super ticket of each seed is chosen on the selection split (:func:`supertickets.experiments.super_tickets`);
    scores are those of ``column`` ("report_score": data the choice has not seen; "dev_score": the paper's protocol).
    ``gain`` is the mean paired difference over seeds with its 95% t interval, ``p`` the paired t-test's (two-sided),
    ``p (Holm)`` corrected over tasks; the verdict needs both the interval beyond zero and a corrected p of at most 5%.
    The last columns are the paper's row of the kin task, for BERT-``size``.
    """
    full = frame[frame["kind"] == "full"].set_index(["task", "seed"])
    chosen = super_tickets(frame).set_index(["task", "seed"])
    printed = paper.scores(1)
    rows = []
    for task in dict.fromkeys(frame["task"]):
        if task not in chosen.index or task not in full.index:
            continue
        seeds = chosen.loc[task].index.intersection(full.loc[task].index)
        ours = [100 * source.loc[[(task, seed) for seed in seeds], column].to_numpy() for source in (full, chosen)]
        difference = paired_difference(ours[1], ours[0])
        row = {
            "task": task,
            "seeds": len(seeds),
            "ST-DNN": ours[0].mean(),
            "SuperT": ours[1].mean(),
            "gain": difference.effect,
            "low": difference.interval.low,
            "high": difference.interval.high,
            "p": difference.p,
            "weights remaining (%)": 100 * chosen.loc[task, "weights_remaining"].mean(),
            "verdict": verdict(difference.interval),
        }
        kin = kin_of(task)
        if kin in printed[f"ST-DNN {size}"]:
            theirs = [paper.task_score(printed[f"{model} {size}"][kin]) for model in ("ST-DNN", "SuperT")]
            row |= {"paper: task": kin, "paper: ST-DNN": theirs[0], "paper: SuperT": theirs[1]}
            row["paper: gain"] = theirs[1] - theirs[0]
        rows.append(row)
    table = pd.DataFrame(rows)
    if len(table):
        corrected = holm(table["p"].to_numpy())
        table.insert(list(table.columns).index("p") + 1, "p (Holm)", corrected)
        # NaN (a single seed) compares as False, and its verdict is "inconclusive" already.
        table.loc[corrected > 0.05, "verdict"] = "inconclusive"
    return table


def light_pruning(frame: pd.DataFrame, levels: Sequence[float] = (0.1, 0.2, 0.3)) -> pd.DataFrame:
    """Does light pruning beat the full model? One row per task and level: paired gain in points, interval, verdict.

    No choice of a level is involved, so there is no winner's curse in a row; there are several rows, though.
    """
    rows = []
    for task, group in frame.groupby("task", sort=False):
        scores = paired_scores(group)
        for level in levels:
            if ("winning", level) in scores and ("full", 0.0) in scores:
                both = 100 * scores[[("winning", level), ("full", 0.0)]].dropna()
                found = paired_difference(both.iloc[:, 0], both.iloc[:, 1])
                rows.append({"task": task, "level": level, **_estimate(found.interval), "p": found.p})
    return pd.DataFrame(rows)


def ordering(frame: pd.DataFrame, levels: Sequence[float] = MIDDLE_LEVELS) -> pd.DataFrame:
    """Are winning tickets winners (section 5.4, observation 1)? Winning - random and random - losing, in points.

    Per seed the difference is averaged over the middle ``levels``; the interval is over seeds. One row per task and
    comparison; differences that lack a run are left out.
    """
    rows = []
    for task, group in frame.groupby("task", sort=False):
        scores = paired_scores(group)
        for better, worse in (("winning", "random"), ("random", "losing")):
            pairs = [level for level in levels if (better, level) in scores and (worse, level) in scores]
            if not pairs:
                continue
            difference = np.mean([scores[(better, level)] - scores[(worse, level)] for level in pairs], axis=0)
            interval = mean_interval(100 * difference[~np.isnan(difference)])
            rows.append({"task": task, "claim": f"{better} above {worse}", **_estimate(interval)})
    return pd.DataFrame(rows)


def optimism(frame: pd.DataFrame) -> pd.DataFrame:
    """What choosing the best level on selection data promises, and what held-out data keep of it, in points.

    ``promised`` is the super ticket's gain over the full model on the selection split it was chosen on, ``kept`` its
    gain on the report split, ``whole dev`` the paper's protocol, which contains the selection data (P9). ``promised if
    nothing were there`` is what the choice of the best level shows when no level differs from the full model, from
    the spread of the runs themselves (:func:`supertickets.phases.winners_curse`); it needs two seeds.
    """
    chosen, full = super_tickets(frame), frame.loc[frame["kind"] == "full"]
    merged = chosen.merge(full, on=["task", "seed", "data"], suffixes=("", "_full"))
    rows = []
    for task, group in merged.groupby("task", sort=False):
        row: dict[str, object] = {"task": task}
        for name, split in (("promised", "selection"), ("kept", "report"), ("whole dev", "dev")):
            row[name] = 100 * (group[f"{split}_score"] - group[f"{split}_score_full"]).mean()
        own = frame.loc[(frame["task"] == task) & frame["kind"].isin(["full", "winning"])]
        selection, report = (paired_scores(own, f"{split}_score").dropna() for split in ("selection", "report"))
        if len(selection) > 1:
            levels = [float(level) for _, level in selection.columns]  # sorted: the full model's level 0 comes first
            curse = winners_curse(levels, selection.to_numpy(), report.to_numpy())
            row["promised if nothing were there"] = 100 * curse.placebo
        rows.append(row)
    return pd.DataFrame(rows)


def spread(frame: pd.DataFrame) -> pd.DataFrame:
    """Tables 6 and 7: standard deviation over seeds of the super ticket's score, mean and spread of its size."""
    chosen = super_tickets(frame)
    grouped = chosen.groupby("task", sort=False)
    return pd.DataFrame(
        {
            "seeds": grouped.size(),
            "sd of score (points)": 100 * grouped["report_score"].std(),
            "weights remaining, mean": grouped["weights_remaining"].mean(),
            "weights remaining, sd": grouped["weights_remaining"].std(),
            "levels chosen": grouped["level"].agg(lambda levels: ", ".join(f"{level:.0%}" for level in levels)),
        }
    ).reset_index()


def ticket_sizes(shape: EncoderShape, levels: Sequence[float]) -> pd.DataFrame:
    """Units pruned and shares kept at every level; the same for winning, random and losing tickets."""
    rows = []
    for level in levels:
        heads, ffns = pruned_counts((shape.n_layers, shape.n_heads), level)
        # Which units go does not matter for the size, so any ticket of the level will do.
        ticket = random_ticket((shape.n_layers, shape.n_heads), level, seed=0)
        rows.append(
            {
                "level": f"{level:.0%}",
                "heads pruned": f"{heads} of {shape.n_layers * shape.n_heads}",
                "FFNs pruned": f"{ffns} of {shape.n_layers}",
                "weights remaining": ticket.weights_remaining(shape),
                "without embeddings": ticket.weights_remaining(shape, embeddings=False),
            }
        )
    return pd.DataFrame(rows)


def estimator_agreement(record: Record) -> pd.DataFrame:
    """Spearman's rank correlation between the importance estimators of a full run, for heads and for FFNs.

    Heads are compared as they are ranked, after layer-wise normalisation. One row per estimator, two columns per other.
    """
    names = [name for name in ESTIMATORS if f"importance/{name}/heads" in record.arrays]
    scores = {name: record.scores(name) for name in names}
    rows = []
    for name in names:
        row: dict[str, str | float] = {"estimator": name}
        for other in names:
            a, b = scores[name], scores[other]
            row[f"{other}: heads"] = _rank_correlation(a.normalised_heads(), b.normalised_heads())
            row[f"{other}: FFNs"] = _rank_correlation(a.ffns, b.ffns)
        rows.append(row)
    return pd.DataFrame(rows)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    result: Any = spearmanr(a.ravel(), b.ravel())  # SciPy's own type of it has no fields
    return float(result.statistic)


def _estimate(interval: Interval) -> dict[str, float | str]:
    return {
        "seeds": interval.n,
        "effect": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "verdict": verdict(interval),
    }
