"""Chapter 1 for an encoder with fewer kinds and levels: the book's MiniLM runs, relabelled as MPNet's in tests only."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from supertickets.chapters.bias_variance.claims import directions
from supertickets.chapters.bias_variance.figures import trade_off_figure
from supertickets.chapters.bias_variance.tables import trade_off
from supertickets.chapters.chapter import Chapter
from supertickets.chapters.single_task.claims import boundaries, larger_models
from supertickets.runs import pack
from supertickets.studies import get_profile, training_set_sweeps

PACK = Path(__file__).resolve().parents[3] / "book" / "results" / "minilm-h200.zip"


@pytest.fixture(scope="module")
def chapter(tmp_path_factory):
    if not PACK.exists():
        pytest.skip(f"{PACK.name} is not in book/results")
    folder = tmp_path_factory.mktemp("results")
    shutil.copy(PACK, folder)
    minilm = Chapter(get_profile("smoke"), str(folder / "none"), str(folder)).recorded["minilm"]
    known = {(r.spec.ticket.kind, r.spec.ticket.level, r.spec.seed): r for r in minilm.records("figure1")}
    inputs = replace(minilm.inputs, revision=lambda _: "relabelled")
    specs = training_set_sweeps(get_profile("mpnet"), inputs)
    made = [replace(known[spec.ticket.kind, spec.ticket.level, spec.seed], spec=spec) for spec in specs]
    pack(made, folder / "mpnet.zip")
    return Chapter(get_profile("smoke"), str(folder / "none"), str(folder))


def test_the_three_panels_and_the_claims_of_mpnet(chapter):
    minilm, mpnet, _ = chapter.scales("figure1")
    assert "96 of 96 runs" in mpnet.told("figure1")
    frame, records = mpnet.judged("figure1"), list(mpnet.records("figure1"))
    terms = trade_off(records, n_resamples=20)
    assert set(terms["kind"]) == {"full", "winning", "random"}
    phases = boundaries(frame)
    assert phases.n_seeds == 8
    drawn = trade_off_figure(frame, terms, phases)
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["full model", "winning", "random"]
    found = directions(records, ["brier"], n_resamples=20)
    assert set(found["n"]) == {8}
    assert found.loc[~found["detail"], "where"].tolist()[-1] == "Brier, mean of 20%, 50%, 80%"
    told = larger_models(minilm.judged("figure1"), frame)  # the same runs: no difference on the eight sets of both
    assert (told["n"].tolist(), told["effect"].tolist()) == ([8, 8], [0.0, 0.0])
