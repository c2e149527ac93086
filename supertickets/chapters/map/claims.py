"""Where light pruning gains, and whether the paper's explanation says where: less variance at little cost in bias.

The explanation (sections 1 and 5.3) is put to the test over the cells of a map: over these the gain should grow with
the fall of variance and shrink with the rise of bias. The gain is one of the score, on clean labels; the terms are
those of the Brier loss. They are measured on the same runs, which may tie them together by chance: so the test is
repeated with the gain from one half of the training sets and the terms from the other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from supertickets.chapters.claims import UNMEASURED, claim, judged_apart, told
from supertickets.chapters.map.tables import TERMS, Cell, resampled, terms
from supertickets.chapters.single_task.claims import GREATER, paper_gain
from supertickets.statistics import Interval

GROWS, SHRINKS = "the gain grows with the fall of variance", "the gain shrinks with the rise of bias"
SLOPES = {GROWS: "above", SHRINKS: "below"}
FEWEST = 6
"""A plane through fewer cells than this says nothing."""


def gains(found: Sequence[Cell]) -> pd.DataFrame:
    """The claim that light pruning beats the full model: over all cells together, then cell by cell, in points.

    The cells are corrected together (Holm). Their training sets have nothing in common, so that the k-th sets of all
    cells make the k-th of as many independent means.
    """
    values = {place(cell): pd.Series(cell.gains) for cell in found}
    together = f"mean of {len(found)} cells"
    return judged_apart(told("light pruning beats the full model", values, together, expected=paper_gain()))


def larger_model(base: Sequence[Cell], large: Sequence[Cell]) -> pd.DataFrame:
    """Observation 3 over the cells of both encoders: the light gain is greater in the large model.

    The k-th training set of a cell is the same for both, so that each gives a difference. Empty without shared cells.
    """
    theirs = {place(cell): cell.gains for cell in base}
    values = {place(cell): pd.Series(cell.gains - theirs[place(cell)]) for cell in large if place(cell) in theirs}
    together = f"mean of {len(values)} cells"
    return judged_apart(told(GREATER, values, together, expected=paper_gain("large") - paper_gain()))


def place(cell: Cell) -> str:
    """A cell in words.

    >>> place(Cell("lab-base", "paraphrase", 50, 0.2, 90.0, np.zeros(2), np.zeros((2, 2, 2))))
    '50 examples, 20% wrong'
    """
    return f"{cell.train_size} examples" + ("" if math.isnan(cell.noise) else f", {cell.noise:.0%} wrong")


@dataclass(frozen=True, eq=False)
class Explanation:
    """``gain = level + slopes . (fall of variance, rise of bias)`` over ``cells`` cells.

    ``slopes (2,)`` are points per hundredth of the loss, ``sds`` their standard errors by a bootstrap over training
    sets, ``explained`` the (weighted) share of the spread between cells.
    """

    level: float
    slopes: np.ndarray
    sds: np.ndarray
    explained: float
    cells: int


def explanation(found: Sequence[Cell], halves: bool = False, n_resamples: int = 2000) -> Explanation | None:
    """The gain regressed on the fall of variance and the rise of bias; None with too few cells (:data:`FEWEST`).

    A cell weighs as in a random-effects meta-regression (DerSimonian and Laird 1986): the inverse of its gain's squared
    standard error plus what differs between cells beyond that. Weights are taken anew in every resample: kept, they
    would make the errors too small (in a simulation 11 slopes of 100 were found where there was none, instead of 5).
    With ``halves`` gain and terms come from different training sets, both ways round: chance in the terms then pulls
    slopes towards 0, and cannot make them up.
    """
    if len(found) < FEWEST:
        return None
    rng, gained, changed, errors = np.random.default_rng(0), [], [], []
    for cell in found:
        parts = [_part(cell, 0), _part(cell, 1)] if halves else [cell]
        draws = []
        for own in parts:
            sets = np.vstack([np.full(own.n, 1 / own.n), resampled(own, n_resamples, rng)])
            gain_squared = (sets @ own.gains**2 - (sets @ own.gains) ** 2) / (own.n - 1)  # its standard error's square
            draws.append({**terms(own, sets), "error": gain_squared})
        for gain, other in zip(draws, reversed(draws), strict=True):
            gained.append(gain["gain"])
            errors.append(gain["error"])
            changed.append([np.ones(n_resamples + 1), *(other[name] for name in TERMS[1:])])
    y, x = np.array(gained).T, np.moveaxis(np.array(changed), 2, 0)  # what was measured, then the resamples
    weights = _weights(x, y, np.array(errors).T)
    by_weight = np.swapaxes(x * weights[..., None], 1, 2)
    fits = np.linalg.solve(by_weight @ x, by_weight @ y[..., None])[..., 0]
    weights = weights[0]
    left, mean = y[0] - x[0] @ fits[0], np.average(y[0], weights=weights)
    explained = 1 - float(weights @ left**2 / (weights @ (y[0] - mean) ** 2))
    few = min(cell.n for cell in found) // (2 if halves else 1)
    sds = fits[1:, 1:].std(axis=0, ddof=1) * math.sqrt(few / (few - 1))
    return Explanation(float(fits[0, 0]), fits[0, 1:], sds, explained, len(found))


def _part(cell: Cell, k: int) -> Cell:
    """Every second training set of a cell."""
    return replace(cell, gains=cell.gains[k::2], products=cell.products[:, k::2, k::2])


def _weights(x: np.ndarray, y: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Inverses of the squared errors ``(B, n)`` plus, in each of B fits, the variance between cells that they leave."""
    w = 1 / np.maximum(errors, 1e-4)  # a hundredth of a point: cells in which nothing ever differed
    weighted = w[..., None] * x
    hat = np.linalg.solve(np.swapaxes(x, 1, 2) @ weighted, np.swapaxes(weighted, 1, 2))
    left = y - (x @ (hat @ y[..., None]))[..., 0]
    trace = w.sum(axis=1) - np.einsum("bnk,bkn->b", weighted, hat)
    between = np.maximum(0.0, ((w * left**2).sum(axis=1) - (y.shape[1] - x.shape[2])) / trace)
    return 1 / (1 / w + between[:, None])


