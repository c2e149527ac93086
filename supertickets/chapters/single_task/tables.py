"""Tables of the paper, each one function of a frame of records, with the paper's own numbers beside ours.

Those of a frame raise SuperticketsError as :func:`supertickets.runs.super_ticket_pairs` does.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters import paper
from supertickets.chapters.single_task.claims import super_tickets_gain
from supertickets.errors import SuperticketsError
from supertickets.runs import Record, scores_in, super_ticket_pairs
from supertickets.statistics import equal_variances, paired_difference, sd_interval
from supertickets.studies import chosen_rates
from supertickets.tasks import TaskFacts

_PRINTED_SIZE = "paper: weights remaining (%)"
_SHORT = {
    "accuracy": "acc",
    "accuracy_matched": "acc m",
    "accuracy_mismatched": "mm",
    "pearson": "P",
    "spearman": "S corr",
}
"""What Table 1 calls its metrics, where that is not their name."""


def table1(frame: pd.DataFrame, size: str = "base", luck: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Table 1: the full model (ST-DNN) against the super ticket (SuperT), one row per task, in points; then "average".

    The super ticket of each seed is chosen on the selection split (:func:`supertickets.runs.super_tickets`),
    scores are those of the report split. ``gain``, its interval and p, the verdict and its power are the rows of
    :func:`~supertickets.chapters.single_task.claims.super_tickets_gain`: the average is the claim, judged by itself,
    the tasks are its details, corrected together. ``luck of the choice``
    (:func:`~supertickets.chapters.single_task.examples.luck_of_the_choice`, where it is given as ``luck``) is what
    choosing a level on the selection data promises there when no level is better: the gain on held-out data is free of
    it, a gain on the whole of dev is not. The last columns are the paper's row of the kin task, for BERT-``size``.

    The average follows the paper's rule: per seed the mean over tasks, a task with two metrics counting their mean;
    only seeds that have every task count. Beside it stand the averages and the weights remaining that the paper
    prints, over its eight tasks.
    """
    pairs = super_ticket_pairs(frame)
    if pairs.empty:
        return pd.DataFrame()
    gains = super_tickets_gain(frame, size).rename(columns={"n": "seeds", "effect": "gain"})
    judged = gains.set_index(gains["where"].where(gains["detail"] | (len(gains) == 1), "average"))
    wide = pairs.pivot(index="seed", columns="task", values=["full", "super", "weights_remaining"]).dropna()
    printed, averages = paper.scores(1), {row["model"]: row for row in paper.table(1)}
    rows = []
    for task, own in [*pairs.groupby("task", sort=False), ("average", wide)]:
        means = {name: pd.Series(np.ravel(own[name])).mean() for name in ("full", "super", "weights_remaining")}
        told = judged.loc[task if task in judged.index else next(iter(judged.index))]
        row = {"task": task, "seeds": told["seeds"], "ST-DNN": means["full"], "SuperT": means["super"]}
        row |= {name: told[name] for name in ("gain", "low", "high", "p", "p (Holm)")}
        row["weights remaining (%)"] = 100 * means["weights_remaining"]
        row |= {name: told[name] for name in ("verdict", "power", "needed")}
        if luck is not None and task in luck:
            row["luck of the choice"] = luck[task]
        kin = paper.kin_of(str(task))
        if kin in printed[f"ST-DNN {size}"]:
            theirs = [paper.task_score(printed[f"{model} {size}"][kin]) for model in ("ST-DNN", "SuperT")]
            row |= {"paper: task": kin, **_paper_gain(*theirs)}
        rows.append(row)
    theirs = [averages[f"{model} {size}"] for model in ("ST-DNN", "SuperT")]
    rows[-1] |= _paper_gain(*(row["average score"] for row in theirs))
    rows[-1] |= {"paper: task": f"average of {len(paper.TASKS)}", _PRINTED_SIZE: theirs[1]["weights remaining"]}
    table = pd.DataFrame(rows)
    # Tasks of one's own have no kin, and then the paper's average says nothing.
    return table if any("paper: task" in row for row in rows[:-1]) else table.filter(regex="^(?!paper)")


