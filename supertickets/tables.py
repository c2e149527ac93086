"""Tables of the paper, each one function of a frame of records, with the paper's own numbers beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from supertickets import paper
from supertickets.errors import SuperticketsError
from supertickets.experiments import paired_scores, super_tickets
from supertickets.importance import ESTIMATORS
from supertickets.lab.tasks import LAB_TASKS
from supertickets.phases import winners_curse
from supertickets.runs import Record
from supertickets.statistics import Interval, holm, mean_interval, paired_difference, verdict
from supertickets.tasks import METRICS
from supertickets.tickets import EncoderShape, pruned_counts, random_ticket

LIGHT_LEVELS = (0.1, 0.2, 0.3)
"""The levels at which the paper sees winning tickets above the full model."""
MIDDLE_LEVELS = (0.3, 0.4, 0.5, 0.6)
"""The levels at which the order winning, random, losing is judged: neither nearly full nor nearly collapsed."""

_PRINTED_SIZE = "paper: weights remaining (%)"


def kin_of(task: str) -> str:
    """The GLUE task a lab task mirrors; any other task is its own kin.

    >>> kin_of("entailment"), kin_of("MRPC")
    ('RTE', 'MRPC')
    """
    return LAB_TASKS[task].kin if task in LAB_TASKS else task


def super_ticket_pairs(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """The super ticket and the full model side by side, wherever a task and seed has both.

    One row per task and seed, in the frame's order of tasks; columns task, seed, ``full`` and ``super`` (``column`` of
    each, in points), ``level`` and ``weights_remaining`` (a fraction) of the super ticket, which is the choice of
    :func:`supertickets.experiments.super_tickets`. Runs without a value of ``column`` are left out. Raises
    SuperticketsError without runs, for an unknown column, and where a task and seed has several full models.
    """
    if frame.empty:
        raise SuperticketsError("There are no finished runs to tabulate; run the sweep first.")
    if column not in frame:
        raise SuperticketsError(f"The runs have no {column!r}; choose one of {', '.join(_scores_in(frame))}.")
    key = ["encoder", "task", "data", "seed"]
    full = frame.loc[frame["kind"] == "full", [*key, column]]
    both = full.merge(super_tickets(frame)[[*key, column, "level", "weights_remaining"]], on=key).dropna()
    twice = both.loc[both.duplicated(["task", "seed"]), ["task", "seed"]]
    if len(twice):
        task, seed = twice.iloc[0]
        raise SuperticketsError(
            f"Task {task!r} has several full models with seed {seed}; keep one encoder and one training set per table."
        )
    order = list(dict.fromkeys(frame["task"]))
    both = both.assign(full=100 * both[f"{column}_x"], super=100 * both[f"{column}_y"])
    both = both.sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")
    return both[["task", "seed", "full", "super", "level", "weights_remaining"]].reset_index(drop=True)


def table1(frame: pd.DataFrame, column: str = "report_score", size: str = "base") -> pd.DataFrame:
    """Table 1: the full model (ST-DNN) against the super ticket (SuperT), one row per task, in points; then "average".

    The super ticket of each seed is chosen on the selection split (:func:`supertickets.experiments.super_tickets`);
    scores are those of ``column`` ("report_score": data the choice has not seen; "dev_score": the paper's protocol).
    ``gain`` is the mean paired difference over seeds with its 95% t interval, ``p`` the paired t-test's (two-sided),
    ``p (Holm)`` corrected over tasks; the verdict needs both the interval beyond zero and a corrected p of at most 5%.
    ``luck of the choice`` (:func:`luck`) is what choosing a level on the selection data promises there when no level is
    better: the gain on held-out data is free of it, a gain on the whole of dev is not.
    The last columns are the paper's row of the kin task, for BERT-``size`` ("base" or "large").

    The last row follows the paper's rule (:func:`supertickets.paper.average_score`): per seed the mean over tasks, a
    task with two metrics counting their mean; only seeds that have every task count. It is one comparison more, of
    another claim, so Holm's correction leaves it out. Beside it stand the averages and the weights remaining that the
    paper prints, over its eight tasks. Raises SuperticketsError as :func:`super_ticket_pairs` does.
    """
    check_size(size)
    pairs = super_ticket_pairs(frame, column)
    printed = paper.scores(1)
    rows = []
    for task, group in pairs.groupby("task", sort=False):
        row = {
            "task": task,
            **_gain_row(
                group["full"].to_numpy(),
                group["super"].to_numpy(),
                100 * float(group["weights_remaining"].to_numpy().mean()),
            ),
            "luck of the choice": luck(frame.loc[frame["task"] == task]),
        }
        kin = kin_of(str(task))
        if kin in printed[f"ST-DNN {size}"]:
            theirs = [paper.task_score(printed[f"{model} {size}"][kin]) for model in ("ST-DNN", "SuperT")]
            row |= {"paper: task": kin, **_paper_gain(*theirs)}
        rows.append(row)
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    corrected = holm(table["p"].to_numpy())
    table.insert(list(table.columns).index("p") + 1, "p (Holm)", corrected)
    # NaN (a single seed) compares as False, and its verdict is "inconclusive" already.
    table.loc[corrected > 0.05, "verdict"] = "inconclusive"
    columns = [*table.columns, *([_PRINTED_SIZE] if "paper: task" in table else [])]  # tasks of one's own have no kin
    return pd.concat([table, pd.DataFrame([_average_row(pairs, size)])], ignore_index=True).loc[:, columns]


def _average_row(pairs: pd.DataFrame, size: str) -> dict[str, Any]:
    wide = pairs.pivot(index="seed", columns="task", values=["full", "super", "weights_remaining"]).dropna()
    row: dict[str, Any] = {"task": "average", "seeds": 0, "verdict": "inconclusive"}
    tasks = list(dict.fromkeys(wide.columns.get_level_values("task")))
    if len(wide):
        full, ticket, weights = (
            np.array([paper.average_score(dict(zip(tasks, scores, strict=True))) for scores in wide[name].to_numpy()])
            for name in ("full", "super", "weights_remaining")
        )
        row |= _gain_row(full, ticket, 100 * float(weights.mean()))
    printed = {row["model"]: row for row in paper.table(1)}
    theirs = printed[f"SuperT {size}"]
    row |= _paper_gain(printed[f"ST-DNN {size}"]["average score"], theirs["average score"])
    return row | {"paper: task": f"average of {len(paper.TASKS)}", _PRINTED_SIZE: theirs["weights remaining"]}


def table1_metrics(frame: pd.DataFrame, split: str = "report", size: str = "base", printed_in: int = 1) -> pd.DataFrame:
    """Table 1 in full: one row per task and metric (accuracy and F1, both correlations, MNLI matched and mismatched).

    Columns as in :func:`table1`, in points, without a verdict: the metrics of a task are no independent findings. A
    metric of all examples pooled is left out where the parts of the split have their own. ``split`` is "report",
    "dev" or another that the runs were scored on; ``printed_in`` is the paper's table to set beside. Raises
    SuperticketsError as :func:`super_ticket_pairs` does.
    """
    check_size(size)
    if frame.empty or not (scored := [name for name in _scores_in(frame) if name.startswith(f"{split}_")]):
        raise SuperticketsError(f"There are no finished runs with metrics of the {split!r} split.")
    printed = paper.scores(printed_in)
    rows = []
    for task, group in frame.groupby("task", sort=False):
        kin = kin_of(str(task))
        own = [name.removeprefix(f"{split}_") for name in scored if not bool(group[name].isna().all())]
        for metric in own:
            if metric == "score" or any(other.startswith(f"{metric}_") for other in own):
                continue
            pairs = super_ticket_pairs(group, f"{split}_{metric}")
            if pairs.empty:
                continue
            row = {"task": task, "metric": metric, **_gain_row(pairs["full"].to_numpy(), pairs["super"].to_numpy())}
            theirs = [printed[f"{model} {size}"].get(kin, {}).get(metric) for model in ("ST-DNN", "SuperT")]
            if theirs[0] is not None and theirs[1] is not None:
                row |= {"paper: task": kin, **_paper_gain(theirs[0], theirs[1])}
            rows.append(row)
    return pd.DataFrame(rows).drop(columns="verdict", errors="ignore")


def table2(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 2: test scores of the full model and the super ticket, one row per task and metric, in points.

    ``frame`` holds the runs of :func:`supertickets.experiments.on_test_sets`. Test labels that nobody has (GLUE's) give
    no row: write the files its server takes with :func:`supertickets.submission.write_submission`. The paper's columns
    are the server's scores of BERT-base.
    """
    if "test_score" not in frame or not len(frame.dropna(subset=["test_score"])):
        return pd.DataFrame()
    return table1_metrics(frame.dropna(subset=["test_score"]), "test", printed_in=2)


def light_pruning(frame: pd.DataFrame, levels: Sequence[float] = LIGHT_LEVELS) -> pd.DataFrame:
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
        row["promised if nothing were there"] = luck(frame.loc[frame["task"] == task])
        rows.append(row)
    return pd.DataFrame(rows)


def luck(frame: pd.DataFrame) -> float:
    """The gain, in points, that choosing the best of the levels on one task's selection data shows when there is none.

    From the spread of the runs themselves (:func:`supertickets.phases.winners_curse`); NaN for fewer than two seeds.
    """
    own = frame.loc[frame["kind"].isin(["full", "winning"])]
    selection, report = (paired_scores(own, f"{split}_score").dropna() for split in ("selection", "report"))
    if len(selection) < 2 or selection.shape[1] < 3:
        return float("nan")
    levels = [float(level) for _, level in selection.columns]  # sorted: the full model's level 0 comes first
    return 100 * winners_curse(levels, selection.to_numpy(), report.to_numpy()).placebo


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


def _scores_in(frame: pd.DataFrame) -> list[str]:
    """Columns of scores and metrics, such as "report_f1" and "dev_accuracy_matched", metrics in the usual order."""
    names = ("score", *METRICS)
    splits = ("report", "selection", "dev", "test")
    wanted = [f"{split}_{name}" for split in splits for name in names]
    return [name for start in wanted for name in frame if name == start or str(name).startswith(f"{start}_")]


def check_size(size: str) -> None:
    """Raise SuperticketsError unless ``size`` is one of the paper's two encoders, "base" and "large"."""
    if size not in ("base", "large"):
        raise SuperticketsError(f"The paper has no BERT-{size}; choose size 'base' or 'large'.")


def _gain_row(full: np.ndarray, ticket: np.ndarray, weights: float | None = None) -> dict[str, Any]:
    difference = paired_difference(ticket, full)
    return {
        "seeds": difference.n,
        "ST-DNN": float(full.mean()),
        "SuperT": float(ticket.mean()),
        "gain": difference.effect,
        "low": difference.interval.low,
        "high": difference.interval.high,
        "p": difference.p,
        **({} if weights is None else {"weights remaining (%)": weights}),
        "verdict": verdict(difference.interval),
    }


def _paper_gain(full: float, ticket: float) -> dict[str, float]:
    return {"paper: ST-DNN": full, "paper: SuperT": ticket, "paper: gain": ticket - full}


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