def explanation_claims(found: Sequence[Cell], n_resamples: int = 2000) -> pd.DataFrame:
    """The paper's explanation as two claims about the slopes of :func:`explanation`; its halves are their details."""
    rows: list[dict[str, Any]] = []
    for halves in (False, True):
        if halves and min((cell.n for cell in found), default=0) < 4:
            continue
        fit = explanation(found, halves, n_resamples)
        where = "gain and terms from different training sets" if halves else f"over {len(found)} cells"
        for i, (text, side) in enumerate(SLOPES.items()):
            effect = UNMEASURED if fit is None else _slope(fit, i)
            rows.append(claim(text, where, effect, side=side, unit="points per hundredth", detail=halves))
    return judged_apart(rows)


def _slope(fit: Explanation, i: int) -> Interval:
    free = fit.cells - 3  # t, since the cells are few
    slope, sd = float(fit.slopes[i]), float(fit.sds[i])
    half = float(stats.t.ppf(0.975, free)) * sd
    p = float(2 * stats.t.sf(abs(slope) / sd, free)) if sd else math.nan
    return Interval(fit.cells, slope, math.nan, slope - half, slope + half, p)


def explained_sentence(found: Sequence[Cell]) -> list[str]:
    """What fall of variance and rise of bias explain together, and what is gained where neither changes."""
    if (fit := explanation(found)) is None:
        return []
    return [
        f"Over {fit.cells} cells the fall of variance and the rise of bias together explain {fit.explained:.0%} of the "
        f"spread of gains; where neither changes, the gain is {fit.level:+.2f} points."
    ]


def neighbours(data: pd.DataFrame, others: pd.DataFrame) -> list[str]:
    """Where other encoders lie among a map's cells, by what pruning does to their variance, a sentence each.

    Both are :func:`~supertickets.chapters.map.figures.map_data`'s frames. Neighbours are the cells whose fall of
    variance lies in the other's interval.
    """
    said = []
    for row in others.to_dict("records"):
        fall, gain = ((row[name], row[f"{name}: low"], row[f"{name}: high"]) for name in ("fall of variance", "gain"))
        near = data.loc[data["fall of variance"].between(*fall[1:]), "gain"]
        interval = "{:+.2f} [{:+.2f}, {:+.2f}]"
        mean = f"; their gains are {near.mean():+.2f} points on average" if len(near) else ""
        said.append(
            f"{row['encoder']} on {row['train_size']} examples of {row['task']}: fall of variance "
            f"{interval.format(*fall)} hundredths, gain {interval.format(*gain)} points. "
            f"{len(near)} of {len(data)} cells have a fall of variance within that interval{mean}."
        )
    return said


def agreement_sentence(both: pd.DataFrame) -> str:
    """How well runs carried out here agree with their records (:func:`~supertickets.chapters.map.tables.agreement`).

    >>> agreement_sentence(pd.DataFrame({"difference": [0.0, 0.5]}))
    '2 runs again: 1 with the same score; the largest difference is 0.50 points, that of the means 0.25.'
    """
    away = both["difference"].to_numpy(dtype=float)
    return (
        f"{len(away)} runs again: {np.count_nonzero(np.abs(away) < 1e-9)} with the same score; the largest difference "
        f"is {np.abs(away).max():.2f} points, that of the means {abs(away.mean()):.2f}."
    )
