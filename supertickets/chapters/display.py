"""Figures and tables on a notebook's page: inline SVG with a text alternative, and the numbers behind it as CSV."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from supertickets.errors import SuperticketsError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


# matplotlib's black and white become the page's: text follows the theme, light or dark, through CSS.
INK = "currentColor"
SURFACE = "var(--st-surface, #ffffff)"
BLACKS = ("#000000", "#262626", "#333333")  # matplotlib's and seaborn's
WHITE = "#ffffff"

_SHOWN: ContextVar[tuple[str, list[str]] | None] = ContextVar("tab", default=None)
"""The key of the tab that is being filled, and what it shows so far; None outside tabs."""


def show(fig: Figure, alt: str, data: Any = None, name: str = "figure") -> None:
    """Show a matplotlib figure as inline SVG, with a caption-sized link to its data, and close it.

    Args:
        fig: the figure; it is closed, so that the notebook does not show it a second time.
        alt: what the figure shows, in words; read out in its place. Must not be empty.
        data: the numbers behind the figure (a DataFrame, or records), offered as ``name.csv``; None offers nothing.
        name: file name of the CSV without its ending, and prefix of ids inside the SVG.
    """
    import matplotlib.pyplot as plt

    _emit(figure_html(fig, alt, data, name))
    plt.close(fig)


def show_table(
    frame: pd.DataFrame, caption: str, name: str = "table", *, index: bool = False, decimals: int = 2
) -> None:
    """Show a frame as a table that scrolls in its own box on a narrow screen, with its data as CSV.

    Args:
        frame: one row per line of the table.
        caption: what the table shows.
        name: file name of the CSV without its ending.
        index: whether the frame's index is a column.
        decimals: digits after the point of floating-point numbers (the CSV keeps all of them).
    """
    _emit(table_html(frame, caption, name, index=index, decimals=decimals))


def show_claims(frame: pd.DataFrame, caption: str, name: str = "claims") -> None:
    """Show judged claims (:func:`supertickets.chapters.claims.judged`) as a table; empty columns are left out."""
    shown = frame.drop(columns=["unit", "limit", "side", "expected", "detail", "loss", "place"], errors="ignore")
    for style, columns in (("{:.2g}", ("p", "p (Holm)")), ("{:.0%}", ("power",)), ("{:.0f}", ("needed",))):
        for column in columns:
            shown[column] = ["" if value != value else style.format(value) for value in frame[column]]  # NaN: nothing
    show_table(shown.loc[:, [bool((shown[column] != "").any()) for column in shown]], caption, name)


@contextmanager
def tabs() -> Iterator[Callable[[str, str], AbstractContextManager[None]]]:
    """Show the same thing at several scales, a tab each: ``tab(key, title)`` takes whatever is shown while it lasts.

    A reader's choice holds for all tabs of the book that have the key; without scripts, and in print, all are
    readable one under another. Names of figures and tables get the key at their end.

    >>> with tabs() as tab:
    ...     with tab("lab", "Lab"):
    ...         pass
    """
    panels: list[str] = []

    @contextmanager
    def tab(key: str, title: str) -> Iterator[None]:
        token = _SHOWN.set((key, shown := []))
        try:
            yield
        finally:
            _SHOWN.reset(token)
        if shown:
            name = f'<p class="st-tab-title">{html.escape(title)}</p>'
            panels.append(f'<section class="st-tab" data-tab="{html.escape(key)}">{name}{"".join(shown)}</section>')

    yield tab
    if panels:
        _emit(f'<div class="st-tabs">{"".join(panels)}</div>')


def measured(*lines: str) -> None:
    """Show findings in the book's "Measured here" box, one paragraph per line of plain text; no box without any."""
    if lines:
        _emit(measured_html(lines))


def inconsistencies(*notes: str) -> None:
    """Show where the paper disagrees with itself, in the box of its own voice, one paragraph per note."""
    _emit(box_html("Where the paper disagrees with itself", notes, "paper"))


def measured_html(lines: Sequence[str]) -> str:
    """The HTML of :func:`measured`.

    >>> "<p>up by 2 points</p>" in measured_html(["up by 2 points"])
    True
    """
    return box_html("Measured here", lines, "measured")


