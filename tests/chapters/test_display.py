"""Figures and tables as HTML: text alternatives, data, colours that follow the page."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from supertickets.chapters.claims import claim, judged
from supertickets.chapters.display import CLAIMS, figure_html, measured, show_claims, show_table, table_html, tabs
from supertickets.chapters.svg import NARROW
from supertickets.errors import SuperticketsError


def line(label: str = "winning") -> Figure:
    fig = Figure()
    ax = fig.subplots()
    ax.plot([0, 1], [1, 0], marker="o", label=label)
    ax.legend()
    return fig


def csv_of(text: str) -> str:
    found = re.search(r'href="data:text/csv;base64,([^"]+)"', text)
    assert found is not None
    return base64.b64decode(found.group(1)).decode()


def test_figure_needs_words() -> None:
    with pytest.raises(SuperticketsError, match=r"Figure 'curve' needs a text alternative"):
        figure_html(line(), "  ", name="curve")


def test_figure_is_well_formed_and_carries_its_data() -> None:
    frame = pd.DataFrame({"level": [0.1, 0.2], "score": [0.123456789, 1.0]})
    text = figure_html(line(), 'Falls; "winning" < full & rest.', frame, "curve")
    figure = ET.fromstring(text)
    wide, _ = svgs = figure.findall("div/{http://www.w3.org/2000/svg}svg")
    assert [svg.get("role") for svg in svgs] == ["img", "img"]
    assert {svg.get("aria-label") for svg in svgs} == {'Falls; "winning" < full & rest.'}
    widths = [float(svg.get("width", "").removesuffix("pt")) for svg in svgs]
    assert widths[1] < 72 * NARROW + 10 < widths[0]
    assert "winning" in {text.text for text in wide.iter("{http://www.w3.org/2000/svg}text")}  # to be found and read
    assert "Falls; " in "".join(figure.find("figcaption").itertext())  # pyright: ignore[reportOptionalMemberAccess]
    assert csv_of(text) == "level,score\n0.1,0.123456789\n0.2,1.0\n"
    assert "<metadata>" not in text
    assert "<style" not in text
    assert csv_of(figure_html(line(), "Falls.", [{"a": 1}])) == "a\n1\n"
    assert "text/csv" not in figure_html(line(), "Falls.")


def test_same_figure_same_text_and_ids_of_their_own() -> None:
    first, again, other = (figure_html(line(label), "Falls.", name="curve") for label in ("a", "a", "b"))
    assert first == again
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) - {"figure-curve"} for text in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    targets = set(re.findall(r'href="#([^"]+)"', first)) | set(re.findall(r"url\(#([^)]+)\)", first))
    assert targets
    assert targets <= ids[0]


def drawn_narrow(fig: Figure, narrow: Figure | None = None) -> list[ET.Element]:
    """The words of the figure for phones."""
    svg = ET.fromstring(figure_html(fig, "Drawn.", narrow=narrow)).findall("div/{http://www.w3.org/2000/svg}svg")[1]
    return list(svg.iter("{http://www.w3.org/2000/svg}text"))


def test_on_a_phone_names_do_not_run_into_each_other_and_numbers_fit_their_cells() -> None:
    names = ["acceptability", "entailment", "question_answer", "paraphrase", "similarity", "inference", "sentiment"]
    fig = Figure(figsize=(7, 3))
    fig.subplots().bar(names, range(7))
    turned = [words.get("transform", "") for words in drawn_narrow(fig) if words.text in names]
    assert len(turned) == 7 and all("rotate(-90" in place for place in turned)
    for cells, kept in ((5, {"-0.78"}), (9, {"-.78"}), (20, set())):
        fig = Figure(figsize=(7, 3), layout="constrained")
        ax = fig.subplots()
        fig.colorbar(ax.pcolormesh([[0.5] * cells]))
        for i in range(cells):
            ax.text(i + 0.5, 0.5, "-0.78\n-0.91 to -0.11", ha="center", fontsize=9)
        assert {words.text for words in drawn_narrow(fig) if (words.text or "").startswith("-")} == kept
    other = Figure()
    other.text(0.5, 0.5, "drawn for phones")
    assert "drawn for phones" in {words.text for words in drawn_narrow(line(), other)}


def light(colour: str) -> float:
    """WCAG's relative luminance."""
    parts = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in to_rgb(colour)]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)) + 0.05


def test_black_and_white_follow_the_page_but_not_on_coloured_cells() -> None:
    text = figure_html(line(), "Falls.")
    assert "#000000" not in text
    assert "#ffffff" not in text.replace("var(--st-surface, #ffffff)", "")
    assert "currentColor" in text
    fig = Figure()
    ax = fig.subplots()
    values = np.linspace(0, 1, 21)
    colours = ax.pcolormesh([values], cmap="Blues").to_rgba(values)
    for i in range(21):
        ax.text(i + 0.5, 0.5, f"{i:02d}", color="white")
    ax.text(-0.5, 0.5, "left", color="black")
    figure = figure_html(fig, "Cells.").split("</svg>")[0]
    assert re.search(r"fill: currentColor[^>]*>left</text>|<text(?![^>]*fill: #)[^>]*>left</text>", figure)
    for i, colour in enumerate(colours):
        (ink,) = re.findall(rf"fill: (#\w+)[^>]*>{i:02d}</text>", figure)
        dark, pale = sorted(map(light, (ink, to_hex(colour))))
        assert pale / dark >= 4.5


