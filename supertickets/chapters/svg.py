"""A matplotlib figure as inline SVG of one letter size, twice: as it is drawn, and stacked for narrow screens."""

from __future__ import annotations

import hashlib
import html
import io
import math
import re
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# matplotlib's black and white become the page's: text follows the theme, light or dark, through CSS.
INK = "currentColor"
SURFACE = "var(--st-surface, #ffffff)"
BLACKS = ("#000000", "#262626", "#333333")  # matplotlib's and seaborn's
WHITE = "#ffffff"

PIXELS = 1.25
"""Pixels of a point on the page, unless the screen is narrower than the figure."""
LETTERS = 9.0
"""The smallest letters, in points: 11.25 pixels."""
WIDE, NARROW = 7.9, 3.6
"""How wide a figure may be in inches: in the book's column on a desk, and on a phone."""


def svgs(fig: Figure, alt: str, name: str, narrow: Figure | None = None) -> str:
    """The figure for wide screens and for narrow ones: ``narrow``, or itself stacked. CSS shows one of them.

    The figures are changed on the way: use them for nothing else afterwards.
    """
    _prepare(fig)
    if narrow is not None:
        _prepare(narrow)
        wide = _svg(fig, alt, name)
    else:
        width, height = fig.get_size_inches()
        fig.set_size_inches(min(width, WIDE), height)  # narrower, not its letters smaller
        whole = _wrap_words(fig)
        wide, narrow = _svg(fig, alt, name), fig
        for words, text in whole.items():
            words.set_text(text)
        stack(fig)
        _wrap_words(fig)
        _fit_to_narrow(fig)
    return f'<div class="st-wide">{wide}</div><div class="st-narrow">{_svg(narrow, alt, f"{name}-narrow")}</div>'


