"""How many seeds it takes to tell two standard deviations apart: what lies behind Table 5 of the paper (section 8)."""

from __future__ import annotations

import math
from typing import Any

from scipy import stats

from supertickets import paper
from supertickets.errors import SuperticketsError


def spread_power(sd_ratio: float, seeds: int, alpha: float = 0.05) -> float:
    """Probability that the two-sided F-test finds two standard deviations of this ratio different, ``seeds`` runs each.

    For normal values, unpaired. Raises SuperticketsError for a ratio that is not positive, or fewer than two seeds.

    >>> round(spread_power(1.0, 5), 3), round(spread_power(0.07 / 0.16, 5), 2)
    (0.05, 0.29)
    """
    if not (math.isfinite(sd_ratio) and sd_ratio > 0):
        raise SuperticketsError(f"A ratio of standard deviations is a positive number, not {sd_ratio}.")
    if seeds < 2 or not 0 < alpha < 1:
        raise SuperticketsError(
            f"Power needs two seeds at least and an alpha between 0 and 1, not {seeds} and {alpha}."
        )
    f = stats.f(seeds - 1, seeds - 1)
    return float(f.cdf(f.ppf(alpha / 2) / sd_ratio**2) + f.sf(f.ppf(1 - alpha / 2) / sd_ratio**2))


def seeds_needed(sd_ratio: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """The fewest seeds, of each model, with which the F-test tells standard deviations of this ratio apart.

    "Tells apart" means with probability ``power`` (:func:`spread_power`). Raises SuperticketsError for a ratio of 1,
    which no number of seeds tells apart, and a power outside (alpha, 1).

    >>> seeds_needed(0.16 / 0.17), seeds_needed(0.5)
    (2138, 19)
    """
    if not alpha < power < 1 or sd_ratio == 1:
        raise SuperticketsError("Seeds can be counted for a power between alpha and 1 and a ratio other than 1.")
    few, many = 1, 2
    while spread_power(sd_ratio, many, alpha) < power:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if spread_power(sd_ratio, middle, alpha) >= power else (middle, many)
    return many


def paper_power(seeds: int = 5) -> list[dict[str, Any]]:
    """Could five seeds tell the paper's own pairs of Table 5 apart? A dict per pair, ready for ``pandas.DataFrame``.

    ``ratio`` is the printed sd with tickets over that without, ``power`` the F-test's with ``seeds`` runs each if these
    were the true ones, ``seeds needed`` the number that 80% take.

    >>> [(row["task"], round(row["power"], 2), row["seeds needed"]) for row in paper_power()][4]
    ('SST-2', 0.05, 2138)
    """
    theirs = {row["model"].removesuffix(" large"): row for row in paper.table(5)}
    rows = []
    for new, old in (("SuperT", "ST-DNN"), ("Ticket-Share", "MT-DNN")):
        for task in (name for name in theirs[new] if name != "model"):
            ratio = theirs[new][task] / theirs[old][task]
            row = {"comparison": f"{new} against {old}", "task": task, "ratio": ratio}
            rows.append(row | {"power": spread_power(ratio, seeds), "seeds needed": seeds_needed(ratio)})
    return rows
