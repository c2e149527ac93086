"""Gains over seeds and on other examples too, Table 2 beside Table 1, and what choosing the best level adds (P9)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from supertickets.chapters import paper
from supertickets.chapters.claims import TOGETHER, UNKNOWN, claim, judged_apart
from supertickets.chapters.single_task.claims import paper_gain
from supertickets.runs import Record, super_tickets
from supertickets.statistics import Interval, placebo_gain, two_level_bootstrap
from supertickets.studies import LIGHT_LEVELS

Runs = Mapping[str, Mapping[int, tuple[Record, ...]]]
"""Tickets, then their full model, by task and seed."""


@dataclass(frozen=True)
class Gain:
    """Gains of some seeds' tickets on a split: ``of(rows)``, in points, of ``n`` rows; ``on`` says which split."""

    of: Callable[[np.ndarray], np.ndarray]
    n: int
    on: str


def gains_over_examples(records: Iterable[Record], n_resamples: int = 200) -> pd.DataFrame:
    """The super ticket, and light pruning, beat the full model: with intervals over seeds *and* examples.

    ``records``, with arrays, are those of Table 1. Effects are those of
    :func:`~supertickets.chapters.single_task.claims.super_tickets_gain` and
    :func:`~supertickets.chapters.single_task.claims.light_pruning` (mean over levels; here its details are the tasks),
    of the seeds that every task has. Those functions say what other seeds would gain on the same examples; these
    intervals (:func:`supertickets.statistics.two_level_bootstrap`) hold for other examples too.
    """
    records, tables = [r for r in records if r.spec.ticket.kind in ("full", "winning")], []
    for text, light in (("the super ticket beats the full model", False), ("light pruning beats the full model", True)):
        runs = _tickets_and_full(records, light)
        sides = {
            task: (_gain([runs[task][seed] for seed in _seeds([runs])], "dev"),) for task in runs if _seeds([runs])
        }
        tables.append(_judged(partial(claim, text, expected=paper_gain()), sides, n_resamples))
    return pd.concat(tables, ignore_index=True)


def gains_on_other_examples(first: Iterable[Record], second: Iterable[Record], n_resamples: int = 200) -> pd.DataFrame:
    """Do super tickets gain less on the test set (Table 2) than on the report split (Table 1)? The claim, then by task.

    ``first`` and ``second`` are the records of both tables, with arrays; their full models and super tickets, of tasks
    and seeds that are in both, are compared. The effect is Table 2's gain minus Table 1's in points, seeds paired, its
    interval over seeds and examples, those of the two splits drawn apart. It has two parts, columns of their own in
    their intervals: ``trained again`` is what the second runs gain more on the first's examples, ``other examples``
    what they gain more on the test set than there. Expected is the difference of the paper's averages.
    """
    known = [_tickets_and_full(records) for records in (first, second)]
    tasks = [task for task in known[0] if task in known[1]]
    known = [{task: side[task] for task in tasks} for side in known]
    sides, parts = {}, {}
    for task in tasks if (seeds := _seeds(known)) else ():
        before, after = ([side[task][seed] for seed in seeds] for side in known)
        report, again, test = _gain(before, "dev"), _gain(after, "dev"), _gain(after, "test")
        sides[task] = report, test
        found = {"trained again": (report, again), "other examples": (again, test)}
        parts[task] = {name: _two_levels([pair], n_resamples) for name, pair in found.items()}
    printed = paper.column(2, "average score")
    expected = printed["SuperT base"] - printed["ST-DNN base"] - paper_gain()
    lesser = partial(claim, "the super ticket gains less on the test set", side="below", expected=expected)
    return _judged(lesser, sides, n_resamples, parts)


def why_sentences(frame: pd.DataFrame) -> list[str]:
    """Of every task whose gain differs in :func:`gains_on_other_examples`, how much of that is training once more."""

    def told(row: Mapping[str, Any], part: str) -> str:
        return f"{row[part]:+.2f} points [{row[f'{part}: low']:.2f}, {row[f'{part}: high']:.2f}]"

    known = frame.dropna(subset=["trained again"]) if len(frame) else frame
    return [
        f"{row['where'].capitalize()}: training once more changes the gain on the same examples by "
        f"{told(row, 'trained again')}; other examples change that of the same runs by {told(row, 'other examples')}."
        for row in known.to_dict("records")
        if row["verdict"] != UNKNOWN
    ]


