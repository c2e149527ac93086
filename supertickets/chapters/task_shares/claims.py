"""The claims of section 8 on Task Shares, each beside what the seeds of one task would show if they were tasks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters.task_shares.tables import (
    by_run,
    check_threshold,
    dominated_masks,
    table_tasks,
    task_shares,
    unit_name,
)
from supertickets.errors import SuperticketsError
from supertickets.statistics import Interval, jackknife, mean_interval, verdict

BAND, MOST = 0.25, 5 / 8
"""Shares are "almost equal" within 25% of 1 / tasks; "over 5 out of 8" tasks are more than 5/8 of them."""
CLAIMS = (
    ("1 almost equal shares for most tasks", 0.5, "above"),
    ("2 dominated by one task", 0.1, "below"),
    ("3 dominated jointly by two tasks", 0.1, "below"),
)
"""How "many tickets" and "a small number of tickets" are read: more than half of the units, less than a tenth."""
SUBSETS = 100
COLUMNS = ["claim", "units", "of", "value", "low", "high", "limit", "verdict", "compared", "tasks", "seeds"]


def share_claims(table: pd.DataFrame, band: float = BAND, most: float = MOST, threshold: float = 0.5) -> pd.DataFrame:
    """The claims of section 8 on Task Shares, heads and FFNs together, from an ``importance_table``.

    1. Many tickets (over half) have almost equal shares for most tasks: within ``band`` of 1 / tasks, for more than
    ``most`` of the tasks. 2. A small number (some, under a tenth) are dominated by one task, 3. jointly by two
    (:func:`supertickets.chapters.task_shares.tables.dominated_units`). ``units`` counts them ``of`` all, by the scores
    of all seeds; ``value`` is their share of the units by the scores of one seed, as in the paper: mean over the seeds
    that all tasks have, 95% t interval, and verdict against ``limit``. Claims 2 and 3 are not supported where ``units``
    is 0.

    Below each stands whether the tasks are behind it: the same for *seeds of one task treated as if they were tasks*.
    ``tasks`` and ``seeds`` are shares of the units with ``compared`` runs at a time (as many as tasks, or one less than
    there are seeds if that is fewer; mean over at most 100 subsets), ``value`` is tasks minus seeds, its interval the
    jackknife's over seeds. NaN with too few seeds: claim 1 needs three, the others, with threshold 0.5, four.

    Raises SuperticketsError as :func:`supertickets.chapters.task_shares.tables.task_shares` and ``dominated_units`` do,
    and for a ``band`` or ``most`` outside (0, 1).
    """
    if not (0 < band < 1 and 0 < most < 1):
        raise SuperticketsError(f"The band and the share of tasks lie between 0 and 1, not {band} and {most}.")
    shares, tasks, wide = task_shares(table), table_tasks(table), by_run(table)
    check_threshold(threshold, len(tasks))
    counts = _findings(shares[tasks].to_numpy(dtype=float).T, band, most, threshold).sum(axis=1)
    seeds = sorted(set.intersection(*(set(wide[task].columns) for task in tasks)))
    scores = np.array([[wide[task, seed].to_numpy() for seed in seeds] for task in tasks])  # (tasks, seeds, units)
    compared = min(len(tasks), len(seeds) - 1)  # one seed can be left out

    def counted(importance: np.ndarray) -> np.ndarray:
        """Shares of the units for which each claim holds, from scores (runs, units)."""
        total = importance.sum(axis=0)
        return _findings(importance / np.where(total > 0, total, np.nan), band, most, threshold).mean(axis=1)

    def beside(kept: Sequence[int]) -> np.ndarray:
        """Row 0: among tasks, of one seed; row 1: among seeds, of one task."""
        of_tasks = [counted(scores[group, i]) for group in _subsets(range(len(tasks)), compared) for i in kept]
        of_seeds = [counted(one[group]) for group in _subsets(kept, compared) for one in scores]
        return np.array([np.mean(of_tasks, axis=0), np.mean(of_seeds, axis=0)])

    places = range(len(seeds))
    by_seed = [counted(scores[:, i]) for i in places]
    means = beside(places) if compared > 1 else np.full((2, 3), np.nan)
    without = [beside([j for j in places if j != i]) for i in places] if compared > 1 else []
    rows = []
    for i, (claim, limit, direction) in enumerate(CLAIMS):
        value = mean_interval([each[i] for each in by_seed]) if by_seed else jackknife(math.nan, [])
        row = _claim(claim, value, limit, direction) | {"units": counts[i], "of": len(shares)}
        rows.append(row | ({"verdict": "not supported"} if i and not counts[i] else {}))
        than, side = ("less", "below") if i == 0 else ("more", "above")
        gap = jackknife(math.nan, [])
        beyond: dict[str, Any] = {}
        if compared > 1 and (i == 0 or threshold * compared > 1):
            gap = jackknife(means[0, i] - means[1, i], [both[0, i] - both[1, i] for both in without])
            beyond = {"compared": compared, "tasks": means[0, i], "seeds": means[1, i]}
        rows.append(_claim(f"{claim}: {than} often than among seeds", gap, 0.0, side) | beyond)
    return pd.DataFrame(rows, columns=COLUMNS)


def share_sentences(claims: pd.DataFrame, dominated: pd.DataFrame | None = None, names: int = 6) -> list[str]:
    """One sentence per row of :func:`share_claims`; then the units of ``dominated_units`` by name, ``names`` a kind."""
    said = []
    for row in claims.to_dict("records"):
        start = f"{row['claim'][2:].capitalize()}: {row['verdict']}"
        known = not math.isnan(row["low"])
        sign = "" if math.isnan(row["compared"]) else "+"
        ends = f"95% interval {100 * row['low']:{sign}.1f} to {100 * row['high']:{sign}.1f}" if known else "no interval"
        if not math.isnan(row["units"]):
            single = "no seed in common" if math.isnan(row["value"]) else f"{row['value']:.1%} of the units by one seed"
            said.append(
                f"{start} ({row['units']:.0f} of {row['of']:.0f} units by all seeds together; {single}, {ends}; limit "
                f"{row['limit']:.0%})."
            )
        elif math.isnan(row["value"]):
            said.append(f"{start} (too few seeds).")
        else:
            said.append(
                f"{start} ({row['tasks']:.1%} of the units among tasks, {row['seeds']:.1%} among seeds of one task, "
                f"{row['compared']:.0f} at a time: {100 * row['value']:+.1f} points, {ends})."
            )
    for n, group in [] if dominated is None else dominated.groupby("n"):
        listed = [
            f"{unit_name(row['unit'], row['layer'], row['head'])} ({row['tasks']}, {row['share']:.0%})"
            for row in group.to_dict("records")
        ]
        more = f", and {len(listed) - names} more" if len(listed) > names else ""
        said.append(f"Dominated by {'one task' if n == 1 else 'two tasks'}: {', '.join(listed[:names])}{more}.")
    return said


def _findings(share: np.ndarray, band: float, most: float, threshold: float) -> np.ndarray:
    """For which units each of CLAIMS holds: (3, units), from shares (tasks, units); never where shares are NaN."""
    even = (np.abs(share * len(share) - 1) <= band + 1e-9).sum(axis=0) > most * len(share)
    return np.array([even, *dominated_masks(share, threshold)])


def _subsets(items: Sequence[int], size: int) -> list[list[int]]:
    """All subsets of a size, or SUBSETS of them drawn with a fixed seed if there are more."""
    if math.comb(len(items), size) <= SUBSETS:
        return [list(group) for group in itertools.combinations(items, size)]
    rng = np.random.default_rng(0)
    return [sorted(rng.choice(items, size, replace=False).tolist()) for _ in range(SUBSETS)]


def _claim(claim: str, value: Interval, limit: float, direction: str) -> dict[str, Any]:
    ends = {"value": value.mean, "low": value.low, "high": value.high}
    return {"claim": claim, **ends, "limit": limit, "verdict": verdict(value, limit, direction)}
