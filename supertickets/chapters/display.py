"""Figures and tables on a notebook's page: inline SVG with a text alternative, and the numbers behind it as CSV."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

from supertickets.chapters.svg import svgs
from supertickets.errors import SuperticketsError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


CLAIMS = "supertickets_claims"
"""Where the metadata of an output's HTML hold the rows of the claims in it: the front page is made from them."""

NAMES = {"bias2": "bias²", "n_sets": "training sets", "low": "from", "high": "to", "train_size": "training examples"}
"""What columns are called in tables, where that is not their name; underscores become spaces."""
THEIRS = "\n"
"""What stands in a cell between our words and the paper's."""
NEVER = "never"
"""What infinity says: no number of runs would do, no level is reached."""
LEVELS = ("level", "best", "meeting", "collapse")
WEIGHTS = ("weights_remaining", *(f"weights remaining{rest}" for rest in ("", ", mean", ", sd")))
PARTS = ("fraction", "share", "power", "without embeddings", "variance's share", "training set's share")
PRUNED = ("heads pruned", "FFNs pruned", "pruned first", "per token: pruned first")
SHARES = {*LEVELS, *WEIGHTS, *PARTS, *PRUNED}
"""Columns of shares, shown in per cent."""
MOST = 8
"""As many columns a table of the book has; the others are in its CSV."""
DETAILS_OF_A_TEST = ("p", "luck of the choice", "needed", "power")
DETAILS_OF_A_RUN = ("share", "rate", "balance (train)", "words", "variance's share", "variance", "ST-DNN")
SPARED = (*DETAILS_OF_A_TEST, *DETAILS_OF_A_RUN)
"""Columns that go first, in this order, where there are more."""
CLAIM = ("claim", "where", "verdict", "n", "effect", "low", "high", "p", "p (Holm)", "power", "needed")
"""What a table of claims shows of them."""


@dataclass
class _Tab:
    """The key of the tab that is being filled, what it shows so far, and the claims among that."""

    key: str
    shown: list[str] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)


_TAB: ContextVar[_Tab | None] = ContextVar("tab", default=None)


def show(
    fig: Figure, alt: str, data: Any = None, name: str = "figure", caption: str = "", narrow: Figure | None = None
) -> None:
    """Show a matplotlib figure as inline SVG, with a caption and a link to its data, and close it.

    ``alt`` says in words what it shows; it is read out in its place, is the caption without one, and must not be empty.
    ``data`` are the numbers behind it (a DataFrame, or records), offered as ``name.csv``. ``narrow`` is the same drawn
    for phones, where stacking its panels will not do; it is closed too.
    """
    import matplotlib.pyplot as plt

    _emit(figure_html(fig, alt, data, name, caption, narrow))
    for one in (fig, narrow or fig):
        plt.close(one)


def show_table(
    frame: pd.DataFrame, caption: str, name: str = "table", *, index: bool = False, decimals: int = 2
) -> None:
    """Show a frame as a table that scrolls in its own box on a narrow screen, with its data as ``name.csv``.

    ``index``: whether the frame's index is a column; ``decimals``: of floating-point numbers, of which the CSV has all.
    """
    _emit(table_html(frame, caption, name, index=index, decimals=decimals))


def show_claims(frame: pd.DataFrame, caption: str, name: str = "claims", so_far: str = "") -> None:
    """Show judged claims (:func:`supertickets.chapters.claims.judged`) as a table; empty columns are left out.

    What all rows claim is said once, in the caption.

    The rows go into the notebook as data too (``CLAIMS``), for the front page's table of verdicts. ``so_far`` says, in
    both places, how much of what was planned they rest on.
    """
    shown = frame[[column for column in CLAIM if column in frame]].copy()
    styles = [("{:.2g}", ("p", "p (Holm)")), ("{:.0%}", ("power",)), ("{:,.0f}", ("needed",))]
    if "unit" in frame and set(frame["unit"]) == {"share"}:
        styles.append(("{:.1%}", ("effect", "low", "high")))
    for style, columns in styles:
        for column in columns:
            words = ["" if value != value else style.format(value) for value in frame[column]]  # NaN: nothing
            shown[column] = [NEVER if word == "inf" else word for word in words]
    shown = shown.loc[:, [bool((shown[column] != "").any()) for column in shown]]
    if len(set(frame["claim"])) == 1 < len(set(frame["where"])):
        caption = f"Claim: {shown.pop('claim').iloc[0]}. {caption}"
    tab = _TAB.get()
    place = {"scale": tab.key if tab else "", "table": name, "id": f"table-{_named(name)}", "so_far": so_far}
    rows = [row | place for row in json.loads(frame.to_json(orient="records") or "[]")]
    _emit(table_html(shown, f"{caption} {so_far}".strip(), name, data=frame, stacked=True), rows)


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
    claims: list[dict[str, Any]] = []

    @contextmanager
    def tab(key: str, title: str) -> Iterator[None]:
        token = _TAB.set(own := _Tab(key))
        try:
            yield
        finally:
            _TAB.reset(token)
        claims.extend(own.claims)
        if own.shown:
            name = f'<p class="st-tab-title">{html.escape(title)}</p>'
            panels.append(f'<section class="st-tab" data-tab="{html.escape(key)}">{name}{"".join(own.shown)}</section>')

    yield tab
    if panels:
        _emit(f'<div class="st-tabs">{"".join(panels)}</div>', claims)


