"""Frames of made-up adaptations."""

import numpy as np
import pandas as pd

from supertickets.chapters.domain_adaptation.tables import MODELS

SIZES = {"captions": (549, 1000), "science": (23, 1000)}


def made_up(gain: float = 0.0, few: float = 0.0, seeds: int = 5) -> pd.DataFrame:
    """Models with tickets gain so much, and so much more with few examples; two draws of the small subset."""
    rng = np.random.default_rng(1)
    rows = []
    for task in ("captions", "science"):
        for seed in range(seeds):
            for examples in SIZES[task]:
                few_of_them = examples < 1000
                for k in range(2 if few_of_them else 1):
                    draw = 1000 * seed + k if few_of_them else 0
                    luck = 0.02 * rng.normal() * few_of_them  # of the draw, shared by all models
                    for model in MODELS:
                        with_tickets = model in ("SuperT", "Ticket-Share")
                        score = 0.8 - 0.2 * few_of_them + luck + 0.002 * rng.normal()
                        score += with_tickets * (gain + few * few_of_them)
                        row = {"task": task, "seed": seed, "draw": draw, "model": model, "of_examples": 1000.0}
                        rows.append({**row, "train_examples": float(examples), "report_score": score})
    return pd.DataFrame(rows).assign(learning_rate=1e-3, selection_score=0.5, selection_loss=1.0)
