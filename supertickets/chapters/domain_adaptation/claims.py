"""The paper's claims about domain adaptation (section 7), put to the test."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.claims import COMPARISONS, claim, judged
from supertickets.chapters.domain_adaptation.tables import PRINTED, by_seed
from supertickets.chapters.pairs import kin_of


def adaptation_gains(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """What a source with tickets gains over the one without, in points: the detail of :func:`adaptation_claims`.

    A row per comparison, target and fraction, judged as one family. Raises SuperticketsError as
    :func:`~supertickets.chapters.domain_adaptation.tables.by_seed` does.
    """
    means, rows = by_seed(frame, column), []
    for better, worse in COMPARISONS:
        if {better, worse} <= set(means):
            printed = _printed(better, worse)
            gains = means.assign(gain=means[better] - means[worse]).dropna(subset=["gain"])
            for _, group in gains.groupby(["task", "fraction"], sort=False):
                task, share = str(group["task"].iloc[0]), f"{100 * float(group['fraction'].iloc[0]):.3g}%"
                theirs = printed.get((kin_of(task), share), math.nan)
                text = f"{better} adapts better than {worse}"
                rows.append(claim(text, f"{task}, {share}", group["gain"], expected=theirs))
    return judged(rows)


def adaptation_claims(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """The claims of section 7.2, judged as one family, in points.

    For each comparison: models with tickets adapt better (mean over targets and fractions), and especially so with few
    examples (gain at the smallest fraction minus gain with the whole training set, mean over targets). Only seeds that
    have every target and fraction count. The effects expected are the same of the paper's Table 4. Raises
    SuperticketsError as :func:`~supertickets.chapters.domain_adaptation.tables.by_seed` does.
    """
    means, rows = by_seed(frame, column), []
    fractions = sorted(means["fraction"].unique())
    for better, worse in COMPARISONS:
        if not {better, worse} <= set(means):
            continue
        gains = means.assign(gain=means[better] - means[worse])
        wide = gains.pivot_table(index="seed", columns=["fraction", "task"], values="gain", dropna=False).dropna()
        if wide.empty:
            continue
        printed = _printed(better, worse)
        text = f"{better} adapts better than {worse}"
        rows.append(
            claim(text, "all targets and sizes", wide.mean(axis=1), expected=float(np.mean(list(printed.values()))))
        )
        if len(fractions) > 1:
            few, everything = (wide.loc[:, fraction].mean(axis=1) for fraction in (fractions[0], fractions[-1]))
            text = f"{better} gains more over {worse} with {100 * fractions[0]:.3g}% of the training set than with all"
            shares = [share for _, share in printed]
            less, whole = (np.mean([x for (_, s), x in printed.items() if s == shares[i]]) for i in (0, -1))
            rows.append(claim(text, "all targets", few - everything, expected=float(less - whole)))
    return judged(rows)


def _printed(better: str, worse: str) -> dict[tuple[str, str], float]:
    """The gains of Table 4 by target and share of the training set."""
    names = {PRINTED[better]: 1.0, PRINTED[worse]: -1.0}
    gains: dict[tuple[str, str], float] = {}
    for row in paper.table(4):
        key = row["target"], row["fraction"]
        gains[key] = gains.get(key, 0.0) + names.get(row["model"], 0.0) * row["accuracy"]
    return gains
