"""Table 4 and the claims of section 7, from the records of adaptation runs."""

from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from supertickets import paper
from supertickets.errors import SuperticketsError
from supertickets.statistics import holm, mean_interval, paired_difference, verdict
from supertickets.tables import kin_of

MODELS = ("ST-DNN", "SuperT", "MT-DNN", "Ticket-Share")
COMPARISONS = (("SuperT", "ST-DNN"), ("Ticket-Share", "MT-DNN"))
"""Which model is said to adapt better than which."""
STYLE = {
    "ST-DNN": ("#777777", "--", "s"),
    "SuperT": ("#0072B2", "-", "o"),
    "MT-DNN": ("#D55E00", "--", "D"),
    "Ticket-Share": ("#009E73", "-", "^"),
}
_PRINTED = {"ST-DNN": "MNLI-ST-DNN base", "SuperT": "MNLI-SuperT base"}


def by_seed(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """Scores in points, one row per target, fraction and seed and one column per model; draws are averaged first.

    A model of a seed that lacks a draw which another model of the seed has is left out (NaN), so that models are
    compared on the same subsets. Raises SuperticketsError if there is no adaptation run or no such column.
    """
    if frame.empty or not {"model", "fraction", "draw", column} <= set(frame):
        raise SuperticketsError("There are no finished adaptation runs; run them first.")
    key = ["task", "fraction", "seed"]
    means, draws = (
        frame.pivot_table(index=key, columns="model", values=column, aggfunc=how) for how in ("mean", "count")
    )
    complete = draws.eq(draws.max(axis=1), axis=0)
    order = list(dict.fromkeys(frame["task"]))
    wide = (100 * means).where(complete).reset_index()
    wide = wide.sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")
    return wide.reset_index(drop=True).rename_axis(columns=None)


def table4(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """Table 4: how well each source model adapts, one row per target, fraction and model, in points.

    Columns: training examples, seeds, subsets drawn per seed, the mean score over seeds with its 95% t interval, its
    standard deviation over seeds (draws averaged first), and over the draws of a seed; then the paper's accuracy for
    the kin target at the same fraction, where it has one. Raises SuperticketsError as :func:`by_seed` does.
    """
    means = by_seed(frame, column)
    printed = {(row["target"], row["model"], row["fraction"]): row["accuracy"] for row in paper.table(4)}
    rows = []
    for _, group in means.groupby(["task", "fraction"], sort=False):
        task, fraction = group["task"].iloc[0], group["fraction"].iloc[0]
        runs = frame.loc[(frame["task"] == task) & (frame["fraction"] == fraction)]
        for model in (model for model in MODELS if model in group):
            values = group[model].dropna().to_numpy()
            if not len(values):
                continue
            interval = mean_interval(values)
            draws = runs.loc[runs["model"] == model].groupby("seed")[column].std() * 100
            row: dict[str, Any] = {
                "target": task,
                "fraction": f"{float(fraction):.3g}",
                "examples": int(runs["train_examples"].iloc[0]),
                "model": model,
                "seeds": interval.n,
                "draws": runs["draw"].nunique(),
                "score": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "sd over seeds": interval.sd,
                "sd over draws": math.sqrt((draws**2).mean()) if draws.notna().any() else math.nan,
            }
            kin = kin_of(str(task))
            theirs = printed.get((kin, _PRINTED.get(model, f"{model} base"), f"{100 * float(fraction):g}%"))
            rows.append(row | ({} if theirs is None else {"paper: target": kin, "paper: accuracy": theirs}))
    return pd.DataFrame(rows)


def adaptation_gains(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """What a source with tickets gains over the one without, one row per comparison, target and fraction, in points.

    Paired by seed, with a 95% t interval, p and p corrected over all rows (Holm); a verdict needs both.
    """
    means = by_seed(frame, column)
    rows = []
    for better, worse in COMPARISONS:
        for _, group in means.groupby(["task", "fraction"], sort=False):
            if better not in group or worse not in group:
                continue
            both = group[[better, worse]].dropna().to_numpy()
            if len(both):
                found = paired_difference(both[:, 0], both[:, 1])
                rows.append(
                    {
                        "comparison": f"{better} minus {worse}",
                        "target": group["task"].iloc[0],
                        "fraction": float(group["fraction"].iloc[0]),
                        "seeds": found.n,
                        "gain": found.effect,
                        "low": found.interval.low,
                        "high": found.interval.high,
                        "p": found.p,
                        "verdict": verdict(found.interval),
                    }
                )
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    table.insert(8, "p (Holm)", holm(table["p"]))
    table.loc[table["p (Holm)"] > 0.05, "verdict"] = "inconclusive"
    return table


def adaptation_claims(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """The claims of section 7.2, each with its paired difference over seeds, 95% t interval and verdict, in points.

    For each comparison: models with tickets adapt better (mean over targets and fractions), and especially so with few
    examples (gain at the smallest fraction minus gain with the whole training set, mean over targets). Only seeds that
    have every target and fraction count.
    """
    means = by_seed(frame, column)
    fractions = sorted(means["fraction"].unique())
    rows = []
    for better, worse in COMPARISONS:
        if better not in means or worse not in means:
            continue
        gains = means.assign(gain=means[better] - means[worse])
        wide = gains.pivot_table(index="seed", columns=["fraction", "task"], values="gain", dropna=False)
        wide = wide.dropna()
        if wide.empty:
            continue
        tested = [(f"{better} adapts better than {worse}", wide.mean(axis=1))]
        if len(fractions) > 1:
            few, everything = (wide.loc[:, fraction].mean(axis=1) for fraction in (fractions[0], fractions[-1]))
            share = f"{100 * fractions[0]:g}%"
            tested.append((f"{better} gains more with {share} of the training set than with all", few - everything))
        for claim, values in tested:
            interval = mean_interval(values.to_numpy())
            rows.append(
                {
                    "claim": claim,
                    "seeds": interval.n,
                    "difference": interval.mean,
                    "low": interval.low,
                    "high": interval.high,
                    "verdict": verdict(interval),
                }
            )
    return pd.DataFrame(rows)


def claim_sentences(claims: pd.DataFrame) -> list[str]:
    """One sentence per claim: verdict, difference in points, interval, seeds."""
    return [
        f"{row['claim']}: {row['verdict']} ({row['difference']:+.2f} points, 95% interval {row['low']:+.2f} to "
        f"{row['high']:+.2f}, {row['seeds']} seeds)."
        for row in claims.to_dict("records")
    ]


def adaptation_figure(frame: pd.DataFrame, column: str = "report_score") -> Figure:
    """Score against the number of training examples, a panel per target, a line per source model, intervals over seeds.

    Solid lines have tickets, dashed ones do not; wide intervals are cut at the edge. Raises SuperticketsError as
    :func:`by_seed` does.
    """
    data = table4(frame, column)
    targets = list(dict.fromkeys(data["target"]))
    with sns.axes_style("ticks"):
        fig, axes = plt.subplots(
            1, len(targets), figsize=(4.2 * len(targets), 3.3), squeeze=False, layout="constrained"
        )
    for ax, target in zip(axes[0], targets, strict=True):
        for place, model in enumerate(MODELS):
            rows = data.loc[(data["target"] == target) & (data["model"] == model)]
            if rows.empty:
                continue
            colour, dashes, marker = STYLE[model]
            errors = (rows[["low", "high"]].to_numpy().T - rows["score"].to_numpy()) * np.array([[-1], [1]])
            x = rows["examples"].to_numpy() * 1.04 ** (place - 1.5)  # side by side, so that no interval hides another
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.4, "capsize": 2}
            ax.errorbar(x, rows["score"], np.nan_to_num(errors), linestyle=dashes, label=model, **style)
        scores = data.loc[data["target"] == target, "score"]
        # Intervals of few seeds are wider than the page has use for, and pass 100: they are cut at the edge.
        ax.set_ylim(scores.min() - 6, min(100.5, scores.max() + 6))
        ax.set_xscale("log")
        sizes = sorted(data.loc[data["target"] == target, "examples"].unique())
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.set_title(target if kin_of(target) == target else f"{target} (as {kin_of(target)})", fontsize=10)
        ax.set_xlabel("training examples of the target")
    axes[0][0].set_ylabel("score (points)")
    axes[0][-1].legend(frameon=False, fontsize=8, loc="lower right")
    sns.despine(fig)
    return fig
