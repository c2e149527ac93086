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


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty drawing, an inch to the unit."""
    fig, axis = plt.subplots(figsize=(width, height), layout="constrained")
    axis.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axis.axis("off")
    return fig, axis


def layer_figure(n_heads: int = 4, upright: bool = False) -> Figure:
    """One Transformer layer from left to right, or ``upright`` from the top down, with the masks (section 3)."""
    reach = 0.4 * n_heads + 0.3
    size = (3.7, 6.1) if upright else (8.2, 2 * reach - 0.1)
    fig, axis = _canvas(*size)

    def at(way: float, up: float = 0.0) -> tuple[float, float]:
        return (1.8 - up, size[1] - 0.73 * way) if upright else (way, reach + up)

    def box(way: float, length: float, text: str, colour: str, up: float = 0.0, wide: float = 1.1) -> float:
        _box(axis, *at(way, up), wide if upright else length, text, colour, 0.46 if upright else 0.62)
        return 0.36 if upright else length / 2 + 0.03  # half of it, along the way

    def word(way: float, text: str, up: float = 0.0) -> None:
        axis.text(*at(way, up), text, ha="center", va="center", fontsize=12)

    word(0.25, "$x$")
    joined = box(4.0, 1.1, "$W^O$, sum", "#777777")
    for head in range(n_heads):
        up = 0.8 * ((n_heads - 1) / 2 - head)
        half = box(1.55, 1.3, f"head {head + 1}", BLUE, up, 0.68)
        word(2.62, rf"$\times\,\xi_{head + 1}$", up)
        _arrow(axis, at(0.45), at(1.55 - half, up))
        _arrow(axis, at(2.95, up), at(4.0 - joined, 0.0))
    half = box(5.25, 0.8, "add, norm" if upright else "add,\nnorm", "#777777")
    _arrow(axis, at(4.0 + joined), at(5.25 - half))
    last = box(6.4, 0.85, "FFN", GREEN)
    _arrow(axis, at(5.25 + half), at(6.4 - last))
    word(7.1, r"$\times\,\nu$")
    box(7.8, 0.7, "add, norm" if upright else "add,\nnorm", "#777777")
    side = 0.57 if upright else 0.33
    # The residuals: lines that leave before a step, go around it, and join behind it.
    for start, end, leaves, around in ((0.25, 5.15, 0.2, 1.05 * reach - 0.15), (5.4, 7.8, side, 0.95)):
        ways, ups = [start, start, end, end], [-leaves, -around, -around, -side - 0.15]
        axis.plot(*zip(*map(at, ways, ups), strict=True), color="black", linewidth=1)
        _arrow(axis, at(end, -side - 0.17), at(end, -side))
    return fig


def recipe_figure(upright: bool = False) -> Figure:
    """The way of a ticket, from left to right or from the top down; what changes in each step stands beside it."""
    steps = [
        ("pre-trained\nmodel", "weights $W_0$", "#777777"),
        ("fine-tune", "$W_0 \\to W_T$", BLUE),
        ("score units", "with $W_T$", ORANGE),
        ("prune", "fewer units", ORANGE),
        ("rewind", "kept units: $W_0$", GREEN),
        ("fine-tune\nagain", "the ticket's score", BLUE),
    ]
    fig, axis = _canvas(*((3.6, 5.0) if upright else (8.8, 1.35)))
    for i, (name, below, colour) in enumerate(steps):
        x, y = (1.0, 4.6 - 0.84 * i) if upright else (0.7 + 1.48 * i, 0.92)
        _box(axis, x, y, 1.4 if upright else 1.12, name, colour, height=0.54 if upright else 0.66)
        place = (1.9, y, "left") if upright else (x, 0.28, "center")
        axis.text(*place[:2], below, ha=place[2], va="center", fontsize=9.5)
        if i:
            _arrow(axis, *(((x, y + 0.56), (x, y + 0.29)) if upright else ((x - 0.9, y), (x - 0.58, y))))
    return fig


def pruning_figure(weights: np.ndarray, unstructured: np.ndarray, structured: np.ndarray, width: float = 6.4) -> Figure:
    """A weight matrix, and what is left of it: its largest weights (a mask of its shape), or some rows (a mask)."""
    fig, axes = plt.subplots(1, 3, figsize=(width, 3.2), layout="constrained")
    limit = float(np.quantile(abs(weights), 0.99))
    left = np.where(unstructured, weights, np.nan)
    panels = {"all\nweights": weights, "half the\nweights": left, "half the\nunits": weights[structured]}
    for axis, (title, matrix) in zip(axes, panels.items(), strict=True):
        axis.imshow(matrix, cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"{title}\n{matrix.shape[0]} x {matrix.shape[1]}", fontsize=10)
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
