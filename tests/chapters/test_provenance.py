"""Where numbers come from: the runs behind an experiment, told from the packs of the book."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supertickets.chapters.provenance import BEHIND, EXPERIMENTS, Evidence, evidence, experiments_behind, runs_html
from supertickets.runs import RunStore
from supertickets.studies import experiments

RESULTS = Path(__file__).parents[2] / "book" / "results"


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Evidence:
    stamp = {"profile": "smoke", "parameters": {"store": "runs", "seeds": "", "tasks": "entailment"}}
    return evidence([stamp], RESULTS, tmp_path_factory.mktemp("notebooks"))


def test_every_experiment_has_a_title_and_every_link_an_experiment():
    assert set(EXPERIMENTS) == set(experiments.EXPERIMENTS)
    assert {one for names in BEHIND.values() for value in names.values() for one in value.split()} <= set(EXPERIMENTS)
    assert experiments_behind("chapters/05_single_task", "table-2") == ["table2"]
    assert experiments_behind("chapters/05_single_task", "light-powered") == ["light", "figure1"]
    assert experiments_behind("chapters/08_analysis", "power") == experiments_behind("use_it", "table-1") == []


def test_a_page_tells_counts_settings_and_packs_and_offers_all_rows(found):
    text, frames = runs_html(found, "figure1")
    ids = set(RunStore(str(RESULTS / "minilm-h200.zip")).ids())
    frame = frames["figure1-minilm.csv"]
    assert set(frame["run"]) <= set(found.records) and ids & set(frame["run"])
    read = re.sub("<[^>]*>", " ", text)
    assert f"{len(frame)} of 300 runs" in read and "Pack minilm-h200" in read and "NVIDIA H200" in read
    assert 'href="figure1-minilm.csv"' in text and re.search(r"<dt>numerics</dt><dd>\d+</dd>", text)
    assert '<span id="smoke">Smoke</span>' in text.split("<p>No runs yet: ")[1]  # an anchor for every scale
    assert text.index('id="minilm"') < text.index('id="smoke"')


def test_a_page_names_no_place(found):
    for name in EXPERIMENTS:
        text, frames = runs_html(found, name)
        assert not re.search(r"data.dir|/home|/tmp|host", text), name
        assert not [column for frame in frames.values() for column in frame if re.search("dir|host|path", column)]
