"""The choices in a table, and what each does to scores, random tickets, FFN rankings and the super ticket's gain."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters.chapter import Scale
from supertickets.runs import CHOICES, Record, paired_scores, super_tickets
from supertickets.statistics import mean_interval
from supertickets.studies import audit_runs
from supertickets.tasks import score

PAPER, PUBLISHED = "paper", "published"
KINDS = {
    "training": ("full", "winning", "random"),
    "scores": ("winning",),
    "tickets": ("winning", "random"),
    "random": ("random",),
    "sharing": ("shared",),
}
"""Which scores a choice can move, by what it acts on."""
_LEVELS = (0.2, 0.5, 0.8)
_PARTS = (slice(None), slice(0, None, 2), slice(1, None, 2))


def choice_table() -> pd.DataFrame:
    """Every choice with its number in the audit, what the paper says, and what the code does, where."""
    rows = [
        {
            "choice": f"{name} ({choice.audit})",
            "the paper": choice.paper,
            "the published code": f"{choice.code} ({choice.where})",
        }
        for name, choice in CHOICES.items()
    ]
    return pd.DataFrame(rows)


def audit_frames(scale: Scale) -> dict[str, pd.DataFrame]:
    """The rows of every case's runs, of tasks of which all runs are there; a live scale carries them out."""
    there = set(frame["run"]) if len(frame := scale.judged("audit")) else set()
    runs = audit_runs(scale.profile, scale.inputs)
    return {case: scale.store.frame([spec for spec in specs if spec.id in there]) for case, specs in runs.items()}