def table1_metrics(frame: pd.DataFrame, split: str = "report", printed_in: int = 1) -> pd.DataFrame:
    """Table 1 in full: one row per task and metric (accuracy and F1, both correlations, MNLI matched and mismatched).

    Columns as in :func:`table1`, in points, without a verdict: the metrics of a task are no independent findings. A
    metric of all examples pooled is left out where the parts of the split have their own. ``split`` is "report",
    "dev" or another that the runs were scored on; ``printed_in`` is the paper's table to set beside.
    """
    if frame.empty or not (scored := [name for name in scores_in(frame) if name.startswith(f"{split}_")]):
        raise SuperticketsError(f"There are no finished runs with metrics of the {split!r} split.")
    printed = paper.scores(printed_in)
    rows = []
    for task, group in frame.groupby("task", sort=False):
        kin = paper.kin_of(str(task))
        own = [name.removeprefix(f"{split}_") for name in scored if not bool(group[name].isna().all())]
        for metric in own:
            if metric == "score" or any(other.startswith(f"{metric}_") for other in own):
                continue
            pairs = super_ticket_pairs(group, f"{split}_{metric}")
            if pairs.empty:
                continue
            row = {"task": task, "metric": metric, **_gain_row(pairs["full"].to_numpy(), pairs["super"].to_numpy())}
            theirs = [printed[f"{model} base"].get(kin, {}).get(metric) for model in ("ST-DNN", "SuperT")]
            if theirs[0] is not None and theirs[1] is not None:
                row |= {"paper: task": kin, **_paper_gain(theirs[0], theirs[1])}
            rows.append(row)
    return pd.DataFrame(rows)


