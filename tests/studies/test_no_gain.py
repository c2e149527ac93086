"""With no true gain `find` hardly ever says "better": its choice and its verdict on stored predictions, no training."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters.claims import HOLDS, claim, judged
from supertickets.studies.finding import chosen_level, report_gain
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
    gain = report_gain(task, pairs, n_resamples)
    return bool((judged([claim("", "", gain.interval, p=gain.p)])["verdict"] == HOLDS).iloc[0])


def wrong_rate(n_tasks: int, n_dev: int, seeds: int, n_resamples: int) -> float:
    rng = np.random.default_rng([n_dev, seeds])
    return float(np.mean([says_better(rng, n_dev, seeds, n_resamples) for _ in range(n_tasks)]))