def measured(*lines: str) -> None:
    """Show findings in the book's "Measured here" box, one paragraph per line of plain text; no box without any."""
    if lines:
        _emit(box_html("Measured here", lines, "measured"))


def inconsistencies(*notes: str, what: str = "the paper disagrees with itself") -> None:
    """Show where the paper disagrees with itself, or with its code, a finding of ours, one paragraph per note."""
    _emit(box_html(f"We found: {what}", notes, "found"))


def box_html(title: str, lines: Sequence[str], voice: str) -> str:
    """A box of the book: ``voice`` is "paper", "measured" or "found"; plain text, one paragraph per line.

    >>> "<p>up by 2 points</p>" in box_html("Measured here", ["up by 2 points"], "measured")
    True
    """
    paragraphs = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f'<div class="admonition {voice}"><p class="admonition-title">{html.escape(title)}</p>{paragraphs}</div>'


def figure_html(
    fig: Figure, alt: str, data: Any = None, name: str = "figure", caption: str = "", narrow: Figure | None = None
) -> str:
    """The HTML of :func:`show`: ``<figure>`` with the SVG (``role="img"``, ``aria-label``), the caption and the link.

    The SVG is there twice, for wide and for narrow screens (:mod:`supertickets.chapters.svg`). Raises SuperticketsError
    without a text alternative.

    >>> from matplotlib.figure import Figure
    >>> fig = Figure(); _ = fig.subplots().plot([0, 1])
    >>> 'role="img" aria-label="A rising line."' in figure_html(fig, "A rising line.")
    True
    """
    if not alt.strip():
        raise SuperticketsError(f"Figure {name!r} needs a text alternative: say in `alt` what it shows.")
    own = _named(name)
    words = f'<figcaption data-name="{html.escape(name)}">{html.escape(caption or alt)} {_csv_link(data, own)}'
    drawn = svgs(fig, alt, own, narrow)
    return f'<figure class="st-figure" id="figure-{html.escape(own)}">{drawn}{words}</figcaption></figure>'


def table_html(
    frame: pd.DataFrame,
    caption: str,
    name: str = "table",
    *,
    index: bool = False,
    decimals: int = 2,
    data: pd.DataFrame | None = None,
    stacked: bool = False,
) -> str:
    """The HTML of :func:`show_table`: an estimate and its interval in one cell, the paper's number below it.

    Shares are shown in per cent, at most ``MOST`` columns: ``SPARED`` ones go first, then a table of fewer rows is
    turned round. ``data`` is what the CSV holds, if that is not the frame. On a phone the cells of a ``stacked`` table,
    claims, follow one another as running text; those of one with sentences stand below one another.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"task": ["RTE"], "score": [0.1234], "low": [0.1], "high": [0.2]})
    >>> "<td>0.12 [0.10, 0.20]</td>" in table_html(frame, "Scores.")
    True
    """
    own, more = _named(name), ""
    head, rows = _cells(frame.reset_index() if index else frame, decimals)
    left = [column for column in SPARED if column in head][: max(0, len(head) - MOST)]
    kept = [i for i, column in enumerate(head) if column not in left]
    head, rows = [head[i] for i in kept], [[row[i] for i in kept] for row in rows]
    if len(head) > MOST > len(rows):
        head, *rows = (list(row) for row in zip(head, *rows, strict=True))
    left += head[MOST:]
    head, rows = head[:MOST], [row[:MOST] for row in rows]
    kinds = [_kind(column) for column in zip(*rows, strict=True)] or [""] * len(head)
    top = "".join(f'<th scope="col"{kind}>{_text(words)}</th>' for words, kind in zip(head, kinds, strict=True))
    long = stacked or any("st-long" in kind for kind in kinds[1:])
    labels = [f' data-label="{html.escape(words)}"' if long else "" for words in head]
    body = "".join(
        f'<tr><th scope="row"{kinds[0]}>{_text(first)}</th>'
        + "".join(
            f"<td{kind}{label}>{_text(x)}</td>" for x, kind, label in zip(rest, kinds[1:], labels[1:], strict=True)
        )
        + "</tr>"
        for first, *rest in rows
    )
    link = _csv_link(frame if data is None else data, own, index=index, left=left)
    if THEIRS in "".join((*head, *(words for row in rows for words in row))):
        more = "Below ours, in italics, the paper's. "
    return (
        f'<figure class="st-table{" st-stacked" * long}{" st-claims" * stacked}" id="table-{html.escape(own)}">'
        f'<div class="st-scroll" tabindex="0" role="region" '
        f'aria-label="{html.escape(caption)}"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<figcaption data-name="{html.escape(name)}">{html.escape(caption)} {more}{link}</figcaption></figure>'
    )


