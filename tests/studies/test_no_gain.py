"""With no true gain `find` hardly ever says "better": its choice and its verdict on stored predictions, no training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from supertickets.chapters.claims import HOLDS, claim, judged
from supertickets.studies.finding import chosen_level
from supertickets.studies.gains import report_gain
from supertickets.tasks import Examples, Task, split_dev
from supertickets.tickets import LEVELS


def says_better(rng: np.random.Generator, n_dev: int, seeds: int, n_resamples: int) -> bool:
    """One simulated task: tickets and full models are right equally often, but for their seeds and examples."""
    labels = np.arange(n_dev) % 2
    dev = Examples((("a text",),) * n_dev, labels)
    task = Task("made up", "classification", ("no", "yes"), ("accuracy",), dev, dev)
    selection = split_dev(task)
    hard, runs, rows = rng.normal(size=n_dev), {}, []
    for seed in range(seeds):
        for level in (0.0, *LEVELS):
            right = hard + 0.5 * rng.normal(size=n_dev) + 0.1 * rng.normal() < 1
            logits = np.eye(2)[np.where(right, labels, 1 - labels)]
            runs[seed, level] = SimpleNamespace(arrays={"selection": selection, "dev_logits": logits})
            score = right[selection].mean()
            rows.append({"level": level, "selection_score": score, "selection_loss": 1 - score + rng.random() / 100})
    level = chosen_level(pd.DataFrame(rows))
    pairs: list[Any] = [(runs[seed, level], runs[seed, 0.0]) for seed in range(seeds)]
    if level == 0:
        return False
    gain = report_gain(task, pairs, n_resamples, len(LEVELS))
    return bool((judged([claim("", "", gain)])["verdict"] == HOLDS).iloc[0])


def wrong_rate(n_tasks: int, n_dev: int, seeds: int, n_resamples: int) -> float:
    rng = np.random.default_rng([n_dev, seeds])
    return float(np.mean([says_better(rng, n_dev, seeds, n_resamples) for _ in range(n_tasks)]))


@pytest.mark.parametrize("n_dev", [64, 1000])
@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_better_is_hardly_ever_said_without_a_gain(n_dev: int, seeds: int) -> None:
    assert wrong_rate(15 if seeds < 3 else 30, n_dev, seeds, 40) <= (0 if seeds < 3 else 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("n_dev", [64, 1000])
@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_of_a_thousand_tasks_without_a_gain_one_in_forty_is_called_better_at_most(n_dev: int, seeds: int) -> None:
    assert wrong_rate(1000, n_dev, seeds, 100) <= 0.025


def test_a_gain_that_is_there_is_seen() -> None:
    """So that the rule is not one that never says anything."""
    dev = Examples((("a text",),) * 1000, np.zeros(1000, dtype=int))
    task = Task("made up", "classification", ("no", "yes"), ("accuracy",), dev, dev)
    rng, pairs = np.random.default_rng(7), []  # 0 is the stream that cuts dev
    for _ in range(5):
        records: list[Any] = []
        for rate in (0.15, 0.25):
            arrays = {"selection": split_dev(task), "dev_logits": np.eye(2)[(rng.random(1000) < rate).astype(int)]}
            records.append(SimpleNamespace(arrays=arrays))
        pairs.append(tuple(records))
    gain = report_gain(task, pairs, 100, len(LEVELS))
    assert gain.low > 0.05 and gain.p < 0.01