def _judged(
    row: Callable[..., dict[str, Any]],
    sides: Mapping[str, tuple[Gain, ...]],
    n_resamples: int,
    parts: Mapping[str, Mapping[str, Interval]] | None = None,
) -> pd.DataFrame:
    """The claim about all tasks together, then each task: its gain, or the second minus the first, and the parts."""
    rows = []
    for task, side in sides.items():
        found, more = _two_levels([side], n_resamples), {}
        for name, part in (parts or {}).get(task, {}).items():
            more |= {name: part.mean, f"{name}: low": part.low, f"{name}: high": part.high}
        rows.append(row(task, found, detail=len(sides) > 1, **more))
    if len(sides) > 1:
        mean = _two_levels(list(sides.values()), n_resamples)
        rows = [row(TOGETHER, mean, detail=False), *rows]
    return judged_apart(rows)


def _two_levels(sides: Sequence[tuple[Gain, ...]], n_resamples: int) -> Interval:
    """Mean over sides of a gain, or of the second minus the first; those of one split have the same rows."""

    def difference(*rows: np.ndarray) -> np.ndarray:
        drawn, values = iter(rows), []
        for first, *second in sides:
            x = next(drawn)
            y = next(drawn) if second and second[0].on != first.on else x
            values.append(second[0].of(y) - first.of(x) if second else first.of(x))
        return np.mean(values, axis=0)

    sizes = [gain.n for side in sides for i, gain in enumerate(side) if i == 0 or gain.on != side[0].on]
    return two_level_bootstrap(difference, sizes, n_resamples)


def _seeds(known: Iterable[Runs]) -> list[int]:
    """Those that all tasks have, everywhere."""
    each = [set(seeds) for runs in known for seeds in runs.values()]
    return sorted(set.intersection(*each)) if each else []


def _tickets_and_full(records: Iterable[Record], light: bool = False) -> Runs:
    """The super ticket, or the light winning tickets, and the full model, where there are all."""
    known = {record.id: record for record in records if record.spec.ticket.kind in ("full", "winning")}
    frame = pd.DataFrame([row for record in known.values() for row in record.rows()])
    if frame.empty:
        return {}
    chosen = (
        frame.loc[(frame["kind"] == "winning") & frame["level"].isin(LIGHT_LEVELS)] if light else super_tickets(frame)
    )
    found: dict[str, dict[int, list[Record]]] = {}
    full = frame.loc[frame["kind"] == "full"]
    for run in (*chosen.sort_values("level")["run"], *full["run"]):
        spec = known[run].spec
        found.setdefault(spec.data.name, {}).setdefault(spec.seed, []).append(known[run])
    whole = {task: max(map(len, seeds.values())) for task, seeds in found.items()}
    return {
        task: kept
        for task, seeds in found.items()
        if whole[task] > 1 and (kept := {seed: tuple(x) for seed, x in seeds.items() if len(x) == whole[task]})
    }


def _gain(runs: Sequence[tuple[Record, ...]], split: str) -> Gain:
    """What tickets gain, on average, over the last of each tuple, on the report rows of dev or on test."""
    first = runs[0][0]
    rows = np.flatnonzero(~first.arrays["selection"]) if split == "dev" else np.arange(len(first.arrays["test_labels"]))
    labels, groups = first.arrays[f"{split}_labels"][rows], first.arrays.get(f"{split}_groups")
    told = np.array([[answers(record, rows, split) for record in each] for each in runs])  # (seeds, runs, rows)
    metrics = first.tasks[first.spec.data.name].metrics

    def of(drawn: np.ndarray) -> np.ndarray:
        own = None if groups is None else groups[rows][drawn]
        scores = 100 * scored(metrics, labels[drawn], own, told[..., drawn])
        return scores[:, :-1].mean(axis=1) - scores[:, -1]

    return Gain(of, len(rows), split)


def answers(record: Record, rows: np.ndarray, split: str = "dev") -> np.ndarray:
    """A run's answers on some rows of a split: classes, or scores."""
    logits = record.arrays[f"{split}_logits"][rows].astype(np.float64)
    return logits[:, 0] if record.arrays[f"{split}_labels"].dtype.kind == "f" else logits.argmax(axis=1)


