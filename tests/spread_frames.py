"""Frames of records with given spreads over seeds and learning rates."""

import numpy as np
import pandas as pd

RATES = (5e-4, 1e-3, 2e-3)


FIVE = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # sd sqrt(2.5)


def single_frame(scores):
    """Rows of single-task runs from {(task, kind): report scores by seed in points}; "losing" ones are decoys."""
    rows = []
    for (task, kind), values in scores.items():
        for seed, score in enumerate(values):
            common = {"encoder": "lab-base", "task": task, "data": f"data of {task}", "seed": seed, "kind": kind}
            chosen = {"level": 0.2, "selection_score": 0.9, "selection_loss": 0.4, "report_score": score / 100}
            rows.append(common | chosen | ({"level": 0.0} if kind == "full" else {}))
            if kind == "winning":  # a level that was not chosen, and would change every number
                rows.append(common | chosen | {"level": 0.5, "selection_score": 0.8, "report_score": seed % 2})
    return pd.DataFrame(rows)


def multi_frame(scores):
    """Rows of multi-task runs from {(task, model): points by (seed, rate)}, with decoys before fine-tuning."""
    rows = []
    for (task, model), values in scores.items():
        for seed, of_seed in enumerate(values):
            common = {"model": model, "task": task, "seed": seed}
            rows.append(common | {"stage": "multi-task", "learning_rate": RATES[0], "report_score": seed % 2})
            for rate, score in zip(RATES, of_seed, strict=False):
                rows.append(common | {"stage": "fine-tuned", "learning_rate": rate, "report_score": score / 100})
    return pd.DataFrame(rows)


def shifts(by_seed, by_rate):
    """Scores (seeds, rates) whose means over rates are ``by_seed`` and over seeds ``by_rate``, but for a constant."""
    by_seed, by_rate = np.asarray(by_seed, dtype=float), np.asarray(by_rate, dtype=float)
    crossed = np.outer(by_seed, by_rate - by_rate.mean())  # averages out in both directions, if seeds are centred
    return 80 + by_seed[:, None] + by_rate[None, :] + crossed


def rate_frame(rng, seeds, slopes, tasks=3, noise=(1.0, 1.0)):
    """MT-DNN's and Ticket-Share's scores move by the slopes with the rate; a seed's rates share its luck."""
    scores = {}
    for i in range(tasks):
        luck = rng.normal(0, 2, (seeds, 1))
        for model, slope, sd in zip(("MT-DNN", "Ticket-Share"), slopes, noise, strict=True):
            scores[f"task {i}", model] = 80 + luck + slope * np.array([-1, 0, 1]) + rng.normal(0, sd, (seeds, 3))
    return multi_frame(scores)
