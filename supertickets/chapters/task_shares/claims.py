"""The claims of section 8 on Task Shares, each beside what the seeds of one task would show if they were tasks."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.claims import UNMEASURED, claim, judged
from supertickets.chapters.task_shares import tables
from supertickets.statistics import jackknife

BAND, MOST = 0.25, 5 / 8
"""Shares are "almost equal" within 25% of 1 / tasks; "over 5 out of 8" tasks are more than 5/8 of them."""
MANY, FEW = 0.5, 0.1
"""How "many tickets" and "a small number of tickets" are read: more than half of the units; some, but under a tenth."""
CLAIMS = (
    "many units have almost equal shares for most tasks",
    "a small number of units are dominated by one task",
    "a small number of units are dominated jointly by two tasks",
)
BESIDE = (
    "almost equal shares are rarer among tasks than among seeds of one task",
    "one task dominates more often than one seed among the seeds of one task",
    "two tasks dominate more often than two seeds among the seeds of one task",
)
SUBSETS = 100


def share_claims(table: pd.DataFrame, threshold: float = 0.5) -> pd.DataFrame:
    """The claims of section 8 on Task Shares, heads and FFNs together, from an ``importance_table``: CLAIMS, BESIDE.

    1. Many tickets (over half) have almost equal shares for most tasks: within ``BAND`` of 1 / tasks, for more than
    ``MOST`` of the tasks. 2. A small number (some, under a tenth) are dominated by one task, 3. jointly by two
    (``dominated_units``): judged against the nearer of the two limits, 0 and a tenth. The effect is the share of the
    units by the scores of one seed, as in the paper, over the seeds that all tasks have; ``where`` counts the units by
    the scores of all seeds. These three are a family.

    Below them, a family too, stands the same for *seeds of one task treated as if they were tasks*. ``tasks`` and
    ``seeds`` are shares of the units with ``compared`` runs at a time (as many as tasks, or one less than there are
    seeds if that is fewer; mean over at most 100 subsets), the effect is tasks minus seeds, its interval the
    jackknife's over seeds. NaN with too few seeds: claim 1 needs three, the others, with threshold 0.5, four. Raises
    SuperticketsError as ``task_shares`` and ``dominated_units`` do, as :func:`sst2_claims` does.
    """
    shares, tasks, wide = tables.task_shares(table), tables.table_tasks(table), tables.by_run(table)
    tables.check_threshold(threshold, len(tasks))
    counts = _findings(shares[tasks].to_numpy(dtype=float).T, threshold).sum(axis=1)
    seeds = sorted(set.intersection(*(set(wide[task].columns) for task in tasks)))
    scores = np.array([[wide[task, seed].to_numpy() for seed in seeds] for task in tasks])  # (tasks, seeds, units)
    compared = min(len(tasks), len(seeds) - 1)  # one seed can be left out

    def counted(importance: np.ndarray) -> np.ndarray:
        """Shares of the units for which each claim holds, from scores (runs, units)."""
        total = importance.sum(axis=0)
        return _findings(importance / np.where(total > 0, total, np.nan), threshold).mean(axis=1)

    def beside(kept: Sequence[int]) -> np.ndarray:
        """Row 0: among tasks, of one seed; row 1: among seeds, of one task."""
        of_tasks = [counted(scores[group, i]) for group in _subsets(range(len(tasks)), compared) for i in kept]
        of_seeds = [counted(one[group]) for group in _subsets(kept, compared) for one in scores]
        return np.array([np.mean(of_tasks, axis=0), np.mean(of_seeds, axis=0)])

    places = range(len(seeds))
    by_seed = [counted(scores[:, i]) for i in places]
    means = beside(places) if compared > 1 else np.full((2, 3), np.nan)
    without = [beside([j for j in places if j != i]) for i in places] if compared > 1 else []
    main, behind = [], []
    for i, (text, beyond) in enumerate(zip(CLAIMS, BESIDE, strict=True)):
        values = [each[i] for each in by_seed] or jackknife(math.nan, [])
        few = bool(by_seed) and np.mean(by_seed, axis=0)[i] >= FEW / 2
        limit, side = (MANY, "above") if i == 0 else (FEW, "below") if few else (0.0, "above")
        counted_by = f"{counts[i]} of {len(shares)} by all seeds"
        main.append(claim(text, counted_by, values, limit=limit, side=side, unit="share"))
        gap, more = jackknife(math.nan, []), {}
        if compared > 1 and (i == 0 or threshold * compared > 1):
            gap = jackknife(means[0, i] - means[1, i], [both[0, i] - both[1, i] for both in without])
            more = {"compared": compared, "tasks": means[0, i], "seeds": means[1, i]}
        side = "below" if i == 0 else "above"
        behind.append(claim(beyond, "", gap, side=side, unit="share", **more))
    return pd.concat([judged(main), judged(behind)], ignore_index=True)


def sst2_claims(table: pd.DataFrame) -> pd.DataFrame:
    """Section 8: the tickets that most tasks share almost equally are "non-expressive for tasks such as SST-2".

    The effect is the share that SST-2, or its kin in the lab, has of those units, times the number of tasks, of every
    seed: below 1 if the statement is right. Units are those of claim 1 of :func:`share_claims`, found without SST-2:
    almost equal among the other tasks. A seed without such units does not count. Empty unless SST-2 is among four tasks
    or more.
    """
    tasks, wide = tables.table_tasks(table), tables.by_run(table)
    kin = [task for task in tasks if paper.kin_of(task) == "SST-2"]
    if not kin or len(tasks) < 4:
        return judged([])
    others, found = [task for task in tasks if task not in kin], []
    for seed in sorted(set.intersection(*(set(wide[task].columns) for task in tasks))):
        scores = np.array([wide[task, seed].to_numpy() for task in [*kin, *others]])
        total = scores[1:].sum(axis=0)
        even = _findings(scores[1:] / np.where(total > 0, total, np.nan), 0.5)[0]
        if even.any():
            found.append(float((len(tasks) * scores[0] / scores.sum(axis=0))[even].mean()))
    text = "units that most tasks share almost equally matter less to SST-2"
    where, unit = f"{kin[0]} among {len(tasks)} tasks", "times an equal share"
    return judged([claim(text, where, found or UNMEASURED, side="below", limit=1.0, unit=unit)])


def dominated_sentences(dominated: pd.DataFrame, names: int = 6) -> list[str]:
    """The units of ``dominated_units`` by name, a sentence for one task and one for two, ``names`` units in each."""
    said = []
    for n, group in dominated.groupby("n"):
        listed = [
            f"{tables.unit_name(row['unit'], row['layer'], row['head'])} ({row['tasks']}, {row['share']:.0%})"
            for row in group.to_dict("records")
        ]
        more = f", and {len(listed) - names} more" if len(listed) > names else ""
        said.append(f"Dominated by {'one task' if n == 1 else 'two tasks'}: {', '.join(listed[:names])}{more}.")
    return said


def _findings(share: np.ndarray, threshold: float) -> np.ndarray:
    """For which units each of CLAIMS holds: (3, units), from shares (tasks, units); never where shares are NaN."""
    even = (np.abs(share * len(share) - 1) <= BAND + 1e-9).sum(axis=0) > MOST * len(share)
    return np.array([even, *tables.dominated_masks(share, threshold)])


def _subsets(items: Sequence[int], size: int) -> list[list[int]]:
    """All subsets of a size, or SUBSETS of them drawn with a fixed seed if there are more."""
    if math.comb(len(items), size) <= SUBSETS:
        return [list(group) for group in itertools.combinations(items, size)]
    rng = np.random.default_rng(0)
    return [sorted(rng.choice(items, size, replace=False).tolist()) for _ in range(SUBSETS)]