def audit_scores(frames: Mapping[str, pd.DataFrame], tasks: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Report scores by case, in points: a row per task and seed (or training set), a column per (kind, level).

    The column ("shared", 0.5) is Ticket-Share's mean over its tasks, where it was trained, in the rows of the first.
    """
    found = {}
    for case, frame in frames.items():
        if frame.empty:
            continue
        together = frame["stage"].notna() if "stage" in frame else pd.Series(False, frame.index)
        wide = pd.concat({t: paired_scores(frame.loc[(frame["task"] == t) & ~together]) for t in tasks}, names=["task"])
        if together.to_numpy().any():
            wide["shared", 0.5] = pd.concat({tasks[0]: frame.loc[together].groupby("seed")["report_score"].mean()})
        found[case] = 100 * wide
    return found


def changed(scores: Mapping[str, pd.DataFrame], case: str, kind: str) -> pd.Series:
    """What a case changes in the scores of a kind of model, in points by task and seed, mean over both's levels."""
    ours, theirs = scores[case], scores[PAPER]
    columns = [c for c in ours.columns if c[0] == kind and c in theirs.columns and c[1] in (0.0, *_LEVELS)]
    return (ours[columns] - theirs[columns]).mean(axis=1, skipna=False).dropna()


def lead(scores: pd.DataFrame, over: str) -> pd.Series:
    """The lead of winning tickets by task and seed: over the full model at 20%, or over random ones at all levels."""
    levels = [0.2] if over == "full" else [level for level in _LEVELS if ("random", level) in scores.columns]
    others = [("full", 0.0) if over == "full" else ("random", level) for level in levels]
    leads = [(scores["winning", x] - scores[other]).to_numpy() for x, other in zip(levels, others, strict=True)]
    return pd.Series(np.mean(leads, axis=0), scores.index)


def replacement_sentence(units: int = 144, level: float = 0.8) -> str:
    """What drawing with replacement leaves of a sparsity level (D10), of BERT-base's heads unless told otherwise.

    >>> replacement_sentence()
    '115 draws from 144 heads with replacement name 79.4 different ones on average: a nominal 80% is 55%.'
    """
    draws = int(level * units)
    share = 1 - (1 - 1 / units) ** draws
    start = f"{draws} draws from {units} heads with replacement name {share * units:.1f} different ones on average"
    return f"{start}: a nominal {level:.0%} is {share:.0%}."


def random_table(frames: Mapping[str, pd.DataFrame], tasks: Sequence[str]) -> pd.DataFrame:
    """Random tickets by level, as the paper says, drawn with replacement, and as published: real sparsity and score.

    Columns: task where there are several, case, level, ``heads pruned`` and ``FFNs pruned`` (shares), n, ``score``
    with its 95% interval, in points.
    """
    rows = []
    for case in (PAPER, "replacement", PUBLISHED):
        frame = frames.get(case, pd.DataFrame())
        own = frame.loc[frame["task"].isin(tasks) & (frame["kind"] == "random")] if len(frame) else frame
        for _, runs in own.groupby(["task", "level"], sort=False) if len(own) else ():
            interval = mean_interval(100 * runs["report_score"].to_numpy())
            row: dict[str, Any] = {"task": runs["task"].iloc[0], "case": case, "level": runs["level"].iloc[0]}
            row |= {"heads pruned": 1 - runs["heads_kept"].mean()}
            row |= {"FFNs pruned": 1 - runs["ffns_kept"].mean(), "n": interval.n, "score": interval.mean}
            rows.append(row | {"low": interval.low, "high": interval.high})
    return _by_task(pd.DataFrame(rows))


def ffn_table(scale: Scale, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """FFNs in the order of their layers: mean rank (1 is pruned first) and how often each is pruned first.

    By the paper's score, in which a token's gradient has its sign, and by the published one, which counts tokens.
    """
    tables: list[pd.DataFrame] = []
    for task in audit_tasks(scale):
        columns: dict[str, Any] = {"task": task}
        for case, name in ((PAPER, "paper"), ("token_ffns", "per token")):
            frame = frames.get(case, pd.DataFrame())
            runs = list(frame.loc[(frame["kind"] == "full") & (frame["task"] == task), "run"]) if len(frame) else []
            if not runs:
                break
            ffns = np.array([record.scores("example").ffns for record in scale.store.records(runs, arrays=True)])
            ranks = ffns.argsort(axis=1).argsort(axis=1) + 1
            columns |= {"layer": range(1, ffns.shape[1] + 1), f"{name}: mean rank": ranks.mean(axis=0)}
            columns |= {f"{name}: pruned first": (ranks == 1).mean(axis=0)}
        else:
            tables.append(pd.DataFrame(columns))
    return _by_task(pd.concat(tables, ignore_index=True) if tables else pd.DataFrame())


def selection_gains(scale: Scale, frame: pd.DataFrame) -> pd.DataFrame:
    """The super ticket's gain over the full model, in points by task and seed, by how it is chosen and reported.

    ``one dev set``: chosen by the score that is reported, on the whole dev set (D19). ``selection split``: the paper's
    tenth of dev chooses, the rest reports. ``halves``: one half of dev chooses, the other reports, and the reverse, so
    that as many examples choose and none of the luck is reported. ``no choice``: the mean of all levels up to 30%. All
    by the task's own score.
    """
    if frame.empty:
        return frame
    own = frame.loc[frame["task"].isin(audit_tasks(scale)) & frame["kind"].isin(["full", "winning"])]
    own = own.loc[own["stage"].isna()] if "stage" in own else own
    picked, rows = super_tickets(own).set_index(["task", "seed"])["report_score"], {}
    for place, runs in own.groupby(["task", "seed"]):
        full, winning = (runs.loc[runs["kind"] == kind] for kind in ("full", "winning"))
        records = list(scale.store.records([*full["run"], *winning.sort_values("level")["run"]], arrays=True))
        whole, *halves = (np.array([_dev_score(x, str(place[0]), part) for x in records]) for part in _PARTS)
        apart = [b[1 + a[1:].argmax()] - b[0] for a, b in (halves, halves[::-1])]
        light = winning.loc[winning["level"] <= 0.3, "report_score"].mean()
        rows[place] = {
            "one dev set": whole[1:].max() - whole[0],
            "selection split": picked[place] - full["report_score"].iloc[0],
            "halves": np.mean(apart),
            "no choice": light - full["report_score"].iloc[0],
        }
    return (100 * pd.DataFrame(rows).T.rename_axis(["task", "seed"])).round(9)  # equal scores differ by nothing


def _dev_score(record: Record, task: str, part: slice) -> float:
    """A record's score on a part of dev, by the task's metrics."""
    arrays = record.arrays
    groups = arrays["dev_groups"][part] if "dev_groups" in arrays else None
    return score(record.tasks[task].metrics, arrays["dev_labels"][part], arrays["dev_logits"][part], groups)["score"]


def audit_tasks(scale: Scale) -> list[str]:
    """The tasks of a scale's audit, in their order."""
    return list(dict.fromkeys(sets.task for sets in scale.profile.audit))


def setting_sentences(scale: Scale, frame: pd.DataFrame) -> list[str]:
    """On what the choices are tried: a sentence per task, with the score of the full model, of the paper's runs."""
    told = []
    for sets in scale.profile.audit if len(frame) else ():
        full = frame.loc[(frame["task"] == sets.task) & (frame["kind"] == "full")]
        if full.empty:
            continue
        full = full.loc[full["stage"].isna()] if "stage" in full else full
        noisy = "" if sets.noise is None else f", {sets.noise:.0%} of their labels wrong"
        drawn = "training sets, drawn independently" if sets.noise is not None else "seeds on one training set"
        told.append(
            f"{sets.task}: {sets.size} training examples{noisy}; {sets.n} {drawn}; the full model's mean score is "
            f"{100 * full['report_score'].mean():.1f} points, that of the most frequent answer "
            f"{100 * full['constant_score'].mean():.1f}."
        )
    return told


def _by_task(table: pd.DataFrame) -> pd.DataFrame:
    """The table without its column of tasks where that has only one."""
    return table.drop(columns="task") if len(table) and len(set(table["task"])) == 1 else table
