"""Section 2, drawn: a Transformer layer and its gates, the way of a ticket, weights against units, fits."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from supertickets.chapters.drawing import STYLE
from supertickets.tickets import EncoderShape

BLUE, ORANGE, GREEN = (STYLE[kind][0] for kind in ("winning", "random", "losing"))


def _box(axis: Axes, x: float, y: float, width: float, text: str, colour: str, height: float = 0.62) -> None:
    """A box around (x, y). Its colour is thin, so that the text can be read on a light and on a dark page."""
    corner = (x - width / 2, y - height / 2)
    style = {"boxstyle": "round,pad=0.02,rounding_size=0.08", "linewidth": 1.2}
    axis.add_patch(FancyBboxPatch(corner, width, height, facecolor=(colour, 0.15), edgecolor=colour, **style))
    axis.text(x, y, text, ha="center", va="center", fontsize=10)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axis.annotate("", xy=end, xytext=start, arrowprops={"arrowstyle": "-|>", "color": "black", "linewidth": 1})


def _residual(axis: Axes, start: float, end: float, y: float, low: float) -> None:
    """A line that leaves at ``start`` and joins at ``end``, on a level ``low`` below what it goes around."""
    axis.plot([start, start, end, end], [y - 0.32, low, low, y - 0.46], color="black", linewidth=1)
    _arrow(axis, (end, y - 0.5), (end, y - 0.34))


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty drawing, an inch to the unit."""
    fig, axis = plt.subplots(figsize=(width, height), layout="constrained")
    axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axis.axis("off")
    return fig, axis


def layer_figure(n_heads: int = 4) -> Figure:
    """One Transformer layer from left to right, with the mask variables where they act (section 3)."""
    fig, axis = _canvas(8.2, 0.8 * n_heads + 0.5)
    middle, top = 0.4 * n_heads + 0.3, 0.8 * n_heads + 0.4
    axis.text(0.25, middle, "$x$", ha="center", va="center", fontsize=13)
    for head in range(n_heads):
        y = top - 0.5 - 0.8 * head
        _box(axis, 1.55, y, 1.3, f"head {head + 1}", BLUE)
        axis.text(2.62, y, rf"$\times\,\xi_{head + 1}$", ha="center", va="center", fontsize=12)
        _arrow(axis, (0.42, middle), (0.86, y))
        _arrow(axis, (2.95, y), (3.42, middle))
    _box(axis, 4.0, middle, 1.1, "$W^O$, sum", "#777777")
    _box(axis, 5.25, middle, 0.8, "add,\nnorm", "#777777")
    _box(axis, 6.4, middle, 0.85, "FFN", GREEN)
    axis.text(7.1, middle, r"$\times\,\nu$", ha="center", va="center", fontsize=12)
    _box(axis, 7.8, middle, 0.7, "add,\nnorm", "#777777")
    for start, end in ((4.6, 4.82), (5.68, 5.94)):
        _arrow(axis, (start, middle), (end, middle))
    _residual(axis, 0.25, 5.15, middle, 0.15)
    _residual(axis, 5.4, 7.8, middle, middle - 0.9)
    return fig


def recipe_figure() -> Figure:
    """The way of a ticket: fine-tune, score, prune, rewind, fine-tune again; what changes in each step below it."""
    steps = [
        ("pre-trained\nmodel", "weights $W_0$", "#777777"),
        ("fine-tune", "$W_0 \\to W_T$", BLUE),
        ("score units", "with $W_T$", ORANGE),
        ("prune", "fewer units", ORANGE),
        ("rewind", "kept units: $W_0$", GREEN),
        ("fine-tune\nagain", "the ticket's score", BLUE),
    ]
    fig, axis = _canvas(8.8, 1.35)
    for i, (name, below, colour) in enumerate(steps):
        x = 0.7 + 1.48 * i
        _box(axis, x, 0.92, 1.12, name, colour, height=0.66)
        axis.text(x, 0.28, below, ha="center", va="center", fontsize=9.5)
        if i:
            _arrow(axis, (x - 0.9, 0.92), (x - 0.58, 0.92))
    return fig


def pruning_figure(weights: np.ndarray, unstructured: np.ndarray, structured: np.ndarray) -> Figure:
    """A weight matrix, and what is left of it: its largest weights (a mask of its shape), or some rows (a mask)."""
    fig, axes = plt.subplots(1, 3, figsize=(6.4, 3.0), layout="constrained")
    limit = float(np.quantile(abs(weights), 0.99))
    left = np.where(unstructured, weights, np.nan)
    panels = {"all weights": weights, "half the weights": left, "half the units": weights[structured]}
    for axis, (title, matrix) in zip(axes, panels.items(), strict=True):
        axis.imshow(matrix, cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set(title=f"{title}\n{matrix.shape[0]} x {matrix.shape[1]}", xticks=[], yticks=[])
        axis.set_ylim(len(weights) - 0.5, -0.5)
    return fig


def fits_figure(x: np.ndarray, truth: np.ndarray, fits: dict[int, np.ndarray]) -> Figure:
    """Polynomial fits to independent training sets, a panel per degree: single fits, their mean, and the truth.

    ``fits`` maps a degree to an array (training sets, points of ``x``).
    """
    fig, axes = plt.subplots(1, len(fits), figsize=(8.4, 2.7), sharey=True, layout="constrained")
    for axis, (degree, curves) in zip(np.atleast_1d(axes), fits.items(), strict=True):
        axis.plot(x, curves[:20].T, color=STYLE["winning"][0], linewidth=0.7, alpha=0.45)
        axis.plot(x, truth, color="black", linewidth=1.6, label="truth")
        axis.plot(x, curves.mean(axis=0), color=STYLE["random"][0], linewidth=1.8, linestyle="--", label="mean of fits")
        axis.set(title=f"degree {degree}", ylim=(-2.2, 2.2), xlabel="x")
    np.atleast_1d(axes)[0].legend(frameon=False, fontsize=9, loc="lower left")
    return fig


def unit_sizes(shapes: dict[str, EncoderShape]) -> pd.DataFrame:
    """What a head and an FFN weigh, per encoder: parameters and share of the encoder's (embeddings included)."""
    rows = []
    for name, shape in shapes.items():
        heads = shape.n_layers * shape.n_heads * shape.head_parameters
        total = heads + shape.n_layers * shape.ffn_parameters + shape.embedding_parameters + shape.other_parameters
        rows.append(
            {
                "encoder": name,
                "layers x heads": f"{shape.n_layers} x {shape.n_heads}",
                "parameters": f"{total:,}",
                "a head": f"{shape.head_parameters:,} ({shape.head_parameters / total:.2%})",
                "an FFN": f"{shape.ffn_parameters:,} ({shape.ffn_parameters / total:.2%})",
                "embeddings": f"{shape.embedding_parameters / total:.0%}",
            }
        )
    return pd.DataFrame(rows)
