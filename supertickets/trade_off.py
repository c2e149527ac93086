"""Figure 1 measured: score, bias and variance of the tickets of many independent training sets.

The paper sketches its middle and right panels. Here they are estimated: every training set is fine-tuned, scored,
pruned and rewound on its own, all are evaluated on one dev set, and :mod:`supertickets.decomposition` splits the
expected loss of every kind and level into noise, bias and variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.pyplot import subplots
from scipy.special import softmax

from supertickets.decomposition import TERMS, bias_variance, bootstrap, compare
from supertickets.errors import SuperticketsError
from supertickets.experiments import paired_scores
from supertickets.figures import FULL_COLOUR, STYLE, draw_curves, phase_transition_data
from supertickets.lab.tasks import LAB_TASKS
from supertickets.phases import Boundary, PhaseBoundaries, phase_boundaries
from supertickets.runs import Record
from supertickets.statistics import Interval, verdict

CONDITION = ["kind", "level"]
_LOSSES = {"brier": "Brier", "cross_entropy": "cross-entropy", "zero_one": "0-1", "squared": "squared"}


def trade_off(records: Iterable[Record], loss: str = "", n_resamples: int = 1000) -> pd.DataFrame:
    """Noise, bias^2 and variance by kind and level, over training sets: the numbers behind Figure 1.

    ``records`` are the runs of one task (with arrays) that differ in their training set
    (:func:`supertickets.experiments.training_set_sweeps`). Predictions are those on the report split. ``loss`` is
    "brier", "cross_entropy" or "zero_one" for classification (default "brier") and "squared" for regression. In the
    lab the true distribution of the labels is known, and with it the noise; elsewhere noise is part of ``bias2``.

    One row per condition and term (noise, bias2, variance, error): ``value`` with its bootstrap interval ``low``,
    ``high`` over training sets and examples; ``change``, ``change_low``, ``change_high`` against the full model on the
    same training sets and examples (NaN for the full model itself and where training sets are missing); ``n_sets``;
    ``residual`` = noise + bias2 + variance - error; ``weights_remaining``.

    Raises SuperticketsError if the records are of several tasks or dev sets, or no condition has two training sets.
    """
    usable, first, report, loss, truth = _setting(records, loss)
    predictions = {
        # Of several seeds of a training set the lowest counts, being the last to be put in.
        condition: {key[0]: _predictions(runs[key], first, report, loss) for key in reversed(runs)}
        for condition, runs in usable.items()
    }
    full = predictions.get(("full", 0.0), {})
    rows = []
    for condition, sets in predictions.items():
        array = np.stack(list(sets.values()))
        estimate = bias_variance(array, loss=loss, **truth)
        intervals = bootstrap(array, loss=loss, n_resamples=n_resamples, **truth)
        shared = [key for key in sets if key in full] if condition[0] != "full" else []
        changes: dict[str, Interval] = {}
        if len(shared) > 1:
            both = [np.stack([source[key] for key in shared]) for source in (sets, full)]
            changes = compare(*both, loss=loss, n_resamples=n_resamples, **truth)
        size = np.mean([record.size["weights_remaining"] for record in usable[condition].values()])
        for term in TERMS:
            change = changes.get(term)
            rows.append(
                {
                    "kind": condition[0],
                    "level": condition[1],
                    "weights_remaining": size,
                    "n_sets": len(sets),
                    "term": term,
                    "value": intervals[term].mean,
                    "low": intervals[term].low,
                    "high": intervals[term].high,
                    "change": change.mean if change else math.nan,
                    "change_low": change.low if change else math.nan,
                    "change_high": change.high if change else math.nan,
                    "residual": estimate.residual,
                    "loss": loss,
                    "noise_known": estimate.noise_known,
                }
            )
    order = {"full": 0, "winning": 1, "random": 2, "losing": 3}
    return (
        pd.DataFrame(rows)
        .sort_values(
            CONDITION, key=lambda column: column.map(order) if column.name == "kind" else column, kind="stable"
        )
        .reset_index(drop=True)
    )


def variance_parts(records: Iterable[Record], loss: str = "", n_resamples: int = 1000) -> pd.DataFrame:
    """How much of the variance is the training set's, and how much initialisation's and order's.

    ``records`` hold several seeds for every training set (``training_set_sweeps(..., repeats=2)``). One row per kind
    and level, with the two parts of the variance, their bootstrap intervals and the training set's share. Training
    sets that lack a seed are left out; conditions with fewer than two sets or seeds have no row.
    """
    usable, first, report, loss, truth = _setting(records, loss)
    rows = []
    for condition, runs in usable.items():
        by_set: dict[int, list[Record]] = {}
        for (train_seed, _), record in runs.items():
            by_set.setdefault(train_seed, []).append(record)
        n_seeds = max(map(len, by_set.values()))
        complete = [those for those in by_set.values() if len(those) == n_seeds]
        if n_seeds < 2 or len(complete) < 2:
            continue
        array = np.stack([[_predictions(record, first, report, loss) for record in those] for those in complete])
        found = bootstrap(array, loss=loss, n_resamples=n_resamples, seed_axis=True, **truth)
        row: dict[str, Any] = {"kind": condition[0], "level": condition[1], "sets": len(complete), "seeds": n_seeds}
        row["variance"] = found["variance"].mean
        for part in ("training_set", "initialisation"):
            row |= {part: found[part].mean, f"{part}: low": found[part].low, f"{part}: high": found[part].high}
        rows.append(row | {"training set's share": found["training_set"].mean / found["variance"].mean})
    return pd.DataFrame(rows)


def true_values(record: Record, rows: np.ndarray, loss: str) -> dict[str, Any]:
    """What :func:`supertickets.decomposition.bias_variance` is told about the ``rows`` of a run's dev split.

    The lab's true distribution of labels, or noise-free scores with the variance of their noise; else the labels.
    """
    data = record.spec.data
    if not data.in_lab:
        return {"targets": record.arrays["dev_labels"][rows]}
    dev = data.load().dev  # drawn again
    assert dev.probabilities is not None
    if loss != "squared":
        return {"target_probabilities": dev.probabilities[rows]}
    noise = LAB_TASKS[data.name].noise if data.noise is None else data.noise
    return {
        "targets": dev.probabilities[rows, 0],
        "noise_variance": np.full(np.count_nonzero(rows), (5.0 * noise) ** 2),  # as supertickets.lab.tasks draws it
    }


def directions(frame: pd.DataFrame, kind: str = "winning") -> pd.DataFrame:
    """Does variance fall and bias rise with pruning? The change of both against the full model, level by level.

    ``frame`` is that of :func:`trade_off`. "supported" means that the whole interval of the change lies on the
    claimed side: below zero for variance, above zero for bias^2.
    """
    rows = []
    for term, direction in (("variance", "below"), ("bias2", "above")):
        for _, row in frame.loc[(frame["kind"] == kind) & (frame["term"] == term)].iterrows():
            interval = Interval(
                int(row["n_sets"]), row["change"], math.nan, row["change_low"], row["change_high"], method="bootstrap"
            )
            rows.append(
                {
                    "claim": f"{'variance falls' if term == 'variance' else 'bias rises'}",
                    "level": row["level"],
                    "training sets": int(row["n_sets"]),
                    "full model": row["value"] - row["change"],
                    "change": row["change"],
                    "low": row["change_low"],
                    "high": row["change_high"],
                    "verdict": verdict(interval, direction=direction),
                }
            )
    return pd.DataFrame(rows)


def boundaries(frame: pd.DataFrame, score: str = "report_score", chance: float | None = None) -> PhaseBoundaries:
    """The three phases of a frame of records (:func:`supertickets.phases.phase_boundaries`), seeds paired.

    Only levels and seeds that winning and random tickets both have are used. Raises SuperticketsError if too few.
    """
    scores = paired_scores(frame, score)
    levels = [level for kind, level in scores.columns if kind == "winning" and ("random", level) in scores]
    needed = [("full", 0.0), *((kind, level) for kind in ("winning", "random") for level in levels)]
    if len(levels) < 2 or ("full", 0.0) not in scores:
        raise SuperticketsError("Phases need the full model and winning and random tickets at two levels or more.")
    complete = scores.dropna(subset=needed)
    winning, random = (
        np.stack([complete[("full", 0.0)], *(complete[(kind, level)] for level in levels)], axis=1)
        for kind in ("winning", "random")
    )
    return phase_boundaries([0.0, *levels], winning, random, chance)


def phase_table(frame: pd.DataFrame, score: str = "report_score") -> pd.DataFrame:
    """The phases' boundaries by task, as sparsity levels with 95% bootstrap intervals over seeds.

    ``best`` ends Phase I, ``meeting`` begins Phase III, ``collapse`` is where half of what the full model has over a
    constant answer is lost; inf means beyond the last level. Tasks without the runs it takes are left out.
    """
    rows = []
    for task, own in frame.groupby("task", sort=False):
        try:
            found = boundaries(own, score, float(own["constant_score"].iloc[0]))
        except SuperticketsError:  # runs are missing, and what is missing is said elsewhere
            continue
        row: dict[str, Any] = {"task": task, "seeds": found.n_seeds}
        for name in ("best", "meeting", "collapse"):
            boundary: Boundary = getattr(found, name)
            row |= {name: boundary.level, f"{name}: low": boundary.low, f"{name}: high": boundary.high}
        rows.append(row)
    return pd.DataFrame(rows)


def phase_sentence(phases: PhaseBoundaries) -> str:
    """The phases' boundaries and their intervals in words, as sparsity levels."""

    def said(boundary: Boundary) -> str:
        if not math.isfinite(boundary.level):
            return f"beyond the last level (within it in {boundary.found:.0%} of the resamples)"
        low, high = (f"{x:.0%}" if math.isfinite(x) else "beyond the last level" for x in (boundary.low, boundary.high))
        return f"at {boundary.level:.0%} of the units pruned (95% interval {low} to {high})"

    best = "the full model itself is best, so there is no Phase I; " if phases.best.level == 0 else ""
    return (
        f"Phase I ends {said(phases.best)}; {best}winning tickets meet random ones, which begins Phase III, "
        f"{said(phases.meeting)}; n = {phases.n_seeds}."
    )


