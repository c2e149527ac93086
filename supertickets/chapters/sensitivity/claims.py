"""Is the spread smaller with tickets (section 8, A.4)? Tests over seeds and learning rates, and their power."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.claims import COMPARISONS, TOGETHER, claim, judged, judged_apart, runs_needed, t_power, told
from supertickets.chapters.sensitivity import tables
from supertickets.chapters.single_task.claims import paper_gain
from supertickets.errors import SuperticketsError
from supertickets.statistics import Interval, equal_variances, jackknife, pitman_morgan, seeds_needed, spread_power

TIMES = "times the spread"


def paper_power(seeds: int = 5) -> list[dict[str, Any]]:
    """Could five seeds tell the paper's own pairs of Table 5 apart? A dict per pair, ready for ``pandas.DataFrame``.

    ``ratio`` is the printed sd with tickets over that without, ``power`` the F-test's with ``seeds`` runs each if these
    were the true ones, ``seeds needed`` the number that 80% take.

    >>> [(row["task"], round(row["power"], 2), row["seeds needed"]) for row in paper_power()][4]
    ('SST-2', 0.05, 2138)
    """
    theirs = {row["model"].removesuffix(" large"): row for row in paper.table(5)}
    rows = []
    for new, old in COMPARISONS:
        for task in (name for name in theirs[new] if name != "model"):
            ratio = theirs[new][task] / theirs[old][task]
            row = {"comparison": f"{new} against {old}", "task": task, "ratio": ratio}
            rows.append(row | {"power": spread_power(ratio, seeds), "seeds needed": seeds_needed(ratio)})
    return rows


def spread_tests(single: pd.DataFrame | None, multi: pd.DataFrame | None) -> pd.DataFrame:
    """Do scores spread less over seeds with tickets than without (section 8)? The claims, then their detail by task.

    The effect is sd with tickets / sd without, the limit 1. A claim per comparison is about all tasks together: the
    mean of the logarithms of the tasks' ratios (the sds beside it are geometric means), with a t interval from the
    jackknife over seeds, which holds when the tasks of a seed are alike (one over tasks covered 77% instead of 95% in a
    simulation of 8 tasks that correlate by 0.5). A task that has fewer than three seeds, or no spread without one of
    its runs, has no logarithm to average.

    By task, the interval is that of the Pitman-Morgan test, which pairs the models by seed. That test takes a failed
    run for spread, the Brown-Forsythe test does not but knows no pairs, so ``p`` is the larger of the two. Claims are a
    family, and so are the tasks of a comparison. Expected are the paper's ratios for BERT-large; power and runs
    needed are those of an F test by task. Fewer than three seeds give no p. Raises SuperticketsError as
    :func:`~supertickets.chapters.sensitivity.tables.table5` does, and if no task has both models of a comparison.
    """
    found, theirs = tables.seed_scores(single, multi), tables.printed_spreads()
    claims, details = [], []
    for new, old in COMPARISONS:
        tasks = [task for model, task in found if model == new and (old, task) in found]
        both = {task: pd.concat([found[new, task][0], found[old, task][0]], axis=1).dropna() for task in tasks}
        both = {task: pairs for task, pairs in both.items() if len(pairs) > 1}
        printed = {task: theirs[new, task] / sd for (model, task), sd in theirs.items() if model == old}
        text = f"{new} spreads less over seeds than {old}"
        if both:
            claims.append(_pooled(text, both, printed))
            details.append(judged(_spread_row(text, task, pairs, printed) for task, pairs in both.items()))
    if not claims:
        raise SuperticketsError("No task has two seeds with both models of a comparison; run more of the sweep first.")
    return pd.concat([judged(claims), *details], ignore_index=True)


def _spread_row(text: str, task: str, pairs: pd.DataFrame, printed: Mapping[str, float]) -> dict[str, Any]:
    a, b = pairs.to_numpy().T
    paired = pitman_morgan(a, b)
    # Two values always lie equally far from their median, which Levene's statistic takes for certainty.
    unpaired = equal_variances(a, b) if len(a) > 2 else math.nan
    tests = {"p (Brown-Forsythe)": unpaired, "p (Pitman-Morgan)": paired.p}
    expected = printed.get(paper.kin_of(task), math.nan)
    known = {} if math.isnan(expected) else {"power": spread_power(expected, len(a)), "needed": seeds_needed(expected)}
    p = float(np.maximum(unpaired, paired.p))
    ratio = Interval(len(a), paired.ratio, math.nan, paired.low, paired.high, p)
    more = {"sd with tickets": paired.sd_a, "sd without": paired.sd_b, **tests, **known}
    return claim(text, task, ratio, side="below", limit=1.0, unit=TIMES, expected=expected, detail=True, **more)


def _pooled(text: str, both: Mapping[str, pd.DataFrame], printed: Mapping[str, float]) -> dict[str, Any]:
    """The claim about all tasks together; its interval and power are made on the logarithms."""
    enough = {task: pairs for task, pairs in both.items() if len(pairs) > 2}
    seeds = _common(pairs.index for pairs in enough.values())
    log, more = jackknife(math.nan, [math.nan] * len(seeds)), {}
    if len(seeds) > 2:
        scores = np.stack([pairs.loc[seeds].to_numpy() for pairs in enough.values()])  # (tasks, seeds, 2)
        left_out = np.stack([np.delete(scores, i, axis=1).std(axis=1, ddof=1) for i in range(len(seeds))])
        usable = (left_out > 1e-9).all(axis=(0, 2))
        if usable.any():
            sds = np.exp(np.log(scores[usable].std(axis=1, ddof=1)).mean(axis=0))
            without = np.log(left_out[:, usable, 0] / left_out[:, usable, 1]).mean(axis=1)
            log = jackknife(float(np.log(sds[0] / sds[1])), without)
            more = {"sd with tickets": sds[0], "sd without": sds[1], "tasks": int(usable.sum())}
    away = float(np.mean(np.log(list(printed.values())))) if printed else math.nan
    more |= {"power": t_power(abs(away), log.sd, log.n), "needed": runs_needed(abs(away), log.sd)}
    ratio = Interval(log.n, *np.exp([log.mean, log.sd, log.low, log.high]).tolist(), p=log.p)
    expected = math.exp(away)
    return claim(text, TOGETHER, ratio, side="below", limit=1.0, unit=TIMES, expected=expected, detail=False, **more)


def matched_rates(frame: pd.DataFrame) -> pd.DataFrame:
    """A.2.1: tickets found at the learning rate at which they are rewound do better than tickets found at another one.

    ``frame`` holds single-task runs (:func:`supertickets.studies.tuning.mismatched`). The effect is the matched minus
    the mismatched winning ticket of a task, seed, level and rate, averaged over levels, in points: no level is chosen.
    The paper prints no number; expected is the average gain of its Table 1. Without such runs the frame is empty.
    """
    winning = frame.loc[frame["kind"] == "winning"].assign(found_at=tables.found_at(frame))
    key, values = ["seed", "level", "learning_rate"], {}
    for task, own in winning.dropna(subset=["found_at"]).groupby("task", sort=False):
        same = own["found_at"] == own["learning_rate"]
        both = own.loc[same].merge(own.loc[~same], on=key, suffixes=("", "_other"))
        if len(both):
            both["gain"] = 100 * (both["report_score"] - both["report_score_other"])
            values[str(task)] = both.groupby("seed")["gain"].mean()
    text = "tickets found at the matched learning rate beat those found at another"
    return judged_apart(told(text, values, expected=paper_gain()))


def rate_tests(multi: pd.DataFrame) -> pd.DataFrame:
    """Is Ticket-Share more robust to the learning rate than MT-DNN (A.4.2)? The claim, then its detail by task.

    The effect is Ticket-Share's variance over learning rates minus MT-DNN's, in squared points, of each what seeds
    alone make of it taken off (:func:`~supertickets.chapters.sensitivity.tables.rate_variance`): a model that is only
    noisier would seem more sensitive. Its interval is the jackknife's over the seeds that both have. The claim is about
    the mean over tasks, and the seeds that every task has; the tasks are a family. The sds beside are the roots, 0
    where chance alone would do. Expected are the differences of the paper's (BERT-large's) squared sds. Raises
    SuperticketsError as :func:`~supertickets.chapters.sensitivity.tables.table8` does, and if no task has both models.
    """
    theirs, both = tables.of_large(8), {}
    for task, models in tables.rate_scores(multi).items():
        seeds = _common(scores.index for scores in models.values())
        if len(models) == 2 and len(seeds) > 1:
            both[task] = models["Ticket-Share"].loc[seeds], models["MT-DNN"].loc[seeds]
    if not both:
        raise SuperticketsError("No task has two seeds with both MT-DNN and Ticket-Share; run more of them first.")
    printed = {task: sd**2 - theirs["MT-DNN", task] ** 2 for (model, task), sd in theirs.items() if model != "MT-DNN"}
    details = [_rate_row(task, [pair], printed.get(paper.kin_of(task), math.nan)) for task, pair in both.items()]
    seeds = _common(pair[0].index for pair in both.values())
    pairs = [(new.loc[seeds], old.loc[seeds]) for new, old in both.values()]
    expected = float(np.mean(list(printed.values()))) if printed else math.nan
    return pd.concat([judged([_rate_row(TOGETHER, pairs, expected)]), judged(details)], ignore_index=True)


def _rate_row(task: str, pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]], expected: float) -> dict[str, Any]:
    values = [tuple(scores.to_numpy() for scores in pair) for pair in pairs]
    n = len(values[0][0])

    def variances(kept: Sequence[int]) -> np.ndarray:
        """With tickets and without, mean over tasks."""
        if len(kept) < 2:
            return np.full(2, math.nan)
        return np.mean([[tables.rate_variance(scores[kept]) for scores in pair] for pair in values], axis=0)

    new, old = variances(range(n))
    without = (variances([j for j in range(n) if j != i]) for i in range(n))
    found = jackknife(float(new - old), [float(a - b) for a, b in without])
    more = {"sd with tickets": math.sqrt(max(0.0, new)), "sd without": math.sqrt(max(0.0, old))}
    more |= {"rates": values[0][0].shape[1], "detail": task != TOGETHER}
    text = "Ticket-Share depends less on the learning rate than MT-DNN"
    return claim(text, task, found, side="below", unit="squared points", expected=expected, **more)


def _common(indices: Iterable[pd.Index]) -> list[Any]:
    """What all of the indices have, in order."""
    return sorted(set.intersection(*each)) if (each := [set(index) for index in indices]) else []
