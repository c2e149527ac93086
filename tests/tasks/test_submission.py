"""Submissions to the GLUE server: what is written, and what is refused."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supertickets.errors import SuperticketsError
from supertickets.tasks import Examples, Task, answers, write_submission
from supertickets.tasks.published import BENCHMARKS
from supertickets.tasks.submission import FILES


def task(name: str, n: int, names: tuple[str, ...], groups: list[str] | None = None) -> Task:
    labels = np.full(n, -1) if names else np.full(n, np.nan)
    texts = (("a", "b"),) * n
    test = Examples(texts, labels, None if groups is None else np.array(groups))
    seen = Examples(texts, np.zeros(n, int))
    metrics = ("accuracy",) if names else ("pearson",)
    return Task(name, "classification" if names else "regression", names, metrics, seen, seen, test)


def published(name: str) -> Task:
    """A published task with a test split of the official size."""
    known = next(made for made in BENCHMARKS if made.name == name)
    if name == "MNLI":
        sizes = FILES["MNLI-m"].rows, FILES["MNLI-mm"].rows
        return task(name, sum(sizes), known.label_names, ["matched"] * sizes[0] + ["mismatched"] * sizes[1])
    return task(name, FILES[name].rows, known.label_names)


def logits_of(made: Task, seed: int = 0) -> np.ndarray:
    assert made.test is not None
    return np.random.default_rng(seed).normal(2.0, 2.0, (len(made.test), made.num_labels)).astype(np.float32)


@pytest.fixture(scope="module")
def predictions() -> dict[str, tuple[str, ...]]:
    """A full submission."""
    made: dict[str, tuple[str, ...]] = {"WNLI": ("0",) * 146}
    for name in ("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "MNLI", "QNLI", "RTE"):
        made.update(answers(published(name), logits_of(published(name))))
    mnli = replace(published("MNLI"), test=task("MNLI", 1104, ("x",)).test)
    return {**made, **answers(mnli, logits_of(mnli), file="AX")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, predictions: dict[str, tuple[str, ...]]) -> Path:
    path = tmp_path_factory.mktemp("glue") / "glue.zip"
    assert write_submission(path, predictions) == []
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, predictions: dict[str, tuple[str, ...]]) -> Path:
    """All but QQP, whose table alone takes longer than the rest."""
    path = tmp_path_factory.mktemp("small") / "small.zip"
    small = {name: rows for name, rows in predictions.items() if name != "QQP"}
    assert write_submission(path, small) == ["QQP.tsv is missing."]
    return path


def test_a_submission_reads_back_as_it_was_meant(whole, predictions):
    with zipfile.ZipFile(whole) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [f"{name}.tsv" for name in FILES]
        for name in FILES:
            header, *rows = opened.read(f"{name}.tsv").decode().removesuffix("\n").split("\n")
            assert header == "index\tprediction"
            assert [tuple(row.split("\t")) for row in rows] == [(str(i), p) for i, p in enumerate(predictions[name])]


def test_sizes_are_the_servers():
    sizes = {
        "CoLA": 1063, "SST-2": 1821, "MRPC": 1725, "STS-B": 1379, "QQP": 390965, "MNLI-m": 9796, "MNLI-mm": 9847,
        "QNLI": 5463, "RTE": 3000, "WNLI": 146, "AX": 1104,
    }  # fmt: skip
    assert {name: table.rows for name, table in FILES.items()} == sizes
    assert [name for name, table in FILES.items() if table.constant] == ["WNLI", "AX"]


def test_the_same_predictions_are_the_same_bytes(archive, predictions, tmp_path):
    small = {name: rows for name, rows in reversed(predictions.items()) if name != "QQP"}
    write_submission(tmp_path / "again.zip", small)
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.zip"]


# --- from logits to words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("RTE", ("entailment", "not_entailment"), ("not_entailment", "entailment")),
        ("RTE", ("not_entailment", "entailment"), ("entailment", "not_entailment")),
        ("MRPC", ("not_equivalent", "equivalent"), ("1", "0")),
        ("MRPC", ("equivalent", "not_equivalent"), ("0", "1")),
        ("CoLA", ("unacceptable", "acceptable"), ("1", "0")),
        ("SST-2", ("positive", "negative"), ("0", "1")),
        ("QQP", ("1", "0"), ("0", "1")),
        ("WNLI", ("0", "1"), ("1", "0")),
    ],
)
def test_classes_go_by_name_not_by_position(name, names, expected):
    assert answers(task(name, 2, names), np.array([[0.0, 1.0], [3.0, 1.0]])) == {name: expected}


def test_mnli_makes_two_tables_in_any_order_of_rows_and_classes():
    names = ("contradiction", "entailment", "neutral")
    made = task("MNLI", 3, names, ["mismatched", "matched", "mismatched"])
    found = answers(made, np.eye(3))
    assert found == {"MNLI-m": ("entailment",), "MNLI-mm": ("contradiction", "neutral")}
    assert list(answers(task("MNLI", 1, names), np.eye(3)[:1], file="MNLI-mm")) == ["MNLI-mm"]
    with pytest.raises(SuperticketsError, match=r"in one part, and the server has two tables: .*file='MNLI-m'"):
        answers(task("MNLI", 1, names), np.eye(3)[:1])


def test_scores_are_cut_to_the_servers_range():
    scores = np.array([-0.3, 2.5, 5.25, 4.9999999])
    expected = {"STS-B": ("0.000000", "2.500000", "5.000000", "5.000000")}
    assert answers(task("STS-B", 4, ()), scores) == answers(task("STS-B", 4, ()), scores[:, None]) == expected


@pytest.mark.parametrize(
    ("made", "logits", "file", "sentence"),
    [
        (replace(task("RTE", 2, ("a", "b")), test=None), np.eye(2), "", "no test split to answer: load it with_test"),
        (task("RTE", 2, ("a", "b")), np.eye(3), "", r"shape \(3, 3\), not \(2, 2\)"),
        (task("RTE", 2, ("a", "b")), np.zeros(2), "", r"shape \(2, 1\), not \(2, 2\)"),
        (task("RTE", 2, ("a", "b")), np.full((2, 2), np.nan), "", "not finite"),
        (
            task("RTE", 2, ("a", "b")),
            np.eye(2),
            "",
            "classes of task 'RTE' are a, b, and RTE.tsv wants entailment, not",
        ),
        (task("MRPC", 2, ("same", "other")), np.eye(2), "", "MRPC.tsv wants 0, 1: rename"),
        (task("SNLI", 2, ("neutral", "entailment")), np.eye(2), "", "no task 'SNLI': its tables are CoLA, SST-2"),
        (task("STS-B", 2, ("0", "1")), np.eye(2), "", "is a classification task, and STS-B.tsv wants something else"),
        (task("CoLA", 2, ()), np.zeros(2), "", "is a regression task, and CoLA.tsv wants something else"),
    ],
)
def test_answers_that_cannot_be(made, logits, file, sentence):
    with pytest.raises(SuperticketsError, match=sentence):
        answers(made, logits, file)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_an_incomplete_submission_says_what_it_lacks(tmp_path, predictions):
    paper = {name: predictions[name] for name in FILES if not FILES[name].constant and name not in ("QQP", "RTE")}
    path = tmp_path / "paper.zip"
    why = "is missing (the paper leaves it out, the server scores nothing without it)."
    lacks = write_submission(path, paper)
    assert lacks == ["QQP.tsv is missing.", "RTE.tsv is missing.", f"WNLI.tsv {why}", f"AX.tsv {why}"]
    with zipfile.ZipFile(path) as opened:
        assert opened.namelist() == [f"{name}.tsv" for name in paper]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"RTE": ["entailment"] * 2999}, r"No submission was written: RTE\.tsv has 2,999 rows, not 3,000\."),
        ({"WNLI": ["0"] * 145 + ["entailment"]}, r"Data row 146 of WNLI\.tsv predicts 'entailment', .* one of 0, 1\."),
        (
            {"STS-B": [1.0] * 1378 + [float("nan")]},
            "Data row 1379 of STS-B.tsv predicts 'nan', .* a number from 0 to 5",
        ),
        ({"SST2": ["0"]}, "no task 'SST2': its tables are CoLA, SST-2"),
        ({}, "nothing to submit"),
    ],
)
def test_wrong_predictions_are_refused_and_nothing_is_touched(tmp_path, wrong, sentence):
    path = tmp_path / "glue.zip"
    path.write_bytes(b"before")
    with pytest.raises(SuperticketsError, match=sentence):
        write_submission(path, wrong)
    assert path.read_bytes() == b"before"
    assert [found.name for found in tmp_path.iterdir()] == ["glue.zip"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(SuperticketsError, match=r"none.glue\.zip cannot be written: No such file"):
        write_submission(tmp_path / "none" / "glue.zip", {"WNLI": [0] * 146})


@pytest.mark.parametrize("score", ["nan", "inf", "5.01", "-0.1", "high", ""])
def test_each_bad_score_is_found(tmp_path, score):
    with pytest.raises(SuperticketsError, match=f"Data row 1379 of STS-B.tsv predicts {score!r}, .* not a number"):
        write_submission(tmp_path / "glue.zip", {"STS-B": ["1.0"] * 1378 + [score]})
