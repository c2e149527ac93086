"""The map's cells: what light pruning gains on many training sets, and what it does to variance and bias there.

A cell is an encoder, a task, a size of the training set and a rate of wrong labels. Its gain is the mean over the light
levels, so that no level is chosen. Variance and bias^2 are those of the Brier loss on the report split. With training
sets weighted by w, and G the mean products of two models' errors p - q, expected loss above the noise is w . diag G and
variance (w . diag G - w' G w) / (1 - w . w): a bootstrap of thousands of resamples is a handful of small products.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters.bias_variance.tables import predictions_of, usable_runs
from supertickets.runs import Record
from supertickets.statistics import expansion
from supertickets.studies import LIGHT_LEVELS

FULL = ("full", 0.0)
CONDITIONS = (FULL, *(("winning", level) for level in LIGHT_LEVELS))
TERMS = ("gain", "fall of variance", "rise of bias")
"""What pruning does in a cell: points of the score, and hundredths of the Brier loss."""


@dataclass(frozen=True, eq=False)
class Cell:
    """Measurements of one cell over its n training sets.

    ``noise`` is NaN where the rate of wrong labels is unknown, ``full`` the full model's mean score in points, ``gains
    (n,)`` those of light tickets, ``products (1 + n_levels, n, n)`` the G of the full model and of every level, in
    hundredths of the Brier loss.
    """

    encoder: str
    task: str
    train_size: int
    noise: float
    full: float
    gains: np.ndarray
    products: np.ndarray

    @property
    def n(self) -> int:
        """The number of training sets."""
        return len(self.gains)


def cells(records: Iterable[Record]) -> list[Cell]:
    """The cells of runs with arrays (``light_sweeps``), by encoder, size and noise.

    A training set counts that has its full model and every light ticket; a cell needs two of them.
    """
    groups: dict[tuple[str, str, int, float], list[Record]] = {}
    for record in records:
        data, rule = record.spec.data, record.spec.ticket
        if (rule.kind, rule.level) in CONDITIONS:
            noise = -1.0 if data.noise is None else data.noise  # NaN equals nothing, itself included
            groups.setdefault((record.spec.encoder, data.name, data.train_size or 0, noise), []).append(record)
    found = (_cell(*key, groups[key]) for key in sorted(groups))
    return [cell for cell in found if cell]


def _cell(encoder: str, task: str, train_size: int, noise: float, records: Sequence[Record]) -> Cell | None:
    by_set: dict[int, dict[tuple[str, float], Record]] = {}
    for record in records:
        rule = record.spec.ticket
        by_set.setdefault(record.spec.data.train_seed or 0, {})[rule.kind, rule.level] = record
    complete = [runs for _, runs in sorted(by_set.items()) if len(runs) == len(CONDITIONS)]
    if len(complete) < 2:
        return None
    _, first, report, loss, truth = usable_runs([run for runs in complete for run in runs.values()], "brier")
    q = truth.get("target_probabilities")
    scores, products = [], []
    for condition in CONDITIONS:
        own = [runs[condition] for runs in complete]
        p = np.stack([predictions_of(record, first, report, loss) for record in own])
        away = (p - (np.eye(p.shape[2])[truth["targets"]] if q is None else q)).reshape(len(own), -1)
        products.append(100 * away @ away.T / p.shape[1])
        scores.append([100 * record.metrics["report"]["score"] for record in own])
    full, *light = np.array(scores)
    known = noise if noise >= 0 else math.nan
    return Cell(encoder, task, train_size, known, full.mean(), np.mean(light, axis=0) - full, np.array(products))


def terms(cell: Cell, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Variance and bias^2 of the full model and the :data:`TERMS`, ``(B,)`` each, for ``weights (B, n)`` of the sets.

    Without weights all sets count alike, and B is 1. With all weight on one set the variance is 0.
    """
    w = np.full((1, cell.n), 1 / cell.n) if weights is None else weights
    loss = np.einsum("bs,kss->kb", w, cell.products)
    spread = loss - np.einsum("bs,kst,bt->kb", w, cell.products, w)
    variance = spread / np.maximum(1 - (w**2).sum(axis=1), 1e-9)
    bias = loss - variance
    changes = (w @ cell.gains, variance[0] - variance[1:].mean(axis=0), bias[1:].mean(axis=0) - bias[0])
    return {"variance": variance[0], "bias2": bias[0], **dict(zip(TERMS, changes, strict=True))}


def resampled(cell: Cell, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Weights of training sets drawn with replacement, ``(n_resamples, n)``."""
    drawn = rng.integers(0, cell.n, size=(n_resamples, cell.n))
    return (drawn[:, :, None] == np.arange(cell.n)).mean(axis=1)


def map_table(found: Iterable[Cell], n_resamples: int = 2000) -> pd.DataFrame:
    """One row per cell: full model's score, variance and bias^2, the :data:`TERMS`, those of the loss with intervals.

    Intervals are of a bootstrap over training sets, widened for their number
    (:func:`supertickets.statistics.expansion`); those of the gain are its claims'
    (:func:`~supertickets.chapters.map.claims.gains`). ``variance's share`` is that of the full model's loss above the
    noise; where the labels' true distribution is unknown, noise counts as bias.
    """
    rng, rows = np.random.default_rng(0), []
    for cell in found:
        own = {name: float(value[0]) for name, value in terms(cell).items()}
        row: dict[str, Any] = {name: getattr(cell, name) for name in ("encoder", "task", "train_size", "noise", "n")}
        row |= {"ST-DNN": cell.full, **own, "variance's share": own["variance"] / (own["variance"] + own["bias2"])}
        drawn = terms(cell, resampled(cell, n_resamples, rng))
        for name in TERMS[1:]:
            ends = np.quantile(drawn[name] - drawn[name].mean(), [0.025, 0.975])
            row |= dict(zip((f"{name}: low", f"{name}: high"), own[name] + expansion(cell.n) * ends, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def agreement(live: pd.DataFrame, recorded: pd.DataFrame) -> pd.DataFrame:
    """Runs carried out here beside their records: report scores, in points, and their ``difference``."""
    columns = ["run", "train_size", "train_seed", "kind", "level", "report_score"]
    if live.empty or recorded.empty:
        return pd.DataFrame(columns=[*columns[:-1], "recorded", "here", "difference"])
    both = live[columns].merge(recorded[["run", "report_score"]], on="run", suffixes=(" here", " recorded"))
    scores = {name: 100 * both.pop(f"report_score {name}") for name in ("recorded", "here")}
    return both.assign(**scores, difference=scores["here"] - scores["recorded"])
