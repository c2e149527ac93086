"""What the benchmark compares is the same work: the Trainer's run of a spec, and ours, come out alike."""

import dataclasses
import json

import baseline
import bench
import numpy as np
import pytest
import tricks

from supertickets.errors import SuperticketsError
from supertickets.studies import full_run, get_profile
from supertickets.studies.experiments import rewound
from supertickets.tasks import data_ref
from supertickets.training import fine_tune


@pytest.fixture(scope="module")
def full():
    profile = get_profile("lab")
    return full_run("lab-base", data_ref("entailment", train_size=200, dev_size=300), 0, profile.hyper)


@pytest.fixture(scope="module")
def theirs(full):
    return baseline.train(full)


def test_the_trainer_does_the_same_run(full, theirs):
    ours = fine_tune(full)
    assert ours.metrics["report"]["score"] > 0.85  # there is something to agree about
    assert theirs.score == pytest.approx(ours.metrics["report"]["score"], abs=0.08)
    assert 3 <= theirs.epochs <= 6
    order = np.corrcoef(theirs.scores.heads.ravel(), ours.scores("example").heads.ravel())
    assert order[0, 1] > 0.7


def test_the_trainer_trains_the_ticket_as_masks(full, theirs):
    ticket = rewound(full, "losing", 0.5)
    with pytest.raises(SuperticketsError, match="scores"):
        baseline.train(ticket)
    pruned = baseline.train(ticket, theirs.scores)
    assert pruned.scores is None
    assert pruned.score < theirs.score - 0.15


def test_a_measurement_goes_through_a_process_of_its_own(monkeypatch, capsys):
    settings = {"side": "ours", "suite": "engine", "workers": 1, "seeds": [0], "data_dir": "", "precision": "fp32"}
    bench.one_side({**settings, "first": 1, "on": "engine"})
    *rows, last = [json.loads(line.removeprefix(bench.MARK)) for line in capsys.readouterr().out.splitlines()]
    assert [row["kind"] for row in rows] == ["random"]
    assert 0 < rows[0]["seconds"] <= last["wall"]
    assert last["busy"] == rows[0]["seconds"]


def test_the_suites_hold_the_runs_they_promise():
    assert len(bench.specs_of("lab", "fp32", (0, 1, 2), "")) == 3 * 25 * 3
    idle = bench.specs_of("engine", "fp32", (0,), "")
    assert len(idle) == 120
    assert not any(spec.parents for spec in idle)


def test_suites_that_are_not_measured_again_are_kept_if_made_alike(tmp_path):
    path, made = tmp_path / "made.json", {"device": "CPU", "torch": "9"}
    rows = [{"suite": "lab", "side": "ours"}, {"suite": "RTE", "side": "ours"}]
    path.write_text(json.dumps({"made": made | {"suites": {"lab": "before", "RTE": "then"}}, "rows": rows}))
    assert bench.kept(path, made, ["RTE"]) == (rows[:1], {"lab": "before"})
    assert bench.kept(path, made | {"torch": "10"}, ["RTE"]) == ([], {})
    assert bench.kept(tmp_path / "none.json", made, ["RTE"]) == ([], {})
    path.write_text("{")
    assert bench.kept(path, made, ["RTE"]) == ([], {})


def test_every_trick_can_be_taken_away_and_the_run_stays_what_it_was(monkeypatch):
    spec = full_run("lab-base", data_ref("entailment", train_size=32, dev_size=40), 0, get_profile("lab").hyper)
    outputs = []

    def watched(spec):
        outputs.append(fine_tune(spec).arrays["dev_logits"])

    monkeypatch.setattr(tricks, "fine_tune", watched)
    rows = list(tricks.priced(dataclasses.replace(spec, hyper=dataclasses.replace(spec.hyper, epochs=1)), rounds=1))
    assert [row["trick"] for row in rows] == list(tricks.TRICKS)
    assert all(0 < row["low"] <= row["ratio"] <= row["high"] for row in rows)
    assert len(outputs) == 2 * (1 + len(tricks.TRICKS))
    whole, *others = outputs[1 + len(tricks.TRICKS) :]
    np.testing.assert_array_equal(outputs[len(others)], whole)  # all is as it was
    same = {name: np.abs(found - whole).max() for name, found in zip(tricks.TRICKS, others, strict=True)}
    assert same.pop("batches of like length") > 0  # other examples meet
    assert max(same.values()) < 1e-4, same
