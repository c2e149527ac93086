"""Every page of the built site in headless Chromium, and the checks of these checks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pdf import find_browser
from playwright.sync_api import Browser
from site_pages import PHONE, Visit, broken_links, page_files, served, visit_page

from supertickets.notebooks import find_notebooks

ROOT = Path(__file__).resolve().parents[2]
BROWSER = find_browser()
pytestmark = pytest.mark.timeout(1800)  # the first test builds the book
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
NO_PROVENANCE = ("genindex.html", "py-modindex.html", "search.html")  # lists made by Sphinx, not pages of the book


@pytest.fixture(scope="session")
def visits(site: Path, chromium: Browser) -> list[Visit]:
    """Every page of the site, opened once."""
    names = [path.relative_to(site).as_posix() for path in page_files(site)]
    page = chromium.new_context().new_page()
    with served(site) as base:
        return [visit_page(page, base, name) for name in names]


@needs_browser
def test_no_page_errs_or_asks_for_anything_outside(visits: list[Visit]) -> None:
    assert len(visits) > 7
    assert {visit.page: visit.outside for visit in visits if visit.outside} == {}
    assert {visit.page: visit.errors for visit in visits if visit.errors} == {}


@needs_browser
def test_all_mathematics_is_set_and_pictures_have_words(visits: list[Visit]) -> None:
    formulas = {visit.page: visit.formulas for visit in visits}
    assert formulas["chapters/99_specimen.html"] == 2
    assert {visit.page: visit.unset_math for visit in visits if visit.unset_math} == {}
    assert {visit.page: visit.textless for visit in visits if visit.textless} == {}


@needs_browser
def test_no_page_scrolls_sideways_on_a_phone(visits: list[Visit]) -> None:
    wide = {visit.page: visit.phone_width for visit in visits if visit.phone_width > PHONE["width"] + 1}
    assert wide == {}


@needs_browser
def test_works_from_files_in_dark_mode_and_by_keyboard(site: Path, chromium: Browser) -> None:
    page = chromium.new_context(color_scheme="dark").new_page()
    visit = visit_page(page, site.as_uri() + "/", "chapters/99_specimen.html")
    assert (visit.errors, visit.outside, visit.unset_math) == ([], [], [])
    colours = "() => [document.body, document.querySelector('figure.st-figure svg')].map(e => getComputedStyle(e))"
    surface, ink = page.evaluate(f"({colours})().map((s, i) => i ? s.color : s.backgroundColor)")
    assert brightness(ink) - brightness(surface) > 100
    page.keyboard.press("Tab")
    assert "skip" in page.evaluate("document.activeElement.textContent").lower()


def brightness(colour: str) -> float:
    """Mean of the three components, 0 to 255, of a computed ``rgb(...)`` colour."""
    red, green, blue = (float(part) for part in re.findall(r"[\d.]+", colour)[:3])
    return (red + green + blue) / 3


def test_links_inside_the_site_lead_somewhere(site: Path) -> None:
    assert broken_links(site) == []


def test_every_page_says_what_produced_it(site: Path) -> None:
    pages = [path for path in page_files(site) if path.name not in NO_PROVENANCE]
    assert [path.name for path in pages if 'class="provenance"' not in path.read_text(encoding="utf-8")] == []
    for source in [*find_notebooks(ROOT / "notebooks"), Path("99_specimen.py")]:
        text = (site / "chapters" / f"{source.stem}.html").read_text(encoding="utf-8")
        assert re.search(r"<dt>Profile</dt><dd>smoke</dd>", text)
        assert re.search(r"<dt>Duration</dt><dd>\d+ s</dd>", text)


def test_no_warning_or_machine_path_reaches_a_page(site: Path) -> None:
    executed = sorted(site.parents[1].glob("chapters/*.ipynb"))
    assert len(executed) > 1
    for path in executed:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        assert [output["text"] for output in outputs if output.get("name") == "stderr"] == [], path.name
        assert "site-packages" not in json.dumps(outputs), path.name


def test_the_three_voices_and_the_data_reach_the_page(site: Path) -> None:
    text = (site / "chapters" / "99_specimen.html").read_text(encoding="utf-8")
    assert re.search(r'class="paper admonition"', text)
    assert re.search(r'class="measured admonition"', text)
    assert 'download="specimen.csv" href="data:text/csv;base64,' in text
    assert 'role="img" aria-label="Scores fall slowly with the level."' in text


@needs_browser
def test_the_checks_see_what_is_wrong(tmp_path: Path, chromium: Browser) -> None:
    (tmp_path / "bad.html").write_text(
        "<!doctype html><title>bad</title><body><img src='http://127.0.0.1:9/x.png'><img src='gone.png' alt=' '>"
        "<span class='math'>x</span><a href='nowhere.html'>a</a><a href='#no'>b</a><div style='width:900px'>wide</div>"
        "<figure><svg id='s'></svg></figure><b id='s'></b>"
        "<script>console.error('oops'); throw new Error('thrown')</script>",
        encoding="utf-8",
    )
    page = chromium.new_context().new_page()
    with served(tmp_path) as base:
        visit = visit_page(page, base, "bad.html")
    assert visit.outside == ["http://127.0.0.1:9/x.png"]
    assert {"oops", "thrown"} <= set(visit.errors)
    assert any(error.startswith("404: ") for error in visit.errors)
    assert visit.unset_math == ["MathJax did not load"]
    assert len(visit.textless) == 3
    assert visit.phone_width >= 900
    assert broken_links(tmp_path) == [
        "bad.html: twice #s",
        "bad.html: gone.png",
        "bad.html: nowhere.html",
        "bad.html: #no",
    ]
