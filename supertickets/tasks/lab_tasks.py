"""The lab's ten tasks: GLUE's eight in kind, metric and relative size, and two for domain adaptation.

Every label is known by construction. What a task adds is *label noise*: with probability ``noise`` a training label
is replaced by another class, chosen uniformly; for the regression task, Gaussian noise of standard deviation
``5 * noise`` is added to the training scores. Dev and test labels are clean. So the Bayes-optimal answer is the clean
label, the irreducible error is known, and fresh training sets can be drawn at will (``train_seed``).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from supertickets import lab
from supertickets.errors import SuperticketsError
from supertickets.tasks.task import Examples, Task, fingerprint_of

_Drawer = Callable[[Random, str, int], tuple[tuple[str, ...], float]]


@dataclass(frozen=True)
class LabTaskInfo:
    """What is fixed about a lab task. ``draw(rng, vocabulary, label)`` makes one example and its clean label."""

    kin: str  # the GLUE task (or SNLI, SciTail) it mirrors
    description: str
    label_names: tuple[str, ...]  # empty for the regression task
    metrics: tuple[str, ...]
    train_size: int
    noise: float
    draw: _Drawer
    vocabularies: tuple[str, ...] = lab.EVERYDAY
    mismatched: str = ""  # vocabulary of the second half of dev and test, if they come in two parts

    @property
    def kind(self) -> str:
        """Either "classification" or "regression"."""
        return "classification" if self.label_names else "regression"


# --- one example of each task: (rng, vocabulary, label) -> texts, clean label or score ----------------------------


def _paraphrase(rng: Random, vocabulary: str, label: int) -> tuple[tuple[str, ...], float]:
    while True:
        first = lab.draw_clause(rng, vocabulary, modifiers=0.5)
        second = first if label else rng.choice((lab.change, lab.change, lab.change, lab.deny))(rng, first)
        texts = lab.word_pair(rng, first, second, "same" if label else "open")
        if texts[0] != texts[1]:
            return texts, label


def _question_pairs(rng: Random, vocabulary: str, label: int) -> tuple[tuple[str, ...], float]:
    while True:
        texts = lab.draw_question_pair(rng, vocabulary, bool(label))
        if texts[0] != texts[1]:
            return texts, label


def _similarity(rng: Random, vocabulary: str, label: int) -> tuple[tuple[str, ...], float]:
    first = lab.draw_clause(rng, vocabulary, modifiers=0.45)
    second = first
    for _ in range(rng.randrange(5)):
        second = rng.choice((lab.change, lab.change, lab.redraw))(rng, second)
    if rng.random() < 0.2:
        second = lab.related(rng, second, rng.choice(("implied", "clash")))
    return lab.word_pair(rng, first, second), lab.likeness(first, second)


def _entails(rng: Random) -> str:
    return "implied" if rng.random() < 0.75 else "same"


def _entailment(rng: Random, vocabulary: str, label: int) -> tuple[tuple[str, ...], float]:
    relation = rng.choice(("open", "open", "clash")) if label else _entails(rng)
    return lab.word_pair(rng, *lab.draw_pair(rng, vocabulary, relation), relation), label


def _inference(rng: Random, vocabulary: str, label: int) -> tuple[tuple[str, ...], float]:
    relation = (_entails(rng), "open", "clash")[label]
    return lab.word_pair(rng, *lab.draw_pair(rng, vocabulary, relation), relation), label


def _science(rng: Random, vocabulary: str, label: int) -> tuple[tuple[str, ...], float]:
    relation = "open" if label else _entails(rng)
    return lab.word_pair(rng, *lab.draw_pair(rng, vocabulary, relation), relation), label


_TWO = ("entailment", "not_entailment")
_THREE = ("entailment", "neutral", "contradiction")
_SAME = ("different", "same")

LAB_TASKS: dict[str, LabTaskInfo] = {
    "acceptability": LabTaskInfo(
        "CoLA",
        "Is the sentence well formed? Faults: agreement, number, word order, a missing or doubled word.",
        ("unacceptable", "acceptable"),
        ("mcc",),
        800,
        0.05,
        lambda rng, _, label: ((lab.draw_judged(rng, bool(label)),), label),
    ),
    "sentiment": LabTaskInfo(
        "SST-2",
        "Is a review positive or negative? Degrees, negation, and the weight of what follows 'but'.",
        ("negative", "positive"),
        ("accuracy",),
        1400,
        0.05,
        lambda rng, _, label: ((lab.draw_review(rng, bool(label)),), label),
    ),
    "paraphrase": LabTaskInfo(
        "MRPC", "Do two statements say the same?", _SAME, ("accuracy", "f1"), 500, 0.15, _paraphrase
    ),
    "question_pairs": LabTaskInfo(
        "QQP", "Do two questions ask the same?", _SAME, ("accuracy", "f1"), 1800, 0.1, _question_pairs
    ),
    "similarity": LabTaskInfo(
        "STS-B", "How alike are two statements, from 0 to 5?", (), ("pearson", "spearman"), 700, 0.1, _similarity
    ),
    "question_answer": LabTaskInfo(
        "QNLI",
        "Does the statement answer the question?",
        _TWO,
        ("accuracy",),
        1600,
        0.1,
        lambda rng, vocabulary, label: (lab.draw_question_answer(rng, vocabulary, answered=label == 0), label),
    ),
    "entailment": LabTaskInfo(
        "RTE", "Does the second statement follow from the first?", _TWO, ("accuracy",), 300, 0.2, _entailment
    ),
    "inference": LabTaskInfo(
        "MNLI",
        "Does the second statement follow, contradict, or neither? Half of dev and test in an unseen vocabulary.",
        _THREE,
        ("accuracy",),
        2000,
        0.1,
        _inference,
        ("village",),
        "town",
    ),
    "captions": LabTaskInfo(
        "SNLI",
        "Three-way inference about picture captions: progressive verbs, things introduced with 'a'.",
        _THREE,
        ("accuracy",),
        2000,
        0.1,
        _inference,
        ("scene",),
    ),
    "science": LabTaskInfo(
        "SciTail",
        "Does one general statement follow from another? Bare plurals, 'studies show that', two-way.",
        ("entails", "neutral"),
        ("accuracy",),
        1000,
        0.1,
        _science,
        ("nature",),
    ),
}


# --- drawing whole tasks ----------------------------------------------------------------------------------------


def _draw_split(
    info: LabTaskInfo, rng: Random, size: int, vocabularies: tuple[str, ...], taken: set[tuple[str, ...]]
) -> tuple[list[tuple[str, ...]], list[float]]:
    """``size`` new examples, classes in equal numbers and random order; adds their texts to ``taken``."""
    classes = max(1, len(info.label_names))
    order = [i % classes for i in range(size)]
    rng.shuffle(order)
    drawn = [_draw_new(info, rng, vocabularies, wanted, taken) for wanted in order]
    return [texts for texts, _ in drawn], [label for _, label in drawn]


def _draw_new(
    info: LabTaskInfo, rng: Random, vocabularies: tuple[str, ...], wanted: int, taken: set[tuple[str, ...]]
) -> tuple[tuple[str, ...], float]:
    """An example that is not in ``taken``, and is afterwards."""
    while True:
        texts, label = info.draw(rng, rng.choice(vocabularies), wanted)
        if texts not in taken:
            taken.add(texts)
            return texts, label


def _draw_train(
    info: LabTaskInfo, name: str, seed: int, size: int, dev: Examples, test: Examples | None
) -> tuple[list[tuple[str, ...]], list[float]]:
    """The training set's texts and clean labels: the same with a test split as without, but for its own examples.

    Those are replaced, by others of their class, from a random stream of their own: were they passed over as they come,
    all that is drawn after the first of them would be other examples.
    """
    taken = set(dev.texts)
    texts, labels = _draw_split(info, Random(f"{name} train {seed}"), size, info.vocabularies, taken)
    reserved = set(test.texts) if test is not None else set()
    taken |= reserved
    rng = Random(f"{name} train {seed} in place of test examples")
    for row in (row for row, drawn in enumerate(texts) if drawn in reserved):
        wanted = int(labels[row]) if info.label_names else 0
        texts[row], labels[row] = _draw_new(info, rng, info.vocabularies, wanted, taken)
    return texts, labels


def _examples(
    info: LabTaskInfo, texts: list[tuple[str, ...]], clean: list[float], noise: float, rng: np.random.Generator | None
) -> Examples:
    """Examples with their true distributions; with ``rng`` the labels are drawn from these, else clean."""
    if info.kind == "regression":
        scores = np.asarray(clean, np.float64)
        noisy = scores if rng is None else scores + rng.normal(0.0, 5.0 * noise, len(scores))
        return Examples(tuple(texts), noisy, None, scores[:, None])
    labels, classes = np.asarray(clean, np.int64), len(info.label_names)
    probabilities = np.full((len(labels), classes), noise / (classes - 1))
    probabilities[np.arange(len(labels)), labels] = 1.0 - noise
    if rng is not None:
        flipped = rng.random(len(labels)) < noise
        labels = np.where(flipped, (labels + rng.integers(1, classes, len(labels))) % classes, labels)
    return Examples(tuple(texts), labels, None, probabilities)


def _evaluation(info: LabTaskInfo, rng: Random, size: int, noise: float, taken: set[tuple[str, ...]]) -> Examples:
    if not info.mismatched:
        return _examples(info, *_draw_split(info, rng, size, info.vocabularies, taken), noise, None)
    half = size - size // 2
    texts, clean = _draw_split(info, rng, half, info.vocabularies, taken)
    more, clean_too = _draw_split(info, rng, size // 2, (info.mismatched,), taken)
    split = _examples(info, texts + more, clean + clean_too, noise, None)
    groups = np.array(["matched"] * half + ["mismatched"] * (size // 2))
    return Examples(split.texts, split.labels, groups, split.probabilities)


@functools.lru_cache(maxsize=8, typed=True)  # typed: the seed 1.0 is not the seed 1
def _evaluations(name: str, dev_size: int, test_size: int, noise: float, seed: int) -> tuple[Examples, Examples | None]:
    """Dev and test, kept, since many training sets are compared on one pair of them."""
    info, taken = LAB_TASKS[name], set()
    dev = _evaluation(info, Random(f"{name} dev {seed}"), dev_size, noise, taken)
    test = _evaluation(info, Random(f"{name} test {seed}"), test_size, noise, taken) if test_size else None
    return dev, test


def _fresh(split: Examples) -> Examples:
    """The split with arrays of its own, so that a kept one cannot be written to."""
    arrays = {field: getattr(split, field) for field in ("labels", "groups", "probabilities")}
    return replace(split, **{field: array.copy() for field, array in arrays.items() if array is not None})


def lab_task(
    name: str,
    train_size: int | None = None,
    dev_size: int = 2000,
    test_size: int = 2000,
    noise: float | None = None,
    seed: int = 0,
    train_seed: int | None = None,
) -> Task:
    """A lab task, drawn afresh from seeds.

    ``seed`` determines dev and test, ``train_seed`` (default: ``seed``) the training set alone, so many independent
    training sets can be compared on one evaluation set. No example of train occurs in dev or test; a test split changes
    those training examples that occur in it, and no others. Dev and test labels are clean; training labels are wrong at
    rate ``noise``; ``probabilities`` of every split hold the true P(y | x) of the noisy labels (classification) or the
    noise-free score (regression, whose training scores have Gaussian noise of standard deviation ``5 * noise`` and may
    leave [0, 5]).

    Raises SuperticketsError for an unknown name, a size below 1 (below 0 for test: 0 means no test split) or noise
    outside [0, 0.5).

    >>> task = lab_task("entailment", train_size=4, dev_size=2, test_size=0)
    >>> len(task.train), task.label_names
    (4, ('entailment', 'not_entailment'))
    """
    if name not in LAB_TASKS:
        raise SuperticketsError(f"There is no lab task called {name!r}: the lab has {', '.join(LAB_TASKS)}.")
    info = LAB_TASKS[name]
    train_size = info.train_size if train_size is None else train_size
    noise = info.noise if noise is None else noise
    for what, size, least in (("train_size", train_size, 1), ("dev_size", dev_size, 1), ("test_size", test_size, 0)):
        if size < least:
            raise SuperticketsError(f"{what} of lab task {name!r} must be at least {least}, not {size}.")
    if not 0.0 <= noise < 0.5:
        raise SuperticketsError(f"noise of lab task {name!r} must lie in [0, 0.5), not {noise}.")
    train_seed = seed if train_seed is None else train_seed
    kept_dev, kept_test = _evaluations(name, dev_size, test_size, noise, seed)
    dev, test = _fresh(kept_dev), None if kept_test is None else _fresh(kept_test)
    drawn = _draw_train(info, name, train_seed, train_size, dev, test)
    flips = np.random.default_rng([train_seed & 0xFFFFFFFF, *name.encode()])
    train = _examples(info, *drawn, noise, flips)
    return Task(
        name=name,
        kind=info.kind,
        label_names=info.label_names,
        metrics=info.metrics,
        train=train,
        dev=dev,
        test=test,
        source="lab",
        fingerprint=fingerprint_of(train, dev, test),
    )
