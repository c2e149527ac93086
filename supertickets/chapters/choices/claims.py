"""Does a choice move the result? One family of paired differences, and the gain with and without a leaking choice."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters.choices.tables import KINDS, PAPER, PUBLISHED, changed, lead
from supertickets.chapters.claims import POWER, UNMEASURED, claim, judged
from supertickets.chapters.single_task.claims import paper_gain
from supertickets.runs import CHOICES
from supertickets.statistics import Interval

_WHAT = {"full": "the full model", "winning": "winning tickets", "random": "random tickets", "shared": "Ticket-Share"}


def change_claims(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What every choice, and all together, change in the scores they can move, largest first; corrected together.

    A row claims that scores are higher as published; "reversed here" is lower. Power is that for a change as large as
    the paper's gain: what moves nothing is known to move less only where that is high.
    """
    rows: list[dict[str, Any]] = []
    for case in scores if PAPER in scores else ():
        if case == PAPER:
            continue
        kinds = ("full", "winning", "random") if case == PUBLISHED else KINDS[CHOICES[case].acts]
        where = case if case == PUBLISHED else f"{case}, {CHOICES[case].audit}"
        for kind in kinds:
            text = f"{_WHAT[kind]} {'scores' if kind in ('full', 'shared') else 'score'} higher as published"
            for place, values in _by_task(where, changed(scores, case, kind)):
                rows.append(claim(text, place, values, expected=paper_gain(), case=case, kind=kind))
    table = judged(rows)
    return table.iloc[(-table["effect"].abs()).argsort(kind="stable")].reset_index(drop=True) if len(table) else table


def conclusion_claims(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The paper's two conclusions under its text and under the published code: a family of four.

    Winning tickets at 20% beat the full model; winning tickets beat random ones, at the levels of both.
    """
    rows = []
    for case in (case for case in (PAPER, PUBLISHED) if case in scores):
        for over, text in (
            ("full", "light winning tickets beat the full model"),
            ("random", "winning tickets beat random"),
        ):
            where = f"as in the {case if case == PAPER else 'published code'}"
            places = _by_task(where, lead(scores[case], over).dropna())
            rows += [claim(text, place, values, expected=paper_gain()) for place, values in places]
    return judged(rows)


def gain_claims(gains: pd.DataFrame) -> pd.DataFrame:
    """That the super ticket beats the full model, by how it was chosen, then what leaks.

    ``gains`` is :func:`~supertickets.chapters.choices.tables.selection_gains`.
    """
    told = {"one dev set": "chosen on what is reported", "selection split": "chosen on a tenth of dev"}
    told |= {"halves": "chosen on one half of dev, reported on the other", "no choice": "not chosen: mean up to 30%"}
    if gains.empty:
        return judged([])
    parts = [("the super ticket beats the full model", where, gains.loc[:, name]) for name, where in told.items()]
    luck = gains.loc[:, "one dev set"] - gains.loc[:, "halves"]
    parts.append(("the choice's luck is part of the gain", "one dev set, minus halves", luck))
    return judged(
        claim(text, place, values, expected=paper_gain())
        for text, where, own in parts
        for place, values in _by_task(where, own)
    )


def power_sentence(changes: pd.DataFrame) -> str:
    """What the runs could have seen, of :func:`change_claims`, whatever they saw.

    >>> power_sentence(judged([claim("it rises", "here", [1.0, 2.0, 3.0], expected=0.9)]))
    'A change of 0.9 points would be seen, with probability 80%, in 0 of 1 rows; it would take 12 runs in the others.'
    """
    needed = changes.loc[changes["needed"] > changes["n"], "needed"]
    ends = dict.fromkeys(f"{x:.0f}" for x in (needed.min(), needed.max()))
    most = "" if needed.empty else f"; it would take {' to '.join(ends)} runs in the others"
    seen = f"in {len(changes) - len(needed)} of {len(changes)} rows"
    return f"A change of {paper_gain():.1f} points would be seen, with probability {POWER:.0%}, {seen}{most}."


def _by_task(where: str, values: pd.Series) -> list[tuple[str, np.ndarray | Interval]]:
    """The place in words and the values there: with the task, where a series by task and seed has several."""
    if values.empty:
        return [(where, UNMEASURED)]
    parts = [(str(task), own.to_numpy()) for task, own in values.groupby("task", sort=False)]
    return [(f"{where}, {task}" if len(parts) > 1 else where, own) for task, own in parts]
