"""Figure 6: pies with areas and slices as in the data, close-ups with percentages, and the agreement of tasks."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Rectangle, Wedge

from supertickets.chapters.drawing import COLOURS
from supertickets.chapters.task_shares.figures import agreement_figure, close_ups_figure, pies_figure
from supertickets.chapters.task_shares.tables import close_up_units
from supertickets.errors import SuperticketsError


def shares_of(n_layers: int = 3, n_heads: int = 4, n_tasks: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    layers = range(1, n_layers + 1)
    places = [("head", layer, head) for layer in layers for head in range(1, n_heads + 1)]
    shares = pd.DataFrame([*places, *(("ffn", layer, 0) for layer in layers)], columns=["unit", "layer", "head"])
    shares["importance"] = rng.gamma(2, size=len(shares))
    values = rng.dirichlet(np.ones(n_tasks), size=len(shares))
    return shares.assign(**{f"t{i}": values[:, i] for i in range(n_tasks)})


def wedges(axis: Axes) -> list[Wedge]:
    return [patch for patch in axis.patches if isinstance(patch, Wedge)]


@pytest.mark.parametrize(("n_layers", "n_heads", "n_tasks"), [(6, 8, 3), (12, 12, 8), (24, 16, 5)])
def test_every_unit_has_a_slice_per_task(n_layers: int, n_heads: int, n_tasks: int):
    fig = pies_figure(shares_of(n_layers, n_heads, n_tasks))
    drawn = wedges(fig.axes[0])
    assert len(drawn) == n_layers * (n_heads + 1) * n_tasks
    assert len({wedge.center for wedge in drawn}) == n_layers * (n_heads + 1)
    assert {to_hex(wedge.get_facecolor()).upper() for wedge in drawn} == set(COLOURS[:n_tasks])
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [f"t{i}" for i in range(n_tasks)]
    plt.close(fig)


def test_areas_are_importance_and_angles_are_shares():
    shares = shares_of()
    fig = pies_figure(shares)
    drawn = wedges(fig.axes[0])
    for unit, rows in (("head", range(12)), ("ffn", range(12, 15))):
        areas = np.array([drawn[3 * i].r ** 2 for i in rows])
        importance = shares.loc[shares["unit"] == unit, "importance"].to_numpy()
        assert np.allclose(areas / areas.max(), importance / importance.max(), atol=1e-12)
        assert math.sqrt(areas.max()) < 0.5  # pies do not touch
    angles = np.array([(wedge.theta2 - wedge.theta1) / 360 for wedge in drawn]).reshape(-1, 3)
    assert np.allclose(angles, shares[["t0", "t1", "t2"]], atol=1e-12)
    assert drawn[3 * 7].center == (4, 2)  # head 4 of layer 2
    assert {wedge.center[0] for wedge in drawn[36:]} == {5.5}  # FFNs, a column of their own
    plt.close(fig)


def test_slices_start_at_the_top_and_go_clockwise():
    """On the page the first task's slice lies right of the centre, and half-way up, if it holds half."""
    shares = shares_of().assign(t0=0.25, t1=0.5, t2=0.25)
    for fig in (pies_figure(shares), close_ups_figure(shares, {"any": ("head", 1, 1)})):
        axis = fig.axes[0]
        fig.canvas.draw()
        first = wedges(axis)[0]
        middle = math.radians((first.theta1 + first.theta2) / 2)
        x, y = first.center
        tip = axis.transData.transform((x + first.r * math.cos(middle), y + first.r * math.sin(middle)))
        right, up = tip - axis.transData.transform((x, y))
        assert right > 1
        assert up > 1
        plt.close(fig)


def test_a_whole_share_is_a_disc_and_no_importance_is_no_pie():
    shares = shares_of().assign(t0=1.0, t1=0.0, t2=0.0)
    shares.loc[3, ["importance", "t0", "t1", "t2"]] = [0.0, math.nan, math.nan, math.nan]
    fig = pies_figure(shares)
    assert wedges(fig.axes[0]) == []
    assert len([patch for patch in fig.axes[0].patches if isinstance(patch, Circle)]) == 14
    plt.close(fig)


def test_more_tasks_than_colours_are_refused():
    with pytest.raises(SuperticketsError, match="8 tasks apart, not 9"):
        pies_figure(shares_of(n_tasks=9))


def test_close_ups_print_every_share():
    shares = shares_of(n_tasks=5)
    units = close_up_units(shares)
    fig = close_ups_figure(shares, units)
    assert len(units) == 4
    pies = fig.axes[:4]
    assert [len(wedges(axis)) for axis in pies] == [5] * 4
    title, place = next(iter(units.items()))
    assert pies[0].get_title().startswith(f"(a) {title}\n")
    row = shares.set_index(["unit", "layer", "head"]).loc[place]
    legend = fig.axes[4].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [f"t{i}  {row[f't{i}']:.0%}" for i in range(5)]
    plt.close(fig)
    with pytest.raises(SuperticketsError, match="no unit to draw"):
        close_ups_figure(shares, {})
    with pytest.raises(SuperticketsError, match="no shares of head 9 of layer 1"):
        close_ups_figure(shares, {"missing": ("head", 1, 9)})


def test_agreement_has_the_ceiling_framed_on_the_diagonal():
    nan = math.nan
    rows = [("a", "a", 3, 0.9, 0.8, 1.0), ("a", "b", 3, 0.4, 0.3, 0.5), ("b", "b", 0, nan, nan, nan)]
    agreement = pd.DataFrame(rows, columns=["a", "b", "pairs", "correlation", "low", "high"])
    fig = agreement_figure(agreement, ("b", "a"))
    axis = fig.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "a"]
    assert sorted(text.get_text() for text in axis.texts if text.get_text()) == [
        *["0.40\n0.30 to 0.50"] * 2,
        "0.90\n0.80 to 1.00",
        "none",
    ]
    frames = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    assert [patch.get_xy() for patch in frames] == [(0, 0), (1, 1)]
    plt.close(fig)
    with pytest.raises(SuperticketsError, match="no agreement to draw"):
        agreement_figure(agreement.iloc[:0])
    with pytest.raises(SuperticketsError, match="must name the tasks a, b"):
        agreement_figure(agreement, ("a",))
