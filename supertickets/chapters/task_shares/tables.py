"""Section 8, "Tickets Importance Across Tasks": Task Shares (Figure 6), and how alike tasks rank the units.

Everything starts from :func:`importance_table`. Importance differs between two seeds of one task too, so the rank
correlation of two tasks stands beside their *seed ceiling*, that of two seeds of one task; what the seeds do to shares
is in :mod:`supertickets.chapters.task_shares.claims`. Seeds are the replicates: numbers from pairs or subsets of them,
which are not independent, have the jackknife's interval, every seed left out once.
"""

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from supertickets.errors import SuperticketsError
from supertickets.runs import Record
from supertickets.statistics import jackknife

UNIT = ["unit", "layer", "head"]
"""Columns that name a unit; layers and heads count from 1, the head of an FFN is 0."""


NORMALISATIONS = {
    "paper": "heads layer by layer, FFNs as they are (section 3)",
    "all": "heads layer by layer, FFNs over layers",
    "raw": "nothing",
}
"""What of a run's importance is divided by its l2 norm before tasks are compared."""


def importance_table(
    records: Iterable[Record], estimator: str = "example", normalisation: str = "paper"
) -> pd.DataFrame:
    """Importance of every unit in every full run: columns task, seed, unit ("head", "ffn"), layer, head, importance.

    What is divided by its l2 norm first (:data:`NORMALISATIONS`): "paper", heads layer by layer, as when tickets are
    ranked (section 3); "all", FFNs over layers too; "raw", nothing. Losses of different tasks have different scales,
    and shares depend on it; ranks within a layer, or of FFNs, do not. Raises SuperticketsError without records, for a
    run without these scores, several encoders, two runs of one task and seed, and another normalisation.
    """
    if normalisation not in NORMALISATIONS:
        known = ", ".join(map(repr, NORMALISATIONS))
        raise SuperticketsError(f"There is no normalisation {normalisation!r} of importance; choose one of {known}.")
    frames: dict[tuple[str, int], pd.DataFrame] = {}
    encoders = {}
    for record in records:
        scores, task, seed = record.scores(estimator), record.spec.data.name, record.spec.seed
        if (task, seed) in frames:
            several = f"Task {task!r} has several full runs with seed {seed}, run {record.id} among them"
            raise SuperticketsError(f"{several}; keep one training set and one setting.")
        n_layers, n_heads = scores.heads.shape
        encoders[n_layers, n_heads, record.spec.encoder_revision] = record.spec.encoder
        heads = scores.heads if normalisation == "raw" else scores.normalised_heads()
        ffns = scores.ffns / (np.linalg.norm(scores.ffns) or 1.0) if normalisation == "all" else scores.ffns
        units = [("head", layer, head) for layer in range(1, n_layers + 1) for head in range(1, n_heads + 1)]
        frame = pd.DataFrame([*units, *(("ffn", layer, 0) for layer in range(1, n_layers + 1))], columns=UNIT)
        frame.insert(0, "task", task)
        frame.insert(1, "seed", seed)
        frames[task, seed] = frame.assign(importance=np.concatenate([heads.ravel(), ffns]))
    if not frames:
        raise SuperticketsError("There are no finished full runs to compare; run the tasks' full models first.")
    if len(encoders) > 1:
        named = ", ".join(f"{name} with {layers} x {heads} heads" for (layers, heads, _), name in encoders.items())
        raise SuperticketsError(f"Units of different encoders cannot be compared ({named}); give runs of one encoder.")
    return pd.concat(frames.values(), ignore_index=True)


