"""The lab's tasks: seeds, splits, noise, true probabilities, and no shortcuts."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from supertickets.errors import SuperticketsError
from supertickets.lab.corpus import vocabulary
from supertickets.tasks import LAB_TASKS, Examples, Task
from supertickets.tasks.lab_tasks import _evaluations, lab_task

PAIR_TASKS = [
    name for name, info in LAB_TASKS.items() if info.label_names and name not in ("acceptability", "sentiment")
]


@pytest.fixture(scope="module")
def clean() -> Callable[[str], Task]:
    """Each task once, noise-free, 1,500 + 1,000 examples."""
    kept: dict[str, Task] = {}

    def get(name: str) -> Task:
        if name not in kept:
            kept[name] = lab_task(name, train_size=1500, dev_size=1000, test_size=0, noise=0.0)
        return kept[name]

    return get


def test_ten_tasks_in_glues_order_of_size() -> None:
    assert {info.kin for info in LAB_TASKS.values()} == {
        "CoLA", "SST-2", "MRPC", "QQP", "STS-B", "QNLI", "RTE", "MNLI", "SNLI", "SciTail",
    }  # fmt: skip
    by_kin = {info.kin: info.train_size for info in LAB_TASKS.values()}
    glue = ["RTE", "MRPC", "STS-B", "CoLA", "SST-2", "QNLI", "QQP", "MNLI"]
    assert sorted(glue, key=lambda kin: by_kin[kin]) == glue
    assert by_kin["RTE"] == 300 and by_kin["MNLI"] == 2000


@pytest.mark.parametrize("name", LAB_TASKS)
def test_seeds(name: str) -> None:
    first = lab_task(name, 40, 30, 20, seed=3)
    again = lab_task(name, 40, 30, 20, seed=3)
    other = lab_task(name, 40, 30, 20, seed=3, train_seed=4)
    assert first.fingerprint == again.fingerprint and len(first.fingerprint) == 64
    assert first.train.texts == again.train.texts
    np.testing.assert_array_equal(first.train.labels, again.train.labels)
    assert other.dev.texts == first.dev.texts and other.test is not None and first.test is not None
    assert other.test.texts == first.test.texts
    assert other.train.texts != first.train.texts and other.fingerprint != first.fingerprint
    assert lab_task(name, 40, 30, 20, seed=5).dev.texts != first.dev.texts


@pytest.mark.parametrize("name", LAB_TASKS)
def test_splits_share_no_example(name: str, clean: Callable[[str], Task]) -> None:
    task = clean(name)
    assert (len(task.train), len(task.dev)) == (1500, 1000)
    assert len(set(task.train.texts) | set(task.dev.texts)) == 2500
    assert {len(texts) for texts in task.train.texts} == {1 if name in ("acceptability", "sentiment") else 2}


@pytest.mark.parametrize("name", LAB_TASKS)
def test_a_test_split_changes_the_training_examples_that_occur_in_it_and_no_others(name: str) -> None:
    without, with_test = (lab_task(name, dev_size=800, test_size=n, noise=0.1) for n in (0, 2000))
    assert with_test.test is not None and with_test.dev.texts == without.dev.texts
    reserved = set(with_test.test.texts)
    collides = np.array([texts in reserved for texts in without.train.texts])
    differs = [a != b for a, b in zip(without.train.texts, with_test.train.texts, strict=True)]
    np.testing.assert_array_equal(differs, collides)
    assert not reserved & set(with_test.train.texts)
    assert len(set(with_test.train.texts)) == len(with_test.train)
    same_labels = ~collides if name == "similarity" else np.ones_like(collides)  # another pair has another score
    np.testing.assert_array_equal(without.train.labels[same_labels], with_test.train.labels[same_labels])


@pytest.mark.parametrize("name", LAB_TASKS)
def test_noise_and_probabilities(name: str) -> None:
    noise, info = 0.3, LAB_TASKS[name]
    noisy = lab_task(name, 1200, 300, 0, noise=noise)
    silent = lab_task(name, 1200, 300, 0, noise=0.0)
    assert noisy.train.texts == silent.train.texts  # noise changes labels only
    np.testing.assert_array_equal(noisy.dev.labels, silent.dev.labels)
    true = noisy.train.probabilities
    assert true is not None and noisy.dev.probabilities is not None
    if info.kind == "regression":
        assert noisy.num_labels == 1
        np.testing.assert_array_equal(true[:, 0], silent.train.labels)
        assert abs(np.std(noisy.train.labels - true[:, 0]) / (5 * noise) - 1) < 0.08  # 4 standard errors
        assert silent.train.labels.min() >= 0 and silent.train.labels.max() == 5.0
        return
    np.testing.assert_allclose(true.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(true.argmax(axis=1), silent.train.labels)
    np.testing.assert_allclose(true.max(axis=1), 1 - noise)
    rate = np.mean(noisy.train.labels != silent.train.labels)
    assert abs(rate - noise) < 0.053  # 4 standard errors
    np.testing.assert_array_equal(noisy.dev.probabilities.argmax(axis=1), noisy.dev.labels)
    counts = np.bincount(silent.dev.labels, minlength=noisy.num_labels)
    assert counts.max() - counts.min() <= 1


def test_entailment_defaults_to_a_fifth_of_wrong_labels() -> None:
    task = lab_task("entailment", train_size=1000, dev_size=10, test_size=0)
    assert task.train.probabilities is not None
    assert abs(np.mean(task.train.labels != task.train.probabilities.argmax(axis=1)) - 0.2) < 0.05


def test_inference_has_matched_and_mismatched_halves() -> None:
    task = lab_task("inference", 50, 401, 400)
    assert task.dev.groups is not None and task.test is not None and task.test.groups is not None
    assert np.sum(task.dev.groups == "matched") == 201 and np.sum(task.test.groups == "mismatched") == 200
    words = {
        group: {
            w for t, g in zip(task.dev.texts, task.dev.groups, strict=True) if g == group for s in t for w in s.split()
        }
        for group in ("matched", "mismatched")
    }
    assert {"farmer", "apple"} <= words["matched"] - words["mismatched"]
    assert {"attorney", "truck"} <= words["mismatched"] - words["matched"]
    assert task.train.groups is None and lab_task("captions", 10, 10, 10).dev.groups is None


def test_adaptation_targets_differ_in_words_and_construction(clean: Callable[[str], Task]) -> None:
    def words(name: str) -> set[str]:
        return {word for texts in clean(name).train.texts for text in texts for word in text.split()}

    assert len(words("captions") - words("inference")) > 80
    assert len(words("science") - words("inference")) > 80
    assert "being" in words("captions") and "being" not in words("inference")
    assert "studies" in words("science") and "studies" not in words("inference")


@pytest.mark.parametrize("name", LAB_TASKS)
def test_every_word_is_in_the_vocabulary(name: str) -> None:
    task = lab_task(name, train_size=2000, dev_size=1, test_size=0)
    assert {word for texts in task.train.texts for text in texts for word in text.split()} <= set(vocabulary())


def shortcut(train: Examples, dev: Examples, columns: tuple[int, ...]) -> float:
    """Dev accuracy of logistic regression on the words and word pairs of some columns."""
    counter = CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2))
    features = counter.fit_transform([" ".join(texts[c] for c in columns) for texts in train.texts])
    model = LogisticRegression(C=0.1, max_iter=200).fit(features, train.labels)
    return float(
        model.score(counter.transform([" ".join(texts[c] for c in columns) for texts in dev.texts]), dev.labels)
    )


def overlap(train: Examples, dev: Examples) -> float:
    """Dev accuracy of logistic regression on how many words are shared, only in the first, only in the second."""

    def counts(split: Examples) -> np.ndarray:
        sets = [(set(a.split()), set(b.split())) for a, b in split.texts]
        return np.array([(len(a & b), len(a - b), len(b - a)) for a, b in sets], float)

    return float(LogisticRegression().fit(counts(train), train.labels).score(counts(dev), dev.labels))


@pytest.mark.parametrize("name", PAIR_TASKS)
def test_no_shortcut(name: str, clean: Callable[[str], Task]) -> None:
    """One sentence alone, the words of both, or their overlap: at most 0.15 over chance (bigrams included).

    Pre-trained encoders reach 0.4 and more over chance; see the model cards.
    """
    task = clean(name)
    chance = 1 / task.num_labels
    assert shortcut(task.train, task.dev, (0,)) < chance + 0.08
    assert shortcut(task.train, task.dev, (1,)) < chance + 0.15
    assert shortcut(task.train, task.dev, (0, 1)) < chance + 0.15
    assert overlap(task.train, task.dev) < chance + 0.17


def test_generation_is_fast() -> None:
    lab_task("inference", 10, 10, 10)
    began = time.process_time()
    lab_task("inference", train_size=2000, dev_size=1, test_size=0)
    assert time.process_time() - began < 1.5  # 0.2 s on an idle core


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "entailement"}, "entailment, inference"),
        ({"name": "entailment", "train_size": 0}, "train_size"),
        ({"name": "entailment", "dev_size": -1}, "dev_size"),
        ({"name": "entailment", "test_size": -5}, "test_size"),
        ({"name": "entailment", "noise": 0.5}, "noise"),
        ({"name": "entailment", "noise": -0.1}, "noise"),
    ],
)
def test_mistakes_are_named(arguments: dict, words: str) -> None:
    with pytest.raises(SuperticketsError, match=words):
        lab_task(**arguments)


@pytest.mark.parametrize("name", ["inference", "similarity"])
def test_kept_evaluation_sets_are_the_ones_drawn_anew(name: str) -> None:
    def both(train_seed: int) -> Task:
        return lab_task(name, 20, 31, 20, noise=0.2, train_seed=train_seed)

    _evaluations.cache_clear()
    first, kept = both(1), both(2)
    assert (_evaluations.cache_info().hits, _evaluations.cache_info().misses) == (1, 1)
    _evaluations.cache_clear()
    anew = both(2)
    assert kept.fingerprint == anew.fingerprint != first.fingerprint
    assert kept.dev.probabilities is not None and anew.dev.probabilities is not None
    np.testing.assert_array_equal(kept.dev.probabilities, anew.dev.probabilities)
    assert not set(kept.train.texts) & {*kept.dev.texts, *(kept.test or kept.dev).texts}
    # Whoever writes into a task's arrays writes into that task's only.
    before = both(1).fingerprint
    first.dev.labels[:] = 0
    first.dev.probabilities[:] = 0.5  # type: ignore[index]
    assert both(1).fingerprint == before
    assert both(1).dev.probabilities.max() > 0.5  # type: ignore[union-attr]


def test_other_evaluation_sets_are_not_taken_for_kept_ones() -> None:
    base = {"name": "entailment", "train_size": 10, "dev_size": 30, "test_size": 30, "noise": 0.2, "seed": 0}
    tasks = [lab_task(**{**base, **change}) for change in ({}, {"dev_size": 31}, {"test_size": 31}, {"seed": 1})]
    assert len({task.dev.texts + task.test.texts for task in tasks if task.test is not None}) == 4
    other = lab_task(**{**base, "noise": 0.4}).dev.probabilities
    assert other is not None and other.max() == 0.6
    assert lab_task(**{**base, "test_size": 0}).test is None
