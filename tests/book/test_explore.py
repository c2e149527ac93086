"""The pages made of records: the views answer mouse, touch and keyboard, and every table leads to its runs."""

from __future__ import annotations

import csv
import gzip
import re

import pytest
from pdf import find_browser
from playwright.sync_api import Browser
from screens import WIDTHS
from site_pages import page_files

from supertickets.chapters.display import MOST
from supertickets.chapters.provenance import BEHIND, EXPERIMENTS

pytestmark = pytest.mark.timeout(1800)  # the first test builds the book
needs_browser = pytest.mark.skipif(find_browser() is None, reason="no chromium on this machine")
RECORDED_ONLY = ("search", "tuning")
"""Experiments that no chapter carries out: their pages have recorded runs, and of smoke none or some by chance."""
CELLS = '.st-explore[data-view="{}"] td'


@needs_browser
@pytest.mark.parametrize("screen", WIDTHS)
def test_cells_tell_what_was_measured_by_key_and_by_touch(site, chromium: Browser, screen: str) -> None:
    phone = screen == "phone"
    page = chromium.new_context(viewport={"width": WIDTHS[screen], "height": 900}, has_touch=phone).new_page()
    page.goto((site / "explore.html").as_uri(), wait_until="load")  # from a folder, without a server
    assert not page.locator(".st-explore svg:visible").count()
    for view, words in (("tickets", "of layer 1: "), ("map", "training sets: gain ")):
        cells, said = page.locator(CELLS.format(view)), page.locator(f'.st-explore[data-view="{view}"] .st-said')
        cells.first.focus()
        first = said.inner_text()
        page.keyboard.press("ArrowRight")
        assert words in first and words in said.inner_text() != first
        if phone:
            cells.first.tap()
        else:
            cells.first.hover()
        assert said.inner_text() == first
        assert page.locator(f'.st-explore[data-view="{view}"] td[tabindex="0"]').count() == 1
        assert min(cells.evaluate_all("all => all.map(e => e.clientWidth - e.scrollWidth)")) >= 0  # nothing is cut


@needs_browser
def test_the_map_rounds_what_it_shows(site, chromium: Browser) -> None:
    page = chromium.new_page()
    page.goto((site / "explore.html").as_uri(), wait_until="load")
    cells = page.locator(CELLS.format("map")).evaluate_all("all => all.map(e => [e.innerText, e.ariaLabel])")
    for cell in cells:
        words, told = (text.replace("\N{MINUS SIGN}", "-") for text in cell)
        gain, low, high = map(float, re.findall(r"gain (\S+) points \[(\S+), (\S+)\]", told)[0])
        assert abs(float(words.rstrip("*")) - gain) <= 0.055 and words not in ("-0.0", "+0.0")  # told: to a hundredth
        assert words.endswith("*") == (low * high > 0) or 0 in (low, high)
    assert len(cells) > 20


@needs_browser
def test_choices_change_what_is_shown(site, chromium: Browser) -> None:
    page = chromium.new_page()
    page.goto((site / "explore.html").as_uri(), wait_until="load")
    cells = page.locator(CELLS.format("tickets"))

    def kept() -> int:
        return sum(int(words) for words in cells.all_inner_texts())

    slider = page.get_by_role("slider")
    slider.press("Home")
    light = kept()
    slider.press("End")
    assert 0 < kept() < light / 2  # 80% pruned
    page.get_by_role("combobox", name="Task").select_option("0")
    assert page.locator(CELLS.format("tickets")).count() == cells.count() > 0
    columns = page.locator('.st-explore[data-view="tickets"] thead th').count()
    page.get_by_role("combobox", name="Scale").first.select_option(label="Smoke")
    assert page.locator('.st-explore[data-view="tickets"] thead th').count() < columns  # fewer heads a layer
    before = page.locator(CELLS.format("map")).all_inner_texts()
    page.get_by_role("combobox", name="Shown").select_option("rise of bias")
    assert page.locator(CELLS.format("map")).all_inner_texts() != before


@needs_browser
def test_without_scripts_the_pictures_stand_there(site, chromium: Browser) -> None:
    page = chromium.new_context(java_script_enabled=False).new_page()
    page.goto((site / "explore.html").as_uri(), wait_until="load")
    assert page.locator(".st-explore svg:visible").count() == 2
    assert not page.locator(".st-explore td").count()


def test_only_its_page_holds_the_script_and_it_is_small(site) -> None:
    assert len(gzip.compress((site / "explore.html").read_bytes())) < 1_000_000
    holding = [path.name for path in page_files(site) if "st-explore" in path.read_text(encoding="utf-8")]
    assert holding == ["explore.html"]


def test_no_table_has_more_columns_than_fit(site) -> None:
    wide = {}
    for path in page_files(site):
        for table in re.findall(r'<figure class="st-table".*?</thead>', path.read_text(encoding="utf-8"), re.DOTALL):
            if table.count('scope="col"') > MOST:
                wide[path.name] = table[:80]
    assert wide == {}


def test_tables_and_figures_lead_to_their_runs_and_these_to_their_records(site) -> None:
    for page, names in BEHIND.items():
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        shown = re.findall(r'<figcaption data-name="([^"]*)"', text)
        for start, behind in names.items():
            assert any(name.startswith(start) for name in shown), (page, start)  # nothing is named that is gone
            assert all(f"runs/{one}.html" in text for one in behind.split()), (page, start)
    shown = {one for names in BEHIND.values() for behind in names.values() for one in behind.split()}
    for name in shown:
        text = (site / "runs" / f"{name}.html").read_text(encoding="utf-8")
        files = re.findall(rf'href="({name}-\w+\.csv)">The records \(CSV, (\d+) rows\)', text)
        assert any("smoke" in file for file, _ in files) or (files and name in RECORDED_ONLY), name
        for file, rows in files:
            with (site / "runs" / file).open(encoding="utf-8", newline="") as opened:
                assert sum(1 for _ in csv.DictReader(opened)) == int(rows)
        assert str(site.parents[2]) not in text and 'class="provenance"' in text


def test_the_status_page_tells_every_chapter_and_its_runs(site) -> None:
    text = (site / "status.html").read_text(encoding="utf-8")
    chapters = re.findall(r'href="chapters/(\w+)\.html">', text.split('id="table-chapters"')[1].split("</table>")[0])
    assert chapters == sorted(path.stem for path in (site.parents[1] / "chapters").glob("*.ipynb"))
    for name in EXPERIMENTS:
        assert f'href="runs/{name}.html">' in text, name
        if name not in RECORDED_ONLY and '<section id="smoke">' in (site / "runs" / f"{name}.html").read_text(
            encoding="utf-8"
        ):
            assert re.search(rf'href="runs/{name}\.html#smoke">(\d+) of \1<', text), name
