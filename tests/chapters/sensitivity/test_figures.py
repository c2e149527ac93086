"""Scores over learning rates, drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats
from spread_frames import RATES, rate_frame

from supertickets.chapters.sensitivity.figures import rates_data, rates_figure
from supertickets.chapters.sensitivity.tables import rate_scores


def test_the_figures_numbers_and_panels():
    multi = rate_frame(np.random.default_rng(10), 5, (2.0, 0.5), tasks=5)
    data = rates_data(multi)
    first = data.loc[(data["task"] == "task 0") & (data["model"] == "MT-DNN") & (data["learning_rate"] == RATES[1])]
    values = rate_scores(multi)["task 0"]["MT-DNN"][RATES[1]].to_numpy()
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert first[["n", "mean", "low", "high"]].iloc[0].to_list() == pytest.approx([5, values.mean(), low, high])
    fig = rates_figure(multi)
    shown = [axis for axis in fig.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == [f"task {i} (n = 5 seeds)" for i in range(5)]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["MT-DNN", "Ticket-Share"]
    drawn = [container[0].get_ydata() for container in shown[0].containers]
    assert np.ravel(drawn) == pytest.approx(data.loc[data["task"] == "task 0", "mean"].to_list())
    plt.close(fig)
