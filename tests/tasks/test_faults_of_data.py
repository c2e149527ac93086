"""Faults that people's data have: each kind gives one sentence, or is read; what can be trained on, but is doubtful."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from small_tasks import examples, task

from supertickets.errors import SuperticketsError
from supertickets.tasks import Task, best_constant, data_notes, data_ref, inferred, load_task, score
from supertickets.tasks.files import find_split


def loaded(path: Path, content: str, **options: Any) -> Task:
    path.write_text(content, encoding="utf-8")
    return load_task(train=path, dev=path, **options)


def labelled(*labels: object) -> str:
    return "text,label\n" + "".join(f"text {row},{label}\n" for row, label in enumerate(labels))


# --- what is read ---------------------------------------------------------------------------------------------------

LINES = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
READ = {
    "a long cell": ("t.csv", f"text,label\n{'word ' * 40_000},x\nb,y\n"),
    "semicolons": ("t.csv", "text;label\na, and more;x\nb;y\n"),
    "sep=": ("t.csv", "sep=;\ntext;label\na, b;x\nb;y\n"),
    "tabs in .csv": ("t.csv", "text\tlabel\na\tx\nb\ty\n"),
    "unnamed columns": ("t.csv", "label,text,,,\nx,a,,,\ny,b,more,,\n"),
    "an index": ("t.csv", ",text,label\n0,a,x\n1,b,y\n"),
    "a blank line in TSV": ("t.tsv", "text\tlabel\na\tx\n\nb\ty\n"),
    "JSON lines": ("t.json", "\n".join(map(json.dumps, LINES))),
    "JSON array": ("t.json", json.dumps(LINES, indent=1)),
}


@pytest.mark.parametrize("case", READ)
def test_what_people_write_is_read(tmp_path, case):
    name, content = READ[case]
    made = loaded(tmp_path / name, content)
    assert made.label_names == ("x", "y")
    assert made.train.texts[1] == ("b",)
    assert made.train.texts[0][0].startswith("word" if case == "a long cell" else "a")
    if case == "a long cell":
        assert len(made.train.texts[0][0]) == 199_999


def test_quotes_of_pandas_in_tsv_are_taken_off_those_of_a_text_are_not(tmp_path):
    pd.DataFrame({"text": ['say "x"', "plain"], "label": ["x", "y"]}).to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    made = load_task(train=tmp_path / "t.tsv", dev=tmp_path / "t.tsv")
    assert made.train.texts == (('say "x"',), ("plain",))
    assert loaded(tmp_path / "q.tsv", 'text\tlabel\n"all of it"\tx\nb\ty\n').train.texts[0] == ('"all of it"',)


@pytest.mark.parametrize("name", ["valid", "val", "validation"])
def test_dev_has_other_names(tmp_path, name):
    for stem in ("train", name):
        (tmp_path / f"{stem}.csv").write_text(labelled("x", "y"))
    assert find_split(tmp_path, "dev") == [tmp_path / f"{name}.csv"]


def test_home_and_the_names_of_benchmarks(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("sst2", "entailment"):
        (tmp_path / f"{name}.csv").write_text(labelled("x", "y"))
        made = load_task(train=f"~/{name}.csv", dev=f"~/{name}.csv")
        assert (made.name, made.label_names) == (f"own-{name}", ("x", "y"))
    for name in ("lab-notes", "entailment"):
        (tmp_path / name).mkdir()
        for split in ("train", "dev"):
            (tmp_path / name / f"{split}.csv").write_text(labelled("x", "y"))
        ref = data_ref(data_dir=tmp_path / name)
        assert (ref.name, ref.in_lab, ref.without_places().in_lab) == (name, False, False)
        assert ref.load().label_names == ("x", "y")


# --- labels ---------------------------------------------------------------------------------------------------------

CODES = [f"{a}_{b}" for a in range(4) for b in range(3)]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (CODES, tuple(sorted(CODES))),
        (["1.", "1", "0"], ("0", "1")),
        (["9" * 5000, "x"], ("9" * 5000, "x")),
        (["1e3x", "no"], ("1e3x", "no")),
    ],
)
def test_codes_are_classes(tmp_path, labels, names):
    assert loaded(tmp_path / "t.csv", labelled(*labels)).label_names == names


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            ["0.5", "1.5", "2.5", "3", "4", "5", "NA"],
            r"'NA' \(column 'label', data row 7 .*for classes give the kind",
        ),
        (["0", "1", "1", "nan"], r"'nan' \(column 'label', data row 4"),
        (["1", "2", "3", "3e2", "n/a"], r"Label '3e2' .*as most labels are; others are 'n/a'"),
        (['"0,5"', '"1,5"'], r"'0,5' .* write 0\.5, not 0,5"),
        (["x", '"  "'], "Column 'label' of .* is empty in data row 2"),
    ],
)
def test_odd_cells_turn_nothing_and_are_named(tmp_path, labels, sentence):
    with pytest.raises(SuperticketsError, match=sentence) as caught:
        loaded(tmp_path / "t.csv", labelled(*labels))
    assert "\n" not in str(caught.value)


def test_the_kind_may_be_said_of_mixed_labels(tmp_path):
    made = loaded(tmp_path / "t.csv", labelled("0", "1", "1", "nan"), kind="classification")
    assert made.label_names == ("0", "1", "nan")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"text": "a", "label": {"label": 0.5}}', "Column 'label' of .* holds a table in data row 1: give one label"),
        ('{"text": "a", "label": [1]}', "holds a list in data row 1"),
        ('{"text": "ok", "label": 1}\n{"text": "cut off \\ud83d", "label": 0}', r"half a character .* data row 2"),
        (f'{{"text": "a", "label": {"9" * 5000}}}', "Line 1 of .* is not valid JSON"),
        ('[{"text": "a"}, 1]', "Entry 2 of .* is not a JSON object"),
        ('[{"text": "a"},\n 1', "Line 2 of .* is not valid JSON"),
    ],
)
def test_faults_in_json(tmp_path, content, sentence):
    with pytest.raises(SuperticketsError, match=sentence):
        loaded(tmp_path / "t.jsonl", content)


def test_nested_labels_of_parquet_and_files_without_a_header(tmp_path):
    pd.DataFrame({"text": ["a", "b"], "label": [[1], [2]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(SuperticketsError, match=r"Column 'label' of .* holds a list"):
        load_task(train=tmp_path / "t.parquet", dev=tmp_path / "t.parquet")
    with pytest.raises(SuperticketsError, match="if that is data, put a header above it"):
        loaded(tmp_path / "t.csv", "a text,x\nb,y\n")


def test_fewer_examples_than_classes_are_named_as_that(tmp_path):
    with pytest.raises(SuperticketsError, match=r"train_size of 2 is too small for the 3 classes of task 't'"):
        loaded(tmp_path / "t.csv", labelled(*"xyzxyz"), train_size=2)


# --- metrics and the positive class ---------------------------------------------------------------------------------


def test_f1_is_of_the_class_that_is_said(tmp_path):
    rows = labelled(*["fraud"] * 2, *["fine"] * 8)
    made = loaded(tmp_path / "t.csv", rows, metrics="f1", positive="fine")
    assert made.label_names == ("fraud", "fine")
    ref = data_ref(train=tmp_path / "t.csv", dev=tmp_path / "t.csv", metrics="f1", positive="fraud")
    assert ref.load().label_names == ("fine", "fraud")
    assert "scored by F1 of class 'fraud'" in inferred(ref, ref.load())
    assert ref.identity()["positive"] == "fraud"
    assert "positive" not in replace(ref, positive=None).to_json()
    with pytest.raises(SuperticketsError, match=r"'spam' is not one of two classes of task 't': it has fine, fraud"):
        loaded(tmp_path / "t.csv", rows, positive="spam")


def test_macro_f1_and_metrics_of_ones_own():
    labels, logits = np.array([0, 0, 1, 2]), np.eye(3)[[0, 1, 1, 0]]
    own = "sklearn.metrics:balanced_accuracy_score"
    values = score(["macro_f1", own], labels, logits)
    assert values["macro_f1"] == pytest.approx((2 * 0.5 * 0.5 / 1 + 2 / 3 + 0) / 3)
    assert values[own] == pytest.approx((0.5 + 1 + 0) / 3)
    assert score(["sklearn.metrics:r2_score"], np.array([1.0, 2.0]), np.array([[1.0], [2.0]]))["score"] == 1.0
    for metric, sentence in (
        ("sklearn.metrics:zero_one_loss", "is lower for better answers"),
        ("sklearn.metrics:nothing", "cannot be imported"),
        ("nowhere:x", "cannot be imported"),
        ("sklearn.metrics:roc_auc_score", r"failed \(ValueError"),
    ):
        with pytest.raises(SuperticketsError, match=sentence):
            score([metric], labels, logits)


def test_the_best_constant_answer_is_the_yardstick_of_every_metric():
    labels = np.array([0] * 9 + [1])
    rare = task(dev=examples(10, labels=labels), metrics=("f1",))
    outputs, answer = best_constant(rare)
    assert (outputs.argmax(1) == 1).all() and answer == "'yes'"  # F1 of "yes" is 0 for the commonest answer
    assert best_constant(replace(rare, metrics=("accuracy",)))[1] == "'no'"
    scores = Task(
        "sim", "regression", (), ("pearson",), examples(3, labels=np.arange(3.0)), examples(3, labels=np.arange(3.0))
    )
    assert score(scores.metrics, scores.dev.labels, best_constant(scores)[0])["score"] == 0.0


# --- doubts ---------------------------------------------------------------------------------------------------------


def test_overlap_and_repeated_texts_are_counted_and_all_of_dev_refused():
    texts = tuple((f"text {i}",) for i in range(10))
    made = task(train=examples(10, texts=texts), dev=examples(10, texts=(*texts[:3], *(("new",),) * 7)))
    selection = np.arange(10) >= 9
    notes = " ".join(data_notes(made, selection))
    assert "3 of 10 dev texts are training texts too (30%)" in notes
    assert "6 report texts stand among the selection rows too" in notes
    twice = task(train=examples(4, texts=(("a",), ("a",), ("b",), ("c",))), dev=examples(4, texts=texts[:4]))
    assert "1 training texts stand there twice, 1 with another label." in data_notes(twice, selection[:4])
    for same, rows in ((made, selection), (twice, selection[:4])):
        with pytest.raises(SuperticketsError, match="Every dev example of task 'toy' is a training example too"):
            data_notes(replace(same, dev=same.train), rows)


def test_rare_classes_labels_that_may_be_none_and_a_common_positive_class_are_said():
    made = task(dev=examples(6, labels=np.array([0, 1, 1, 1, 1, 1])), metrics=("f1",))
    notes = " ".join(data_notes(made, np.zeros(6, dtype=bool)))
    assert "Of 'no' dev has one example" in notes
    assert "F1 is of 'yes', the commoner class: always answering it scores 0.91; --positive no is usual." in notes
    three = replace(made, label_names=("-1", "2"), metrics=("accuracy",))
    assert "One class is '-1'" in " ".join(data_notes(three, np.zeros(6, dtype=bool)))


# --- tables in memory, and dev from train ---------------------------------------------------------------------------


def test_data_frames_and_data_sets_are_files_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERTICKETS_CACHE", str(tmp_path / "cache"))
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(8)], "label": ["x", "y"] * 4})
    made = load_task("mine", train=frame, dev=frame.iloc[:4])
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.iloc[:4].to_csv(tmp_path / "d.csv", index=False)
    assert made.fingerprint == load_task("mine", train=tmp_path / "t.csv", dev=tmp_path / "d.csv").fingerprint
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["x", "y"])})
    table = datasets.Dataset.from_dict({"text": list(frame["text"]), "label": [0, 1] * 4}, features)
    again = load_task("mine", train=table, dev=table.select(range(4)))
    assert (again.fingerprint, again.label_names) == (made.fingerprint, ("x", "y"))
    ref = data_ref(train=frame, dev_share=0.5)
    assert ref.name == "frame" and ref.load().fingerprint == ref.fingerprint
    with pytest.raises(SuperticketsError, match=r"A split is a file, a DataFrame or one split .* not a dict"):
        load_task(train={"text": []})


def test_dev_is_cut_from_train_without_a_text_in_common(tmp_path):
    rows = pd.DataFrame({"text": [f"text {i % 40}" for i in range(50)], "label": ["x", "y"] * 25})
    rows.loc[0, "label"] = "rare"
    rows.to_csv(tmp_path / "t.csv", index=False)
    made = load_task(train=tmp_path / "t.csv", dev_share=0.2)
    assert 0 < len(made.dev) <= 10 and len(made.train) + len(made.dev) == 50
    assert not set(made.train.texts) & set(made.dev.texts)
    assert made.label_names[0] == "rare" and 0 in made.train.labels
    for options, sentence in (
        ({"dev_share": 1.0}, "must lie between 0 and 1, not be 1"),
        ({"dev_share": 0.2, "dev": tmp_path / "t.csv"}, "leave one of the two out"),
        ({}, r"give dev= \(--dev\), or the share of train that becomes dev \(--dev-share\)"),
    ):
        with pytest.raises(SuperticketsError, match=sentence):
            load_task(train=tmp_path / "t.csv", **options)  # pyright: ignore[reportArgumentType]
