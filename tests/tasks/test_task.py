"""Tasks: fingerprints and validation."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from small_tasks import examples, task

from supertickets.errors import SuperticketsError
from supertickets.tasks import Examples, Task
from supertickets.tasks.sampling import subset
from supertickets.tasks.task import fingerprint_of, validate_task

# --- fingerprints ---------------------------------------------------------------------------------------------------


def test_fingerprint_is_pinned_and_the_same_in_another_process():
    # Recorded runs are found by this value: if it changes, every stored run id changes with it.
    made = fingerprint_of(examples(3), examples(2), None)
    assert made == "8a556a4422e120dd06181780b855882041c015ee4e1c4c0d93839a1367a97e01"
    code = (
        "import numpy as np; from supertickets.tasks.task import Examples, fingerprint_of as f;"
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
