"""Is the spread smaller with tickets (section 8, A.4)? Tests over seeds and learning rates, their power, sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from supertickets.chapters import paper
from supertickets.chapters.claims import TOGETHER
from supertickets.chapters.pairs import check_size, kin_of
from supertickets.chapters.sensitivity.tables import (
    COMPARISONS,
    bootstrapped,
    of_size,
    paper_columns,
    printed_spreads,
    rate_scores,
    seed_scores,
)
from supertickets.errors import SuperticketsError
from supertickets.statistics import equal_variances, holm, pitman_morgan, seeds_needed, spread_power, verdict


def paper_power(seeds: int = 5) -> list[dict[str, Any]]:
    """Could five seeds tell the paper's own pairs of Table 5 apart? A dict per pair, ready for ``pandas.DataFrame``.

    ``ratio`` is the printed sd with tickets over that without, ``power`` the F-test's with ``seeds`` runs each if these
    were the true ones, ``seeds needed`` the number that 80% take.

    >>> [(row["task"], round(row["power"], 2), row["seeds needed"]) for row in paper_power()][4]
    ('SST-2', 0.05, 2138)
    """
    theirs = {row["model"].removesuffix(" large"): row for row in paper.table(5)}
    rows = []
    for new, old in (("SuperT", "ST-DNN"), ("Ticket-Share", "MT-DNN")):
        for task in (name for name in theirs[new] if name != "model"):
            ratio = theirs[new][task] / theirs[old][task]
            row = {"comparison": f"{new} against {old}", "task": task, "ratio": ratio}
            rows.append(row | {"power": spread_power(ratio, seeds), "seeds needed": seeds_needed(ratio)})
    return rows


def spread_tests(
    single: pd.DataFrame | None, multi: pd.DataFrame | None, column: str = "report_score", size: str = "large"
) -> pd.DataFrame:
    """Do scores spread less over seeds with tickets than without (section 8)? One row per comparison and task.

    ``ratio`` is sd with tickets / sd without, its 95% interval (``low``, ``high``) that of the Pitman-Morgan test,
    which pairs the models by seed. That test takes a failed run for spread, the Brown-Forsythe test does not but
    knows no pairs, so ``p``, which the verdict rests on, is the larger of the two, corrected over the tasks of the
    comparison (Holm). "supported": the spread is smaller, p (Holm) below 0.05; "not supported": it is larger, likewise.

    All tasks together: the mean of the logarithms of the tasks' ratios (the sds beside it are geometric means), with a
    t interval from the jackknife over seeds, which holds when the tasks of a seed are alike (one over tasks covered 77%
    instead of 95% in a simulation of 8 tasks that correlate by 0.5). A task that has fewer than three seeds, or no
    spread without one of its runs, has no logarithm to average. Fewer than three seeds give no p. Raises
    SuperticketsError as :func:`~supertickets.chapters.sensitivity.tables.table5` does, and if no task has both models
    of a comparison.
    """
    check_size(size)
    found, theirs = seed_scores(single, multi, column), printed_spreads(size)
    tables = []
    for new, old in COMPARISONS:
        tasks = [task for model, task in found if model == new and (old, task) in found]
        both = {task: pd.concat([found[new, task][0], found[old, task][0]], axis=1).dropna() for task in tasks}
        rows = [_spread_row(new, old, task, pairs, theirs) for task, pairs in both.items() if len(pairs) > 1]
        if not rows:
            continue
        table = pd.DataFrame(rows)
        table.insert(list(table).index("p") + 1, "p (Holm)", holm(table["p"]))
        if len(rows) > 1:
            table = pd.concat([table, pd.DataFrame([_pooled(new, old, both)])], ignore_index=True)
        judged = table["p (Holm)"].where(table["task"] != TOGETHER, table["p"])
        table["verdict"] = [_word(*pair) for pair in zip(table["ratio"], judged, strict=True)]
        tables.append(table)
    if not tables:
        raise SuperticketsError("No task has two seeds with both models of a comparison; run more of the sweep first.")
    return pd.concat(tables, ignore_index=True)


def _spread_row(
    new: str, old: str, task: str, pairs: pd.DataFrame, theirs: Mapping[tuple[str, str], float]
) -> dict[str, Any]:
    a, b = pairs.to_numpy().T
    paired = pitman_morgan(a, b)
    # Two values always lie equally far from their median, which Levene's statistic takes for certainty.
    unpaired = equal_variances(a, b).p if len(a) > 2 else math.nan
    sds = [theirs.get((model, kin_of(task))) for model in (new, old)]
    return {
        **_compared(new, old, task, 1, len(a)),
        "sd with tickets": paired.sd_a,
        "sd without": paired.sd_b,
        "ratio": paired.ratio,
        "low": paired.low,
        "high": paired.high,
        "p (Brown-Forsythe)": unpaired,
        "p (Pitman-Morgan)": paired.p,
        "p": float(np.maximum(unpaired, paired.p)),
        **paper_columns(kin_of(task), {"ratio": sds[0] / sds[1] if sds[0] and sds[1] else None}),
    }


def _pooled(new: str, old: str, both: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    enough = {task: pairs for task, pairs in both.items() if len(pairs) > 2}
    seeds = _common(pairs.index for pairs in enough.values())
    row = {**_compared(new, old, TOGETHER, 0, len(seeds)), "ratio": math.nan, "p": math.nan}
    if (n := len(seeds)) < 3:
        return row
    scores = np.stack([pairs.loc[seeds].to_numpy() for pairs in enough.values()])  # (tasks, seeds, 2)
    left_out = np.stack([np.delete(scores, i, axis=1).std(axis=1, ddof=1) for i in range(n)])
    usable = (left_out > 1e-9).all(axis=(0, 2))
    if not usable.any():
        return row
    sds = np.exp(np.log(scores[usable].std(axis=1, ddof=1)).mean(axis=0))
    effect = float(np.log(sds[0] / sds[1]))
    error = float(np.log(left_out[:, usable, 0] / left_out[:, usable, 1]).mean(axis=1).std()) * math.sqrt(n - 1)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    row |= {"tasks": int(usable.sum()), "sd with tickets": sds[0], "sd without": sds[1], "ratio": math.exp(effect)}
    row |= {"low": math.exp(effect - half), "high": math.exp(effect + half)}
    return row | {"p": float(2 * stats.t.sf(abs(effect) / error, n - 1)) if error else math.nan}


def rate_tests(
    multi: pd.DataFrame,
    column: str = "report_score",
    size: str = "large",
    n_resamples: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """Is Ticket-Share more robust to the learning rate than MT-DNN (A.4.2)? One row per task, then all together.

    ``difference`` is Ticket-Share's standard deviation over learning rates minus MT-DNN's, in points, with the 95%
    bootstrap interval of :func:`~supertickets.chapters.sensitivity.tables.table8`, the same seeds drawn for both.
    "supported" means that it is below zero as a whole; for the verdict on one of k tasks the interval is that of
    confidence 1 - 0.05 / k (Bonferroni), which stands in ``judged at``. All tasks together: the mean difference, over
    the seeds that every task has. Raises SuperticketsError as :func:`~supertickets.chapters.sensitivity.tables.table8`
    does, and if no task has both models.
    """
    check_size(size)
    theirs = of_size(8, size)
    both: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}
    for task, models in rate_scores(multi, column).items():
        if len(models) == 2:
            seeds = _common(scores.index for scores in models.values())
            if len(seeds) > 1:
                both[task] = models["Ticket-Share"].loc[seeds], models["MT-DNN"].loc[seeds]
    if not both:
        raise SuperticketsError("No task has two seeds with both MT-DNN and Ticket-Share; run more of them first.")
    rows = []
    for task, pair in both.items():
        printed = [theirs.get((model, kin_of(task))) for model in ("Ticket-Share", "MT-DNN")]
        gap = None if printed[0] is None or printed[1] is None else printed[0] - printed[1]
        row = _rate_row(task, [pair], n_resamples, seed, 0.05 / len(both))
        rows.append(row | paper_columns(kin_of(task), {"difference": gap}))
    if len(both) > 1 and len(seeds := _common(pair[0].index for pair in both.values())) > 1:
        pairs = [(new.loc[seeds], old.loc[seeds]) for new, old in both.values()]
        rows.append(_rate_row(TOGETHER, pairs, n_resamples, seed, 0.05))
    table = pd.DataFrame(rows)
    return table.loc[:, [*(name for name in table if name != "verdict"), "verdict"]]


def _rate_row(
    task: str, pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]], n_resamples: int, seed: int, alpha: float
) -> dict[str, Any]:
    values = [scores.to_numpy() for pair in pairs for scores in pair]
    signs = [sign / len(pairs) for _ in pairs for sign in (1.0, -1.0)]
    new, old = (np.mean([each.mean(axis=0).std(ddof=1) for each in values[i::2]]) for i in (0, 1))
    interval = bootstrapped(values, signs, n_resamples, seed)
    judged = bootstrapped(values, signs, n_resamples, seed, 1 - alpha)
    return {
        **_compared("Ticket-Share", "MT-DNN", task, len(pairs), interval.n),
        "rates": max(scores.shape[1] for scores in values),
        "sd with tickets": new,
        "sd without": old,
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "judged at": judged.confidence,
        "verdict": verdict(judged, direction="below"),
    }


def sentences(spread: pd.DataFrame | None = None, rates: pd.DataFrame | None = None) -> list[str]:
    """One sentence per row of :func:`spread_tests` and of :func:`rate_tests`: verdict, effect, interval, n."""
    said = []
    for row in [] if spread is None else spread.to_dict("records"):
        judged, how = (row["p"], "p") if row["task"] == TOGETHER else (row["p (Holm)"], "p (Holm)")
        p = "no p-value" if math.isnan(judged) else f"{how} = {judged:.2g}"
        effect = "no ratio" if math.isnan(row["ratio"]) else f"{row['ratio']:.2f} times the spread over seeds"
        interval = f", 95% interval {row['low']:.2f} to {row['high']:.2f}" if np.isfinite(row["low"]) else ""
        said.append(f"{_subject(row)}: {row['verdict']} ({effect}{interval}, {p}, n = {row['seeds']} seeds).")
    for row in [] if rates is None else rates.to_dict("records"):
        judged = "" if row["task"] == TOGETHER else f", judged at {100 * row['judged at']:.3g}%"
        said.append(
            f"{_subject(row)}: {row['verdict']} (difference of the standard deviations over {row['rates']} learning "
            f"rates {row['difference']:+.2f} points, 95% interval {row['low']:+.2f} to {row['high']:+.2f}{judged}, "
            f"n = {row['seeds']} seeds)."
        )
    return said


def _compared(new: str, old: str, task: str, tasks: int, seeds: int) -> dict[str, Any]:
    return {"comparison": f"{new} against {old}", "task": task, "tasks": tasks, "seeds": seeds}


def _word(ratio: float, p: float) -> str:
    if not p < 0.05:  # NaN included
        return "inconclusive"
    return "supported" if ratio < 1 else "not supported"


def _subject(row: Mapping[str, Any]) -> str:
    return f"{row['comparison']}, {row['task']}" + (f" ({row['tasks']})" if row["task"] == TOGETHER else "")


def _common(indices: Iterable[pd.Index]) -> list[Any]:
    """What all of the indices have, in order."""
    return sorted(set.intersection(*each)) if (each := [set(index) for index in indices]) else []