def scored(metrics: Sequence[str], labels: np.ndarray, groups: np.ndarray | None, answers: np.ndarray) -> np.ndarray:
    """The mean of a task's metrics, of every group's where there are groups, for answers (..., examples)."""
    each = [np.ones(len(labels), dtype=bool)] if groups is None else [groups == group for group in np.unique(groups)]
    return np.mean([_metric(name, labels[own], answers[..., own]) for name in metrics for own in each], axis=0)


def _metric(name: str, labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """A metric of the paper for answers (..., examples); of two classes, Matthews' correlation is Pearson's."""
    if name == "accuracy":
        return (answers == labels).mean(axis=-1)
    if name == "f1":
        return 2 * ((answers == 1) & (labels == 1)).sum(axis=-1) / np.maximum(1, (answers == 1).sum(-1) + labels.sum())
    a, y = (stats.rankdata(x, axis=-1) if name == "spearman" else x for x in (answers, labels))
    a, y = (x - x.mean(axis=-1, keepdims=True) for x in (a, y))
    length = np.sqrt((a**2).sum(axis=-1) * (y**2).sum())
    return np.divide((a * y).sum(axis=-1), length, out=np.zeros_like(length), where=length > 0)


def optimism(frame: pd.DataFrame, luck: Mapping[str, float] | None = None) -> pd.DataFrame:
    """What choosing the best level on selection data promises, and what held-out data keep of it, in points.

    ``promised`` is the super ticket's gain over the full model on the selection split it was chosen on, ``kept`` its
    gain on the report split, ``whole dev`` the paper's protocol, which contains the selection data (P9). ``promised if
    nothing were there`` is the task's :func:`luck_of_the_choice`, where that is given.
    """
    chosen, full = super_tickets(frame), frame.loc[frame["kind"] == "full"]
    merged = chosen.merge(full, on=["encoder", "task", "seed", "data"], suffixes=("", "_full"))
    rows = []
    for task, group in merged.groupby("task", sort=False):
        row: dict[str, object] = {"task": task}
        for name, split in (("promised", "selection"), ("kept", "report"), ("whole dev", "dev")):
            row[name] = 100 * (group[f"{split}_score"] - group[f"{split}_score_full"]).mean()
        rows.append(row | ({} if luck is None else {"promised if nothing were there": luck.get(str(task), math.nan)}))
    return pd.DataFrame(rows)


def luck_of_the_choice(records: Iterable[Record], n_resamples: int = 200) -> dict[str, float]:
    """The gain, in points, that choosing the best level shows on the selection split when there is none, by task.

    ``records`` (with arrays) are full models and winning tickets of one encoder. Their stored predictions are exchanged
    between the full model and the levels that are not clearly worse, example by example, and the best level is chosen
    again (:func:`supertickets.statistics.placebo_gain`). NaN for a task without a seed that has every level.
    """
    by_task: dict[str, dict[int, dict[float, Record]]] = {}
    for record in records:
        if record.spec.ticket.kind in ("full", "winning"):
            seeds = by_task.setdefault(record.spec.data.name, {})
            seeds.setdefault(record.spec.seed, {})[record.spec.ticket.level] = record
    found = {}
    for task, seeds in by_task.items():
        levels = sorted(set().union(*seeds.values()))
        complete = [[runs[level] for level in levels] for runs in seeds.values() if len(runs) == len(levels)]
        if not complete or levels[0] != 0 or len(levels) < 3:
            found[task] = math.nan
            continue
        first = complete[0][0]
        rows, facts = first.arrays["selection"], first.tasks[task]
        labels, groups = first.arrays["dev_labels"][rows], first.arrays.get("dev_groups")
        values = np.array([[answers(record, rows) for record in runs] for runs in complete])
        selection, report = (
            [[record.metrics[split]["score"] for record in runs] for runs in complete]
            for split in ("selection", "report")
        )
        metric = partial(scored, facts.metrics, labels, None if groups is None else groups[rows])
        found[task] = 100 * placebo_gain(levels, selection, report, values, metric, n_resamples)
    return found
