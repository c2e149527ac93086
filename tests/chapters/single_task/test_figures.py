"""Figures 3, 4 and 5 draw what is there."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from scipy import stats

from supertickets.chapters import paper
from supertickets.chapters.single_task.figures import (
    figure3,
    figure3_data,
    figures_4_and_7,
    phase_transition_data,
    phase_transition_figure,
    shrinking_data,
    shrinking_figure,
)
from supertickets.chapters.single_task.tables import table1
from supertickets.errors import SuperticketsError
from supertickets.runs import paired_scores


def test_the_data_behind_the_figure(frame):
    data = phase_transition_data(frame).set_index(["kind", "level"])
    scores = frame[(frame["kind"] == "random") & (frame["level"] == 0.3)]["report_score"]
    assert data.loc[("random", 0.3), "mean"] == pytest.approx(scores.mean())
    assert data.loc[("random", 0.3), "n"] == 4
    low = scores.mean() - stats.t.ppf(0.975, 3) * scores.sem()
    assert data.loc[("random", 0.3), "low"] == pytest.approx(low)


def test_the_figure_draws_what_is_there(frame):
    fig = phase_transition_figure(frame)
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert labels == ["full model", "winning", "random", "losing"]
    axis = fig.axes[0]
    assert axis.get_title() == "entailment (n = 4 seeds)"
    assert axis.xaxis_inverted()
    assert [line for line in axis.lines if line.get_marker() == "*"]
    kept_whole = phase_transition_figure(frame, star=0.0).axes[0]  # the full model was chosen
    assert not any(np.size(line.get_xdata()) for line in kept_whole.lines if line.get_marker() == "*")
    partial = phase_transition_figure(frame[(frame["kind"] == "winning") & (frame["seed"] == 0)])
    assert [text.get_text() for text in partial.legends[0].get_texts()] == ["winning"]
    plt.close("all")
    with pytest.raises(SuperticketsError, match="no finished runs"):
        phase_transition_figure(frame.iloc[:0])


def test_figure_7_has_the_tasks_that_figure_4_leaves_out(two_tasks):
    parts = figures_4_and_7(two_tasks)  # entailment is RTE's kin, similarity STS-B's
    assert {name: set(part["task"]) for name, part in parts.items()} == {
        "figure-4": {"entailment"},
        "figure-7": {"similarity"},
    }
    assert list(figures_4_and_7(two_tasks[two_tasks["task"] == "entailment"])) == ["figure-4"]
    own = two_tasks.assign(task="of one's own")
    assert len(figures_4_and_7(own)["figure-4"]) == len(own)


def test_the_figure_copes_with_missing_runs(frame):
    gaps = frame[~((frame["kind"] == "random") | ((frame["seed"] > 1) & (frame["level"] == 0.5)))]
    other = frame.assign(task="similarity")
    other.loc[other["seed"] == 3, "report_score"] = np.nan
    fig = phase_transition_figure(pd.concat([gaps, other]))
    assert [axis.get_title() for axis in fig.axes] == ["entailment (n = 2 to 4 seeds)", "similarity (n = 3 seeds)"]
    # The first panel has no random curve, and the legend must name it all the same.
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["full model", "winning", "random", "losing"]
    # The t interval of two seeds may not flatten the curves.
    low, high = fig.axes[0].get_ylim()
    means = phase_transition_data(gaps)["mean"].to_numpy()
    assert high - low < 2.3 * np.ptp(means)
    alone = phase_transition_figure(frame[frame["seed"] == 0])
    assert np.isfinite(alone.axes[0].get_ylim()).all()
    plt.close("all")


def test_figure3_orders_tasks_by_training_size(two_tasks):
    sizes = {"entailment": 300, "similarity": 70}
    two_tasks = two_tasks.assign(train_examples=two_tasks["task"].map(sizes))
    data = figure3_data(two_tasks)
    assert list(data["task"]) == ["similarity", "entailment"]
    table = table1(two_tasks).set_index("task")
    for row in data.to_dict("records"):
        beside = table.loc[row["task"]]
        assert [row["gain"], row["gain, low"], row["gain, high"]] == pytest.approx(
            beside[["gain", "low", "high"]].to_list()
        )
        assert row["weights"] == pytest.approx(beside["weights remaining (%)"])
        assert row["paper: gain"] == pytest.approx(beside["paper: gain"])
    assert list(data["paper: weights"]) == [89, 83]
    assert list(data["train size"]) == [70, 300]

    fig = figure3(two_tasks)
    bars = [[bar.get_height() for bar in axis.patches if isinstance(bar, Rectangle)] for axis in fig.axes[:2]]
    assert bars[0] == pytest.approx(data["gain"].to_list())
    assert bars[1] == pytest.approx([row["gain base"] for row in paper.figure3()])
    assert [text.get_text() for text in fig.axes[2].get_xticklabels()] == [
        "similarity\n(STS-B)\n70",
        "entailment\n(RTE)\n300",
    ]
    plt.close("all")
    with pytest.raises(SuperticketsError, match="No task has both"):
        figure3(two_tasks[two_tasks["kind"] == "full"])


@pytest.fixture
def shrinking(frame) -> pd.DataFrame:
    """Training sets of 50, all and 200 examples, whose tickets gain 3, 1 and 2 points at 10% more than in ``frame``."""
    parts = []
    for size, extra in ((50, 0.03), (None, 0.01), (200, 0.02)):
        part = frame.assign(train_size=size, train_examples=size or 1000, data=f"d{size}")
        part.loc[(part["kind"] == "winning") & (part["level"] == 0.1), "report_score"] += extra
        # A smaller training set makes everything worse; only the difference counts.
        parts.append(part.assign(report_score=part["report_score"] - 3 * extra))
    return pd.concat(parts, ignore_index=True)


def test_shrinking_gains_are_paired_with_the_full_model_of_the_same_data(frame, shrinking):
    data = shrinking_data(shrinking)
    assert list(dict.fromkeys(data["train_size"])) == [1000, 200, 50]
    light = data[(data["kind"] == "winning") & (data["level"] == 0.1)]
    wide = 100 * paired_scores(frame)
    gains = wide[("winning", 0.1)] - wide[("full", 0.0)]
    assert list(light["gain"]) == pytest.approx([gains.mean() + extra for extra in (1, 2, 3)])
    half = stats.t.ppf(0.975, 3) * gains.sem()
    assert list(light["high"] - light["gain"]) == pytest.approx([half] * 3)
    assert list(light["full"]) == pytest.approx([wide[("full", 0.0)].mean() - 3 * extra for extra in (1, 2, 3)])
    assert set(data["n"]) == {4}
    # Training sets that differ by seed have a fingerprint each.
    apart = shrinking.assign(data=shrinking["data"] + shrinking["seed"].astype(str))
    pd.testing.assert_frame_equal(shrinking_data(apart), data)


def test_shrinking_leaves_out_what_has_no_partner(shrinking):
    gap = shrinking[~((shrinking["kind"] == "full") & (shrinking["train_size"] == 50) & (shrinking["seed"] > 0))]
    data = shrinking_data(gap)
    assert set(data.loc[data["train_size"] == 50, "n"]) == {1}
    assert data.loc[data["train_size"] == 50, "low"].isna().all()
    assert set(data.loc[data["train_size"] == 200, "n"]) == {4}
    with pytest.raises(SuperticketsError, match="full model of its own training set"):
        shrinking_data(shrinking[shrinking["kind"] != "full"])
    with pytest.raises(SuperticketsError, match="with a train_size"):
        shrinking_data(shrinking.drop(columns="train_size"))


def test_the_shrinking_figure_has_a_panel_per_size(shrinking):
    fig = shrinking_figure(shrinking)
    titles = ["entailment, 1,000 examples", "entailment, 200 examples", "entailment, 50 examples"]
    assert [axis.get_title().split("\n")[0] for axis in fig.axes] == titles
    data = shrinking_data(shrinking)
    for axis, size in zip(fig.axes, (1000, 200, 50), strict=True):
        (curve,) = [line for line in axis.lines if line.get_label() == "winning"]
        wanted = data[(data["kind"] == "winning") & (data["train_size"] == size)]
        assert np.asarray(curve.get_ydata()) == pytest.approx(np.asarray(wanted["gain"]))
    assert fig.axes[2].xaxis_inverted()
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["full model", "winning", "winning, other sizes"]
    plt.close("all")
    with pytest.raises(SuperticketsError, match="no finished runs of winning"):
        shrinking_figure(shrinking[shrinking["kind"] != "winning"])
