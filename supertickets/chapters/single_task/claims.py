"""The paper's four observations about single tasks (section 5.4), each put to the test on the runs.

1. Winning tickets are winners: above random ones, and random ones above losing ones.
2. The phase transition: winning tickets rise above the full model with light pruning, then fall below it.
3. It is more pronounced in larger models.
4. It is more pronounced with less training data.

Observations 3 and 4 need a number for "pronounced". Here it is the *light gain*: winning ticket minus full model,
averaged over the levels 10% to 30%, per seed, in points. No level is chosen, so there is no winner's curse in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters.claims import TOGETHER
from supertickets.errors import SuperticketsError
from supertickets.runs import paired_scores, super_tickets
from supertickets.statistics import (
    Boundary,
    Interval,
    PhaseBoundaries,
    holm,
    mean_interval,
    paired_difference,
    phase_boundaries,
    rises_then_falls,
    verdict,
    winners_curse,
)

COLUMNS = ["observation", "comparison", "n", "effect", "low", "high", "p", "verdict"]

LIGHT_LEVELS = (0.1, 0.2, 0.3)
"""The levels at which the paper sees winning tickets above the full model."""
MIDDLE_LEVELS = (0.3, 0.4, 0.5, 0.6)
"""The levels at which the order winning, random, losing is judged: neither nearly full nor nearly collapsed."""


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
    :func:`ordering`.
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

    The test is :func:`supertickets.statistics.rises_then_falls`: p is that of both together, and the effect is the gain
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
    the spread of the runs themselves (:func:`supertickets.statistics.winners_curse`); it needs two seeds.
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

    From the spread of the runs themselves (:func:`supertickets.statistics.winners_curse`); NaN for fewer than two
    seeds.
    """
    own = frame.loc[frame["kind"].isin(["full", "winning"])]
    selection, report = (paired_scores(own, f"{split}_score").dropna() for split in ("selection", "report"))
    if len(selection) < 2 or selection.shape[1] < 3:
        return float("nan")
    levels = [float(level) for _, level in selection.columns]  # sorted: the full model's level 0 comes first
    return 100 * winners_curse(levels, selection.to_numpy(), report.to_numpy()).placebo


def _estimate(interval: Interval) -> dict[str, float | str]:
    """An interval over seeds and its verdict, as columns of a row."""
    return {
        "seeds": interval.n,
        "effect": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "verdict": verdict(interval),
    }


def boundaries(frame: pd.DataFrame, score: str = "report_score", chance: float | None = None) -> PhaseBoundaries:
    """The three phases of a frame of records (:func:`supertickets.statistics.phase_boundaries`), seeds paired.

    Only levels and seeds that winning and random tickets both have are used. Raises SuperticketsError if too few.
    """
    scores = paired_scores(frame, score)
    levels = [level for kind, level in scores.columns if kind == "winning" and ("random", level) in scores]
    needed = [("full", 0.0), *((kind, level) for kind in ("winning", "random") for level in levels)]
    if len(levels) < 2 or ("full", 0.0) not in scores:
        raise SuperticketsError("Phases need the full model and winning and random tickets at two levels or more.")
    complete = scores.dropna(subset=needed)
    winning, random = (
        np.stack([complete[("full", 0.0)], *(complete[(kind, level)] for level in levels)], axis=1)
        for kind in ("winning", "random")
    )
    return phase_boundaries([0.0, *levels], winning, random, chance)


def phase_table(frame: pd.DataFrame, score: str = "report_score") -> pd.DataFrame:
    """The phases' boundaries by task, as sparsity levels with 95% bootstrap intervals over seeds.

    ``best`` ends Phase I, ``meeting`` begins Phase III, ``collapse`` is where half of what the full model has over a
    constant answer is lost; inf means beyond the last level. Tasks without the runs it takes are left out.
    """
    rows = []
    for task, own in frame.groupby("task", sort=False):
        try:
            found = boundaries(own, score, float(own["constant_score"].iloc[0]))
        except SuperticketsError:  # runs are missing, and what is missing is said elsewhere
            continue
        row: dict[str, Any] = {"task": task, "seeds": found.n_seeds}
        for name in ("best", "meeting", "collapse"):
            boundary: Boundary = getattr(found, name)
            row |= {name: boundary.level, f"{name}: low": boundary.low, f"{name}: high": boundary.high}
        rows.append(row)
    return pd.DataFrame(rows)


def phase_sentence(phases: PhaseBoundaries) -> str:
    """The phases' boundaries and their intervals in words, as sparsity levels."""

    def said(boundary: Boundary) -> str:
        if not math.isfinite(boundary.level):
            return f"beyond the last level (within it in {boundary.found:.0%} of the resamples)"
        low, high = (f"{x:.0%}" if math.isfinite(x) else "beyond the last level" for x in (boundary.low, boundary.high))
        return f"at {boundary.level:.0%} of the units pruned (95% interval {low} to {high})"

    best = "the full model itself is best, so there is no Phase I; " if phases.best.level == 0 else ""
    return (
        f"Phase I ends {said(phases.best)}; {best}winning tickets meet random ones, which begins Phase III, "
        f"{said(phases.meeting)}; n = {phases.n_seeds}."
    )
