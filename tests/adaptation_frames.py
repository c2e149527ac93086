"""Frames of made-up adaptations."""

import numpy as np
import pandas as pd

from supertickets.chapters.domain_adaptation.tables import MODELS

SIZES = {0.01: 10, 1.0: 1000}


def made_up(gain: float = 0.0, few: float = 0.0, seeds: int = 5) -> pd.DataFrame:
    """Models with tickets gain so much, and so much more with few examples; two draws of the small subset."""
    rng = np.random.default_rng(1)
    rows = []
    for task in ("captions", "science"):
        for seed in range(seeds):
            for fraction, examples in SIZES.items():
                for draw in range(2 if fraction < 1 else 1):
                    luck = 0.02 * rng.normal() * (fraction < 1)  # of the draw, shared by all models
                    for model in MODELS:
                        with_tickets = model in ("SuperT", "Ticket-Share")
                        score = 0.6 + 0.2 * (fraction == 1) + luck + 0.002 * rng.normal()
                        score += with_tickets * (gain + few * (fraction < 1))
                        row = {"task": task, "seed": seed, "fraction": fraction, "draw": draw, "model": model}
                        rows.append({**row, "train_examples": float(examples), "report_score": score})
    return pd.DataFrame(rows)
