"""What the paper says about single tasks (sections 5.3 and 5.4), each statement put to the test on the runs.

Every function gives rows of :func:`supertickets.chapters.claims.claim`: first the claim itself over all tasks together,
every seed's mean over the tasks it has all of; then, with ``detail`` True and a family of their own, the same by task
or level. Effects are in points, paired by seed. "Light" levels are 10% to 30%, averaged: no level is chosen, so there
is no winner's curse. The effect that power is reckoned for is the paper's average gain in Table 1 (:func:`paper_gain`),
where the paper prints none of the claim's own. Functions of the super ticket raise SuperticketsError as
:func:`supertickets.runs.super_ticket_pairs` does.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from supertickets.chapters import paper
from supertickets.chapters.claims import POWER, TOGETHER, UNMEASURED, claim, judged, judged_apart, told
from supertickets.errors import SuperticketsError
from supertickets.runs import paired_scores, super_ticket_pairs, super_tickets
from supertickets.statistics import (
    Boundary,
    Interval,
    PhaseBoundaries,
    mean_interval,
    mean_of_means,
    phase_boundaries,
    rises_then_falls,
)
from supertickets.studies import LIGHT_LEVELS, TrainingSets

GREATER = "the light gain is greater in the large model"
MIDDLE_LEVELS = (0.3, 0.4, 0.5, 0.6)
"""The levels at which the order winning, random, losing is judged: neither nearly full nor nearly collapsed."""

FEWEST_TASKS = 3
"""With fewer a relation to the tasks' size is no relation."""


def paper_gain(size: str = "base") -> float:
    """The average gain of the super ticket that Table 1 prints for BERT-``size``, in points.

    >>> paper_gain(), paper_gain("large")
    (0.9, 1.0)
    """
    paper.check_size(size)
    printed = paper.column(1, "average score")
    return round(printed[f"SuperT {size}"] - printed[f"ST-DNN {size}"], 1)


def contrasts(
    frame: pd.DataFrame, a: str, b: str = "full", levels: Sequence[float] = LIGHT_LEVELS, b_levels: Sequence[float] = ()
) -> dict[str, pd.Series]:
    """Score of kind ``a`` minus kind ``b``, means over levels, in points, by seed, for every task that has both.

    ``levels`` count where both kinds have them; or ``b`` is taken at ``b_levels``. Seeds that lack a run are left out.
    """
    found = {}
    for task, group in frame.groupby("task", sort=False):
        scores = paired_scores(group)
        free = b == "full" or b_levels
        ours = [(a, level) for level in levels if (a, level) in scores and (free or (b, level) in scores)]
        against = (0.0,) if b == "full" else b_levels or [level for _, level in ours]
        theirs = [(b, level) for level in against if (b, level) in scores]
        if ours and theirs:
            means = [scores[columns].mean(axis=1, skipna=False) for columns in (ours, theirs)]
            found[str(task)] = (100 * (means[0] - means[1])).dropna()
    return found


def super_tickets_gain(frame: pd.DataFrame, size: str = "base") -> pd.DataFrame:
    """Section 5.3: the super ticket of a seed beats its full model; all tasks together, and by task."""
    pairs = super_ticket_pairs(frame)
    gains = _by_task(pairs.assign(gain=pairs["super"] - pairs["full"]), "gain")
    return judged_apart(told("the super ticket beats the full model", gains, expected=paper_gain(size)))


def _by_task(pairs: pd.DataFrame, column: str) -> dict[str, pd.Series]:
    return {str(task): pd.Series(own.set_index("seed")[column]) for task, own in pairs.groupby("task", sort=False)}


