"""Tables 6, 7 and 9, the numbers behind Figures 3 and 5, missing runs, and the paper's inconsistencies in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from supertickets import paper
from supertickets.errors import SuperticketsError
from supertickets.facts import TaskFacts
from supertickets.runs import Record, RunSpec
from supertickets.statistics import equal_variances, mean_interval, paired_difference, sd_interval
from supertickets.tables import check_size, kin_of, super_ticket_pairs


def table6(frame: pd.DataFrame, column: str = "report_score", size: str = "base") -> pd.DataFrame:
    """Table 6: standard deviation over seeds of the super ticket's score, and of the full model's, one row per task.

    Standard deviations are in points, each with its 95% chi-square interval (of 5 seeds: 0.6 to 2.9 times the
    estimate). ``p (equal spread)`` is the Brown-Forsythe test's (:func:`supertickets.statistics.equal_variances`);
    runs that share a seed are alike, which makes it cautious. Beside it stands the paper's value of the kin task for
    BERT-``size``; the full model's is in Table 5, of five tasks and BERT-large only. A single seed has no spread: NaN.
    Raises SuperticketsError as :func:`supertickets.tables.super_ticket_pairs` does.
    """
    check_size(size)
    theirs = {("SuperT", task): sd for task, sd in _printed(6, f"SuperT {size}").items()}
    if size == "large":
        theirs |= {("ST-DNN", task): sd for task, sd in _printed(5, "ST-DNN large").items()}
    rows = []
    for task, group in super_ticket_pairs(frame, column).groupby("task", sort=False):
        scores = {"SuperT": group["super"].to_numpy(), "ST-DNN": group["full"].to_numpy()}
        row: dict[str, Any] = {"task": task, "seeds": len(group)}
        for model, values in scores.items():
            interval = sd_interval(values)
            row |= {f"{model}: sd": interval.sd, f"{model}: low": interval.low, f"{model}: high": interval.high}
        enough = len(group) > 1
        row["p (equal spread)"] = equal_variances(scores["SuperT"], scores["ST-DNN"]).p if enough else math.nan
        kin = kin_of(str(task))
        known = {f"paper: {model} sd": theirs[model, kin] for model in scores if (model, kin) in theirs}
        rows.append(row | ({"paper: task": kin} if known else {}) | known)
    return pd.DataFrame(rows)


def table7(frame: pd.DataFrame, size: str = "base") -> pd.DataFrame:
    """Table 7: weights remaining in the super tickets, mean and standard deviation over seeds, one row per task.

    Sizes are shares of the encoder's weights, embeddings included. ``levels chosen`` counts the seeds of every
    sparsity level that was chosen. The last columns are the paper's, of the kin task and BERT-``size``; they do not
    agree with its Figure 3 (inconsistencies P4 and P5). The standard deviation of a single seed is NaN. Raises
    SuperticketsError as :func:`supertickets.tables.super_ticket_pairs` does.
    """
    check_size(size)
    theirs = {name: _printed(7, f"SuperT {size}", name) for name in ("mean", "sd")}
    rows = []
    for task, group in super_ticket_pairs(frame).groupby("task", sort=False):
        levels, counts = np.unique(group["level"].to_numpy(), return_counts=True)
        chosen = [
            f"{level:.0%}" + (f" (x{count})" if count > 1 else "") for level, count in zip(levels, counts, strict=True)
        ]
        weights = group["weights_remaining"].to_numpy()
        row: dict[str, Any] = {
            "task": task,
            "seeds": len(group),
            "weights remaining, mean": weights.mean(),
            "weights remaining, sd": weights.std(ddof=1) if len(weights) > 1 else math.nan,
            "levels chosen": ", ".join(chosen),
        }
        kin = kin_of(str(task))
        if kin in theirs["mean"]:
            row |= {"paper: task": kin, "paper: mean": theirs["mean"][kin], "paper: sd": theirs["sd"][kin]}
        rows.append(row)
    return pd.DataFrame(rows)


def table9(records: Iterable[Record]) -> pd.DataFrame:
    """Table 9: what the tasks of some records hold, beside the paper's row of the kin corpus.

    ``balance`` is the share of every class among the training labels, in the order of the label names; of a
    regression, the range of its scores. ``words`` is the mean number of words (split at blanks) in a training example,
    both texts together. ``label noise`` compares the training labels with the truth where that is known (the lab): the
    share that is wrong, or the standard deviation of score minus truth. Of several records of a task the first counts;
    what one of the old form does not say is "unknown" or NaN. Sizes of the paper are as printed (P8).
    """
    printed = {row["corpus"]: row for row in paper.table(9)}
    tasks: dict[str, TaskFacts] = {}
    for record in records:
        tasks = {**record.tasks, **tasks}
    rows = []
    for name, facts in tasks.items():
        texts = {1: "single sentence, ", 2: "pair of texts, "}.get(facts.texts or 0, "")
        row: dict[str, Any] = {
            "corpus": name,
            "kind of text": f"{texts}{facts.kind}",
            **{split: facts.sizes.get(split, math.nan) for split in ("train", "dev", "test")},
            "labels": facts.num_labels,
            "metrics": ", ".join(facts.metrics),
            "balance (train)": _balance(facts),
            "words": math.nan if facts.words is None else facts.words,
            "label noise": _noise(facts),
        }
        kin = kin_of(name)
        theirs = printed.get("SST" if kin == "SST-2" else kin)  # the paper's own short name
        rows.append(row | {f"paper: {column}": value for column, value in (theirs or {}).items()})
    # As objects, so that a missing test set or kin leaves the other counts whole numbers.
    return pd.DataFrame(rows, dtype=object).astype({"words": float} if rows else {})


def figure3_data(
    frame: pd.DataFrame,
    size: str = "base",
    score: str = "report_score",
) -> pd.DataFrame:
    """The numbers behind :func:`supertickets.figures.figure3`: one row per task, smallest training set first.

    Columns: task, train size (examples), seeds; gain of the super ticket over the full model (points, paired by seed)
    with the ends of its 95% t interval; weights remaining (%) with the ends of theirs; then the paper's task, train
    size, gain (recomputed from its Table 1) and weights remaining (%) for BERT-``size``. Raises SuperticketsError
    where a training set's size (``train_examples``) is unknown, and as
    :func:`supertickets.tables.super_ticket_pairs` does.
    """
    check_size(size)
    theirs = {row["task"]: row for row in paper.figure3()}
    rows = []
    for name, group in super_ticket_pairs(frame, score).groupby("task", sort=False):
        task = str(name)
        gain = paired_difference(group["super"], group["full"]).interval
        weights = mean_interval(100 * group["weights_remaining"])
        row = {"task": task, "train size": _train_size(frame, task), "seeds": gain.n}
        row |= {"gain": gain.mean, "gain, low": gain.low, "gain, high": gain.high}
        row |= {"weights": weights.mean, "weights, low": weights.low, "weights, high": weights.high}
        if kin := theirs.get(kin_of(task)):
            row |= {"paper: task": kin["task"], "paper: train size": kin["train size"]}
            row |= {"paper: gain": kin[f"gain {size}"], "paper: weights": 100 * kin[f"weights remaining {size}"]}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("train size", kind="stable", ignore_index=True) if rows else pd.DataFrame()


def shrinking_data(frame: pd.DataFrame, score: str = "report_score") -> pd.DataFrame:
    """What a ticket gains over the full model of the same training set, by training size (the numbers of Figure 5).

    One row per task, train_size (largest first), kind and level: weights_remaining (mean), n (runs), ``full`` (the full
    model's mean score), ``gain`` over it and the ends ``low``, ``high`` of its 95% t interval, in points. A ticket is
    paired with the full model of its own data and seed; runs without that are left out. A missing ``train_size`` means
    the whole training set: its size is that of the column ``train_examples``, or "all" without one. Raises
    SuperticketsError without such pairs, and for a frame without a column ``train_size``.
    """
    if frame.empty or not {"train_size", score} <= set(frame):
        raise SuperticketsError(f"There are no finished runs with a train_size and a {score!r}; run the sweep first.")
    key, condition = ["encoder", "task", "data", "seed", "size"], ["task", "size", "kind", "level"]
    runs = frame.assign(size=frame["train_size"].astype(float).fillna(math.inf), score=100 * frame[score])
    full = runs.loc[runs["kind"] == "full", [*key, "score"]]
    both = runs.loc[runs["kind"] != "full"].merge(full, on=key, suffixes=("", "_full"))
    both = both.dropna(subset=["score", "score_full"])
    if both.empty:
        raise SuperticketsError("No ticket has the full model of its own training set beside it; run the sweep first.")
    rows = []
    for _, group in both.groupby(condition, sort=False):
        first = group.iloc[0]
        interval = paired_difference(group["score"], group["score_full"]).interval
        rows.append(
            {
                **first[["task", "kind", "level"]].to_dict(),
                "train_size": first["size"],
                "weights_remaining": group["weights_remaining"].mean(),
                "n": interval.n,
                "full": group["score_full"].mean(),
                "gain": interval.mean,
                "low": interval.low,
                "high": interval.high,
            }
        )
    data = pd.DataFrame(rows).sort_values(["train_size", "level"], ascending=[False, True], kind="stable")
    # As objects, so that sizes stay whole numbers beside "all".
    whole = {task: _train_size(runs.loc[runs["size"] == math.inf], task, "all") for task in set(data["task"])}
    sizes = [
        whole[task] if math.isinf(size) else int(size)
        for task, size in zip(data["task"], data["train_size"], strict=True)
    ]
    data["train_size"] = pd.Series(sizes, index=data.index, dtype=object)
    names = list(dict.fromkeys(frame["task"]))
    data = data.sort_values("task", key=lambda tasks: tasks.map(names.index), kind="stable", ignore_index=True)
    return data.loc[:, ["task", "train_size", *[name for name in data if name not in ("task", "train_size")]]]


def missing(frame: pd.DataFrame, specs: Iterable[RunSpec]) -> pd.DataFrame:
    """The runs among ``specs`` that have no record in ``frame``, in their order.

    One row per run; columns task, train_size (None: the whole training set), seed, kind, level and run (its id). The
    frame is empty, with these columns, if nothing is missing.
    """
    there = set(frame["run"]) if "run" in frame else set()
    rows = [
        (spec.data.name, spec.data.train_size, spec.seed, spec.ticket.kind, spec.ticket.level, spec.id)
        for spec in specs
        if spec.id not in there
    ]
    return pd.DataFrame(rows, columns=["task", "train_size", "seed", "kind", "level", "run"])


def missing_sentence(frame: pd.DataFrame, specs: Sequence[RunSpec]) -> str:
    """What :func:`missing` found, in one sentence: how many of which task and kind, and of which seeds.

    >>> from supertickets.sources import DataRef
    >>> missing_sentence(pd.DataFrame(), [RunSpec("lab-base", "1", DataRef("entailment"), seed=3)])
    '1 of 1 runs is missing: entailment (1 full; seed 3).'
    """
    lacking = missing(frame, specs)
    if lacking.empty:
        return f"All {len(specs)} runs are there."
    parts = []
    for task, group in lacking.groupby("task", sort=False):
        kinds = ", ".join(f"{count} {kind}" for kind, count in group["kind"].value_counts(sort=False).items())
        seeds = sorted(set(group["seed"]))
        parts.append(f"{task} ({kinds}; seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))})")
    verb = "is" if len(lacking) == 1 else "are"
    return f"{len(lacking)} of {len(specs)} runs {verb} missing: {', '.join(parts)}."


def paper_notes(identifiers: Sequence[str]) -> list[str]:
    """One sentence or two per inconsistency of the paper (P1 to P10): where, what, and the recomputed numbers.

    Where many rows were recomputed (P1), the largest distance from the printed value stands for them all. Raises
    SuperticketsError for an unknown identifier.

    >>> paper_notes(["P3"])[0].partition("Figure 3. ")[2]
    '86.8 (printed), 89.5 (mean of Table 7), 88.62 (mean of Figure 3).'
    """
    notes = []
    for found in map(paper.inconsistency, identifiers):
        numbers = _sentence(found.computed)
        notes.append(f"{found.id} ({found.where}): {found.what}{f' {numbers}' if numbers else ''}")
    return notes


def _train_size(frame: pd.DataFrame, task: str, unknown: str = "") -> int | str:
    known = frame.loc[frame["task"] == task].get("train_examples", pd.Series(dtype=float)).dropna()
    if known.empty and not unknown:
        raise SuperticketsError(f"The records do not say how many training examples task {task!r} has.")
    return unknown if known.empty else int(known.iloc[0])


def _sentence(computed: dict[str, float]) -> str:
    """The numbers of one inconsistency, those of one thing ("STS-B: Table 7", "STS-B: Figure 3") together."""
    groups: dict[str, dict[str, float]] = {}
    for label, value in computed.items():
        thing, _, what = label.rpartition(": ")
        groups.setdefault(thing, {})[what] = value
    if len(groups) > 4 and all("printed" in group for group in groups.values()):
        others = [what for what in next(iter(groups.values())) if what != "printed"]
        far = [max(abs(group[what] - group["printed"]) for group in groups.values()) for what in others]
        return f"Largest distance from the printed value in {len(groups)} rows: {_listed(others, far)}."
    parts = [f"{thing}: {_listed(group, group.values())}".removeprefix(": ") for thing, group in groups.items()]
    text = "; ".join(parts).replace("_", " ")
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _listed(names: Iterable[str], values: Iterable[float]) -> str:
    return ", ".join(f"{_number(value)} ({name})" for name, value in zip(names, values, strict=True))


def _number(value: float) -> str:
    text = f"{value:,.2f}"
    return text.rstrip("0").rstrip(".")


def _printed(table: int, model: str, statistic: str = "") -> dict[str, float]:
    """The row of a model in Table 5, 6 or 7, by task."""
    row = next(
        row for row in paper.table(table) if row["model"] == model and row.get("statistic", statistic) == statistic
    )
    return {task: row[task] for task in paper.TASKS if task in row}


def _balance(facts: TaskFacts) -> str:
    if facts.kind == "regression":
        return " to ".join(f"{score:.2g}" for score in facts.balance) or "unknown"
    return " / ".join(f"{share:.0%}" for share in facts.balance) or "unknown"


def _noise(facts: TaskFacts) -> str:
    if facts.noise is None:
        return "unknown"
    return f"sd {facts.noise:.2f}" if facts.kind == "regression" else f"{facts.noise:.1%} wrong"