def _cells(frame: pd.DataFrame, decimals: int) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table as words.

    ``low`` and ``high`` move into the column before, ``x: low`` into ``x`` or ``x: sd``, ``paper: x`` below ``x``.
    """
    columns = {str(name): [_words(value, str(name), decimals) for value in frame[name]] for name in frame}
    for name, words in columns.items():
        if all(word.endswith(".0%") for word in words if word not in ("", NEVER)):  # whole ones, such as levels
            columns[name] = [word.replace(".0%", "%") for word in words]
    before = ""
    for name in list(columns):
        at, start = (before, "") if name == "low" else (name, f"{name.removesuffix(': sd')}: ")
        low, high = columns.get(f"{start}low"), columns.get(f"{start}high")
        if at and low is not None and high is not None:
            ends = zip(columns[at], low, high, strict=True)
            columns[at] = [f"{x} [{a}, {b}]" if a or b else x for x, a, b in ends]
            del columns[f"{start}low"], columns[f"{start}high"]
        before = name
    for name in [name for name in columns if name.removeprefix("paper: ") in columns and name.startswith("paper: ")]:
        own, theirs = name.removeprefix("paper: "), columns.pop(name)
        said = "paper: " if own == next(iter(columns)) else ""
        both = zip(columns[own], theirs, strict=True)
        columns[own] = [f"{x}{THEIRS}{said}{y}" if y and y != x else x for x, y in both]
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return [NAMES.get(name, name.replace("_", " ").removesuffix(" (%)")) for name in columns], rows


def _words(value: Any, column: str, decimals: int) -> str:
    """A cell in words."""
    if value is None or value != value:
        return ""
    column = column.removeprefix("paper: ")
    if column.endswith("(%)") and not isinstance(value, str):
        return f"{value:.{min(decimals, 1)}f}%"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, Integral) and "seed" not in column:
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value).replace("_", " ") if column == "metric" else str(value)
    if math.isinf(value):
        return NEVER
    if column == "learning_rate":
        return f"{value:g}"
    if {column, column.split(":")[0]} & SHARES and abs(value) <= 1:
        return f"{100 * value:.1f}%"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{decimals}f}"


def _text(words: str) -> str:
    """A cell's HTML: the paper's words in their own voice, below ours."""
    ours, _, theirs = words.partition(THEIRS)
    return html.escape(ours) + (f'<span class="st-theirs">{html.escape(theirs)}</span>' if theirs else "")


def _kind(words: Sequence[str]) -> str:
    """The class of a column's cells, if some are words (lists of numbers among them), or sentences."""
    if not any(re.match(r"[^\W\d]|.*[^\W\d]{3}|[^[]*\d, ", word.replace(NEVER, "")) for word in words):
        return ""
    return ' class="st-words st-long"' if max(map(len, words)) > 24 else ' class="st-words"'


def _named(name: str) -> str:
    """The name, and the tab's key: a page has the same figure in several tabs."""
    tab = _TAB.get()
    return f"{name}-{tab.key}" if tab else name


def _emit(text: str, claims: Sequence[Mapping[str, Any]] = ()) -> None:
    if tab := _TAB.get():
        tab.shown.append(text)
        tab.claims.extend(map(dict, claims))
        return
    try:
        from IPython.display import HTML, display
    except ImportError as fault:
        raise SuperticketsError("Showing figures needs IPython: pip install 'supertickets[book]'.") from fault
    display(HTML(text, metadata={CLAIMS: list(claims)} if claims else None))


def _csv_link(data: Any, name: str, index: bool = False, left: Sequence[str] = ()) -> str:
    """A link that downloads the data without a server: the file is in the link. ``left``: what only the file has."""
    if data is None:
        return ""
    import pandas as pd

    if isinstance(data, Mapping | Sequence):
        data = pd.DataFrame(data)
    text = base64.b64encode(data.to_csv(index=index).encode()).decode()
    safe, more = html.escape(name), f", with {html.escape(', '.join(left))}" if left else ""
    return f'<a class="st-csv" download="{safe}.csv" href="data:text/csv;base64,{text}">Data (CSV{more})</a>'
