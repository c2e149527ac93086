"""Tables of importance with given shares."""

import numpy as np
import pandas as pd

from supertickets.chapters.task_shares.tables import (
    task_shares,
)

COLUMNS = ["task", "seed", "unit", "layer", "head", "importance"]


def table_of(scores: dict[str, np.ndarray]) -> pd.DataFrame:
    """A table from (seeds, units) arrays of importance, all units heads of one layer."""
    return pd.DataFrame(
        [
            (task, seed, "head", 1, unit + 1, value)
            for task, array in scores.items()
            for seed, row in enumerate(array)
            for unit, value in enumerate(row)
        ],
        columns=COLUMNS,
    )


def noisy(base: np.ndarray, seeds: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    return base * np.exp(noise * rng.normal(size=(seeds, base.size)))


EIGHT = {
    "even": [0.125] * 8,
    "one": [0.65, *[0.05] * 7],
    "two": [0.05, 0.35, 0.05, 0.35, *[0.05] * 4],
    "less even": [0.2, *[0.8 / 7] * 7],
    "all but one": [*[1 / 7] * 7, 0.0],
    "nearly one": [0.49, 0.15, *[0.06] * 6],  # the second is too weak to dominate with the first
}


def shares_of(rows: dict[str, list[float]]) -> pd.DataFrame:
    values = np.array(list(rows.values()))
    return task_shares(table_of({f"t{i}": column[None] for i, column in enumerate(values.T)}))