def light_pruning(frame: pd.DataFrame, levels: Sequence[float] = LIGHT_LEVELS) -> pd.DataFrame:
    """The central claim: winning tickets of light levels beat the full model. In detail: by task and level."""
    values = {}
    for level in levels:
        values |= {f"{task}, {level:.0%}": gain for task, gain in contrasts(frame, "winning", levels=[level]).items()}
    tasks = list(dict.fromkeys(frame["task"]))
    together = TOGETHER if len(tasks) > 1 else tasks[0]
    at = f"{together}, mean of {', '.join(f'{level:.0%}' for level in levels)}"
    return judged_apart(told("light pruning beats the full model", values, at, expected=paper_gain()))


def hardly_trained(frame: pd.DataFrame) -> list[str]:
    """Where full models learn nothing that their seeds could show, a sentence a task; else where light winning tickets
    learn less than half of what full models do.

    A mean says nothing of runs of which some train and others fail.
    """
    said = []
    for task, own in frame.groupby("task", sort=False):
        learnt = 100 * (own["report_score"] - own["constant_score"])
        light = learnt.loc[(own["kind"] == "winning") & own["level"].isin(LIGHT_LEVELS)]
        full = learnt.loc[own["kind"] == "full"].dropna()
        if full.empty:
            continue
        its, few = mean_interval(full), int((light < full.mean() / 2).sum())
        if its.low <= 0:
            said.append(
                f"{task}: full models do not clearly learn: {its.mean:.1f} points beyond a constant answer "
                f"[{its.low:.1f}, {its.high:.1f}], n = {len(full)}; what tickets gain or lose there says little."
            )
        elif few:
            said.append(
                f"{task}: full models learn {its.mean:.1f} points beyond a constant answer; {few} of {len(light)} "
                "light tickets learn less than half of that."
            )
    return said


