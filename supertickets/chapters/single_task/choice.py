"""What becomes of a super ticket's gain: the winner's curse, on the runs themselves (P9), and on other examples."""

from __future__ import annotations

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
from supertickets.statistics import PairedDifference, placebo_gain, two_level_bootstrap


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
        values = np.array([[_answers(record, rows) for record in runs] for runs in complete])
        selection, report = (
            [[record.metrics[split]["score"] for record in runs] for runs in complete]
            for split in ("selection", "report")
        )
        scored = partial(_score, facts.metrics, labels, None if groups is None else groups[rows])
        found[task] = 100 * placebo_gain(levels, selection, report, values, scored, n_resamples)
    return found


def gains_on_other_examples(first: Iterable[Record], second: Iterable[Record], n_resamples: int = 200) -> pd.DataFrame:
    """Do super tickets gain less on the test set (Table 2) than on the report split (Table 1)? The claim, then by task.

    ``first`` and ``second`` are the records of both tables, with arrays; their full models and super tickets, of tasks
    and seeds that are in both, are compared. The effect is Table 2's gain minus Table 1's in points, seeds paired, its
    interval over seeds and examples, those of the two splits drawn apart
    (:func:`supertickets.statistics.two_level_bootstrap`). It has two parts, columns of their own in their intervals:
    ``trained again`` is what the second runs gain more on the first's examples, ``other examples`` what they gain more
    on the test set than there. Expected is the difference of the paper's averages.
    """
    known = [_super_and_full(records) for records in (first, second)]
    tasks = [task for task in known[0] if task in known[1]]
    seeds = sorted(set.intersection(*(set(side[task]) for side in known for task in tasks))) if tasks else []
    if not seeds:
        return judged_apart([])
    printed = {row["model"]: row["average score"] for row in paper.table(2)}
    expected = printed["SuperT base"] - printed["ST-DNN base"] - paper_gain()
    lesser = partial(claim, "the super ticket gains less on the test set", side="below", expected=expected)
    rows, sides = [], []
    for task in tasks:
        before, after = ([side[task][seed] for seed in seeds] for side in known)
        report, again, test = _gain(before, "dev"), _gain(after, "dev"), _gain(after, "test")
        found, same, other = (
            _two_levels([pair], n_resamples) for pair in ((report, test), (report, again), (again, test))
        )
        more: dict[str, Any] = {f"trained again{end}": x for end, x in _ends(same).items()}
        more |= {f"other examples{end}": x for end, x in _ends(other).items()}
        rows.append(lesser(task, found.interval, p=found.p, detail=len(tasks) > 1, **more))
        sides.append((report, test))
    if len(tasks) > 1:
        mean = _two_levels(sides, n_resamples)
        rows = [lesser(TOGETHER, mean.interval, p=mean.p, detail=False), *rows]
    return judged_apart(rows)


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


@dataclass(frozen=True)
class _Gain:
    """The gains of some pairs of runs on a split: ``of(rows)``, in points, of ``n`` rows; ``on`` says which split."""

    of: Callable[[np.ndarray], np.ndarray]
    n: int
    on: str


def _two_levels(sides: Sequence[tuple[_Gain, _Gain]], n_resamples: int) -> PairedDifference:
    """The second minus the first of each pair of gains, mean over pairs; those of one split have the same rows."""
    same = sides[0][0].on == sides[0][1].on

    def difference(*rows: np.ndarray) -> np.ndarray:
        drawn = zip(rows, rows, strict=True) if same else zip(rows[::2], rows[1::2], strict=True)
        return np.mean([b.of(y) - a.of(x) for (a, b), (x, y) in zip(sides, drawn, strict=True)], axis=0)

    return two_level_bootstrap(
        difference, [side.n for a, b in sides for side in ((a,) if same else (a, b))], n_resamples
    )


def _ends(found: PairedDifference) -> dict[str, float]:
    return {"": found.effect, ": low": found.interval.low, ": high": found.interval.high}


def _super_and_full(records: Iterable[Record]) -> dict[str, dict[int, tuple[Record, Record]]]:
    """The super ticket's and the full model's record by task and seed, where there are both."""
    known = {record.id: record for record in records if record.spec.ticket.kind in ("full", "winning")}
    frame = pd.DataFrame([row for record in known.values() for row in record.rows()])
    found: dict[str, dict[int, tuple[Record, Record]]] = {}
    if len(frame):
        full = {(r.spec.data, r.spec.seed): r for r in known.values() if r.spec.ticket.kind == "full"}
        for ticket in (known[run] for run in super_tickets(frame)["run"]):
            data, seed = ticket.spec.data, ticket.spec.seed
            if (data, seed) in full:
                found.setdefault(data.name, {})[seed] = ticket, full[data, seed]
    return found


def _gain(pairs: Sequence[tuple[Record, Record]], split: str) -> _Gain:
    """The gains of the first of each pair over the second, on the report rows of dev or on test."""
    first = pairs[0][0]
    rows = np.flatnonzero(~first.arrays["selection"]) if split == "dev" else np.arange(len(first.arrays["test_labels"]))
    labels, groups = first.arrays[f"{split}_labels"][rows], first.arrays.get(f"{split}_groups")
    answers = np.array([[_answers(record, rows, split) for record in pair] for pair in pairs])
    metrics = first.tasks[first.spec.data.name].metrics

    def of(drawn: np.ndarray) -> np.ndarray:
        own = None if groups is None else groups[rows][drawn]
        return -100 * np.diff(_score(metrics, labels[drawn], own, answers[..., drawn]), axis=1)[:, 0]

    return _Gain(of, len(rows), split)


def _answers(record: Record, rows: np.ndarray, split: str = "dev") -> np.ndarray:
    logits = record.arrays[f"{split}_logits"][rows].astype(np.float64)
    return logits[:, 0] if record.arrays[f"{split}_labels"].dtype.kind == "f" else logits.argmax(axis=1)


def _score(metrics: Sequence[str], labels: np.ndarray, groups: np.ndarray | None, answers: np.ndarray) -> np.ndarray:
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
