"""Chapter 2's counts and drawings."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from supertickets.chapters.background import fits_figure, layer_figure, pruning_figure, recipe_figure, unit_sizes
from supertickets.tickets import EncoderShape


def test_sizes_of_bert_base_are_counted_with_their_biases() -> None:
    head = 3 * (768 * 64 + 64) + 64 * 768
    ffn = 2 * 768 * 3072 + 3072 + 768
    shape = EncoderShape(12, 12, head, ffn, 23_837_184, 1_000)
    row = unit_sizes({"BERT-base": shape}).iloc[0]
    total = 144 * head + 12 * ffn + 23_837_184 + 1_000
    assert row["a head"] == f"{head:,} ({head / total:.2%})"
    assert row["an FFN"] == f"4,722,432 ({ffn / total:.2%})"
    assert row["parameters"] == f"{total:,}"


@pytest.mark.parametrize("n_heads", [1, 4, 7])
def test_every_head_of_the_drawn_layer_has_its_mask_variable(n_heads: int) -> None:
    fig = layer_figure(n_heads)
    words = [text.get_text() for text in fig.axes[0].texts]
    assert [f"head {head}" in words for head in range(1, n_heads + 1)] == [True] * n_heads
    assert sum(r"\xi" in word for word in words) == n_heads
    assert sum(r"\nu" in word for word in words) == 1
    plt.close(fig)
    upright = layer_figure(upright=True)
    places = {text.get_text(): text.get_position() for text in upright.axes[0].texts}
    assert places["head 1"][0] < places["head 4"][0] and places["$x$"][1] > places["head 1"][1] > places["FFN"][1]
    plt.close(upright)


def test_structured_pruning_is_drawn_smaller_and_unstructured_with_holes() -> None:
    weights = np.random.default_rng(0).normal(size=(8, 6))
    rows = np.arange(8) % 2 == 0
    fig = pruning_figure(weights, weights > 0, rows)
    whole, holes, fewer = (np.ma.filled(np.ma.asarray(axis.images[0].get_array()), np.nan) for axis in fig.axes)
    assert whole.shape == holes.shape == (8, 6)
    assert fewer.shape == (4, 6)
    assert int(np.isnan(holes).sum()) == int((weights <= 0).sum())
    plt.close(fig)


def test_the_recipe_ends_with_fine_tuning_and_the_fits_have_a_panel_each() -> None:
    fig = recipe_figure()
    words = [text.get_text() for text in fig.axes[0].texts]
    assert words[0] == "pre-trained\nmodel"
    assert words.index("rewind") > words.index("prune")
    upright = recipe_figure(upright=True)
    assert [text.get_text() for text in upright.axes[0].texts] == words
    plt.close(fig)
    plt.close(upright)
    x = np.linspace(-1, 1, 5)
    fig = fits_figure(x, x, {1: np.zeros((3, 5)), 9: np.ones((3, 5))})
    assert [axis.get_title() for axis in fig.axes] == ["degree 1", "degree 9"]
    plt.close(fig)
