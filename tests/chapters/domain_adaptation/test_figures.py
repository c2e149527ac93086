"""Adaptation drawn."""

from adaptation_frames import made_up

from supertickets.chapters.domain_adaptation.figures import adaptation_figure
from supertickets.chapters.domain_adaptation.tables import MODELS


def test_the_figure_has_a_panel_per_target_and_a_line_per_model():
    fig = adaptation_figure(made_up())
    assert [ax.get_title() for ax in fig.axes] == ["captions (as SNLI)", "science (as SciTail)"]
    for ax in fig.axes:
        assert list(ax.get_legend_handles_labels()[1]) == list(MODELS)
    assert [[tick.get_text() for tick in ax.get_xticklabels()] for ax in fig.axes] == [["549", "1000"], ["23", "1000"]]
