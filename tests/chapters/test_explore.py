"""The page to explore: what its script is told is what the records hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from supertickets.chapters.chapter import recorded_scales
from supertickets.chapters.explore import map_html, map_view, tickets_data, tickets_html
from supertickets.runs import Record, RunSpec, RunStore
from supertickets.studies import get_profile
from supertickets.tickets import winning_ticket

RESULTS = Path(__file__).parents[2] / "book" / "results"
LEVELS = (0.2, 0.5, 0.8)


@pytest.fixture(scope="module")
def full() -> list[Record]:
    """Full runs of one task, one rate and three seeds."""
    records = RunStore(str(RESULTS / "minilm-few.zip")).records(arrays=True)
    own = [run for run in records if isinstance(run.spec, RunSpec) and run.spec.data.name == "SST-2"]
    wanted = [run for run in own if run.spec.ticket.kind == "full" and not run.spec.choices]
    rate = get_profile("minilm").rate_by_task["SST-2"]
    at_rate = [run for run in wanted if run.spec.hyper.learning_rate == rate]
    return [run for run in at_rate if (run.spec.data.train_size, run.spec.data.train_seed) == (500, None)]


def told(text: str) -> list[dict]:
    found = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_unit_is_kept_by_as_many_seeds_as_have_it_in_their_ticket(full):
    data = tickets_data("MiniLM", full, LEVELS)
    (task,) = data["tasks"]
    assert (data["layers"], data["heads"], task["seeds"]) == (6, 12, len(full))
    kept = np.array(task["kept"]).reshape(3, 6, 13)
    for level, own in zip(LEVELS, kept, strict=True):
        tickets = [winning_ticket(run.scores("example"), level) for run in full]
        assert (own[:, :12] == sum(ticket.heads.astype(int) for ticket in tickets)).all()
        assert (own[:, 12] == sum(ticket.ffns.astype(int) for ticket in tickets)).all()
    importance = np.array(task["importance"]).reshape(6, 13)
    assert importance[:, :12].max() == importance[:, 12].max() == 1 and importance.min() >= 0


def test_the_views_hold_their_data_and_a_still_picture_and_no_markup_of_others(full):
    text = tickets_html([("<MiniLM>", full, LEVELS)])
    assert "<MiniLM>" not in text and told(text)[0]["title"] == "<MiniLM>"
    assert text.count("<svg") == 2 and 'data-name="figure-6"' in text
    assert tickets_html([]) == map_html([]) == ""


def test_the_map_tells_each_cell_as_the_chapter_has_it():
    frame = map_view(recorded_scales(str(RESULTS), "map")[0].records("map"))
    (scale,) = told(map_html([("Lab", frame)]))
    assert len(scale["cells"]) == len(frame) > 5
    for cell, row in zip(scale["cells"], frame.to_dict("records"), strict=True):
        assert (cell["train_size"], cell["verdict"], cell["n"]) == (row["train_size"], row["verdict"], row["n"])
        assert cell["gain: low"] == pytest.approx(row["gain: low"], abs=1e-3)
    assert map_view([]).empty
