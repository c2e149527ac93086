"""The map as a picture: a number in every measured cell, marks where they belong, and readable on a dark page."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.patches import Rectangle

from supertickets.chapters.claims import HOLDS, UNKNOWN
from supertickets.chapters.display import figure_html
from supertickets.chapters.map.figures import explanation_figure, map_figure
from supertickets.chapters.map.tables import TERMS
from supertickets.studies import get_profile


def data(sizes: tuple[int, ...] = (50, 100), noises: tuple[float, ...] = (0.0, 0.4)) -> pd.DataFrame:
    """A map in which the gain holds in the first cell only, and is starred in the second."""
    rows = []
    for size in sizes:
        for noise in noises:
            row = {"encoder": "e", "task": "t", "train_size": size, "noise": noise, "verdict": UNKNOWN}
            for name in TERMS:
                row |= {name: -0.001, f"{name}: low": -1.0, f"{name}: high": 1.0}
            rows.append(row)
    for k, verdict in enumerate((HOLDS, UNKNOWN)):
        rows[k] |= {"gain": 2.0, "gain: low": 0.5, "gain: high": 3.5, "verdict": verdict}
    return pd.DataFrame(rows)


def test_numbers_stand_in_their_cells_with_their_marks():
    fig = map_figure(data())
    gain, variance, bias = fig.axes
    assert [words.get_text() for words in gain.texts] == ["+2.0*", "+2.0*", "+0.0", "+0.0"]
    assert [words.get_fontweight() for words in gain.texts] == ["bold", "bold", "normal", "normal"]
    assert len([patch for patch in gain.patches if isinstance(patch, Rectangle)]) == 1
    assert not list(variance.patches)
    assert [label.get_text() for label in gain.get_xticklabels()] == ["0%", "40%"]
    assert [label.get_text() for label in bias.get_yticklabels()] == ["50", "100"]


def test_blue_speaks_for_pruning_in_every_panel():
    rows = data()
    rows.loc[0, ["fall of variance", "rise of bias"]] = [1.0, 1.0]
    gain, variance, bias = (np.asarray(axis.collections[0].get_facecolor())[0] for axis in map_figure(rows).axes)
    assert gain[2] > gain[0]  # more blue than red
    assert variance[2] > variance[0]
    assert bias[0] > bias[2]


def test_a_cell_that_is_missing_is_empty():
    fig = map_figure(data().drop(index=3))
    assert [words.get_text() for words in fig.axes[0].texts if words.get_text()] == ["+2.0*", "+2.0*", "+0.0"]
    assert "<svg" in figure_html(fig, "A map.", name="map")


@pytest.mark.parametrize("others", [True, False])
def test_every_cell_is_a_point_and_real_encoders_stand_beside(others):
    beside = data().iloc[[0, 2, 3]].assign(encoder="MiniLM", noise=np.nan, task=["t", "t", "u"])
    beside = beside if others else pd.DataFrame()
    fig = explanation_figure(data(), beside)
    points = [one for one in fig.axes[0].collections if isinstance(one, PathCollection)]  # error bars are lines
    assert sum(np.shape(one.get_offsets())[0] for one in points) == 4 + len(beside)
    assert [words.get_text() for words in fig.axes[0].texts] == ["50", "100"] * others
    legend = [words.get_text() for words in fig.legends[0].get_texts()]
    assert legend[2:] == ["MiniLM, t: 50, 100", "MiniLM, u: 100"] * others


def test_the_large_encoders_fewer_sizes_have_a_map_of_the_same_form():
    large = get_profile("lab-large").map
    sizes, noises = ({getattr(cell, name) for cell in large} for name in ("size", "noise"))
    fig = map_figure(data(tuple(sorted(sizes)), tuple(sorted(noises))))
    for axis in fig.axes:
        assert len([words for words in axis.texts if words.get_text()]) == len(large) == 15
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["50", "200", "800"]
    base = map_figure(data((50, 100, 200, 400, 800, 1600), tuple(sorted(noises))))
    heights = [one.get_figheight() / one.axes[0].get_ylim()[0] for one in (fig, base)]
    assert heights[0] >= heights[1]  # a row is as high


def test_one_wild_interval_does_not_hide_the_points():
    rows = data()
    rows.loc[0, ["gain: low", "gain: high"]] = [-40.0, 44.0]
    low, high = explanation_figure(rows, pd.DataFrame()).axes[0].get_ylim()
    assert -2 < low < 0 and 2 < high < 4
