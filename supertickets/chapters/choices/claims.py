"""Does a choice move the result? One family of paired differences, and the gain with and without a leaking choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from supertickets.chapters.choices.tables import KINDS, PAPER, PUBLISHED, changed, lead
from supertickets.chapters.claims import UNMEASURED, claim, judged
from supertickets.chapters.single_task.claims import paper_gain
from supertickets.runs import CHOICES

_WHAT = {"full": "the full model", "winning": "winning tickets", "random": "random tickets", "shared": "Ticket-Share"}


def change_claims(scores: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What every choice, and all together, change in the scores they can move, largest first; corrected together.

    A row claims that scores are higher as published; "reversed here" is lower. Power is that for a change as large as
    the paper's gain: what moves nothing is known to move less only where that is high.
    """
    rows: list[dict[str, Any]] = []
    for case in (case for case in scores if case != PAPER):
        kinds = ("full", "winning", "random") if case == PUBLISHED else KINDS[CHOICES[case].acts]
        where = case if case == PUBLISHED else f"{case}, {CHOICES[case].audit}"
        for kind in kinds:
            values = changed(scores, case, kind).to_numpy() if PAPER in scores else []
            found = values if len(values) else UNMEASURED
            text = f"{_WHAT[kind]} {'scores' if kind in ('full', 'shared') else 'score'} higher as published"
            rows.append(claim(text, where, found, expected=paper_gain(), case=case, kind=kind))
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
            values = lead(scores[case], over).dropna().to_numpy()
            rows.append(
                claim(text, f"as in the {case if case == PAPER else 'published code'}", values, expected=paper_gain())
            )
    return judged(rows)


def gain_claims(gains: pd.DataFrame) -> pd.DataFrame:
    """That the super ticket beats the full model, by how it was chosen, then what leaks.

    ``gains`` is :func:`~supertickets.chapters.choices.tables.selection_gains`.
    """
    told = {"one dev set": "chosen on what is reported", "selection split": "chosen on a tenth of dev"}
    told |= {"halves": "chosen on one half of dev, reported on the other", "no choice": "not chosen: mean up to 30%"}
    if gains.empty:
        return judged([])
    rows = [
        claim("the super ticket beats the full model", told[name], gains[name], expected=paper_gain()) for name in told
    ]
    luck = gains["one dev set"] - gains["halves"]
    rows.append(
        claim("the choice's luck is part of the gain", "one dev set, minus halves", luck, expected=paper_gain())
    )
    return judged(rows)
