"""Numbers of figures and tables, and links to them: to those of the book, to ours of the paper's, and to chapters.

A page is numbered, and its mentions of figures, tables and chapters are marked, when it is written. Where the marks
lead is known when all pages are there: then all are gone through, those that were not written anew too.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from supertickets.chapters.provenance import experiments_behind

CAPTIONS = re.compile(
    r'(?P<tabs><div class="st-tabs">)|<section class="st-tab" data-tab="(?P<tab>[^"]*)">|'
    r'(?P<end></section></div>)|<p class="st-tab-title">(?P<title>[^<]*)</p>|'
    r'<figure class="st-(?P<kind>figure|table)|'
    r'<figcaption data-name="(?P<name>[^"]*)"(?: data-scale="(?P<scale>[^"]*)")?>(?P<words>[^<]*)'
)


def place_in_book(page: str) -> str:
    """What the numbers of a page's figures and tables begin with: chapter, letter of an appendix, initial of the rest.

    >>> [place_in_book(page) for page in ("chapters/05_x", "chapters/A_y", "index", "inconsistencies", "runs/light")]
    ['5', 'A', '0', 'C', 'R']
    """
    chapter = re.match(r"chapters/0*(\w+?)_", page)
    return chapter[1] if chapter else {"index": "0", "inconsistencies": "C"}.get(page, page[0].upper())


def number_captions(page: str, body: str) -> str:
    """Number figures and tables by chapter, one number for all scales of one; say which of the paper's it is.

    >>> caption = '<figcaption data-name="table-1">Table 1: gains. </figcaption>'
    >>> number_captions("chapters/05_x", f'<figure class="st-table">{caption}').split(">", 2)[2]
    "<b>Table 5.1</b> (the paper's Table 1). Gains. </figcaption>"
    """
    before, counts = f"{place_in_book(page)}.", {"Figure": 0, "Table": 0}
    up = "../" * page.count("/")
    known: dict[tuple[str, str, int], int] = {}
    pieces: list[str] = []
    place, group, kind, title, tab = 0, 0, "", "", ""
    for found in CAPTIONS.finditer(body):
        if found["tabs"] or found["end"]:
            group, title, tab = group + 1, "", ""
        title, tab = found["title"] or title, found["tab"] or tab
        kind = (found["kind"] or kind).capitalize()
        if found["name"] is None:
            continue
        key = (kind, found["name"], group)
        if key not in known:
            counts[kind] += 1
            known[key] = counts[kind]
        words = found["words"].strip()
        theirs = re.match(r"((?:Table|Figure) \d): ", words)
        words = words[theirs.end() :] if theirs else words
        notes = ", ".join(filter(None, (theirs and f"the paper's {theirs[1]}", found["scale"] or title)))
        label = f"<b>{kind} {before}{known[key]}</b>{f' ({notes})' if notes else ''}."
        behind = experiments_behind(page, found["name"])
        places = {f"{up}runs/{one}.html{tab and '#'}{tab}": one for one in behind}
        links = [
            f'<a class="st-runs" href="{to}">Runs{f" ({one})" * (len(behind) > 1)}</a> ' for to, one in places.items()
        ]
        pieces += [body[place : found.start("words")], f"{label} {words[:1].upper()}{words[1:]} ", *links]
        place = found.end("words")
    return "".join(pieces) + body[place:]


def refer(name: str, raw: str, text: str, line: int, inliner: Any, options: Any = None, content: Any = None) -> Any:
    """The role ``shown``: a link to ``figure-NAME`` or ``table-NAME`` of the page, or of ``8#...``, as its number."""
    return [nodes.raw("", _mark(text if "#" in text else f"#{text}", ""), format="html")], []


def _mark(to: str, words: str) -> str:
    """A link that does not know yet where it leads."""
    return f'<a class="st-ref" data-to="{html.escape(to)}">{words}</a>'


MARKS = re.compile('<a class="st-ref" data-to="([^"]*)"[^>]*>([^<]*)</a>')
ONE = r"(?:\d{1,2}|[A-D])(?![\w%]|\.\w)"
MENTIONS = re.compile(rf"\b(Table|Figure|[Cc]hapter|[Aa]ppendi)(?:s|x|ces)?\s+({ONE}(?:(?:,\s|\sand\s|\sto\s){ONE})*)")
SILENT = re.compile("</?(?:a|h[1-4]|pre|code|script|style|svg|figcaption|button|summary|th|td|select)\\b")
"""Elements whose words are no mention: links already, headings, code, captions, cells of tables, what is drawn."""