def table1_layout(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 1 as the paper lays it out, in points: a row per model, a column per task in its order, metrics in a row.

    Below ours stand the paper's rows of BERT-base, for the kin tasks; its average is that of its eight tasks.
    """
    metrics = table1_metrics(frame)
    if metrics.empty:
        return metrics
    average = table1(frame).iloc[-1]
    place = {task: i for i, task in enumerate(paper.TASKS)}
    tasks = sorted(metrics["task"].unique(), key=lambda task: place.get(paper.kin_of(task), len(place)))
    rows = []
    for model in ("ST-DNN", "SuperT", "paper: ST-DNN", "paper: SuperT"):
        if model not in metrics or model not in average:
            continue
        row: dict[str, Any] = {"model": f"{model} base" if "paper" in model else model}
        for task in tasks:
            own = metrics.loc[(metrics["task"] == task) & metrics[model].notna()]
            names = "/".join(metrics.loc[metrics["task"] == task, "metric"].replace(_SHORT))
            row[f"{task} {names}"] = "/".join(f"{x:.1f}" for x in own[model])
        kept = _PRINTED_SIZE if "paper" in model else "weights remaining (%)"
        size_kept = average[kept] if "SuperT" in model else 100.0
        rows.append(row | {"average": average[model], "weights remaining (%)": size_kept})
    return pd.DataFrame(rows)


def rates_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The learning rate of every task and what it was chosen by (5.2): mean selection scores, points, a column a rate.

    ``frame`` holds the full models at all rates; what is raised is that of :func:`supertickets.studies.chosen_rates`.
    """
    table = chosen_rates(frame).assign(score=lambda rows: 100 * rows["selection_score"])
    wide = table.pivot(index="task", columns="learning_rate", values="score").rename(columns="at {:g}".format)
    best = table.loc[table["chosen"]].set_index("task")["learning_rate"].map("{:g}".format)
    wide = wide.loc[list(dict.fromkeys(table["task"]))]
    return wide.assign(chosen=best).reset_index().rename_axis(columns=None)


def table2(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 2: test scores of the full model and the super ticket, one row per task and metric, in points; the average.

    ``frame`` holds the runs of ``supertickets.studies.experiments.on_test_sets``. Test labels that nobody has (GLUE's)
    give no row: write the files its server takes with :func:`supertickets.tasks.write_submission`. The paper's columns
    are the server's scores of BERT-base. The average is that of the paper's Table 2, which is not Table 1's: every row
    counts once (P2); only seeds that have every task count.
    """
    if "test_score" not in frame or not len(frame.dropna(subset=["test_score"])):
        return pd.DataFrame()
    frame = frame.dropna(subset=["test_score"])
    rows = table1_metrics(frame, "test", printed_in=2)
    pairs = [
        super_ticket_pairs(frame.loc[frame["task"] == task], f"test_{metric}").set_index("seed")
        for task, metric in zip(rows["task"], rows["metric"], strict=True)
    ]
    sides = (pd.concat([row[name] for row in pairs], axis=1) for name in ("full", "super"))
    full, ticket = (side.dropna().mean(axis=1).to_numpy() for side in sides)
    if not len(full):
        return rows
    average = {"task": "average", "metric": "", **_gain_row(full, ticket)}
    if "paper: task" in rows:
        printed = paper.column(2, "average score")
        average |= {"paper: task": f"average of {len(paper.TASKS)}"}
        average |= _paper_gain(printed["ST-DNN base"], printed["SuperT base"])
    return pd.concat([rows, pd.DataFrame([average])], ignore_index=True)


def _gain_row(full: np.ndarray, ticket: np.ndarray) -> dict[str, Any]:
    gain = paired_difference(ticket, full)
    row = {"seeds": gain.n, "ST-DNN": float(full.mean()), "SuperT": float(ticket.mean()), "gain": gain.mean}
    return row | {"low": gain.low, "high": gain.high, "p": gain.p}


def _paper_gain(full: float, ticket: float) -> dict[str, float]:
    return {"paper: ST-DNN": full, "paper: SuperT": ticket, "paper: gain": ticket - full}


def table6(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 6: standard deviation over seeds of the super ticket's score, and of the full model's, one row per task.

    Standard deviations are in points, each with its 95% chi-square interval (of 5 seeds: 0.6 to 2.9 times the
    estimate). ``p (equal spread)`` is the Brown-Forsythe test's (:func:`supertickets.statistics.equal_variances`);
    runs that share a seed are alike, which makes it cautious. Beside it stands the paper's value of the kin task for
    BERT-base (the full model's are printed for BERT-large only, in Table 5). A single seed has no spread: NaN.
    """
    rows, theirs = [], _printed(6, "SuperT base")
    for task, group in super_ticket_pairs(frame).groupby("task", sort=False):
        scores = {"SuperT": group["super"].to_numpy(), "ST-DNN": group["full"].to_numpy()}
        row: dict[str, Any] = {"task": task, "seeds": len(group)}
        for model, values in scores.items():
            interval = sd_interval(values)
            row |= {f"{model}: sd": interval.sd, f"{model}: low": interval.low, f"{model}: high": interval.high}
        row["p (equal spread)"] = equal_variances(*scores.values()) if len(group) > 1 else math.nan
        kin = paper.kin_of(str(task))
        rows.append(row | ({"paper: task": kin, "paper: SuperT: sd": theirs[kin]} if kin in theirs else {}))
    return pd.DataFrame(rows)


def table7(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 7: weights remaining in the super tickets, mean and standard deviation over seeds, one row per task.

    Sizes are shares of the encoder's weights, embeddings included. ``levels chosen`` counts the seeds of every
    sparsity level that was chosen. The last columns are the paper's, of the kin task and BERT-base; they do not
    agree with its Figure 3 (inconsistencies P4 and P5). The standard deviation of a single seed is NaN.
    """
    rows, theirs = [], {name: _printed(7, "SuperT base", name) for name in ("mean", "sd")}
    for task, group in super_ticket_pairs(frame).groupby("task", sort=False):
        levels, counts = np.unique(group["level"].to_numpy(), return_counts=True)
        named = zip(levels, counts, strict=True)
        chosen = [f"{level:.0%}" + (f" (x{count})" if count > 1 else "") for level, count in named]
        weights = group["weights_remaining"]
        row: dict[str, Any] = {"task": task, "seeds": len(group), "weights remaining, mean": weights.mean()}
        row |= {"weights remaining, sd": weights.std(), "levels chosen": ", ".join(chosen)}
        kin = paper.kin_of(str(task))
        if kin in theirs["mean"]:
            row |= {"paper: task": kin, **{f"paper: weights remaining, {name}": x[kin] for name, x in theirs.items()}}
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
        tasks |= {name: facts for name, facts in record.tasks.items() if name not in tasks}
    rows = []
    for name, facts in tasks.items():
        texts = {1: "single sentence, ", 2: "pair of texts, "}.get(facts.texts or 0, "")
        ours = (" to ", "{:.2g}", "sd {:.2f}") if facts.kind == "regression" else (" / ", "{:.0%}", "{:.1%} wrong")
        between, share, noise = ours
        row: dict[str, Any] = {
            "corpus": name,
            "kind of text": f"{texts}{facts.kind}",
            **{split: facts.sizes.get(split, math.nan) for split in ("train", "dev", "test")},
            "labels": facts.num_labels,
            "metrics": ", ".join(facts.metrics),
            "balance (train)": between.join(map(share.format, facts.balance)) or "unknown",
            "words": math.nan if facts.words is None else facts.words,
            "label noise": "unknown" if facts.noise is None else noise.format(facts.noise),
        }
        kin = paper.kin_of(name)
        theirs = printed.get("SST" if kin == "SST-2" else kin)  # the paper's own short name
        called = {"task": "kind of text"}  # what the paper calls so
        rows.append(row | {f"paper: {called.get(name, name)}": value for name, value in (theirs or {}).items()})
    # As objects, so that a missing test set or kin leaves the other counts whole numbers.
    return pd.DataFrame(rows, dtype=object).astype({"words": float} if rows else {})


def _printed(table: int, model: str, statistic: str = "") -> dict[str, float]:
    """The row of a model in Table 6 or 7, by task."""
    row = next(
        row for row in paper.table(table) if row["model"] == model and row.get("statistic", statistic) == statistic
    )
    return {task: row[task] for task in paper.TASKS if task in row}
