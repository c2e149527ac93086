"""Submissions to the GLUE server: what is written, and that every fault of a zip is found."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supertickets.errors import SuperticketsError
from supertickets.tasks import Examples, Task, answers, write_submission
from supertickets.tasks.published import BENCHMARKS
from supertickets.tasks.submission import FILES, validate_submission


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


def problems(path: Path) -> list[str]:
    """What is found besides the absence of QQP."""
    found = validate_submission(path)
    found.remove("QQP.tsv is missing.")
    return found


def test_a_submission_reads_back_as_it_was_meant(whole, predictions):
    assert validate_submission(whole) == []
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
    assert [name for name, table in FILES.items() if not table.in_paper] == ["WNLI", "AX"]


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
    paper = {name: predictions[name] for name in FILES if FILES[name].in_paper and name not in ("QQP", "RTE")}
    path = tmp_path / "paper.zip"
    why = "is missing (the paper leaves it out, the server scores nothing without it)."
    lacks = write_submission(path, paper)
    assert lacks == ["QQP.tsv is missing.", "RTE.tsv is missing.", f"WNLI.tsv {why}", f"AX.tsv {why}"]
    assert validate_submission(path) == lacks
    assert validate_submission(path, complete=False) == lacks[:2]


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


def changed(archive: Path, path: Path, name: str, change: Callable[[bytes], bytes | None], to: str = "") -> Path:
    """Copy a submission with one table changed, renamed or, where ``change`` returns None, left out."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for each in old.namelist():
            content = old.read(each)
            content = change(content) if each == name else content
            if content is not None:
                new.writestr(to if to and each == name else each, content)
    return path


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old, new, 1)


FAULTS = {
    "missing": ("RTE.tsv", lambda content: None, ["RTE.tsv is missing."]),
    "header": (
        "RTE.tsv",
        replaced(b"index\tprediction", b"id,label"),
        ["RTE.tsv begins with 'id,label', not with the header 'index<TAB>prediction'."],
    ),
    "no header": (
        "WNLI.tsv",
        replaced(b"index\tprediction\n", b""),
        [r"WNLI.tsv begins with '0\t0', not with the header 'index<TAB>prediction'."],
    ),
    "a row too few": (
        "CoLA.tsv",
        lambda content: content[: content.rindex(b"1062")],
        ["CoLA.tsv has 1,062 rows, not 1,063."],
    ),
    "a row too many": ("WNLI.tsv", lambda content: content + b"146\t0\n", ["WNLI.tsv has 147 rows, not 146."]),
    "an empty line": ("WNLI.tsv", lambda content: content + b"\n", "WNLI.tsv has 147 rows, not 146."),
    "order": (
        "WNLI.tsv",
        replaced(b"\n1\t0\n2\t0\n", b"\n2\t0\n1\t0\n"),
        ["Data row 2 of WNLI.tsv has the index '2', not 1: count from 0."],
    ),
    "from 1": (
        "WNLI.tsv",
        lambda content: b"index\tprediction\n" + b"".join(b"%d\t0\n" % i for i in range(1, 147)),
        ["Data row 1 of WNLI.tsv has the index '1', not 0: count from 0."],
    ),
    "label": (
        "WNLI.tsv",
        replaced(b"\n7\t0\n", b"\n7\tnot_entailment\n"),
        ["Data row 8 of WNLI.tsv predicts 'not_entailment', which is not one of 0, 1."],
    ),
    "fields": ("WNLI.tsv", replaced(b"\n7\t0\n", b"\n7\t0\t1\n"), ["Data row 8 of WNLI.tsv has 3 field(s), not 2."]),
    "encoding": ("WNLI.tsv", replaced(b"\n7\t0\n", b"\n7\t\xe9\n"), ["WNLI.tsv is not UTF-8 text."]),
    "empty": ("AX.tsv", lambda content: b"", ["AX.tsv begins with '', not with the header 'index<TAB>prediction'."]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_table_is_found(archive, tmp_path, fault):
    name, change, expected = FAULTS[fault]
    found = problems(changed(archive, tmp_path / "bad.zip", name, change))
    assert found[0] == expected if isinstance(expected, str) else found == expected


@pytest.mark.parametrize("score", ["nan", "inf", "5.01", "-0.1", "high", ""])
def test_each_bad_score_is_found(archive, tmp_path, score):
    def change(content: bytes) -> bytes:
        return content[: content.rindex(b"\t")] + f"\t{score}\n".encode()

    assert problems(changed(archive, tmp_path / "bad.zip", "STS-B.tsv", change)) == [
        f"Data row 1379 of STS-B.tsv predicts {score!r}, which is not a number from 0 to 5."
    ]


def test_what_the_archive_holds_besides_is_named(archive, tmp_path):
    moved = changed(archive, tmp_path / "moved.zip", "RTE.tsv", bytes, to="glue/RTE.tsv")
    assert problems(moved) == ["glue/RTE.tsv lies in a folder: put it at the top.", "RTE.tsv is missing."]
    renamed = changed(archive, tmp_path / "renamed.zip", "SST-2.tsv", bytes, to="SST2.tsv")
    assert [sentence[:17] for sentence in problems(renamed)] == ["SST2.tsv is no ta", "SST-2.tsv is miss"]
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = changed(archive, tmp_path / "twice.zip", "AX.tsv", bytes, to="RTE.tsv")
    assert "RTE.tsv is there 2 times: keep one." in problems(twice)


def test_windows_line_ends_are_no_fault(archive, tmp_path):
    path = changed(archive, tmp_path / "crlf.zip", "RTE.tsv", lambda content: content.replace(b"\n", b"\r\n"))
    assert problems(path) == []


def test_an_archive_that_cannot_be_read_is_a_problem_not_a_crash(archive, tmp_path):
    path = tmp_path / "cut.zip"
    path.write_bytes(archive.read_bytes()[:-50])
    assert "cannot be read as a zip file" in validate_submission(path)[0]
    whole = bytearray(archive.read_bytes())
    start = whole.index(b"index\tprediction")
    whole[start + 20] ^= 1  # the checksum no longer fits
    path.write_bytes(bytes(whole))
    assert "cannot be read as a zip file" in validate_submission(path)[0]
    assert "cannot be read as a zip file" in validate_submission(tmp_path)[0]
    assert validate_submission(tmp_path / "none.zip") == [
        f"{tmp_path / 'none.zip'} cannot be read: there is no such file."
    ]
