"""The PDF edition, of a site of two pages: both are in it, and a link between them stays inside."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pdf
import pytest

PAGE = (
    "<!doctype html><title>t</title><nav class='bd-links'><a href='b.html'>B</a><a href='api.html'>API</a></nav>"
    "<article class='bd-article'><h1 id='top'>{name}</h1><p><a href='{to}'>there</a></p>"
    "<p><a href='runs/x.html'>a page that is not there</a></p>"
    "<details><summary>More</summary><p>folded</p></details><script>1</script></article>"
)


def test_the_pdf_has_all_pages_and_its_links_stay_inside(tmp_path: Path) -> None:
    if pdf.find_browser() is None:
        pytest.skip("no chromium on this machine")
    for name, to in (("index", "b.html#top"), ("b", "index.html#top"), ("api", "index.html")):
        (tmp_path / f"{name}.html").write_text(PAGE.format(name=name, to=to), encoding="utf-8")
    with ThreadPoolExecutor(1) as own:  # page tests may have a browser open, and a thread has one
        made_of = own.submit(pdf.write_pdf, tmp_path, tmp_path / "book.pdf").result()
    assert made_of == 2  # without the API's
    made = (tmp_path / "book.pdf").read_bytes()
    assert made.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", made)) == 2
    assert len(re.findall(rb"/Subtype\s*/Link", made)) == 2
    assert b"/URI" not in made and re.search(rb"/Dests?\b", made)


def test_without_a_built_site_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make pdf needs"):
        pdf.write_pdf(tmp_path, tmp_path / "book.pdf")
