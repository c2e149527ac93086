"""Figure 2: which units are used by which tasks."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Wedge

from supertickets.chapters.drawing import COLOURS, UNUSED
from supertickets.chapters.multi_task.figures import sharing_data, sharing_figure
from supertickets.errors import SuperticketsError
from supertickets.tickets import full_ticket, random_ticket


def test_the_data_count_the_tasks_of_every_unit():
    tickets = {"a": full_ticket((3, 4)), "b": random_ticket((3, 4), 0.5, seed=0)}
    data = sharing_data(tickets)
    assert len(data) == 3 * 4 + 3
    assert list(data["a"]) == [1] * 15
    assert list(data["b"]).count(1) == tickets["b"].kept_heads + tickets["b"].kept_ffns
    assert np.all(data["tasks"] == data["a"] + data["b"])
    assert bool(data.loc[(data["layer"] == 2) & (data["head"] == 3), "b"].item()) == tickets["b"].heads[2, 3]
    assert bool(data.loc[(data["layer"] == 1) & (data["unit"] == "ffn"), "b"].item()) == tickets["b"].ffns[1]


def test_every_unit_has_a_wedge_per_task_in_its_colour_or_grey():
    tickets = {
        "a": random_ticket((2, 4), 0.5, seed=1),
        "b": full_ticket((2, 4)),
        "c": random_ticket((2, 4), 0.5, seed=2),
    }
    fig = sharing_figure(tickets)
    drawn = [to_hex(patch.get_facecolor()).upper() for patch in fig.axes[0].patches if isinstance(patch, Wedge)]
    assert len(drawn) == 3 * 10
    for i, ticket in enumerate(tickets.values()):
        assert drawn[i::3].count(COLOURS[i].upper()) == ticket.kept_heads + ticket.kept_ffns
        assert set(drawn[i::3]) <= {COLOURS[i].upper(), UNUSED.upper()}
    plt.close(fig)


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(SuperticketsError, match="no ticket"):
        sharing_figure({})
    with pytest.raises(SuperticketsError, match="task 'b' is for an encoder of 2 layers x 4 heads"):
        sharing_figure({"a": full_ticket((3, 4)), "b": full_ticket((2, 4))})
    with pytest.raises(SuperticketsError, match="8 tasks apart, not 9"):
        sharing_figure({str(i): full_ticket((3, 4)) for i in range(9)})
