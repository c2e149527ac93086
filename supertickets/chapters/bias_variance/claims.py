"""While a model shrinks its variance falls and its bias rises (section 1): put to the test, loss by loss."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from supertickets.chapters.bias_variance.tables import Condition, by_set, usable_runs
from supertickets.chapters.claims import HOLDS, REVERSED, UNMEASURED, claim, judged_apart
from supertickets.runs import Record
from supertickets.statistics import Interval, Resampled, compare, resample

LOSSES = {"brier": "Brier", "cross_entropy": "cross-entropy", "zero_one": "0-1", "squared": "squared"}
"""The losses by name; of a regression there is the squared loss alone."""
TEXTS = {"variance": ("variance falls", "below"), "bias2": ("bias rises", "above")}


def directions(records: Iterable[Record], losses: Sequence[str] = (), n_resamples: int = 400) -> pd.DataFrame:
    """Does variance fall and bias rise with pruning, and does the bias of other kinds of tickets grow faster?

    ``records`` are those of :func:`~supertickets.chapters.bias_variance.tables.trade_off`. A claim, by each of the
    ``losses`` (of classification all three), is about the mean change over the levels, against the full model, or
    against winning tickets of the same levels, on the same training sets and examples; its details are the levels.
    Intervals are those of :func:`supertickets.statistics.compare`, p that of a t-test with their standard error.
    Effects are in hundredths of the loss: of 0-1 loss, in points of error. Each loss is a reading of its own: its
    claims are corrected together, and so are its details. Raises SuperticketsError as ``trade_off`` does.
    """
    records = list(records)
    regression = usable_runs(records, "")[3] == "squared"
    losses = losses or (["squared"] if regression else [name for name in LOSSES if name != "squared"])
    tables = [judged_apart(rows) for loss in losses if (rows := _rows(records, loss, n_resamples))]
    return pd.concat(tables, ignore_index=True) if tables else judged_apart([])


def _rows(records: Sequence[Record], loss: str, n_resamples: int) -> list[dict[str, Any]]:
    """The claims by one loss; none without the full model and winning tickets."""
    usable, first, report, _, truth = usable_runs(records, loss)
    rows, known = [], by_set(usable, first, report, loss)
    levels = sorted(level for kind, level in known if kind == "winning")
    if not levels or ("full", 0.0) not in known:
        return rows

    @cache
    def resampled(condition: Condition, sets: tuple[int, ...]) -> Resampled:
        array = np.stack([known[condition][key] for key in sets])
        return resample(array, loss=loss, n_resamples=n_resamples, **truth)

    def changes(new: Sequence[Condition], old: Sequence[Condition]) -> dict[str, Interval]:
        """Of the terms from the conditions ``old`` to ``new``, averaged over them, on the sets that all have."""
        shared = tuple(sorted(set.intersection(*(set(known[condition]) for condition in (*new, *old)))))
        if len(shared) < 2:
            return {}
        new_side, old_side = ([resampled(condition, shared) for condition in side] for side in (new, old))
        return compare(new_side, old_side)

    for chosen in (levels, *([level] for level in levels if len(levels) > 1)):
        detail, name = len(chosen) < len(levels), f"{chosen[0]:.0%}"
        name = name if len(chosen) == 1 else f"mean of {name} to {chosen[-1]:.0%}"
        found = changes([("winning", level) for level in chosen], [("full", 0.0)])
        for term, (text, side) in TEXTS.items():
            rows.append(_row(text, loss, name, found.get(term), side, detail))
    for other in ("random", "losing"):
        shared = [level for level in levels if (other, level) in known]
        if shared:
            whole = f"{shared[0]:.0%} to {shared[-1]:.0%}"
            name = f"mean of {whole if shared == levels else ', '.join(f'{level:.0%}' for level in shared)}"
            found = changes(*([(kind, level) for level in shared] for kind in (other, "winning")))
            text = f"bias of {other} tickets grows faster than that of winning ones"
            rows.append(_row(text, loss, name, found.get("bias2"), "above", False))
    return rows


def disagreements(frame: pd.DataFrame) -> list[str]:
    """A sentence for every claim of :func:`directions` on which losses give opposite verdicts, or that none is."""
    said = []
    for text, rows in frame.groupby("claim", sort=False):
        places: dict[str, dict[str, list[str]]] = {}
        for row in rows.to_dict("records"):
            places.setdefault(row["place"], {}).setdefault(row["verdict"], []).append(LOSSES[row["loss"]])
        against = [
            f"{place} (holds by {', '.join(words[HOLDS])}; reversed by {', '.join(words[REVERSED])})"
            for place, words in places.items()
            if HOLDS in words and REVERSED in words
        ]
        if against:
            said.append(
                f"The losses contradict each other on whether {text}: {'; '.join(against)}. Brier and cross-entropy "
                "measure how far the probabilities stray, 0-1 loss how often the decision changes: tickets can be less "
                "sure of their answers, and so closer to each other, while their decisions flip more often."
            )
    return said or ["No two losses give opposite verdicts."]


def _row(text: str, loss: str, place: str, change: Interval | None, side: str, detail: bool) -> dict[str, Any]:
    where, shown = f"{LOSSES[loss]}, {place}", change.times(100) if change else UNMEASURED
    if change and change.sd > 0:
        p = float(2 * stats.t.sf(abs(change.mean) / change.sd * math.sqrt(1 - 1 / change.n), change.n - 1))
        shown = replace(shown, p=p)
    return claim(text, where, shown, side=side, unit="hundredths", detail=detail, loss=loss, place=place)
