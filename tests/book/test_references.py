"""Figures, tables and chapters are named by number and linked: each name leads to what has that number."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import pytest
from site_pages import page_files
from supertickets_captions import fill_marks, mark_mentions, number_captions, place_in_book, shown_on

pytestmark = pytest.mark.timeout(1800)  # the first test builds the book
LINK = re.compile(r'<a class="st-ref" data-to="([^"]*)"(?: href="([^"]*)")?[^>]*>([^<]*)</a>')
UNREAD = "a|pre|code|script|style|svg|figcaption|h1|h2|h3|h4|th|td"


@pytest.fixture(scope="module")
def texts(site: Path) -> dict[str, str]:
    """The pages of the book by name; the API's is none of them."""
    paths = {path.relative_to(site).with_suffix("").as_posix(): path for path in page_files(site)}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if name.split("/")[0] != "api"}


def test_every_reference_leads_to_what_it_names(texts: dict[str, str]) -> None:
    shown = {(one.page, one.id): one for page, text in texts.items() for one in shown_on(page, text)}
    across = 0
    for page, text in texts.items():
        for to, href, words in LINK.findall(text):
            address, _, place = href.partition("#")
            goal = posixpath.normpath(posixpath.join(posixpath.dirname(page), address)) if address else page
            goal = goal.removesuffix(".html")
            across += bool(href) and goal != page
            if place:
                one = shown[goal, place]
                assert (words if "#" in to else to) in (one.number, one.theirs), (page, to)
            elif href:
                assert to == f"Chapter {place_in_book(goal)}", (page, to)
    assert across > 50


def test_no_reference_of_the_books_own_leads_nowhere(texts: dict[str, str]) -> None:
    """But to what was not made at this size, which is said."""
    lost = {(page, to) for page, text in texts.items() for to, href, words in LINK.findall(text) if not href}
    assert {(page, to) for page, to in lost if "#" in to} <= {("chapters/99_specimen", "#table-nothing")}
    assert {to for _, to in lost if "#" not in to} <= {"Table 2"}


def test_no_number_stands_without_a_link(texts: dict[str, str]) -> None:
    named = re.compile(r"\b(?:Figure|Table)s? \w+\.\d|\b(?:Figure|Table|[Cc]hapter)s? \d")
    for page, text in texts.items():
        article = re.search(r"<article.*?</article>", text, re.DOTALL)
        read = re.sub(rf"<({UNREAD})\b.*?</\1>", "", article[0], flags=re.DOTALL) if article else ""
        assert not (found := named.findall(re.sub(r"<[^>]*>", "", read))), (page, found)


def test_a_reference_has_the_number_of_what_it_names() -> None:
    figure = '<figure class="st-table st-x" id="table-{0}"><figcaption data-name="{1}">Words.</figcaption></figure>'
    names = [("light-powered-lab", "light-powered"), ("light-minilm", "light"), ("light-lab", "light")]
    body = number_captions("chapters/05_x", "".join(figure.format(*each) for each in names))
    shown = list(shown_on("chapters/05_x", body))
    assert [one.number for one in shown] == ["Table 5.1", "Table 5.2", "Table 5.2"]
    link = fill_marks("runs/y", '<a class="st-ref" data-to="5#table-light"></a>', shown, ["chapters/05_x"])
    assert 'href="../chapters/05_x.html#table-light-minilm">Table 5.2</a>' in link
    again = fill_marks("runs/y", link, [], [])  # the next build, in which there are no runs
    assert again == '<a class="st-ref" data-to="5#table-light">a table without runs yet</a>'
    assert "<b>Table C.1</b>" in number_captions("inconsistencies", figure.format("p1", "p1"))


def test_only_running_text_is_marked() -> None:
    for words in ("<h2>Table 3</h2>", "<td>Table 3</td>", "<p><code>Table 3</code></p>", "<p>Table 3.1, table 3</p>"):
        assert mark_mentions(words) == words
    marked = mark_mentions("<p>Chapters 1, 5 and 10; appendix D; Figure 4's.</p>")
    assert LINK.sub(lambda link: f"[{link[1]}]", marked) == (
        "<p>[Chapter 1], [Chapter 5] and [Chapter 10]; [Chapter D]; [Figure 4]'s.</p>"
    )
