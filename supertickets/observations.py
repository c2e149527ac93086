"""The paper's four observations about single tasks (section 5.4), each put to the test on the runs.

1. Winning tickets are winners: above random ones, and random ones above losing ones.
2. The phase transition: winning tickets rise above the full model with light pruning, then fall below it.
3. It is more pronounced in larger models.
4. It is more pronounced with less training data.

Observations 3 and 4 need a number for "pronounced". Here it is the *light gain*: winning ticket minus full model,
averaged over the levels 10% to 30%, per seed, in points. No level is chosen, so there is no winner's curse in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from supertickets.errors import SuperticketsError
from supertickets.experiments import paired_scores
from supertickets.phases import rises_then_falls
from supertickets.statistics import Interval, holm, mean_interval, paired_difference, verdict
from supertickets.tables import LIGHT_LEVELS, MIDDLE_LEVELS, ordering

TOGETHER = "all tasks together"
COLUMNS = ["observation", "comparison", "n", "effect", "low", "high", "p", "verdict"]


def light_gain(frame: pd.DataFrame, levels: Sequence[float] = LIGHT_LEVELS) -> pd.Series:
    """Winning ticket minus full model, mean over the light ``levels``, in points, by (task, seed).

    Seeds that lack one of the runs are left out.
    """
    gains = {}
    for task, group in frame.groupby("task", sort=False):
        scores = paired_scores(group)
        there = [("winning", level) for level in levels if ("winning", level) in scores]
        if not there or ("full", 0.0) not in scores:
            continue
        complete = scores[[*there, ("full", 0.0)]].dropna()
        difference = 100 * (complete[there].mean(axis=1) - complete[("full", 0.0)])
        gains |= {(task, seed): gain for seed, gain in difference.items()}
    return pd.Series(gains, dtype=float).rename_axis(["task", "seed"]) if gains else pd.Series(dtype=float)


def winners(frame: pd.DataFrame, levels: Sequence[float] = MIDDLE_LEVELS) -> pd.DataFrame:
    """Observation 1, over all tasks together: per seed the mean over tasks, the interval over seeds, in points.

    The middle levels only: at 10% there is little to choose among, at 80% little left. By task:
    :func:`supertickets.tables.ordering`.
    """
    rows = []
    for better, worse in (("winning", "random"), ("random", "losing")):
        differences = []
        for _, group in frame.groupby("task", sort=False):
            scores = paired_scores(group)
            pairs = [level for level in levels if (better, level) in scores and (worse, level) in scores]
            if pairs:
                each = [scores[(better, level)] - scores[(worse, level)] for level in pairs]
                differences.append(pd.concat(each, axis=1).mean(axis=1, skipna=False))
        if not differences:
            continue
        values = 100 * pd.concat(differences, axis=1).dropna().mean(axis=1).to_numpy()
        if len(values):
            by_task = ordering(frame)
            held = by_task.loc[by_task["claim"] == f"{better} above {worse}", "verdict"]
            text = f"{better} minus {worse}, mean of {len(differences)} tasks (alone: {(held == 'supported').sum()})"
            rows.append(_row("1 winning tickets are winners", text, mean_interval(values)))
    return pd.DataFrame(rows, columns=COLUMNS)


def transitions(frame: pd.DataFrame) -> pd.DataFrame:
    """Observation 2: does the winning curve rise above the full model and then fall? By task, and all together.

    The test is :func:`supertickets.phases.rises_then_falls`: p is that of both together, and the effect is the gain
    at the best level, each seed judged at the level best for the others. All together, a (task, seed) is a replicate.
    The p-values of the single tasks are corrected for their number (Holm), and a task whose corrected p is above 0.05
    supports nothing.
    """
    curves: dict[str, np.ndarray] = {}
    levels = sorted(set(frame.loc[frame["kind"] == "winning", "level"]))
    for task, group in frame.groupby("task", sort=False):
        scores = paired_scores(group)
        wanted = [("full", 0.0), *(("winning", level) for level in levels)]
        if all(column in scores for column in wanted):
            curves[str(task)] = scores[wanted].dropna().to_numpy()
    rows = []
    if len(curves) > 1:
        curves[TOGETHER] = np.concatenate(list(curves.values()))
    for name, curve in curves.items():
        if len(curve) < 2 or len(levels) < 2:
            continue
        found = rises_then_falls([0.0, *levels], 100 * curve)
        row = _row("2 phase transition", f"{name}: rise at the best level", found.gain, found.p)
        rows.append(row | {"verdict": found.verdict})
    table = pd.DataFrame(rows, columns=COLUMNS)
    single = ~table["comparison"].str.startswith(TOGETHER)
    table.loc[single, "p"] = holm(table.loc[single, "p"])
    table.loc[single & (table["p"] > 0.05) & (table["verdict"] == "supported"), "verdict"] = "inconclusive"
    return table


def larger_models(base: pd.DataFrame, large: pd.DataFrame) -> pd.DataFrame:
    """Observation 3: is the light gain greater in the large model? Same tasks, paired by seed."""
    rows = []
    a, b = light_gain(large), light_gain(base)
    for task in _tasks(a):
        rows += _compared("3 more pronounced in larger models", f"{task}: large minus base", a, b, task)
    return pd.DataFrame(rows, columns=COLUMNS)


def smaller_data(frames: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Observation 4: is the light gain greater with less training data? Each size against the largest, by seed.

    ``frames`` maps training sizes to the records of one task at that size.
    """
    if len(frames) < 2:
        raise SuperticketsError("Comparing training sizes needs the runs of two sizes at least.")
    sizes = sorted(frames, reverse=True)
    gains = {size: light_gain(frames[size]) for size in sizes}
    rows = []
    for size in sizes[1:]:
        for task in _tasks(gains[size]):
            text = f"{task}: {size} minus {sizes[0]} examples"
            rows += _compared("4 more pronounced with less data", text, gains[size], gains[sizes[0]], task)
    return pd.DataFrame(rows, columns=COLUMNS)


def sentences(table: pd.DataFrame) -> list[str]:
    """One sentence per row of the tables above: verdict, effect, interval, n."""
    said = []
    for row in table.to_dict("records"):
        p = "" if np.isnan(row["p"]) else f", p = {row['p']:.3g}"
        said.append(
            f"{str(row['observation'])[2:].capitalize()}: {row['verdict']} ({row['comparison']}: {row['effect']:+.2f} "
            f"points, 95% interval {row['low']:+.2f} to {row['high']:+.2f}, n = {row['n']}{p})."
        )
    return said


def _tasks(gains: pd.Series) -> list[str]:
    return list(dict.fromkeys(gains.index.get_level_values(0)))


def _compared(observation: str, text: str, a: pd.Series, b: pd.Series, task: str) -> list[dict[str, object]]:
    if task not in _tasks(b):
        return []
    both = pd.concat([a.loc[task], b.loc[task]], axis=1).dropna().to_numpy()
    if not len(both):
        return []
    found = paired_difference(both[:, 0], both[:, 1])
    return [_row(observation, text, found.interval, found.p)]


def _row(observation: str, text: str, interval: Interval, p: float = float("nan")) -> dict[str, object]:
    values = [observation, text, interval.n, interval.mean, interval.low, interval.high, p, verdict(interval)]
    return dict(zip(COLUMNS, values, strict=True))
