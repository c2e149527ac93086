"""The front page: every claim of the paper with its verdict at every scale, from what the chapters stored."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
import supertickets_verdicts as verdicts

from supertickets.chapters.claims import claim, judged
from supertickets.chapters.display import CLAIMS

pytestmark = pytest.mark.timeout(1800)  # the first test builds the book
SCALES = {"mpnet": "MPNet on GLUE", "lab": "Lab"}
TOO_SMALL = (
    "Super tickets gain less in larger tasks",
    "Super tickets keep more in larger tasks",
    "On the smallest task it is on a par with fine-tuned MT-DNN",
    "On the largest task it loses nothing",
)  # three tasks or more, or two of different sizes


def executed(folder: Path, page: str, rows: list[dict]) -> None:
    notebook = nbformat.v4.new_notebook(metadata={"supertickets": {"profile": "lab"}})
    output = nbformat.v4.new_output("display_data", {"text/html": "<table>"}, metadata={"text/html": {CLAIMS: rows}})
    notebook.cells = [nbformat.v4.new_code_cell("show_claims(rows)", outputs=[output])]
    nbformat.write(notebook, folder / f"{page}.ipynb")


def stored(frame, table: str, scale: str = "") -> list[dict]:
    place = {"table": table, "scale": scale, "id": f"table-{table}"}
    return [row | place for row in json.loads(frame.to_json(orient="records"))]


@pytest.fixture
def claims(tmp_path) -> list[dict]:
    gain = "light pruning beats the full model"
    rows = judged([claim(gain, "all tasks together", [1.0, 1.1, 0.9], expected=0.9, detail=False)])
    detail = judged([claim(gain, "RTE", [-5.0, -6.0, -5.5], detail=True)])
    few = judged([claim(gain, "SST-2", [0.5, -0.5, 0.4], expected=0.9, detail=False)])
    found = stored(rows, "observations") + stored(detail, "details") + stored(few, "observations", "mpnet")
    executed(tmp_path, "05_single_task", found)
    changes = {"Brier": [-1.0, -1.1, -0.9], "0-1": [1.0, 1.1, 0.9]}
    losses = [claim("variance falls", f"{loss}, mean", x, side="below", detail=False) for loss, x in changes.items()]
    executed(tmp_path, "01_introduction", stored(judged(losses), "directions"))
    return verdicts.read_claims(tmp_path)


def test_a_row_says_word_effect_interval_runs_and_where_to_read_on(claims) -> None:
    text = verdicts.verdicts_html(claims, SCALES)
    rows = dict(re.findall(r'<tr id="[^"]*"><th scope="row"><a href="[^"]*">([^<]*)</a>.*?</th>(.*?)</tr>', text))
    assert len(rows) == len(verdicts.statements()) == 32
    row = rows["Light pruning beats the full model"]
    paper, mpnet, lab = re.findall(r"<td.*?</td>", row)
    assert "Figure 4" in paper
    assert 'href="glossary.html#term-holds-here">holds here</a>' in lab
    assert 'href="chapters/05_single_task.html#table-observations">+1.00 points [+0.75, +1.25]</a>, n = 3<' in lab
    assert "cannot tell" in mpnet and re.search(r"n = 3, power \d+%", mpnet)
    assert "-5" not in row  # the detail of one task
    assert rows["Ticket-Share beats MT-DNN"].count(verdicts.NO_RUNS) == 2


def test_losses_that_disagree_are_shown_each_and_settle_nothing(claims) -> None:
    text = verdicts.verdicts_html(claims, SCALES)
    assert re.search(r"<i>Brier:</i> <a [^>]*>holds here</a>.*<i>0-1:</i> <a [^>]*>reversed here</a>", text)
    mpnet, lab, none = verdicts.summary(claims, SCALES | {"minilm": "MiniLM"})
    assert none == "**MiniLM**: no runs yet." and "MiniLM" not in verdicts.verdicts_html(claims, {"minilm": "MiniLM"})
    assert mpnet == "**MPNet on GLUE**: 1 cannot tell, 31 no runs yet."
    assert lab == "**Lab**: 1 holds here (light pruning beats the full model), 1 cannot tell, 30 no runs yet."


def test_tests_of_single_tasks_do_not_hide_what_their_mean_came_to() -> None:
    gain = "light pruning beats the full model"
    sets = {"mean of 2 tasks": [-1.0, -1.1, -0.9], "SST-2": [0.5, -0.5, 0.4]}
    rows = [judged([claim(gain, where, x, detail=False)]) for where, x in sets.items()]
    place = {"page": "05_single_task"}
    found = [row | place for frame in rows for row in stored(frame, "light-powered", "minilm")]
    (said,) = verdicts.summary(found, {"minilm": "MiniLM"})
    many = "light pruning beats the full model, on many training sets"
    assert said == f"**MiniLM**: 1 reversed here ({many}), 31 no runs yet."
    assert "reversed here on mean of 2 tasks; cannot tell on SST-2" in re.sub(
        r"<[^>]+>", "", verdicts.headlines_html(found, {"minilm": "MiniLM"})
    )


def test_the_main_claims_are_answered_first_with_a_link_to_their_rows(claims) -> None:
    text = verdicts.headlines_html(claims, SCALES)
    assert (
        text.count("<li>")
        == len(verdicts.MAIN)
        == len({said.words for said in verdicts.statements()} & {*verdicts.MAIN})
    )
    read = re.sub(r"<[^>]+>", "", text)
    said = "Lab holds here by Brier; reversed here by 0-1 (-1.00 points [-1.25, -0.75] by Brier, n = 3)."
    assert f"As a model shrinks, its variance falls: {said}" in read
    assert "Ticket-Share beats MT-DNN: no runs yet." in read
    (row,) = re.findall(r'href="#(claim-\d+)">As a model shrinks, its variance', text)
    table = verdicts.verdicts_html(claims, SCALES)
    assert "its variance falls" in table.split(f'<tr id="{row}">')[1].split("</tr>")[0]


def test_the_chapters_claims_are_found_on_the_front_page(site) -> None:
    """A claim that is worded anew in its chapter would be lost here."""
    claims = verdicts.read_claims(site.parents[1] / "chapters")
    lost = [
        said.words
        for said in verdicts.statements()
        if not any(
            (row["page"], row["table"]) == (said.page, said.table) and row["claim"].startswith(said.rows)
            for row in claims
        )
    ]
    assert set(lost) <= set(TOO_SMALL)
    text = (site / "index.html").read_text(encoding="utf-8")
    read = re.sub(r"<[^>]+>", "", text)
    assert text.count('<th scope="row">') == len(verdicts.statements())
    assert "recorded runs of MiniLM on GLUE" in read and "made by this build" in read
    assert '<figure class="st-figure" id="figure-figure-1-mpnet">' in text


def test_every_page_describes_itself_and_the_search_finds_chapters(site) -> None:
    for path in (*site.glob("[!gps]*.html"), *site.glob("chapters/*.html")):  # not the lists that Sphinx makes
        found = re.search(r'<meta name="description" content="([^"]*)"', path.read_text(encoding="utf-8"))
        assert found and 20 < len(found[1]) < 500, path.name
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert '"objects": {}' in index  # names of the API would come before chapters