def trade_off_figure(
    frame: pd.DataFrame,
    terms: pd.DataFrame,
    phases: PhaseBoundaries | None = None,
    kinds: Sequence[str] = tuple(STYLE),
    score: str = "report_score",
    score_name: str = "score",
) -> Figure:
    """Figure 1: phase transition (left), variance (middle) and bias^2 (right) against the weights remaining.

    ``frame`` holds the records of one task on many training sets, ``terms`` is :func:`trade_off` of the same runs.
    Bands are 95% intervals; the noise floor, where known, is given in the panels' titles. With ``phases``
    the three phases are shaded and named in every panel. Conditions without runs are left out.
    """
    with sns.axes_style("ticks"):
        fig, axes = subplots(1, 3, figsize=(11.4, 3.5), layout="constrained")
    data = phase_transition_data(frame, score)
    draw_curves(axes[0], data.loc[data["kind"].isin(["full", *kinds])])
    axes[0].set(title=f"phase transition (n = {frame['seed'].nunique()} training sets)", ylabel=score_name)
    axes[0].set_ylim(top=min(axes[0].get_ylim()[1], 1.03))
    names = {"variance": "variance", "bias2": "bias$^2$"}
    for axis, term in zip(axes[1:], names, strict=True):
        chosen = terms.loc[(terms["term"] == term) & terms["kind"].isin(["full", *kinds])]
        draw_curves(axis, chosen.rename(columns={"value": "mean"}))
        axis.set(title=f"{names[term]} of the {_LOSSES[chosen['loss'].iloc[0]]} loss", ylabel=names[term])
        axis.set_ylim(bottom=0)
    noise = terms.loc[(terms["term"] == "noise") & terms["noise_known"], "value"]
    if len(noise):
        for axis in axes[1:]:  # drawn to scale it would press the curves flat: it is a number, the same at every point
            axis.set_title(f"{axis.get_title()}\nabove a noise floor of {noise.iloc[0]:.3f}", fontsize=10)
    for axis in axes:
        axis.set_xlabel("weights remaining (%)")
        axis.invert_xaxis()  # as in the paper: pruning grows to the right
        if phases is not None:
            _shade(axis, phases, data)
        sns.despine(ax=axis)
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return fig


