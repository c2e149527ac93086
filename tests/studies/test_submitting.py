"""What goes to the GLUE server: the best seed of the selection split, and every table that the server demands."""

import zipfile
from dataclasses import dataclass, field

import numpy as np
import pytest

from supertickets.errors import SuperticketsError
from supertickets.runs import Hyper, RunSpec, TicketRule
from supertickets.studies import submit
from supertickets.tasks import DataRef, Examples, Task, answers


@dataclass
class Kept:
    """What :func:`submit` reads of a record."""

    metrics: dict = field(default_factory=dict)
    arrays: dict = field(default_factory=dict)


LABELS = {"RTE": ("entailment", "not_entailment"), "MRPC": ("not_equivalent", "equivalent")}
ROWS = {"RTE": 3_000, "MRPC": 1_725}


def task(name: str) -> Task:
    rows = Examples((("a", "b"),) * ROWS[name], np.full(ROWS[name], -1))
    return Task(name, "classification", LABELS[name], ("accuracy",), rows, rows, rows)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch):
    """Seed 1 is the best on average of those that have both tasks; its answers are all class 1, the others' class 0."""
    monkeypatch.setattr(DataRef, "load", lambda ref: task(ref.name))
    specs, store = [], {}
    for seed, scores in ((0, (0.9, 0.5)), (1, (0.7, 0.8)), (2, (0.99, None))):
        for name, score in zip(LABELS, scores, strict=True):
            if score is not None:
                spec = RunSpec("minilm", "1", DataRef(name, with_test=True), seed, Hyper(),
                               TicketRule("winning", 0.2, "parent"), ())  # fmt: skip
                logits = np.eye(2)[np.full(ROWS[name], int(seed == 1))]
                # The report split likes another seed: it has no say.
                metrics = {"selection": {"score": score}, "report": {"score": 1 - score}}
                specs.append(spec)
                store[spec.id] = Kept(metrics, {"test_logits": logits})
    return specs, store


def test_the_best_seed_of_the_selection_split_is_sent_with_every_table_the_server_demands(runs, tmp_path):
    said = submit(tmp_path / "glue.zip", *runs)
    with zipfile.ZipFile(tmp_path / "glue.zip") as packed:
        tables = {name: packed.read(name).decode().splitlines()[1:] for name in packed.namelist()}
    assert set(tables) == {"RTE.tsv", "MRPC.tsv", "WNLI.tsv", "AX.tsv"}
    assert {line.split("\t")[1] for line in tables["RTE.tsv"]} == {"not_entailment"}
    assert answers(task("RTE"), np.eye(2)[np.ones(3_000, int)])["RTE"][0] == "not_entailment"
    assert {line.split("\t")[1] for line in tables["WNLI.tsv"]} == {"0"} and len(tables["AX.tsv"]) == 1_104
    assert "the predictions of seed 1, whose mean selection score over 2 tasks, 0.750, is the best of 2 seeds" in said
    assert "constant answers for WNLI (always 0) and AX (always entailment), which the server demands" in said
    assert "CoLA.tsv is missing." in said and "WNLI.tsv is missing" not in said


def test_without_a_seed_that_has_every_task_nothing_is_written(runs, tmp_path):
    specs, store = runs
    with pytest.raises(SuperticketsError, match="No seed has test predictions of a full model"):
        submit(tmp_path / "glue.zip", specs, store, "full")
    assert not list(tmp_path.iterdir())