def mark_mentions(body: str) -> str:
    """Make marks of the places where running text names a table or figure of the paper, a chapter or an appendix.

    >>> mark_mentions("<p>Tables 1 and 2</p>")
    '<p><a class="st-ref" data-to="Table 1">Tables 1</a> and <a class="st-ref" data-to="Table 2">2</a></p>'
    >>> mark_mentions('<p>See <a href="x">chapter 3</a>, Table 5.2.</p>')
    '<p>See <a href="x">chapter 3</a>, Table 5.2.</p>'
    """

    def mark(found: re.Match[str]) -> str:
        kind, start = found[1] if found[1] in ("Table", "Figure") else "Chapter", found.start(2) - found.start()
        marked = re.sub(ONE, lambda one: _mark(f"{kind} {one[0]}", one[0]), found[2])
        return marked.replace('">', f'">{found[0][:start]}', 1)

    silent, pieces = 0, []
    for piece in re.split("(<[^>]*>)", body):
        if SILENT.match(piece):
            silent += -1 if piece.startswith("</") else 1
        pieces.append(piece if silent or piece.startswith("<") else MENTIONS.sub(mark, piece))
    return "".join(pieces)


@dataclass(frozen=True)
class Shown:
    """A figure or table: its page, id and number, its name without a scale, and the paper's that it repeats."""

    page: str
    id: str
    number: str
    name: str
    theirs: str


SHOWN = re.compile(
    r'<figure class="st-(figure|table)[^"]*" id="([^"]*)"|'
    r"""<figcaption data-name="([^"]*)"[^>]*><b>([^<]*)</b>(?: \(the paper's ((?:Table|Figure) \d))?"""
)


def shown_on(page: str, text: str) -> Iterator[Shown]:
    """The figures and tables of a page that was numbered."""
    kind = place = ""
    for found in SHOWN.finditer(text):
        if found[1]:
            kind, place = found[1], found[2]
        else:
            yield Shown(page, place, found[4], f"{kind}-{found[3]}", found[5] or "")


def fill_marks(page: str, text: str, shown: Iterable[Shown], pages: Iterable[str]) -> str:
    """Lead the marks of a page to their places, those on the page itself first; without a place they are words.

    >>> table = Shown("chapters/05_x", "table-light-lab", "Table 5.5", "table-light", "Table 1")
    >>> fill_marks("chapters/08_y", _mark("5#table-light", ""), [table], ["chapters/05_x"])
    '<a class="st-ref" data-to="5#table-light" href="../chapters/05_x.html#table-light-lab">Table 5.5</a>'
    >>> fill_marks("index", _mark("Table 1", "Table 1"), [table], [])
    '<a class="st-ref" data-to="Table 1" href="chapters/05_x.html#table-light-lab" title="Table 5.5">Table 1</a>'
    >>> fill_marks("index", _mark("Chapter 5", "chapter 5"), [], ["chapters/05_x"])
    '<a class="st-ref" data-to="Chapter 5" href="chapters/05_x.html">chapter 5</a>'
    >>> fill_marks("index", _mark("#table-light", ""), [table], [])
    '<a class="st-ref" data-to="#table-light">a table without runs yet</a>'
    """
    shown = sorted(shown, key=lambda one: (one.page != page, not one.page.startswith("chapters/"), one.page))
    chapters = {place_in_book(one): one for one in pages}

    def fill(mark: re.Match[str]) -> str:
        to, words, title, found = mark[1], mark[2], "", None
        at, own, name = to.partition("#")
        if own:
            home = chapters.get(at, page)
            found = next((one for one in shown if (one.page, one.name) == (home, name)), None)
            words = found.number if found else f"a {name.split('-')[0]} without runs yet"
        elif found := next((one for one in shown if one.theirs == to), None):
            title = f' title="{found.number}"'
        goal = found.page if found else chapters.get(to.removeprefix("Chapter "))
        if goal is None:
            return _mark(to, words)
        address = "" if goal == page else f"{'../' * page.count('/')}{goal}.html"
        return _mark(to, words).replace('">', f'" href="{address}{f"#{found.id}" if found else ""}"{title}>', 1)

    return MARKS.sub(fill, text)


def fill_site(app: Sphinx, fault: Exception | None) -> None:
    """Fill the marks of all pages, once these are written."""
    if fault is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    files = [path for path in folder.rglob("*.html") if "_static" not in path.relative_to(folder).parts]
    pages = {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}
    texts = {page: path.read_text(encoding="utf-8") for page, path in pages.items()}
    shown = [one for page, text in texts.items() for one in shown_on(page, text)]
    for page, text in texts.items():
        if (filled := fill_marks(page, text, shown, texts)) != text:
            pages[page].write_text(filled, encoding="utf-8")


def number_and_mark(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Number the captions of a page and mark its mentions."""
    if body := context.get("body"):
        body = number_captions(page, body)
        context["body"] = body if page.split("/")[0] in ("api", "bibliography") else mark_mentions(body)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers; called by Sphinx."""
    app.add_role("shown", refer)
    app.connect("html-page-context", number_and_mark)
    app.connect("build-finished", fill_site)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