def stack(fig: Figure) -> None:
    """Put the panels of a figure below one another, and everything into the width of a phone.

    Panels that leaned on a neighbour for their axis labels get their own; legends of the figure get two columns.

    >>> import matplotlib.pyplot as plt
    >>> fig, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    >>> stack(fig)
    >>> fig.get_size_inches().round(2).tolist(), axes[0].get_subplotspec().get_gridspec().nrows
    ([3.6, 6.0], 2)
    """
    width, height = fig.get_size_inches()
    if fig.get_layout_engine() is None:
        fig.set_layout_engine("constrained")
    specs = [(axis, spec) for axis in fig.axes if (spec := axis.get_subplotspec()) is not None]
    grid = specs[0][1].get_gridspec() if specs else None
    panels = [axis for axis, spec in specs if spec.get_gridspec() is grid]
    if grid is None or grid.ncols == 1 or len(panels) < 2:
        shrunk = height * min(1.0, NARROW / width)
        round_ones = any(axis.get_aspect() != "auto" for axis in fig.axes)
        lines = max(map(_wrap_names, fig.axes))
        least = max(min(height, 3.0), 1.2 + 0.19 * lines)  # a line for each name beside the axis
        if any(map(_has_cells, fig.axes)):
            shrunk += 0.9  # square cells get the width, and the names below them their room
        fig.set_size_inches(NARROW, shrunk if round_ones else max(shrunk, least))
    else:
        heights = np.asarray(grid.get_height_ratios(), dtype=float)
        rows = {axis: spec.rowspan.start for axis, spec in specs}
        columns = {axis: spec.colspan.start for axis, spec in specs}
        # Column by column, so that what belongs together stays together.
        panels = [axis for axis in sorted(panels, key=lambda axis: (columns[axis], rows[axis])) if _drawn(axis)]
        for axis in panels:
            first = next(other for other in panels if rows[other] == rows[axis])
            last = max((other for other in panels if columns[other] == columns[axis]), key=lambda other: rows[other])
            axis.tick_params(labelleft=True, labelbottom=True)
            axis.set_ylabel(axis.get_ylabel() or first.get_ylabel())
            axis.set_xlabel(axis.get_xlabel() or last.get_xlabel())
        ratios = heights[[rows[axis] for axis in panels]]
        stacked = fig.add_gridspec(len(panels), 1, height_ratios=ratios)
        for i, axis in enumerate(panels):
            axis.set_subplotspec(stacked[i])
        fig.set_size_inches(NARROW, height * ratios.sum() / heights.sum())
    deep = 0
    for legend in list(fig.legends):
        handles: Any = legend.legend_handles
        words = [text.get_text() for text in legend.get_texts()]
        size, longest = legend.get_texts()[0].get_fontsize() if words else LETTERS, max(map(len, words), default=0)
        legend.remove()
        columns_kept = 1 if longest > 22 else 2 if longest > 9 else 3
        deep += -(-len(words) // columns_kept)
        fig.legend(handles, words, loc="outside lower center", ncols=columns_kept, frameon=False, fontsize=size)
    fig.set_size_inches(NARROW, fig.get_size_inches()[1] + 0.17 * max(0, deep - 1))


def _wrap_names(axis: Axes, letters: int = 18) -> int:
    """Break long names beside an axis; how many lines there must be room for."""
    names = [label.get_text() for label in axis.get_yticklabels()]
    if max(map(len, names), default=0) > letters and all(name[:1].isalpha() for name in names):
        names = [textwrap.fill(name, letters) for name in names]
        axis.set_yticks(axis.get_yticks(), labels=names)
    said = [name.count("\n") + 1 for name in names if name[:1].isalpha()]
    return len(said) * max(said, default=0)


def _fit_to_narrow(fig: Figure) -> None:
    """Turn names below an axis that run into each other; shorten cells' numbers that are too wide for them."""
    for mesh in (mesh for axis in fig.axes if axis.texts for mesh in axis.collections):
        if (bar := getattr(mesh, "colorbar", None)) is not None:  # the cells say their numbers
            bar.remove()
    fig.draw_without_rendering()
    for axis in fig.axes:
        names = [label for label in axis.get_xticklabels() if label.get_text()[:1].isalpha()]
        boxes = [label.get_window_extent() for label in names if not label.get_rotation()]
        if any(left.x1 > right.x0 for left, right in pairwise(boxes)):
            axis.tick_params(axis="x", labelrotation=90)
            width, height = fig.get_size_inches()
            fig.set_size_inches(width, height + max(box.width for box in boxes) / fig.dpi)
        cell = axis.get_window_extent().width / abs(np.subtract(*axis.get_xlim()))
        words = axis.texts if _has_cells(axis) else []
        for long, short in (("\n.*", ""), (r"^(\W?)0\.", r"\1."), (".*", "")):
            if any(number.get_window_extent().width > cell for number in words):
                for number in words:
                    number.set_text(re.sub(long, short, number.get_text()))


def _has_cells(axis: Axes) -> bool:
    return bool(axis.images) or any(hasattr(mesh, "get_coordinates") for mesh in axis.collections)  # colour meshes


def _drawn(axis: object) -> bool:
    return axis.get_visible() and (axis.has_data() or axis.axison or axis.get_legend() is not None)  # pyright: ignore[reportAttributeAccessIssue]


def _wrap_words(fig: Figure) -> dict[Text, str]:
    """Break titles and axis labels that are longer than their panel; what they said before."""
    whole = {}
    fig.draw_without_rendering()
    for axis in fig.axes:
        box = axis.get_window_extent()
        width, height = (72 * max(side / fig.dpi, 1.0) for side in (box.width, box.height))
        for words, room in ((axis.title, width), (axis.xaxis.label, width), (axis.yaxis.label, height)):
            letters = max(12, int(1.15 * room / (0.56 * float(words.get_fontsize()))))
            lines = words.get_text().split("\n")
            if "$" not in words.get_text():
                whole[words] = words.get_text()
                words.set_text("\n".join(textwrap.fill(line, letters) for line in lines))
    return whole


def _prepare(fig: Figure) -> None:
    """No letter too small, and numbers on coloured cells in a black or white that stays: the cells stay too."""
    from matplotlib.colors import to_hex
    from matplotlib.text import Text

    for axis in filter(_has_cells, fig.axes):
        for words in axis.texts:
            if to_hex(words.get_color()) in (WHITE, *BLACKS) and (cell := _cell_behind(axis, words)) is not None:
                words.set_color(_ink_on(cell))

    for words in fig.findobj(Text):
        if isinstance(words, Text) and float(words.get_fontsize()) < LETTERS:
            words.set_fontsize(LETTERS)
    for axis in fig.axes:  # ticks are made anew from these
        for one in (axis.xaxis, axis.yaxis):
            size = one.get_tick_params().get("labelsize")
            if isinstance(size, int | float) and size < LETTERS:
                one.set_tick_params(labelsize=LETTERS)


def _cell_behind(axis: Axes, words: Text) -> np.ndarray | None:
    """The colour of the cell that a number stands on; None where it stands on none, and so on the page."""
    for mesh in axis.collections:
        if hasattr(mesh, "get_coordinates"):
            n_rows, n_columns = (n - 1 for n in mesh.get_coordinates().shape[:2])  # pyright: ignore[reportAttributeAccessIssue]
            column, row = (math.floor(place) for place in words.get_position())
            mesh.update_scalarmappable()
            colours = np.asarray(mesh.get_facecolor())
            if len(colours) == n_rows * n_columns and 0 <= column < n_columns and 0 <= row < n_rows:
                return colours[row * n_columns + column]
    return None


def _ink_on(colour: np.ndarray) -> str:
    """Black or white, whichever has the greater contrast by WCAG 2.2 (4.5 at least, on any colour)."""
    rgb = np.asarray(colour[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return "#010101" if float(linear @ [0.2126, 0.7152, 0.0722]) > 0.18 else "#fefefe"


def _svg(fig: Figure, alt: str, name: str) -> str:
    """The figure as an SVG element, text as text: same input, same text; ids that no other figure of the page has."""
    import matplotlib as mpl

    sink = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        fig.savefig(sink, format="svg", bbox_inches="tight", pad_inches=0.05, transparent=True, metadata={"Date": None})
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # matplotlib's style rule names every element, and would reach the whole page.
    text = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    prefix = re.sub(r"[^A-Za-z0-9_-]", "-", name) + "-" + hashlib.sha256(text.encode()).hexdigest()[:6]
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(xlink:href|href)="#', rf'\1="#{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-")
    for black in BLACKS:
        text = text.replace(black, INK)
    text = re.sub(rf"(fill|stroke): {WHITE}\b", rf"\1: {SURFACE}", text)
    points = float(re.search(r'width="([\d.]+)pt"', text)[1])  # pyright: ignore[reportOptionalSubscript]
    head = (
        f'<svg role="img" aria-label="{html.escape(alt)}" style="width: {points * PIXELS:.0f}px" fill="{INK}" '
        'stroke-linejoin="round" stroke-linecap="butt"'
    )
    return text.replace("<svg", head, 1)
