"""Fingerprints, splits, metrics and validation of tasks."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from supertickets.errors import SuperticketsError
from supertickets.tasks import (
    Examples,
    Task,
    fingerprint_of,
    metric_values,
    score,
    shuffled,
    split_dev,
    stratified_order,
    subset,
    validate_task,
)


def examples(n: int, classes: int = 2, **changes) -> Examples:
    made = Examples(tuple((f"left {i}", f"right {i}") for i in range(n)), np.arange(n) % classes)
    return replace(made, **changes)


def task(**changes) -> Task:
    made = Task("toy", "classification", ("no", "yes"), ("accuracy",), train=examples(8), dev=examples(40))
    return replace(made, **changes)


# --- fingerprints ---------------------------------------------------------------------------------------------------


def test_fingerprint_is_pinned_and_the_same_in_another_process():
    # Recorded runs are found by this value: if it changes, every stored run id changes with it.
    made = fingerprint_of(examples(3), examples(2), None)
    assert made == "8a556a4422e120dd06181780b855882041c015ee4e1c4c0d93839a1367a97e01"
    code = (
        "import numpy as np; from supertickets.tasks import Examples, fingerprint_of as f;"
        "e = lambda n: Examples(tuple((f'left {i}', f'right {i}') for i in range(n)), np.arange(n, dtype='int32') % 2);"
        "print(f(e(3), e(2)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": "7"})
    assert printed.stdout.strip() == made, printed.stderr


@pytest.mark.parametrize(
    "changed",
    [
        examples(3, texts=(("left 0", "right 0"), ("left 1", "right 1"), ("left 2", "right 2!"))),
        examples(3, texts=(("left 0r", "ight 0"), ("left 1", "right 1"), ("left 2", "right 2"))),
        examples(3, texts=(("left 0right 0",), ("left 1", "right 1"), ("left 2", "right 2"))),
        examples(3, labels=np.array([0, 1, 1])),
        examples(3, labels=np.array([0.0, 1.0, 0.0])),
        examples(3, groups=np.array(["a", "a", "b"])),
        subset(examples(3), np.array([1, 0, 2])),
    ],
)
def test_fingerprint_changes_with_any_content(changed):
    assert fingerprint_of(changed, examples(2)) != fingerprint_of(examples(3), examples(2))
    assert fingerprint_of(examples(2), changed) != fingerprint_of(examples(2), examples(3))


def test_fingerprint_ignores_the_true_distribution_and_takes_any_text():
    odd = Examples((("\ud800 é \x1f",), ("",)), np.array([0, 1]))
    told = replace(odd, probabilities=np.full((2, 2), 0.5))
    assert fingerprint_of(odd, odd) == fingerprint_of(told, odd)


# --- order and splits -----------------------------------------------------------------------------------------------


def test_shuffled_is_pinned_and_seeded():
    assert shuffled(8, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert shuffled(8, 0).tolist() != shuffled(8, 1).tolist() != shuffled(8, 1, 1).tolist()
    with pytest.raises(SuperticketsError, match="at least 0, not -1"):
        shuffled(3, -1)


def test_shuffled_is_uniform():
    counts = np.zeros((4, 4))
    for seed in range(2000):
        counts[np.arange(4), shuffled(4, seed)] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=80), st.integers(0, 50))
def test_every_prefix_of_the_stratified_order_is_proportional(strata, seed):
    strata = np.array(strata)
    order = stratified_order(strata, seed)
    assert sorted(order) == list(range(len(strata)))
    values, counts = np.unique(strata, return_counts=True)
    for n in range(len(values), len(strata) + 1):
        taken = np.array([(strata[order[:n]] == value).sum() for value in values])
        assert (taken >= 1).all()
        assert (np.abs(taken - n * counts / len(strata)) <= len(values)).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=2, max_size=4), st.floats(0.01, 0.99), st.integers(0, 99), st.booleans())
def test_selection_is_stratified_seeded_and_never_empties_a_class(sizes, fraction, seed, grouped):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    groups = np.where(np.arange(len(labels)) % 2, "matched", "mismatched") if grouped else None
    dev = Examples((("x",),) * len(labels), labels, groups)
    made = task(label_names=tuple("abcd"[: len(sizes)]), dev=dev)
    mask = split_dev(made, fraction, seed)
    assert mask.dtype == bool
    assert mask.shape == (len(labels),)
    assert (mask == split_dev(made, fraction, seed)).all()
    for label, size in enumerate(sizes):
        inside = int(mask[labels == label].sum())
        assert 1 <= inside <= size - 1
        assert abs(inside - fraction * size) <= 1.0


def test_selection_differs_between_seeds_and_takes_from_both_groups():
    groups = np.array(["matched"] * 100 + ["mismatched"] * 100)
    made = task(dev=examples(200, groups=groups))
    mask = split_dev(made)
    assert mask.sum() == 20
    assert abs(int(mask[:100].sum()) - 10) <= 2
    assert (mask != split_dev(made, seed=1)).any()


def test_selection_of_a_regression_task():
    scores = Task("sim", "regression", (), ("pearson",), examples(6), examples(50, labels=np.linspace(0, 5, 50)))
    assert split_dev(scores).sum() == 5
    assert split_dev(replace(scores, dev=examples(4, labels=np.arange(4.0)))).sum() == 2


def test_a_split_that_cannot_be_made_is_refused():
    rare = task(dev=examples(5, labels=np.array([0, 0, 0, 0, 1])))
    with pytest.raises(SuperticketsError, match=r"'toy' has 1 dev example\(s\) of class 'yes', too few.*at least 2"):
        split_dev(rare)
    short = Task("sim", "regression", (), ("pearson",), examples(6), examples(3, labels=np.arange(3.0)))
    with pytest.raises(SuperticketsError, match=r"3 dev example\(s\) in all.*at least 4"):
        split_dev(short)
    with pytest.raises(SuperticketsError, match=r"between 0 and 1, not be 1\.0"):
        split_dev(task(), 1.0)


# --- metrics --------------------------------------------------------------------------------------------------------


def test_metrics_agree_with_scikit_learn_and_scipy():
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 2, 60), rng.normal(size=(60, 2))
    predicted = logits.argmax(1)
    assert metric_values(["accuracy", "f1", "mcc"], labels, logits) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, predicted),
            "f1": sk.f1_score(labels, predicted),
            "mcc": sk.matthews_corrcoef(labels, predicted),
        }
    )
    truth, outputs = rng.uniform(0, 5, 60), rng.normal(size=(60, 1))
    assert metric_values(["pearson", "spearman"], truth, outputs) == pytest.approx(
        {
            "pearson": np.corrcoef(truth, outputs[:, 0])[0, 1],
            "spearman": np.corrcoef(stats.rankdata(truth), stats.rankdata(outputs))[0, 1],
        }
    )


def test_metrics_by_hand():
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives
    labels = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    logits = np.eye(2)[[1, 1, 1, 1, 0, 0, 0, 0, 0, 0]]
    assert metric_values(["accuracy", "f1", "mcc"], labels, logits) == pytest.approx(
        {"accuracy": 0.7, "f1": 6 / 9, "mcc": (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6)}
    )


def test_constant_predictions_and_labels_count_as_zero_without_a_warning():
    constant = np.tile([0.0, 1.0], (4, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metric_values(["mcc"], np.array([0, 1, 0, 1]), constant) == {"mcc": 0.0}
        assert metric_values(["mcc"], np.ones(4, int), np.eye(2)[[0, 1, 0, 1]]) == {"mcc": 0.0}
        assert metric_values(["f1"], np.array([0, 1, 0, 1]), constant[:, ::-1]) == {"f1": 0.0}
        both = ["pearson", "spearman"]
        assert metric_values(both, np.arange(4.0), np.full(4, 2.5)) == {"pearson": 0.0, "spearman": 0.0}
        assert metric_values(both, np.full(4, 2.5), np.arange(4.0)) == {"pearson": 0.0, "spearman": 0.0}
        assert metric_values(both, np.ones(1), np.ones(1)) == {"pearson": 0.0, "spearman": 0.0}
        nearly = 1e8 + np.arange(4) * 1e-8 * np.array([1, 1, 1, 9])
        assert np.isfinite(metric_values(["pearson"], np.arange(4.0), nearly)["pearson"])


def test_score_is_the_mean_of_two_metrics():
    labels, logits = np.array([0, 0, 1, 1]), np.eye(2)[[0, 1, 1, 1]]
    values = score(("accuracy", "f1"), labels, logits)
    assert values == pytest.approx({"score": (0.75 + 0.8) / 2, "accuracy": 0.75, "f1": 0.8})


def test_score_of_groups_is_the_mean_over_groups_not_over_examples():
    labels, logits = np.array([0, 0, 0, 1, 1]), np.eye(2)[[0, 0, 0, 0, 1]]
    groups = np.array(["matched", "matched", "matched", "matched", "mismatched"])
    assert score(("accuracy",), labels, logits, groups) == pytest.approx(
        {"score": 0.875, "accuracy": 0.8, "accuracy_matched": 0.75, "accuracy_mismatched": 1.0}
    )


@pytest.mark.parametrize(
    ("metrics", "labels", "outputs", "sentence"),
    [
        (["auc"], [0, 1], np.eye(2), "Unknown metric 'auc': the metrics are accuracy, f1, mcc, pearson, spearman."),
        (["accuracy"], [0], np.eye(2), "got 2 outputs for 1 labels"),
        (["accuracy"], [], np.zeros((0, 2)), "at least one"),
        (["accuracy"], [0, 1], [[0.0, np.nan], [0.0, 1.0]], "outputs are not finite"),
        (["accuracy"], [0, 1], [0.0, 1.0], r"needs logits of shape \(n, n_classes\), not \(2,\)"),
        (["f1"], [0, 1], np.eye(3)[:2], "there are 3 classes"),
        (["pearson"], [0, 1], np.eye(2), r"one output per example, not shape \(2, 2\)"),
    ],
)
def test_metric_errors(metrics, labels, outputs, sentence):
    with pytest.raises(SuperticketsError, match=sentence):
        metric_values(metrics, np.array(labels), outputs)


# --- validation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "ranking"}, "kind 'ranking': choose 'classification' or 'regression'"),
        ({"metrics": ("pearson",)}, r"\(classification\) cannot be scored by 'pearson': choose from accuracy, f1, mcc"),
        ({"metrics": ()}, "by no metric"),
        ({"metrics": ("f1",), "label_names": ("a", "b", "c")}, "has 3 classes, but metric 'f1' needs two"),
        ({"train": examples(0)}, "the train split is empty"),
        ({"dev": examples(0)}, "the dev split is empty"),
        ({"test": examples(0)}, "the test split is empty"),
        ({"dev": examples(3, labels=np.zeros(2, int))}, "dev split has 3 texts but 2 labels"),
        ({"dev": examples(3, groups=np.array(["m"]))}, "3 texts but 1 groups"),
        ({"train": examples(4, labels=np.zeros(4, int))}, "every training label is 'no', so there is nothing to learn"),
        ({"train": examples(4, 3)}, "train split has labels that are not class indices from 0 to 1"),
        ({"train": examples(4, labels=np.array([0.0, 1, 0, 1]))}, "not class indices"),
        (
            {"dev": examples(6, 3), "label_names": ("a", "b", "c")},
            r"dev has label\(s\) 'c' that no training example has",
        ),
        ({"dev": examples(2, texts=(("one",), ("two",)))}, "one text per example, or two, in every example"),
    ],
)
def test_an_unusable_task_is_refused(changes, sentence):
    with pytest.raises(SuperticketsError, match=sentence):
        validate_task(task(**changes))


def test_unusable_regression_tasks_are_refused():
    good = Task("sim", "regression", (), ("pearson",), examples(3, labels=np.arange(3.0)), examples(2))
    assert validate_task(good) is good
    with pytest.raises(SuperticketsError, match=r"not finite \(example 2\)"):
        validate_task(replace(good, train=examples(3, labels=np.array([1.0, np.inf, 2.0]))))
    with pytest.raises(SuperticketsError, match=r"every training score is 2\.5"):
        validate_task(replace(good, train=examples(3, labels=np.full(3, 2.5))))
    with pytest.raises(SuperticketsError, match="cannot be scored by 'accuracy': choose from pearson, spearman"):
        validate_task(replace(good, metrics=("accuracy",)))


def test_a_good_task_passes():
    made = task(test=examples(2, labels=np.ones(2, int)))
    assert validate_task(made) is made


def test_only_a_test_split_may_keep_its_labels_to_itself_and_then_all_of_them():
    hidden = examples(3, labels=np.full(3, -1))
    assert validate_task(task(test=hidden)).test is hidden
    assert (hidden.labelled, examples(3).labelled) == (False, True)
    for changes in ({"dev": hidden}, {"train": hidden}, {"test": examples(3, labels=np.array([-1, 0, 1]))}):
        with pytest.raises(SuperticketsError, match="labels that are not class indices from 0 to 1"):
            validate_task(task(**changes))
    scores = Task("sim", "regression", (), ("pearson",), examples(3, labels=np.arange(3.0)), examples(2))
    unknown = examples(2, labels=np.full(2, np.nan))
    assert not unknown.labelled
    assert validate_task(replace(scores, test=unknown)).test is unknown
    for changes in ({"dev": unknown}, {"test": examples(2, labels=np.array([np.nan, 1.0]))}):
        with pytest.raises(SuperticketsError, match=r"a score that is not finite \(example 1\)"):
            validate_task(replace(scores, **changes))
