"""Every page of the built book on a desk and on a phone, light and dark, and on paper: it can be read and used."""

from __future__ import annotations

import pytest
from pdf import find_browser
from playwright.sync_api import Browser
from screens import WIDTHS, audit, lost_in_print, menus
from site_pages import page_files, served

BROWSER = find_browser()
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine"),
    pytest.mark.timeout(1800),  # the first test builds the book
]
KINDS = {
    "pale": "text with less contrast than 4.5 (3 if it is large)",
    "lines": "shapes in figures with less contrast than 3",
    "small": "letters in figures of less than 11 pixels",
    "cut": "what scrolls sideways without an arrow",
    "loose": "wide tables whose first column scrolls away",
    "bare": "figures and tables without a number and a caption",
}


@pytest.fixture(scope="module")
def faults(site, chromium: Browser):
    """By kind: where, and what is wrong there."""
    names = [path.relative_to(site).as_posix() for path in page_files(site)]
    found = {kind: {} for kind in KINDS}
    with served(site) as base:
        for screen, width in WIDTHS.items():
            context = chromium.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
            page = context.new_page()
            for name in names:
                for scheme, wrong in audit(page, base + name).items():
                    for kind, faults in wrong.items():
                        found[kind][f"{name}, {screen}, {scheme}"] = faults
            context.close()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_no_page_has(faults, kind: str) -> None:
    assert faults[kind] == {}, KINDS[kind]


def test_menus_open_by_click_tap_and_key_and_close_again(site, chromium: Browser) -> None:
    names = [path.relative_to(site).as_posix() for path in page_files(site) if path.parent.name == "chapters"]
    phone = chromium.new_context(viewport={"width": WIDTHS["phone"], "height": 800}, has_touch=True).new_page()
    desk = chromium.new_context(viewport={"width": WIDTHS["desk"], "height": 900}).new_page()
    with served(site) as base:
        for name in [*(name for name in names if "specimen" not in name), "index.html"]:  # that has no sections
            for way in ("click", "tap", "key") if name in ("index.html", names[0]) else ("click",):
                phone.goto(base + name, wait_until="load")
                shown = menus(phone, way)
                assert shown["primary"] > 10 and shown["primary closed"], (name, way, shown)
                assert shown["secondary"] is not None and shown["secondary"] > 1, (name, way, shown)
                assert shown["secondary closed"], (name, way, shown)
        for way in ("click", "key"):  # there the chapters stand beside the page, and the button hides them
            desk.goto(base + names[0], wait_until="load")
            chapters, button = (
                desk.locator("#pst-primary-sidebar a:visible"),
                desk.locator(".bd-header-article .primary-toggle"),
            )
            assert chapters.count() > 10
            for expected in (0, 11):
                if way == "click":
                    button.click()
                else:
                    button.focus()
                    desk.keyboard.press("Enter")
                desk.wait_for_timeout(400)
                assert (chapters.count() > 10) == bool(expected), (way, expected)


@pytest.mark.parametrize(
    ("words", "first"),
    [("super ticket", "chapters/03"), ("variance", "chapters/01"), ("importance", "chapters/03"), ("csv", "use_it")],
)
def test_the_search_finds_the_page_that_explains_first(site, chromium: Browser, words: str, first: str) -> None:
    page = chromium.new_page()
    with served(site) as base:
        page.goto(f"{base}search.html?q={words.replace(' ', '+')}", wait_until="load")
        found = page.locator("#search-results ul.search > li > a").first
        found.wait_for()
        assert (found.get_attribute("href") or "").startswith(first)


def test_a_link_to_something_in_a_tab_opens_the_tab(site, chromium: Browser) -> None:
    page = chromium.new_context(viewport={"width": WIDTHS["desk"], "height": 900}).new_page()
    with served(site) as base:
        for scale in ("minilm", "smoke"):
            page.goto(f"{base}chapters/05_single_task.html#table-observations-{scale}", wait_until="load")
            page.reload(wait_until="load")
            shown = page.locator(f"#table-observations-{scale}")
            shown.wait_for(state="visible")
            assert shown.evaluate("element => Math.abs(element.getBoundingClientRect().top)") < 900


def test_on_a_phone_the_table_of_claims_says_the_words_and_numbers_on_demand(site, chromium: Browser) -> None:
    page = chromium.new_context(viewport={"width": WIDTHS["phone"], "height": 800}).new_page()
    words, numbers = ".st-verdicts a.st-verdict", ".st-verdicts .st-figures"
    with served(site) as base:
        page.goto(f"{base}index.html", wait_until="load")
        count = page.locator(words).count()
        assert page.locator(f"{words}:visible").count() == page.locator(numbers).count() == count > 10
        assert page.locator(f"{numbers}:visible").count() == 0
        page.locator("#table-verdicts > button").click()
        assert page.locator(f"{numbers}:visible").count() == count
        page.goto(f"{base}index.html#claim-5", wait_until="load")
        page.reload(wait_until="load")
        assert page.locator(f"{numbers}:visible").count() == count
        assert abs(page.locator("#claim-5").evaluate("row => row.getBoundingClientRect().top")) < 200


def test_on_paper_everything_is_there(site, chromium: Browser) -> None:
    page = chromium.new_context().new_page()
    with served(site) as base:
        lost = {path.name: lost_in_print(page, base + path.relative_to(site).as_posix()) for path in page_files(site)}
    assert {name: wrong for name, wrong in lost.items() if wrong} == {}


def test_the_checks_see_what_is_wrong(tmp_path, chromium: Browser) -> None:
    (tmp_path / "bad.html").write_text(
        "<!doctype html><title>bad</title><body><main><p style='color:#999'>pale words</p>"
        "<figure class='st-figure' id='f'><svg width='200' height='50' viewBox='0 0 400 100'>"
        "<text y='20' style='font-size: 20px'>tiny</text>"
        "<path d='M0 50H400' fill='none' stroke='#E69F00' stroke-width='3'/>"
        "</svg></figure>"
        "<div style='overflow-x:auto;width:100px'><table><tr><td>first</td>"
        "<td style='min-width:300px'>x</td></table></div>"
        "<div style='overflow-x:auto;width:100px'><pre>a line of code that is longer than its box</pre></div></main>",
        encoding="utf-8",
    )
    page = chromium.new_context().new_page()
    with served(tmp_path) as base:
        found = audit(page, base + "bad.html")["light"]
    assert found["pale"] == ["pale words: 2.85"] and found["small"] == ["tiny: 10.0"]
    assert found["lines"] == ["f: rgb(230, 159, 0) none"]
    assert len(found["cut"]) == 2 and len(found["loose"]) == 1 and found["bare"] == ["f"]
