"""Frames of single-task records of which the answer is known."""

import numpy as np
import pandas as pd

LEVELS = (0.1, 0.3, 0.5)


def frame_of(
    curves: dict[str, list[float]], seeds: int = 4, noise: float = 0.01, task: str = "entailment"
) -> pd.DataFrame:
    """Records of one task: ``curves`` gives the mean report score per level by kind; the full model is at 0.8."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        luck = rng.normal(0, 0.05)  # shared by all tickets of a seed: pairing must remove it
        runs = [("full", 0.0, 0.8), *((k, p, s) for k, c in curves.items() for p, s in zip(LEVELS, c, strict=True))]
        for kind, level, mean in runs:
            score = mean + luck + rng.normal(0, noise)
            rows.append(
                {
                    "run": f"{task}-{kind}-{level}-{seed}",
                    "encoder": "lab-base",
                    "task": task,
                    "data": "d",
                    "seed": seed,
                    "kind": kind,
                    "level": level,
                    "weights_remaining": 1 - 0.8 * level,
                    "seconds": 1.0,
                    "report_score": score,
                    "selection_score": score + rng.normal(0, 0.02),
                    "selection_loss": 1 - score,
                    "dev_score": score,
                }
            )
    return pd.DataFrame(rows)