def _shade(axis: Axes, phases: PhaseBoundaries, data: pd.DataFrame) -> None:
    """The phases as shades of grey, on the axis of weights remaining; levels in between are interpolated."""
    curve = data.loc[data["kind"].isin(["full", "winning"])].sort_values("level")
    x = 100 * curve["weights_remaining"].to_numpy()

    def place(level: float) -> float:
        return float(np.interp(level, curve["level"], x)) if math.isfinite(level) else float(x.min())

    edges = [float(x.max()), place(phases.best.level), place(phases.meeting.level), float(x.min())]
    for name, left, right, shade in zip(("I", "II", "III"), edges[:-1], edges[1:], (0.0, 0.06, 0.14), strict=True):
        if left > right:
            axis.axvspan(right, left, color="black", alpha=shade, linewidth=0, zorder=-1)
            text: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 9, "color": FULL_COLOUR}
            axis.text((left + right) / 2, 0.99, name, transform=axis.get_xaxis_transform(), **text)


_Runs = dict[tuple[str, float], dict[tuple[int, int], Record]]


def _setting(records: Iterable[Record], loss: str) -> tuple[_Runs, Record, np.ndarray, str, dict[str, Any]]:
    """Runs by condition, then (training set, seed); one of them; report rows; the loss; what is known of the labels."""
    groups: _Runs = {}
    for record in records:
        rule, data = record.spec.ticket, record.spec.data
        groups.setdefault((rule.kind, rule.level), {})[data.train_seed or 0, record.spec.seed] = record
    usable = {
        condition: dict(sorted(runs.items()))
        for condition, runs in groups.items()
        if len({train_seed for train_seed, _ in runs}) > 1
    }
    if not usable:
        raise SuperticketsError(
            "Bias and variance need at least two training sets of one condition; run the sweep of training sets first."
        )
    first = next(iter(next(iter(usable.values())).values()))
    report = ~first.arrays["selection"]
    loss = loss or ("squared" if first.arrays["dev_labels"].dtype.kind == "f" else "brier")
    return usable, first, report, loss, true_values(first, report, loss)


def _predictions(record: Record, first: Record, report: np.ndarray, loss: str) -> np.ndarray:
    """A run's predictions on the report split: probabilities (examples, classes) or scores (examples,)."""
    same = record.spec.data.name == first.spec.data.name and np.array_equal(~record.arrays["selection"], report)
    if not same or not np.array_equal(record.arrays["dev_labels"], first.arrays["dev_labels"]):
        raise SuperticketsError(
            f"Run {record.id} (task {record.spec.data.name}) was not evaluated on the dev set of run {first.id}: bias "
            "and variance compare predictions for the same examples."
        )
    logits = record.arrays["dev_logits"][report].astype(np.float64)
    return logits[:, 0] if loss == "squared" else softmax(logits, axis=1)