def test_table_scrolls_in_its_own_box_and_keeps_all_digits_in_its_data() -> None:
    frame = pd.DataFrame(
        {"task": ["a<b", None], "score": [0.123456, float("nan")]}, index=pd.Index([3, 4], name="seed")
    )
    text = table_html(frame, "Scores & more.", "scores", decimals=3)
    ET.fromstring(text)
    assert '<div class="st-scroll" tabindex="0" role="region" aria-label="Scores &amp; more.">' in text
    assert '<th scope="row" class="st-words">a&lt;b</th><td>0.123</td>' in text
    assert "a&lt;b" in text
    assert "NaN" not in text
    assert csv_of(text) == "task,score\na<b,0.123456\n,\n"
    assert csv_of(table_html(frame, "Scores.", index=True)).startswith("seed,task,score\n3,")
    rates = table_html(pd.DataFrame({"learning_rate": [0.00015, 0.0012]}), "Rates.", decimals=3)
    assert '<th scope="row">0.00015</th>' in rates


def test_tabs_hold_what_each_scale_shows_under_names_of_its_own(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda made: shown.append(made.data))
    frame = pd.DataFrame({"score": [0.5]})
    with tabs() as tab:
        for key, title in (("minilm", "MiniLM <on> GLUE"), ("lab", "Lab")):
            with tab(key, title):
                show_table(frame, "Scores.", "table-1")
                measured("It rises.")
        with tab("mpnet", "MPNet"):
            pass  # nothing recorded: no tab
    show_table(frame, "Scores.", "table-1")
    first, after = shown
    assert first.count('<section class="st-tab"') == 2
    assert 'id="table-table-1-minilm"' in first and 'download="table-1-lab.csv"' in first
    assert "MiniLM &lt;on&gt; GLUE" in first and first.count("It rises.") == 2
    assert 'id="table-table-1"' in after and "st-tab" not in after.replace("st-table", "")


def test_claims_are_shown_without_columns_that_say_nothing(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    for expected in (float("nan"), 0.9):
        show_claims(judged([claim("it rises", "here", [1.0, 2.0, 0.0], expected=expected)]), "Claims.")
    without, with_power = (made.data.split("</thead>")[0] for made in shown)
    assert "verdict" in without and "power" not in without and "unit" not in without
    assert "power" in with_power and "needed" in with_power
    show_claims(judged([claim("many are even", "all", [0.061, 0.081, 0.071], unit="share")]), "Claims.")
    assert ">7.1% [4.6%, 9.6%]</td>" in shown[-1].data


def test_claims_go_into_the_notebook_as_data_with_their_scale_and_place(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    rows = judged([claim("it rises", "here", [1.0, 2.0, 0.0])])
    with tabs() as tab, tab("minilm", "MiniLM"):
        show_claims(rows, "Claims.", "observations")
    show_claims(rows, "Claims.", "observations")
    (within,), (outside,) = (json.loads(json.dumps(made.metadata[CLAIMS], allow_nan=False)) for made in shown)
    assert (within["scale"], within["table"], within["id"]) == ("minilm", "observations", "table-observations-minilm")
    assert (outside["scale"], outside["id"]) == ("", "table-observations")
    assert (within["effect"], within["verdict"], within["expected"]) == (1.0, "cannot tell", None)


def test_cells_say_shares_in_per_cent_intervals_in_one_and_no_jargon():
    frame = pd.DataFrame(
        {
            "task": ["RTE"],
            "level": [0.1],
            "bias2": [0.5],
            "best": [0.2],
            "best: low": [0.1],
            "best: high": [float("inf")],
            "n_sets": [3],
            "chosen": [True],
        }
    )
    text = table_html(frame, "Cells.")
    assert heads(text) == ["task", "level", "bias²", "best", "training sets", "chosen"]
    assert re.findall("<td[^>]*>([^<]*)", text)[-5:] == ["10%", "0.50", "20% [10%, never]", "3", "yes"]
    assert csv_of(text).startswith("task,level,bias2,best,best: low,best: high,n_sets,chosen\nRTE,0.1,")


def heads(text: str) -> list[str]:
    return re.findall('<th scope="col"[^>]*>([^<]*)', text)


def test_the_papers_numbers_stand_below_ours_and_percentages_are_percentages():
    frame = pd.DataFrame({"task": ["inference", "RTE"], "kept (%)": [88.54, 90.0], "sd": [1.0, 2.0]})
    text = table_html(frame.assign(**{"paper: task": ["RTE", "RTE"], "paper: kept (%)": [86.8, None]}), "Sizes.")
    assert heads(text) == ["task", "kept", "sd"]
    assert 'inference<span class="st-theirs">paper: RTE</span></th>' in text and '">RTE</th>' in text
    assert '<td>88.5%<span class="st-theirs">86.8%</span></td>' in text and "<td>90.0%</td>" in text
    assert text.count("the paper's") == 1 and "the paper's" not in table_html(frame, "Sizes.")


def test_no_table_has_more_than_eight_columns_and_the_csv_has_all():
    names = ["task", "p", "power", *"abcdefg"]
    long = pd.DataFrame([[f"{name}{i}" for name in names] for i in range(9)], columns=names)
    text = table_html(long, "Many.")
    assert heads(text) == ["task", *"abcdefg"] and "Data (CSV, with p, power)" in text
    assert csv_of(text).startswith("task,p,power,a,")
    wide = table_html(long.drop(columns=["p", "power"]).assign(h="h", i="i").head(3), "Wide.")
    assert heads(wide) == ["task", "task0", "task1", "task2"] and '<th scope="row" class="st-words">i</th>' in wide
    cut = table_html(long.drop(columns=["p", "power"]).assign(h="h", i="i"), "Wide and long.")
    assert heads(cut) == ["task", *"abcdefg"] and "Data (CSV, with h, i)" in cut


def test_nothing_measured_shows_no_box(monkeypatch):
    shown = []
    monkeypatch.setattr("supertickets.chapters.display._emit", shown.append)
    measured()
    assert shown == []
    measured("It rises.")
    assert len(shown) == 1