def task_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Ticket Importance and Task Shares, the numbers behind Figure 6: one row per unit, one column per task.

    Columns: unit, layer, head, ``importance`` (Ticket Importance: the mean over tasks of the mean over seeds), and each
    task's share of the sum over tasks: they sum to 1, and are NaN where all scores of a unit are zero. Raises
    SuperticketsError for an empty table, and for scores below zero (those of the signed estimators).

    >>> rows = [("a", 0, "head", 1, 1, 0.75), ("b", 0, "head", 1, 1, 0.25)]
    >>> shares = task_shares(pd.DataFrame(rows, columns=["task", "seed", "unit", "layer", "head", "importance"]))
    >>> shares.to_dict("records")
    [{'unit': 'head', 'layer': 1, 'head': 1, 'importance': 0.5, 'a': 0.75, 'b': 0.25}]
    """
    wide = by_run(table)
    if bool((wide < 0).any(axis=None)):
        raise SuperticketsError("Task Shares need importance of zero or more; take example scores, not signed ones.")
    means = pd.DataFrame({task: wide[task].mean(axis=1) for task in table_tasks(table)})
    total = means.sum(axis=1)
    shares = means.div(total.where(total > 0), axis=0)
    shares.insert(0, "importance", means.mean(axis=1))
    return shares.reset_index()


def share_tasks(shares: pd.DataFrame) -> list[str]:
    """The tasks of a frame of :func:`task_shares`, in its order."""
    return [str(column) for column in shares.columns if column not in (*UNIT, "importance")]


def table_tasks(table: pd.DataFrame) -> list[str]:
    """The tasks of a frame of :func:`importance_table`, in its order."""
    return [str(task) for task in dict.fromkeys(table["task"])]


def by_run(table: pd.DataFrame) -> pd.DataFrame:
    """A frame of :func:`importance_table` with one row per unit and one column per (task, seed).

    Raises SuperticketsError if it is empty, or if runs have different units.
    """
    if table.empty:
        raise SuperticketsError("The table of importance is empty; make it from the tasks' full runs.")
    wide = table.pivot(index=UNIT, columns=["task", "seed"], values="importance")
    if bool(wide.isna().any(axis=None)):
        raise SuperticketsError("Some units have no importance in some runs; give every run the same units.")
    return wide.reindex(list(dict.fromkeys(table[UNIT].itertuples(index=False, name=None))))


def unit_name(unit: str, layer: int, head: int) -> str:
    """A unit in words.

    >>> unit_name("head", 2, 3), unit_name("ffn", 4, 0)
    ('head 3 of layer 2', 'FFN of layer 4')
    """
    return f"FFN of layer {layer}" if unit == "ffn" else f"head {head} of layer {layer}"


def rank_agreement(table: pd.DataFrame, unit: str = "head") -> pd.DataFrame:
    """How alike tasks rank the units, against the seed ceiling: one row per pair of tasks, a task with itself included.

    Columns: tasks ``a`` and ``b``, ``pairs`` of runs, ``correlation`` (their mean Spearman rank correlation over the
    units of kind ``unit``, "head" or "ffn"), ``low`` and ``high``, its 95% interval, and the seed ``ceiling``. Two
    tasks are paired seed by seed where they have seeds in common, else each run with each; a task with itself over all
    pairs of its seeds. That is its own ceiling; the ceiling of two tasks is the geometric mean of theirs: about what
    they would reach if they differed in nothing but their seeds. NaN for one seed, or below zero.

    The interval is the jackknife's over seeds with Student's t, cut at -1 and 1; for two tasks with the same seeds it
    is the t interval of the pairs. (A bootstrap of seeds is too short here: with five seeds, measured on normal
    importance, its 95% intervals of the ceiling hold the truth 93% of the time if the seeds are equally noisy, 78% if
    not; the jackknife's 97% and 91%.) NaN where leaving out a seed leaves no pair.

    Raises SuperticketsError for an empty table or one without such units.
    """
    wide = by_run(table)
    if unit not in wide.index.get_level_values("unit"):
        raise SuperticketsError(f"The table has no units of kind {unit!r}; choose 'head' or 'ffn'.")
    ranks = stats.rankdata(wide.loc[unit].to_numpy(), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # a run whose scores are all equal ranks nothing: NaN
        correlations = np.atleast_2d(np.corrcoef(ranks, rowvar=False))
    place = {run: i for i, run in enumerate(wide.columns)}
    seeds = {task: [seed for name, seed in place if name == task] for task in table_tasks(table)}
    rows = []
    for a, b in itertools.combinations_with_replacement(seeds, 2):
        if a == b:
            pairs = list(itertools.combinations(seeds[a], 2))
        else:
            same = [(seed, seed) for seed in seeds[a] if seed in seeds[b]]
            pairs = same or list(itertools.product(seeds[a], seeds[b]))
        values = np.array([correlations[place[a, s], place[b, t]] for s, t in pairs])
        kept = [np.array([out not in pair for pair in pairs]) for out in dict.fromkeys(itertools.chain(*pairs))]
        interval = jackknife(_mean(values), [_mean(values[those]) for those in kept])
        low, high = max(interval.low, -1.0), min(interval.high, 1.0)
        rows.append((a, b, len(pairs), interval.mean, *((low, high) if interval.known else (math.nan, math.nan))))
    found = pd.DataFrame(rows, columns=["a", "b", "pairs", "correlation", "low", "high"])
    own = found.loc[found["a"] == found["b"]].set_index("a")["correlation"].clip(lower=0).replace(0, math.nan)
    return found.assign(ceiling=np.sqrt(found["a"].map(own) * found["b"].map(own)))


def cluster_tasks(table: pd.DataFrame) -> list[str]:
    """Tasks in an order by how alike they rank the heads: average linkage, distance = 1 - mean rank correlation.

    Raises SuperticketsError for fewer than two tasks, a run whose scores are all equal, and as :func:`rank_agreement`.
    """
    tasks = table_tasks(table)
    if len(tasks) < 2:
        raise SuperticketsError("Grouping tasks needs at least two of them; add the full runs of another task.")
    found = rank_agreement(table)
    both = pd.concat([found, found.rename(columns={"a": "b", "b": "a"})]).drop_duplicates(["a", "b"])
    distances = 1 - both.pivot(index="a", columns="b", values="correlation").loc[tasks, tasks].to_numpy(copy=True)
    np.fill_diagonal(distances, 0)
    if np.isnan(distances).any():
        raise SuperticketsError("A run scores all heads alike and ranks nothing; leave it out.")
    linkage = hierarchy.linkage(squareform(distances, checks=False), method="average", optimal_ordering=True)
    return [tasks[leaf] for leaf in hierarchy.leaves_list(linkage)]


def dominated_units(shares: pd.DataFrame, threshold: float = 0.5) -> pd.DataFrame:
    """Units dominated by one task, then jointly by two, the highest share first in each.

    One task dominates if it holds more than ``threshold`` of the share. Two do jointly if none does alone, the weaker
    holds at least half of what the stronger does, and the others get on average less than where one task dominates:
    (1 - threshold) / (tasks - 1) each. Columns: unit, layer, head, importance, ``tasks`` ("a", or "a + b", the stronger
    first), ``n`` (1 or 2) and their ``share`` together. Raises SuperticketsError as :func:`check_threshold` does.
    """
    tasks = share_tasks(shares)
    check_threshold(threshold, len(tasks))
    values = shares[tasks].to_numpy(dtype=float)
    rows = []
    for n, mask in enumerate(dominated_masks(values.T, threshold), start=1):
        for i in np.flatnonzero(mask):
            best = np.argsort(-values[i], kind="stable")[:n]
            names = " + ".join(tasks[j] for j in best)
            rows.append((*shares.iloc[i][[*UNIT, "importance"]], names, n, float(values[i, best].sum())))
    found = pd.DataFrame(rows, columns=[*UNIT, "importance", "tasks", "n", "share"])
    return found.sort_values(["n", "share"], ascending=[True, False], kind="stable", ignore_index=True)


def dominated_masks(share: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Which units one task dominates, and which two do, from shares (tasks, units): see :func:`dominated_units`."""
    ordered, others = -np.sort(-share, axis=0), len(share) - 1
    one = ordered[0] > threshold
    if others < 2:
        return one, np.zeros_like(one)
    together = ordered[0] + ordered[1] > 1 - (others - 1) * (1 - threshold) / others
    return one, ~one & together & (2 * ordered[1] >= ordered[0])


def check_threshold(threshold: float, n_tasks: int) -> None:
    """Raise SuperticketsError unless a share above ``threshold`` tells a dominant one of the tasks."""
    if not (threshold * n_tasks > 1 and threshold < 1):
        fix = f"choose a threshold above 1/{n_tasks} and below 1."
        raise SuperticketsError(f"A share of {threshold} does not tell a dominant one of {n_tasks} tasks; {fix}")


def close_up_units(shares: pd.DataFrame) -> dict[str, tuple[str, int, int]]:
    """The units for the close-ups of Figure 6 (a)-(d), by what they show: (unit, layer, head).

    Nearest, by the sum of absolute differences, to shares that are equal for all tasks, for all but one, for one task
    alone, and for two; none twice. They are the extremes of many units and owe their shares to luck more than others
    do. Raises SuperticketsError if no unit has shares of two tasks.
    """
    tasks = share_tasks(shares)
    known = shares.loc[shares[tasks].notna().all(axis=1)]
    if known.empty or len(tasks) < 2:
        raise SuperticketsError("Close-ups need a unit with shares of two tasks at least; add tasks or runs.")
    titles = {len(tasks): "most evenly shared"}
    titles |= {len(tasks) - 1: "most shared by all but one task"} if len(tasks) > 3 else {}
    titles |= {1: "most dominated by one task"} | ({2: "most dominated by two tasks"} if len(tasks) > 2 else {})
    ordered = -np.sort(-known[tasks].to_numpy(dtype=float), axis=1)
    chosen: dict[str, tuple[str, int, int]] = {}
    for n, title in titles.items():
        ideal = np.where(np.arange(len(tasks)) < n, 1 / n, 0.0)
        for i in np.argsort(np.abs(ordered - ideal).sum(axis=1), kind="stable"):
            unit, layer, head = known.iloc[i][UNIT]
            if (place := (str(unit), int(layer), int(head))) not in chosen.values():
                chosen[title] = place
                break
    return chosen


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan
