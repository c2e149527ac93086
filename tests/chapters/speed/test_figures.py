"""Figures draw the numbers of the tables."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from bench_rows import LEVELS
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle

from supertickets.chapters.speed.figures import step_figure, throughput_figure


def test_figures_draw_the_numbers_of_the_tables(frame):
    fig = throughput_figure(frame)
    assert [bar.get_width() for bar in fig.axes[0].patches if isinstance(bar, Rectangle)] == pytest.approx(
        [7.0, 1.5, 4.5]
    )
    assert fig.axes[0].get_yticklabels()[0].get_text() == "lab: fp32 against fp32"
    strokes = next(line for line in fig.axes[0].lines if line.get_label() == "target")
    assert np.asarray(strokes.get_xdata()).tolist() == [6.0, 2.0, 4.0]
    plt.close(fig)
    fig = step_figure(frame)
    assert [axis.get_title() for axis in fig.axes] == [
        "lab, training",
        "lab, inference",
        "RTE, training",
        "RTE, inference",
    ]
    ideal, *_ = fig.axes[2].lines
    assert np.asarray(ideal.get_ydata()).tolist() == list(LEVELS.values())
    curves = {part.get_label(): part for part in fig.axes[2].containers if isinstance(part, ErrorbarContainer)}
    masked, compacted = (np.asarray(curves[way].lines[0].get_ydata()) for way in ("masked", "compacted"))
    assert masked == pytest.approx([1.0, *[1.1] * 4])  # from the full model on
    assert compacted[2] == pytest.approx(0.55)
    plt.close(fig)