def box_html(title: str, lines: Sequence[str], voice: str) -> str:
    """A box of the book: ``voice`` is "paper" or "measured"; plain text, one paragraph per line."""
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f'<div class="admonition {voice}"><p class="admonition-title">{html.escape(title)}</p>{paragraphs}</div>'


def figure_html(fig: Figure, alt: str, data: Any = None, name: str = "figure") -> str:
    """The HTML of :func:`show`: ``<figure>`` with the SVG (``role="img"``, ``aria-label``) and the link.

    Raises:
        SuperticketsError: no text alternative.

    >>> from matplotlib.figure import Figure
    >>> fig = Figure(); _ = fig.subplots().plot([0, 1])
    >>> 'role="img" aria-label="A rising line."' in figure_html(fig, "A rising line.")
    True
    """
    if not alt.strip():
        raise SuperticketsError(f"Figure {name!r} needs a text alternative: say in `alt` what it shows.")
    name = _named(name)
    link = _csv_link(data, name)
    caption = f"<figcaption>{link}</figcaption>" if link else ""
    return f'<figure class="st-figure" id="figure-{html.escape(name)}">{_svg(fig, alt, name)}{caption}</figure>'


def table_html(
    frame: pd.DataFrame, caption: str, name: str = "table", *, index: bool = False, decimals: int = 2
) -> str:
    """The HTML of :func:`show_table`.

    >>> import pandas as pd
    >>> "<td>0.12</td>" in table_html(pd.DataFrame({"score": [0.1234]}), "Scores.")
    True
    """
    name = _named(name)
    table = frame.to_html(index=index, border=0, na_rep="", float_format=lambda value: f"{value:.{decimals}f}")
    table = table.replace("<th>", '<th scope="col">')
    return (
        f'<figure class="st-table" id="table-{html.escape(name)}"><div class="st-scroll" tabindex="0" role="region" '
        f'aria-label="{html.escape(caption)}">{table}</div>'
        f"<figcaption>{html.escape(caption)} {_csv_link(frame, name, index=index)}</figcaption></figure>"
    )


def _named(name: str) -> str:
    """The name, and the tab's key: a page has the same figure in several tabs."""
    tab = _SHOWN.get()
    return f"{name}-{tab[0]}" if tab else name


def _emit(text: str) -> None:
    if tab := _SHOWN.get():
        tab[1].append(text)
        return
    try:
        from IPython.display import HTML, display
    except ImportError as fault:
        raise SuperticketsError("Showing figures needs IPython: pip install 'supertickets[book]'.") from fault
    display(HTML(text))


def _csv_link(data: Any, name: str, index: bool = False) -> str:
    """A link that downloads the data without a server: the file is in the link."""
    if data is None:
        return ""
    import pandas as pd

    if isinstance(data, Mapping | Sequence):
        data = pd.DataFrame(data)
    text = base64.b64encode(data.to_csv(index=index).encode()).decode()
    safe = html.escape(name)
    return f'<a class="st-csv" download="{safe}.csv" href="data:text/csv;base64,{text}">Data (CSV)</a>'


def _keep_text_on_colours(fig: Figure) -> None:
    """Give numbers written on coloured cells a black or white that stays: the cells stay too."""
    from matplotlib.colors import to_hex

    for ax in fig.axes:
        if ax.images or any(hasattr(mesh, "get_coordinates") for mesh in ax.collections):  # pictures, colour meshes
            for words in ax.texts:
                colour = to_hex(words.get_color())
                if colour == WHITE:
                    words.set_color("#fefefe")
                elif colour in BLACKS:
                    words.set_color("#202020")


def _svg(fig: Figure, alt: str, name: str) -> str:
    """The figure as an SVG element: same input, same text; ids that no other figure of the page has."""
    import matplotlib as mpl

    _keep_text_on_colours(fig)
    sink = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        fig.savefig(sink, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
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
    head = f'<svg role="img" aria-label="{html.escape(alt)}" fill="{INK}" stroke-linejoin="round" stroke-linecap="butt"'
    return text.replace("<svg", head, 1)
