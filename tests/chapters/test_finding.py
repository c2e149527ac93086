"""Sizes of tickets, and pictures of scores and tickets."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from supertickets.chapters.finding import importance_figure, ticket_sizes, tickets_figure
from supertickets.tickets import EncoderShape, Scores, random_ticket


def test_ticket_sizes():
    shape = EncoderShape(6, 8, head_parameters=100, ffn_parameters=800, embedding_parameters=500, other_parameters=100)
    table = ticket_sizes(shape, (0.2, 0.8))
    assert list(table["heads pruned"]) == ["9 of 48", "38 of 48"]
    total = 600 + 48 * 100 + 6 * 800
    assert table["weights remaining"].iloc[0] == pytest.approx((total - 9 * 100 - 800) / total)


def test_pictures_of_scores_and_tickets():
    rng = np.random.default_rng(0)
    fig = importance_figure(Scores(rng.random((6, 8)), rng.random(6)))
    assert len(fig.axes) == 2
    assert len(fig.axes[1].patches) == 6
    ticket = random_ticket((6, 8), 0.5, seed=0)
    fig = tickets_figure([ticket, ticket])
    filled = [line for line in fig.axes[0].lines if line.get_fillstyle() == "full"]
    assert len(filled) == ticket.kept_heads + ticket.kept_ffns
    plt.close("all")
