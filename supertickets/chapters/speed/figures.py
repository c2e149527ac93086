"""Speed as figures: step times beside their operations, and our sweep beside the Trainer's."""

import math
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from supertickets.chapters.drawing import FULL_COLOUR, STYLE, subplots
from supertickets.chapters.speed.claims import TIMES
from supertickets.chapters.speed.tables import throughput_table
from supertickets.errors import SuperticketsError

# As in the other figures: what has fewer units is blue with circles, what has all of them grey.
WAYS: dict[str, dict[str, Any]] = {
    "compacted": {"color": STYLE["winning"][0], "marker": "o"},
    "masked": {"color": FULL_COLOUR, "marker": "s"},
}
IDEAL = "share of the operations"

MODES = ("training", "inference")


def step_figure(frame: pd.DataFrame) -> Figure:
    """Time relative to the full model against the sparsity level: training left, inference right, a row per suite.

    Points are medians over rounds, bars quartiles; the dashed line is the share of the full model's operations that is
    left, which would be the time if nothing else took any. ``frame`` is that of
    :func:`supertickets.training.step_times`, or ``Benchmarks.frame``. Raises SuperticketsError without step times.
    """
    steps = frame.loc[frame["side"] == "steps"] if "side" in frame else frame
    if steps.empty:
        raise SuperticketsError("There are no step times to draw; measure them with `step_times` or `make bench`.")
    suites = list(dict.fromkeys(steps["suite"])) if "suite" in steps else [""]
    size = (7.4, 2.9 * len(suites) + 0.4)
    fig, axes = subplots(len(suites), 2, figsize=size, squeeze=False, sharey="row")
    for line, suite in zip(axes, suites, strict=True):
        own = steps.loc[steps["suite"] == suite] if suite else steps
        for axis, mode in zip(line, MODES, strict=True):
            axis.set_title(f"{suite}, {mode}" if suite else mode, fontsize=10)
            _step_panel(axis, own.loc[own["mode"] == mode])
        line[0].set_ylabel("time relative to the full model", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("sparsity level (%)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return fig


def throughput_figure(frame: pd.DataFrame) -> Figure:
    """Runs per minute of our sweep relative to the Trainer's: a bar per suite and precision, a line for the Trainer.

    Black strokes are the targets. ``frame`` is ``Benchmarks.frame``. Raises SuperticketsError if no suite has both
    sides.
    """
    table = throughput_table(frame)
    if table.empty:
        raise SuperticketsError("There are no runs of both sides to draw; `make bench` carries them out.")
    fig, axis = subplots(figsize=(6.4, 0.5 * len(table) + 1.3))
    places = range(len(table))
    axis.barh(places, table["ratio"], height=0.55, color=STYLE["winning"][0])
    keys = zip(table["suite"], table["Trainer precision"], strict=True)
    targets = [None if math.isnan(target := TIMES.get(key, math.nan)) else target for key in keys]
    found = [(target, place) for target, place in zip(targets, places, strict=True) if target]
    if found:
        x, y = zip(*found, strict=True)
        axis.plot(x, y, linestyle="none", marker="|", markersize=22, markeredgewidth=2, color="black", label="target")
    end = 1.15 * max([*table["ratio"], *(target for target, _ in found)])
    for ratio, target, place in zip(table["ratio"], targets, places, strict=True):
        close = target is not None and ratio <= target < ratio + end / 10  # a stroke where the words would be
        beside = (target if close else ratio, place)
        axis.annotate(f"{ratio:.1f}x", beside, (6, 0), textcoords="offset points", va="center", fontsize=9)
    axis.axvline(1, color=FULL_COLOUR, linestyle="--", linewidth=1.2, label="the Trainer")
    names = [
        f"{row['suite']}: {row['precision']} against {row['Trainer precision']}" for row in table.to_dict("records")
    ]
    axis.set_yticks(places, names, fontsize=9)
    axis.invert_yaxis()  # the first suite on top
    axis.set_xlim(0, end)
    axis.set_xlabel("runs per minute relative to the Trainer")
    fig.legend(loc="outside lower center", ncols=2, frameon=False)
    sns.despine(ax=axis)
    return fig


def _step_panel(axis: Axes, data: pd.DataFrame) -> None:
    full = data.loc[data["level"] == 0]
    ideal = data.drop_duplicates("level").sort_values("level")
    axis.plot(100 * ideal["level"], ideal["operations"], color="black", linestyle="--", linewidth=1.2, label=IDEAL)
    for way, style in WAYS.items():
        curve = data.loc[data["way"] == way]
        if curve.empty:
            continue
        # Masked or not, everything starts from the full model.
        curve = pd.concat([full, curve]).drop_duplicates("level").sort_values("level")
        centre = curve["ratio"].to_numpy()
        ends = [centre - curve["low"].to_numpy(), curve["high"].to_numpy() - centre]
        x = 100 * curve["level"].to_numpy()
        axis.errorbar(x, centre, ends, label=way, markersize=4.5, linewidth=1.5, elinewidth=1.0, capsize=3, **style)
    axis.set_ylim(bottom=0)
    sns.despine(ax=axis)
