"""Tasks from files of every layout, from the (replaced) Hub and the lab; references to them; every error sentence."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from supertickets.errors import SuperticketsError
from supertickets.tasks import DataRef, Task, data_ref, load_task, sources
from supertickets.tasks.task import fingerprint_of

PAIRS = [("a b", "c", "entailment"), ("d", "e f", "not_entailment"), ('g "h', "i", "entailment")]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_bytes(text.encode())
    return path


def table(*rows: tuple, separator: str = "\t") -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def rte(folder: Path) -> Path:
    """Write RTE in the simple layout."""
    for split in ("train", "dev"):
        write(folder / f"RTE/{split}.tsv.gz", table(("sentence1", "sentence2", "label"), *PAIRS))
    return folder


def csv_pair(folder: Path, train: str = "a,b,y\nx,y,no\nz,w,yes\n", dev: str | None = None) -> dict:
    return {
        "train": write(folder / "t.csv", train),
        "dev": write(folder / "d.csv", train if dev is None else dev),
        "text": ("a", "b"),
        "label": "y",
    }


# --- GLUE's own files -----------------------------------------------------------------------------------------------

OFFICIAL = {
    "CoLA": (table(("gj04", 1, "", "He ran ."), ("gj04", 0, "*", "Ran he .")), [("He ran .",), ("Ran he .",)], [1, 0]),
    "SST-2": (
        table(("sentence", "label"), ("fine \u2028 film ", 1), ('" dull', 0)),
        [("fine \u2028 film",), ('" dull',)],
        [1, 0],
    ),
    "MRPC": (
        "\ufeff"
        + table(("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"), (1, 7, 8, 'A "b', "C"), (0, 9, 9, "D", "E")),
        [('A "b', "C"), ("D", "E")],
        [1, 0],
    ),
    "QQP": (
        table(("id", "qid1", "qid2", "question1", "question2", "is_duplicate"), (0, 1, 2, "Q", "", 0))
        + "9\t1\t2\tbroken\nline\t0\n"
        + table((1, 3, 4, "R", "S", 1)),
        [("Q", ""), ("R", "S")],
        [0, 1],
    ),
    "STS-B": (
        table(
            ("index", "genre", "sentence1", "sentence2", "score"), (0, "g", "A", "B", "3.800"), (1, "g", "C", "D", 5.0)
        ),
        [("A", "B"), ("C", "D")],
        [3.8, 5.0],
    ),
    "QNLI": (
        table(("index", "question", "sentence", "label"), (0, "Q", "S", "not_entailment"), (1, "T", "U", "entailment")),
        [("Q", "S"), ("T", "U")],
        [1, 0],
    ),
    "RTE": (
        table(("index", "sentence1", "sentence2", "label"), *((0, *row) for row in PAIRS)),
        [row[:2] for row in PAIRS],
        [0, 1, 0],
    ),
    "SNLI": (
        table(
            ("index", "sentence1", "sentence2", "label1", "gold_label"),
            (0, "A", "B", "neutral", "contradiction"),
            (1, "C", "D", "neutral", "-"),
            (2, "E", "F", "neutral", "entailment"),
        ),
        [("A", "B"), ("E", "F")],
        [2, 0],
    ),
    "SciTail": (table(("P", "H", "neutral"), ("Q", "I", "entails")), [("P", "H"), ("Q", "I")], [1, 0]),
}
METRICS = {"CoLA": ("mcc",), "MRPC": ("accuracy", "f1"), "QQP": ("accuracy", "f1"), "STS-B": ("pearson", "spearman")}


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_released_layout_of_each_task(tmp_path, name):
    content, texts, labels = OFFICIAL[name]
    for split in ("train", "dev"):
        write(tmp_path / name / f"{split}.tsv", content)
    made = load_task(name.lower().replace("-", ""), data_dir=tmp_path)
    assert made.name == name
    assert made.train.texts == made.dev.texts == tuple(texts)
    assert made.train.labels.tolist() == labels
    assert made.metrics == METRICS.get(name, ("accuracy",))
    assert made.kind == ("regression" if name == "STS-B" else "classification")
    assert made.train.labels.dtype == (np.float64 if name == "STS-B" else np.int64)
    assert made.test is None
    assert made.dev.groups is None
    assert made.fingerprint == fingerprint_of(made.train, made.dev)


def mnli(folder: Path, *names: str) -> Path:
    header = ("index", "genre", "sentence1", "sentence2", "label1", "gold_label")
    rows = [
        (i, "g", f"{i} a", f"{i} b", "x", label) for i, label in enumerate(("neutral", "entailment", "contradiction"))
    ]
    for name in ("train.tsv", *names):
        write(folder / "MNLI" / name, table(header, *rows))
    return folder


def test_mnli_has_two_dev_files_which_are_its_groups(tmp_path):
    made = load_task("MNLI", data_dir=mnli(tmp_path, "dev_matched.tsv", "dev_mismatched.tsv"))
    assert made.dev.groups is not None
    assert made.dev.groups.tolist() == ["matched"] * 3 + ["mismatched"] * 3
    assert made.label_names == ("entailment", "neutral", "contradiction")
    assert made.dev.labels.tolist() == [1, 0, 2] * 2
    assert made.source == "files train.tsv, dev_matched.tsv, dev_mismatched.tsv"


def test_files_may_be_chosen_by_name_in_the_folder(tmp_path):
    mnli(tmp_path, "dev_matched.tsv.gz", "dev_mismatched_1k.tsv.gz", "dev_mismatched_other.tsv")
    sentence = (
        r"its dev split \(dev_mismatched_1k\.tsv\.gz, dev_mis.*--dev dev_matched\.tsv\.gz --dev dev_mismatched_1k"
    )
    with pytest.raises(SuperticketsError, match=sentence):
        load_task("MNLI", data_dir=tmp_path)
    both = load_task("MNLI", data_dir=tmp_path, dev=("dev_matched.tsv.gz", "dev_mismatched_1k.tsv.gz"))
    assert set(both.dev.groups.tolist()) == {"matched", "mismatched"}  # type: ignore[union-attr]
    one = load_task("MNLI", data_dir=tmp_path, dev="dev_matched.tsv.gz", test="dev_mismatched_other.tsv")
    assert one.dev.groups is None
    assert one.test is not None
    assert len(one.test) == 3


def test_a_lone_subset_is_taken_and_the_plain_name_preferred(tmp_path):
    rows = table(("sentence", "label"), ("x", "0"), ("y", "1"))
    write(tmp_path / "SST-2/dev.tsv", rows)
    write(tmp_path / "SST-2/train_subset.tsv", rows)
    assert load_task("SST-2", data_dir=tmp_path).source == "files train_subset.tsv, dev.tsv"
    write(tmp_path / "SST-2/train_other.tsv", rows)
    with pytest.raises(
        SuperticketsError, match=r"train split \(train_other\.tsv, train_subset\.tsv\).*--train train_other"
    ):
        load_task("SST-2", data_dir=tmp_path)
    write(tmp_path / "SST-2/train.tsv.gz", rows)
    assert load_task("SST-2", data_dir=tmp_path).source == "files train.tsv.gz, dev.tsv"


def test_the_same_rows_are_the_same_task_in_any_file(tmp_path):
    simple = load_task("RTE", data_dir=rte(tmp_path / "simple"))
    rows = [(i, *row) for i, row in enumerate(PAIRS)]
    for split in ("train", "dev"):
        write(tmp_path / f"glue/rte/{split}.tsv", table(("index", "sentence1", "sentence2", "label"), *rows))
    assert load_task("rte", data_dir=tmp_path / "glue").fingerprint == simple.fingerprint
    lines = [json.dumps({"s": a, "t": b, "y": label}) for a, b, label in PAIRS]
    own = write(tmp_path / "own.jsonl.gz", "\n".join(lines))
    assert load_task("mine", train=own, dev=own, text=("s", "t"), label="y").fingerprint == simple.fingerprint
    columns = dict(zip(("s", "t", "y"), zip(*PAIRS, strict=True), strict=True))
    pyarrow.parquet.write_table(pyarrow.table({**columns, "z": [[1]] * 3}), tmp_path / "own.parquet")
    own = tmp_path / "own.parquet"
    assert load_task("mine", train=own, dev=own, text=("s", "t"), label="y").fingerprint == simple.fingerprint


def test_a_folder_of_an_unknown_name_is_a_task_of_ones_own(tmp_path):
    write(tmp_path / "reviews/train.csv", 'text,label\n"good, really",pos\nbad,neg\n')
    write(tmp_path / "reviews/dev.csv", "text,label\nso so,neg\n")
    for made in (load_task("reviews", data_dir=tmp_path), load_task(data_dir=tmp_path / "reviews")):
        assert (made.name, made.label_names, made.metrics) == ("reviews", ("neg", "pos"), ("accuracy",))
        assert made.train.texts == (("good, really",), ("bad",))


# --- one's own files ------------------------------------------------------------------------------------------------


def own(folder: Path, labels: list, **options) -> Task:
    lines = "\n".join(json.dumps({"text": f"t{i}", "label": label}) for i, label in enumerate(labels))
    path = write(folder / "own.jsonl", lines)
    return load_task(train=path, dev=path, **options)


@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        (["b", "a"], "classification", ("a", "b")),
        ([10, 9, 9], "classification", ("9", "10")),
        ([1.0, 0.0], "classification", ("0", "1")),
        (["1.0", "0"], "classification", ("0", "1")),
        ([True, False], "classification", ("False", "True")),
        ([0.5, 1], "regression", ()),
        ([*range(11)], "regression", ()),
        (["0.25", "-1e+2", "1e-05"], "regression", ()),
        (["-", "+"], "classification", ("+", "-")),
    ],
)
def test_kind_and_classes_are_told_from_the_labels(tmp_path, labels, kind, names):
    made = own(tmp_path, labels)
    assert (made.name, made.kind, made.label_names) == ("own", kind, names)
    if kind == "regression":
        assert made.train.labels.tolist() == [float(label) for label in labels]
    assert made.metrics == (("accuracy",) if names else ("pearson", "spearman"))


def test_kind_and_metrics_may_be_given(tmp_path):
    assert own(tmp_path, [*range(11)], kind="classification").num_labels == 11
    assert own(tmp_path, [1, 2], kind="regression", metrics="spearman").metrics == ("spearman",)
    assert own(tmp_path, ["n", "y"], metrics=("accuracy", "f1")).metrics == ("accuracy", "f1")


def test_csv_is_quoted_tsv_is_not(tmp_path):
    quoted = '"a ""b""\nc",x\nd,y\n'
    made = load_task(train=write(tmp_path / "q.csv", "text,label\n" + quoted), dev=tmp_path / "q.csv")
    assert made.train.texts == (('a "b"\nc',), ("d",))
    made = load_task(train=write(tmp_path / "q.tsv", 'text\tlabel\r\n"a""\tx\r\nb\ty\r\n'), dev=tmp_path / "q.tsv")
    assert made.train.texts == (('"a""',), ("b",))


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ("a,b,z\nx,y,1\n", "has no column 'y': its columns are 'a', 'b', 'z'"),
        ("a,b,y\nx,y,no\nz,,yes\n", "Column 'b' of .*t.csv is empty in data row 2"),
        ("a,b,y\nx,y,no\nz,w,\n", "Column 'y' of .*t.csv is empty in data row 2"),
        ("a,b,y\nx,y,no\nz,w\n", r"Data row 2 of .*t.csv has 2 field\(s\), the header 3"),
        ("a,b,y\nx,y,no\nz,w,yes,more\n", r"Data row 2 of .*t.csv has 4 field\(s\), the header 3"),
        ("a,b,b\nx,y,no\n", "two columns named 'b'"),
        ('a,b,y\nx,"y,no\n', "not valid CSV near line 2"),
        ("", "t.csv holds no data rows"),
        ("a,b,y\n", "t.csv holds no data rows"),
        ("a,b,y\nx,y,no\nz,w,no\n", "every training label is 'no', so there is nothing to learn"),
        ("a,b,y\nx,y,1.5\nz,w,1.5\n", "every training score is 1.5"),
        (
            "a,b,y\n" + "x,y,0.5\n" * 3 + "x,y,nan\n",
            r"Label 'nan' \(column 'y', data row 4 of .*is not a finite number \(for classes give the kind\)",
        ),
    ],
)
def test_faults_in_a_csv_file(tmp_path, train, sentence):
    with pytest.raises(SuperticketsError, match=sentence) as caught:
        load_task(**csv_pair(tmp_path, train))
    assert "\n" not in str(caught.value)


def test_a_slip_among_scores_is_named(tmp_path):
    labels = [i / 2 for i in range(30)]
    with pytest.raises(
        SuperticketsError, match=r"Label 'n/a' \(column 'label', data row 31 of .*is not a finite number"
    ):
        own(tmp_path, [*labels, "n/a"])
    with pytest.raises(SuperticketsError, match=r"Label 'inf' .*data row 3"):
        own(tmp_path, [1, 2, "inf"], kind="regression")


def test_labels_that_are_not_the_tasks(tmp_path):
    rows = table(("sentence1", "sentence2", "label"), ("a", "b", "entailment"), ("c", "d", "maybe"))
    write(tmp_path / "RTE/train.tsv", rows)
    write(tmp_path / "RTE/dev.tsv", rows)
    with pytest.raises(
        SuperticketsError, match=r"'maybe' .*data row 2 of .*is not one of .*_entailment, as in .* RTE: give"
    ):
        load_task("RTE", data_dir=tmp_path)
    with pytest.raises(SuperticketsError, match=r"dev has label\(s\) 'new' that no training example has"):
        load_task(**csv_pair(tmp_path, dev="a,b,y\nx,y,new\n"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.tsv.gz", gzip.compress(b"text\tlabel\n" * 90, mtime=0)[:-12], "cannot be unpacked .*cut short or not gzip"),
        ("t.tsv.gz", b"text\tlabel\n", "cannot be unpacked"),
        (
            "t.tsv",
            "text\tlabel\nok\t1\nna\u00efve\t0\n".encode("latin-1"),
            r"not UTF-8 text \(byte 18, line 3\): save it as UTF-8",
        ),
        ("t.xlsx", b"x", r"of no known format: name it \.csv"),
        ("t.parquet.gz", b"x", "of no known format"),
        ("t.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("t.jsonl", b'{"text": "a", "label": 1}\n{"text"', "Line 2 of .* is not valid JSON"),
        ("t.jsonl", b"[1]", "Entry 1 of .* is not a JSON object"),
        ("t.jsonl", b'{"text": "a", "label": 1}\n{"text": 2, "label": 0}', "holds 2, which is not text, in data row 2"),
        ("t.jsonl", b'{"text": "a", "label": 1}\n{"label": 0}', "Column 'text' of .* has no value in data row 2"),
        ("t.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}', "Column 'label' of .* is empty in data row 2"),
        ("t.csv", b"body,label\na,1\n", "no text column with a usual name: say which of 'body', 'label'"),
        ("t.csv", b"text,class\na,1\n", "no label column with a usual name: say which of 'text', 'class'"),
    ],
)
def test_faults_in_other_files(tmp_path, name, content, sentence):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SuperticketsError, match=sentence) as caught:
        load_task(train=path, dev=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_arguments(tmp_path):
    good = csv_pair(tmp_path)
    cases: list[tuple[dict[str, Any], str]] = [
        ({**good, "train": tmp_path / "no.csv"}, r"no\.csv does not exist: check the path"),
        ({**good, "dev": tmp_path / "no.parquet"}, r"no\.parquet does not exist"),
        ({**good, "train": tmp_path, "dev": tmp_path}, "of no known format"),
        ({**good, "dev": ()}, r"'t' has no dev file to score on: give dev= \(--dev\)"),
        ({**good, "text": ("a", "a")}, "one text column or two different ones"),
        ({**good, "train_size": 0}, "train_size must be at least 1, not 0"),
        ({**good, "noise": 0.1}, "noise is for the lab's tasks, and 't' is not"),
        ({**good, "with_test": True}, "'t' has no test file: give test=, or leave with_test out"),
        ({**good, "metrics": "auc"}, "cannot be scored by 'auc'"),
        ({**good, "kind": "ranking"}, "kind 'ranking'"),
        ({"name": "x", "dev": good["dev"]}, "'x' has no file to train on"),
        ({}, "Name a task, or give a file to train on"),
        ({"name": "RTE", "data_dir": tmp_path / "none"}, r"Folder .*none \(data_dir\) does not exist"),
        ({"name": "CoLA", "data_dir": rte(tmp_path)}, "has no task 'CoLA': it holds RTE"),
        (
            {"name": "RTE", "data_dir": tmp_path, "kind": "regression"},
            "'RTE' is a classification task, not 'regression'",
        ),
        (
            {"name": "no such"},
            "Unknown task 'no such': the lab has acceptability, .*published are CoLA, SST-2.*--train",
        ),
    ]
    for options, sentence in cases:
        with pytest.raises(SuperticketsError, match=sentence):
            load_task(**options)
    (tmp_path / "RTE/dev.tsv.gz").unlink()
    with pytest.raises(
        SuperticketsError, match=r"has no dev file: it holds train\.tsv\.gz; name one dev\.tsv or choose"
    ):
        load_task("RTE", data_dir=tmp_path)


# --- samples --------------------------------------------------------------------------------------------------------


def test_smaller_samples_are_contained_in_larger_and_stratified(tmp_path):
    options: dict = csv_pair(tmp_path, "a,b,y\n" + "".join(f"x{i},z,{'yes' if i % 4 else 'no'}\n" for i in range(80)))
    previous: set = set()
    for size in (2, 8, 20, 79, 80, 500):
        made = load_task(**options, train_size=size)
        assert len(made.train) == min(size, 80)
        assert previous <= set(made.train.texts)
        assert abs((made.train.labels == 0).sum() - len(made.train) / 4) <= 1
        previous = set(made.train.texts)
    whole = load_task(**options)
    part = load_task(**options, train_size=20, dev_size=30)
    assert len(part.dev) == 30
    assert [text for text in whole.train.texts if text in set(part.train.texts)] == list(part.train.texts)
    assert load_task(**options, train_size=20, seed=1).train.texts != part.train.texts


def balanced(folder: Path, n: int = 90) -> dict:
    """Write a task of n training examples, a third of them "no", and return how to load it."""
    return csv_pair(folder, "a,b,y\n" + "".join(f"x{i},z,{'yes' if i % 3 else 'no'}\n" for i in range(n)))


def test_disjoint_training_sets(tmp_path):
    options = balanced(tmp_path)
    whole = load_task(**options)
    for seed in (0, 5):
        sets = [load_task(**options, train_size=12, train_seed=k, seed=seed) for k in range(7)]
        rows = [text for made in sets for text in made.train.texts]
        assert len(rows) == len(set(rows)) == 84
        assert {made.dev.texts for made in sets} == {whole.dev.texts}
        for made in sets:
            assert len(made.train) == 12
            assert abs((made.train.labels == 0).sum() - 4) <= 1
            assert [text for text in whole.train.texts if text in set(made.train.texts)] == list(made.train.texts)
    assert sets[0].fingerprint == load_task(**options, train_size=12, seed=5).fingerprint
    assert sets[0].train.texts != load_task(**options, train_size=12, train_seed=0).train.texts
    assert data_ref(**options, train_size=90, train_seed=0).fingerprint == whole.fingerprint


def test_a_training_set_does_not_depend_on_what_was_loaded_before(tmp_path):
    options = balanced(tmp_path)
    load_task(**options, train_size=12, train_seed=0)
    here = data_ref(**options, train_size=12, train_seed=3)
    code = (
        "import json, sys; from supertickets.tasks import load_task;"
        "print(load_task(**json.loads(sys.argv[1]), train_size=12, train_seed=3).fingerprint)"
    )
    arguments = json.dumps({**options, "train": str(options["train"]), "dev": str(options["dev"])})
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.strip() == here.fingerprint == here.load().fingerprint
    assert here.identity()["train_seed"] == 3


def test_disjoint_training_sets_of_scores(tmp_path):
    content = "a,b,y\n" + "".join(f"x{i},z,{i / 7}\n" for i in range(30))
    sets = [load_task(**csv_pair(tmp_path, content), train_size=10, train_seed=k) for k in range(3)]
    assert len({text for made in sets for text in made.train.texts}) == 30


@pytest.mark.parametrize(
    ("size", "k", "sentence"),
    [
        (12, 7, "90 training examples, so 7 disjoint training sets of 12: train_seed must be 0 to 6, not 7"),
        (12, -1, "train_seed must be 0 to 6, not -1"),
        (90, 1, "so 1 disjoint training set of 90: train_seed must be 0 to 0, not 1"),
        (91, 0, "so 0 disjoint training sets of 91: lower the train_size"),
        (None, 0, r"disjoint training sets of task 't': say of what size \(train_size\)"),
    ],
)
def test_training_sets_that_there_are_not(tmp_path, size, k, sentence):
    with pytest.raises(SuperticketsError, match=sentence):
        load_task(**balanced(tmp_path), train_size=size, train_seed=k)


def test_a_class_too_rare_for_every_training_set_is_named(tmp_path):
    options = csv_pair(tmp_path, "a,b,y\n" + "".join(f"x{i},z,{'no' if i < 2 else 'yes'}\n" for i in range(40)))
    assert load_task(**options, train_size=10, train_seed=0).label_names == ("no", "yes")
    with pytest.raises(SuperticketsError, match=r"training set 1 of 10 .* has none of class 'no', which is rare"):
        load_task(**options, train_size=10, train_seed=1)


# --- test splits ----------------------------------------------------------------------------------------------------

OFFICIAL_TESTS = {
    "CoLA": (("index", "sentence"), (0, "He ran ."), [("He ran .",)]),
    "SST-2": (("index", "sentence"), (0, "fine film "), [("fine film",)]),
    "MRPC": (("index", "#1 ID", "#2 ID", "#1 String", "#2 String"), (0, 7, 8, 'A "b', "C"), [('A "b', "C")]),
    "QQP": (("id", "question1", "question2"), (0, "Q", ""), [("Q", "")]),
    "STS-B": (("index", "genre", "sentence1", "sentence2"), (0, "g", "A", "B"), [("A", "B")]),
    "QNLI": (("index", "question", "sentence"), (0, "Q", "S"), [("Q", "S")]),
    "RTE": (("index", "sentence1", "sentence2"), (0, "a", "b"), [("a", "b")]),
}


@pytest.mark.parametrize("name", OFFICIAL_TESTS)
def test_the_released_test_file_of_each_task_has_no_labels(tmp_path, name):
    content, *_ = OFFICIAL[name]
    for split in ("train", "dev"):
        write(tmp_path / name / f"{split}.tsv", content)
    header, row, texts = OFFICIAL_TESTS[name]
    write(tmp_path / name / "test.tsv", table(header, row, row))
    made = load_task(name, data_dir=tmp_path, with_test=True)
    assert made.test is not None
    assert made.test.texts == tuple(texts * 2)
    assert not made.test.labelled
    assert made.dev.labelled
    assert made.test.labels.dtype == made.dev.labels.dtype
    np.testing.assert_array_equal(made.test.labels, [np.nan] * 2 if name == "STS-B" else [-1, -1])
    assert made.source == "files train.tsv, dev.tsv, test.tsv"
    without = load_task(name, data_dir=tmp_path)
    assert without.test is None
    assert without.fingerprint != made.fingerprint == fingerprint_of(made.train, made.dev, made.test)


def test_mnli_has_two_test_files_too(tmp_path):
    mnli(tmp_path, "dev_matched.tsv", "dev_mismatched.tsv")
    for part in ("matched", "mismatched"):
        rows = ((i, "g", f"{part} {i}", "b") for i in range(2))
        write(tmp_path / f"MNLI/test_{part}.tsv", table(("index", "genre", "sentence1", "sentence2"), *rows))
    made = load_task("MNLI", data_dir=tmp_path, with_test=True)
    assert made.test is not None
    assert made.test.groups is not None
    assert made.test.groups.tolist() == ["matched"] * 2 + ["mismatched"] * 2
    assert made.test.labels.tolist() == [-1] * 4
    assert [first for first, _ in made.test.texts] == ["matched 0", "matched 1", "mismatched 0", "mismatched 1"]


def test_a_test_split_with_labels_is_read_as_any_other(tmp_path):
    rte(tmp_path)
    write(tmp_path / "RTE/test_gold.tsv", table(("sentence1", "sentence2", "label"), *PAIRS))
    made = load_task("RTE", data_dir=tmp_path, with_test=True, train_size=2)
    assert made.test is not None
    assert made.test.labels.tolist() == [0, 1, 0]
    write(tmp_path / "RTE/test_gold.tsv", table(("sentence1", "sentence2", "label"), *PAIRS, ("a", "b", "maybe")))
    with pytest.raises(SuperticketsError, match=r"'maybe' .*data row 4 of .*test_gold.*is not one of entailment"):
        load_task("RTE", data_dir=tmp_path, with_test=True)


def test_ones_own_test_file_needs_no_labels_but_all_or_none(tmp_path):
    options = csv_pair(tmp_path)
    bare = write(tmp_path / "bare.csv", "a,b\nq,r\ns,t\n")
    made = load_task(**options, test=bare)
    assert made.test is not None
    assert (made.test.labels.tolist(), made.label_names) == ([-1, -1], ("no", "yes"))
    write(bare, "a,b,y\nq,r,\ns,t,\n")
    made = load_task(**options, test=bare)
    assert made.test is not None
    assert not made.test.labelled
    write(bare, "a,b,y\nq,r,yes\ns,t,\n")
    with pytest.raises(SuperticketsError, match=r"Column 'y' of .*bare\.csv is empty in data row 2"):
        load_task(**options, test=bare)
    with pytest.raises(SuperticketsError, match=r"Column 'y' of .*empty in data row 1"):
        load_task(**csv_pair(tmp_path, dev="a,b,y\nx,y,\n"))  # dev must be labelled


def test_without_a_test_file_the_sentence_says_so(tmp_path):
    sentence = r"has no test file: it holds dev\.tsv\.gz, train\.tsv\.gz; name one test\.tsv or choose with test="
    with pytest.raises(SuperticketsError, match=sentence):
        load_task("RTE", data_dir=rte(tmp_path), with_test=True)
    for name in ("test_a.tsv", "test_b.tsv"):
        write(tmp_path / "RTE" / name, table(("sentence1", "sentence2"), ("a", "b")))
    with pytest.raises(SuperticketsError, match=r"several files for its test split .*for example test=test_a\.tsv"):
        load_task("RTE", data_dir=tmp_path, with_test=True)
    made = load_task("RTE", data_dir=tmp_path, test="test_b.tsv", with_test=True)
    assert made.source == "files train.tsv.gz, dev.tsv.gz, test_b.tsv"


def test_with_test_is_part_of_the_identity_only_where_it_is_asked_for(tmp_path):
    rte(tmp_path)
    write(tmp_path / "RTE/test.tsv", table(("sentence1", "sentence2"), ("a", "b")))
    plain, tested = (data_ref("RTE", data_dir=tmp_path, with_test=wanted) for wanted in (False, True))
    assert "with_test" not in plain.identity()
    assert tested.identity()["with_test"] is True
    assert DataRef.from_json(json.loads(json.dumps(tested.to_json()))) == tested
    older = {name: value for name, value in plain.to_json().items() if name != "with_test"}
    assert DataRef.from_json(older) == plain
    assert tested.load().test is not None


# --- the Hub and the lab --------------------------------------------------------------------------------------------


def hub(monkeypatch, expected: tuple, **splits: dict) -> None:
    def load_dataset(*names):
        assert names == expected
        return datasets.DatasetDict({name: datasets.Dataset.from_dict(columns) for name, columns in splits.items()})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    sources._whole.cache_clear()


def test_a_task_from_the_hub_is_the_one_from_files(monkeypatch, tmp_path):
    first, second, labels = (list(column) for column in zip(*PAIRS, strict=True))
    columns = {"sentence1": first, "sentence2": second, "label": [int(label != "entailment") for label in labels]}
    hub(monkeypatch, ("nyu-mll/glue", "rte"), train=columns, validation=columns, test=columns)
    made = load_task("rte")
    assert made.source == "Hub nyu-mll/glue"
    assert made.test is None
    assert made.fingerprint == load_task("RTE", data_dir=rte(tmp_path)).fingerprint


def test_hub_scores_groups_and_missing_labels(monkeypatch, tmp_path):
    scores = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [float(np.float32(3.8)), 5.0], "idx": [0, 1]}
    hub(monkeypatch, ("nyu-mll/glue", "stsb"), train=scores, validation=scores)
    assert load_task("sts-b", train_size=10).train.labels.tolist() == [3.8, 5.0]
    nli = {"premise": ["a", "b", "c"], "hypothesis": ["d", "e", "f"], "label": [1, -1, 2]}
    hub(monkeypatch, ("nyu-mll/glue", "mnli"), train=nli, validation_matched=nli, validation_mismatched=nli)
    made = load_task("mnli", train_size=10)
    assert made.dev.groups is not None
    assert made.dev.groups.tolist() == ["matched"] * 2 + ["mismatched"] * 2
    assert made.train.labels.tolist() == [1, 2]


def test_test_splits_of_the_hub(monkeypatch):
    scores = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [3.8, 5.0]}
    hub(monkeypatch, ("nyu-mll/glue", "stsb"), train=scores, validation=scores, test={**scores, "label": [-1.0, -1.0]})
    test = load_task("STS-B", train_size=11, with_test=True).test
    assert test is not None
    assert np.isnan(test.labels).tolist() == [True, True]
    nli = {"premise": ["a", "b", "c"], "hypothesis": ["d", "e", "f"], "label": [1, 0, 2]}
    hidden = {**nli, "label": [-1] * 3}
    parts = {"validation_matched": nli, "validation_mismatched": nli, "test_matched": hidden, "test_mismatched": hidden}
    hub(monkeypatch, ("nyu-mll/glue", "mnli"), train=nli, **parts)
    test = load_task("MNLI", train_size=11, with_test=True).test
    assert test is not None
    assert test.groups is not None
    assert test.groups.tolist() == ["matched"] * 3 + ["mismatched"] * 3
    assert test.labels.tolist() == [-1] * 6
    partly = {**nli, "label": [1, -1, 0]}  # no gold label for one pair, as in SNLI
    hub(monkeypatch, ("stanfordnlp/snli", None), train=nli, validation=nli, test=partly)
    test = load_task("SNLI", train_size=11, with_test=True).test
    assert test is not None
    assert test.labels.tolist() == [1, 0]
    hub(monkeypatch, ("stanfordnlp/snli", None), train=nli, validation=nli)
    with pytest.raises(SuperticketsError, match=r"'SNLI' has no test split on the Hub \(stanfordnlp/snli\)"):
        load_task("SNLI", train_size=12, with_test=True)


def test_samples_of_one_task_read_its_files_once(tmp_path, monkeypatch):
    rows = [(str(i), str(i), ("entailment", "not_entailment")[i % 2]) for i in range(20)]
    lines = ["sentence1\tsentence2\tlabel", *("\t".join(row) for row in rows)]
    (tmp_path / "RTE").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / "RTE" / name).write_text("\n".join(lines))
    read, plain = [], sources.read_table
    monkeypatch.setattr(sources, "read_table", lambda path, *rest: read.append(path.name) or plain(path, *rest))
    parts = [load_task("RTE", data_dir=tmp_path, train_size=4, train_seed=k).train.texts for k in range(5)]
    assert len({text for part in parts for text in part}) == 20
    assert read == ["train.tsv", "dev.tsv"]
    (tmp_path / "RTE" / "train.tsv").write_text("\n".join(lines[:-4]))
    assert len(load_task("RTE", data_dir=tmp_path).train) == 16


def test_a_lab_task_with_its_test_split():
    made = load_task("inference", train_size=20, dev_size=11, with_test=True)
    plain = load_task("inference", train_size=20, dev_size=11)
    assert made.test is not None
    assert made.test.groups is not None
    assert (len(made.test), made.test.groups.tolist().count("matched")) == (2000, 1000)
    assert not set(made.test.texts) & {*made.dev.texts, *made.train.texts}
    assert plain.test is None
    assert plain.dev.texts == made.dev.texts


def test_without_the_hub_the_sentence_says_what_to_do(monkeypatch):
    def load_dataset(*names):
        raise ConnectionError("Couldn't reach it\nat all")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(
        SuperticketsError, match=r"'QNLI' could not be loaded from the Hub \(nyu-mll/glue: Conn.*--data-dir"
    ):
        load_task("qnli")


def test_a_lab_task_with_its_own_arguments():
    made = load_task("entailment", train_size=20, dev_size=10, noise=0.2, train_seed=3)
    assert (len(made.train), len(made.dev), made.source) == (20, 10, "lab")
    other = load_task("entailment", train_size=20, dev_size=10, noise=0.2, train_seed=4)
    assert other.dev.texts == made.dev.texts
    assert other.fingerprint != made.fingerprint
    with pytest.raises(SuperticketsError, match="lab's task 'entailment' are fixed"):
        load_task("entailment", kind="regression")


# --- references -----------------------------------------------------------------------------------------------------


def test_a_reference_loads_the_same_task_in_another_process(tmp_path):
    ref = data_ref("RTE", data_dir=rte(tmp_path), train_size=2)
    code = (
        "import json, sys; from supertickets.tasks import DataRef;"
        "print(DataRef.from_json(json.loads(sys.argv[1])).load().fingerprint)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "3", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, json.dumps(ref.to_json())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.strip() == ref.fingerprint == load_task("RTE", data_dir=tmp_path, train_size=2).fingerprint


def test_a_loaded_task_is_kept(tmp_path):
    ref = data_ref("RTE", data_dir=rte(tmp_path))
    assert ref.load() is ref.load() is load_task("rte", data_dir=tmp_path)


def test_moved_files_are_the_same_run_changed_files_are_refused(tmp_path):
    options = csv_pair(tmp_path / "here")
    ref = data_ref("mine", **options)
    moved = data_ref("mine", **csv_pair(tmp_path / "there"))
    assert ref != moved
    assert ref.identity() == moved.identity()
    assert not any(str(tmp_path) in str(value) for value in ref.identity().values())
    write(options["train"], "a,b,y\nx,y,no\nz,CHANGED,yes\n")
    with pytest.raises(
        SuperticketsError, match=f"data of task 'mine' changed: .*not {ref.fingerprint[:12]} .*restore the data"
    ):
        ref.load()
    options["train"].unlink()
    with pytest.raises(SuperticketsError, match="does not exist"):
        ref.load()


def test_identity_tells_what_the_task_is(tmp_path):
    options = csv_pair(tmp_path)
    base = data_ref("mine", **options).identity()
    assert base == json.loads(json.dumps(base))
    for change in ({"metrics": ("accuracy", "f1")}, {"train_size": 2}, {"text": ("b", "a")}):
        assert data_ref("mine", **{**options, **change}).identity() != base
    assert data_ref("other", **options).identity() != base


def test_relative_paths_are_kept_absolute(tmp_path, monkeypatch):
    csv_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    ref = data_ref(train="t.csv", dev="d.csv", text=("a", "b"), label="y")
    assert (ref.train, ref.dev) == (str(tmp_path / "t.csv"), (str(tmp_path / "d.csv"),))
    rte(tmp_path)
    monkeypatch.chdir(tmp_path / "RTE")
    assert data_ref(data_dir=".").name == "RTE"


@pytest.mark.parametrize(
    ("data", "sentence"), [({"name": "x"}, "fingerprint is missing"), ({"nmae": "x"}, "unknown field 'nmae'")]
)
def test_a_foreign_reference_is_refused(data, sentence):
    with pytest.raises(SuperticketsError, match=re.escape(sentence)):
        DataRef.from_json(data)