def over_tasks(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The central claim over tasks that share no training set: the mean of the tasks' mean gains, all tasks alike."""
    gains = [gain for frame in frames for gain in contrasts(frame, "winning").values()]
    text, where = "light pruning beats the full model", f"mean of {len(gains)} tasks"
    return judged([claim(text, where, mean_of_means(gains), expected=paper_gain(), detail=False)])


def foreseen(frame: pd.DataFrame, planned: Sequence[TrainingSets]) -> str:
    """What the powered tests of the central claim can see, from the training sets of Figure 1: said beforehand."""
    ((task, gains),) = contrasts(frame, "winning").items()
    sd = float(np.std(gains.to_numpy(), ddof=1))
    seen = []
    for name, n in dict.fromkeys((sets.task, sets.n) for sets in planned):
        least = float(stats.t.ppf(0.975, n - 1) + stats.t.ppf(POWER, n - 1)) * sd / math.sqrt(n)
        seen.append(f"{least:.1f} on {n} of {name}")
    said = (
        f"As far as the light gain spreads over the {len(gains)} training sets of Figure 1 ({task}, {sd:.1f} points), "
        f"these gains would show with probability {POWER:.0%}, in points and on so many sets: {', '.join(seen)}."
    )
    other = any(sets.task != task for sets in planned)
    return said + f" How far it spreads on other tasks than {task} was not known." * other


def winners(frame: pd.DataFrame) -> pd.DataFrame:
    """Observation 1: winning tickets lie above random ones, and random ones above losing ones, at the middle levels."""
    rows = []
    for better, worse in (("winning", "random"), ("random", "losing")):
        text = f"{better} tickets lie above {worse} ones"
        rows += told(text, contrasts(frame, better, worse, MIDDLE_LEVELS), expected=paper_gain())
    return judged_apart(rows)


def transitions(frame: pd.DataFrame) -> pd.DataFrame:
    """Observation 2: the winning curve rises above the full model and then falls below it.

    The effect is the smaller of rise and fall, the test that of both (:func:`supertickets.statistics.\
rises_then_falls`). All together, a seed's curve is its mean over tasks. The level is chosen by the other seeds'
    selection scores: neither the luck of a seed's training is in the rise, nor that of the examples it is judged on.
    """
    levels = sorted(set(frame.loc[frame["kind"] == "winning", "level"]))
    wanted = [("full", 0.0), *(("winning", level) for level in levels)]
    curves = {}
    for task, group in frame.groupby("task", sort=False):
        scores = {split: paired_scores(group, f"{split}_score") for split in ("report", "selection")}
        if all(column in scores["report"] for column in wanted):
            curves[str(task)] = pd.concat({split: x[wanted] for split, x in scores.items()}, axis=1).dropna()
    if len(curves) > 1:
        seeds = sorted(set.intersection(*(set(curve.index) for curve in curves.values())))
        mean = pd.concat([curve.loc[seeds] for curve in curves.values()]).groupby(level=0).mean()
        curves = {TOGETHER: mean, **curves}
    text, rows = "winning tickets rise, then fall, at levels chosen by other seeds on other examples", []
    for i, (name, curve) in enumerate(curves.items()):
        effect = UNMEASURED
        if len(curve) > 1 and len(levels) > 1:
            report, selection = (100 * curve[split].to_numpy() for split in ("report", "selection"))
            found = rises_then_falls([0.0, *levels], report, chosen_by=selection)
            effect = replace(found.effect, p=found.p)
        rows.append(claim(text, name, effect, expected=paper_gain(), detail=i > 0))
    return judged_apart(rows)


def falls(frame: pd.DataFrame) -> pd.DataFrame:
    """Section 5.4 of the other two kinds: random tickets fall in every phase, losing tickets drop at once.

    The phases are those of the paper's figures: up to 30%, to 60%, and beyond; "at once" is the lightest level.
    """
    light, middle, heavy = LIGHT_LEVELS, MIDDLE_LEVELS[1:], (0.7, 0.8)
    phases = {
        "random tickets fall with light pruning": contrasts(frame, "random", levels=light),
        "random tickets fall from light to middle": contrasts(frame, "random", "random", middle, light),
        "random tickets fall from middle to heavy": contrasts(frame, "random", "random", heavy, middle),
        "losing tickets drop at once": contrasts(frame, "losing", levels=light[:1]),
    }
    fields = {"side": "below", "expected": -paper_gain()}
    return judged_apart(row for text, values in phases.items() for row in told(text, values, **fields))


def larger_models(base: pd.DataFrame, large: pd.DataFrame) -> pd.DataFrame:
    """Observation 3, and 5.3: in the large model the light gain is greater, and its super tickets keep less.

    Same tasks, paired by seed; kept weights in percent of the encoder's. The paper's effects are those of Table 1.
    """
    weights = paper.column(1, "weights remaining")
    kept = {}
    for frame in (base, large):
        chosen = super_tickets(frame)
        for task, group in chosen.groupby("task", sort=False):
            kept.setdefault(str(task), []).append(100 * group.set_index("seed")["weights_remaining"])
    less = {task: (both[1] - both[0]).dropna() for task, both in kept.items() if len(both) == 2}
    gains, theirs = contrasts(large, "winning"), contrasts(base, "winning")
    more = {task: (gain - theirs[task]).dropna() for task, gain in gains.items() if task in theirs}
    rows = told(GREATER, more, expected=paper_gain("large") - paper_gain())
    smaller = {"side": "below", "unit": "% of weights", "expected": weights["SuperT large"] - weights["SuperT base"]}
    return judged_apart(rows + told("super tickets of the large model keep less", less, **smaller))


def smaller_data(frames: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Observation 4: with less training data the light gain is greater. Each size against the largest, by seed.

    ``frames`` maps training sizes to the records of the same tasks at that size.
    """
    if len(frames) < 2:
        raise SuperticketsError("Comparing training sizes needs the runs of two sizes at least.")
    largest, *smaller = sorted(frames, reverse=True)
    whole, values = contrasts(frames[largest], "winning"), {}
    for n in smaller:
        for task, gain in contrasts(frames[n], "winning").items():
            if task in whole:
                values[f"{task}, {n} against {largest} examples"] = (gain - whole[task]).dropna()
    together = f"fewer against {largest} examples"
    return judged_apart(told("the light gain is greater with less data", values, together, expected=paper_gain()))


def task_sizes(frame: pd.DataFrame) -> pd.DataFrame:
    """Sections 5.3 and 5.4: in larger tasks super tickets gain less and keep more, light pruning gains less.

    Relations to the tasks' training sets (:func:`size_relation`); the last is how "the phase transition is more
    pronounced in small tasks" is read, of levels that nobody chose. Expected are the slopes of the paper's Figure 3.
    Of a single task there is no row.
    """
    pairs = super_ticket_pairs(frame)
    if "train_examples" not in frame or len(set(frame["task"])) < 2:
        return judged_apart([])
    pairs["gain"], pairs["weights"] = pairs["super"] - pairs["full"], 100 * pairs["weights_remaining"]
    examples = dict(zip(frame["task"], frame["train_examples"], strict=True))
    gains = {row["task"]: row["gain base"] for row in paper.figure3()}
    kept = {row["task"]: 100 * row["weights remaining base"] for row in paper.figure3()}
    gained, weights, light = _by_task(pairs, "gain"), _by_task(pairs, "weights"), contrasts(frame, "winning")
    rows = [
        size_relation("super tickets gain less in larger tasks", gained, examples, gains, side="below"),
        size_relation("super tickets keep more in larger tasks", weights, examples, kept, "% of weights"),
        size_relation("light pruning gains less in larger tasks", light, examples, gains, side="below"),
    ]
    return judged_apart({**row, "detail": False} for row in rows)


def size_relation(
    text: str,
    values: Mapping[str, pd.Series],
    examples: Mapping[str, float],
    printed: Mapping[str, float],
    unit: str = "points",
    side: str = "above",
) -> dict[str, Any]:
    """The row of a claim about an effect and the tasks' numbers of training ``examples``: the slope per tenfold data.

    ``values`` are the effect by task and seed. The claim is about tasks, so tasks are the n: a least-squares line
    through their means, with its t interval. It takes three sizes; else it is not measured, and nothing can be told.
    Expected is the slope of the paper's values, ``printed`` by its own tasks.
    """
    theirs = {row["task"]: row["train examples"] for row in paper.figure3()}
    expected = stats.linregress(np.log10([theirs[task] for task in printed]), list(printed.values())).slope  # pyright: ignore[reportAttributeAccessIssue]
    wide = pd.DataFrame(dict(values)).dropna()
    x, n = np.log10([examples[task] for task in wide]), wide.shape[1]
    slope = UNMEASURED
    if len(wide) and len(set(x)) >= FEWEST_TASKS:
        fit: Any = stats.linregress(x, wide.mean().to_numpy())
        half = stats.t.ppf(0.975, n - 2) * fit.stderr
        slope = Interval(n, fit.slope, fit.stderr * math.sqrt(n), fit.slope - half, fit.slope + half, fit.pvalue)
    where, unit = f"{n} tasks", f"{unit} per tenfold data"
    return claim(text, where, slope, side=side, unit=unit, expected=float(expected))


def boundaries(frame: pd.DataFrame, chance: float | None = None) -> PhaseBoundaries:
    """The three phases of a frame of records (:func:`supertickets.statistics.phase_boundaries`), seeds paired.

    Only levels and seeds that winning and random tickets both have are used. Raises SuperticketsError if too few.
    """
    scores = paired_scores(frame)
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


def phase_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The phases' boundaries by task, as sparsity levels with 95% bootstrap intervals over seeds.

    ``best`` ends Phase I, ``meeting`` begins Phase III, ``collapse`` is where half of what the full model has over a
    constant answer is lost; inf means beyond the last level. Tasks without the runs it takes are left out.
    """
    rows = []
    for task, own in frame.groupby("task", sort=False):
        try:
            found = boundaries(own, float(own["constant_score"].iloc[0]))
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
