"""What a claim comes to here: one row, one rule and one sentence for every claim of the paper.

A claim says on which side of a limit an effect lies. It is judged on the effect's two-sided 95% interval over the
printed n runs (tasks are averaged within a run first) and on its two-sided p, corrected within its family (Holm 1979).
The words, wherever one is printed:

- *holds here*: the whole interval lies on the claimed side of the limit, and the corrected p is at most 5%;
- *reversed here*: the same on the other side;
- *cannot tell*: anything else, one run included; beside it stand the power that n runs have to see the effect that the
  claim is about (the paper's, where it prints one), and how many would see it with probability 80%.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.statistics import ALPHA, POWER, Interval, holm, paired_difference

HOLDS, REVERSED, UNKNOWN = "holds here", "reversed here", "cannot tell"
COLUMNS = ("claim", "where", "n", "effect", "low", "high", "p", "p (Holm)", "verdict", "power", "needed")
"""What is shown of a row; ``unit``, ``limit``, ``side`` and ``expected`` are there too."""

COMPARISONS = (("SuperT", "ST-DNN"), ("Ticket-Share", "MT-DNN"))
"""Which model is said to adapt better than which."""

TOGETHER = "all tasks together"
MARGIN = 1.0
"""Points that "on a par", "as well as" and "the same scores" leave room for: about the gain that the paper reports."""

UNMEASURED = Interval(0, math.nan, math.nan, math.nan, math.nan)
"""The effect of a claim whose runs are not there."""


def claim(
    text: str,
    where: str,
    values: ArrayLike | Interval,
    *,
    side: str = "above",
    limit: float = 0.0,
    unit: str = "points",
    expected: float = math.nan,
    **more: Any,
) -> dict[str, Any]:
    """The row of a claim: "``text``, ``where``: the effect lies ``side`` ("above" or "below") the ``limit``".

    ``values`` are the effect run by run, of which the mean, its t interval and p are taken; or an interval made another
    way. ``expected`` is the effect that the claim is about, for the power. ``more`` goes into the row.
    Raises SuperticketsError for another side, or no values.

    >>> row = claim("light pruning helps", "RTE", [1.0, 2.0, 1.5], expected=0.9)
    >>> row["n"], row["effect"], round(row["p"], 3)
    (3, 1.5, 0.035)
    """
    if side not in ("above", "below"):
        raise SuperticketsError(f"A claim is about one side of a limit, above or below, not {side!r}.")
    if not isinstance(values, Interval):
        x = np.asarray(values, dtype=float)
        found = paired_difference(x, np.full_like(x, limit))
        values = replace(found, mean=found.mean + limit, low=found.low + limit, high=found.high + limit)
    row = {"claim": text, "where": where, "n": values.n, "effect": values.mean, "low": values.low, "high": values.high}
    row |= {"p": values.p, "unit": unit, "limit": limit, "side": side, "expected": expected}
    away = abs(expected - limit)
    return row | {"power": t_power(away, values.sd, values.n), "needed": runs_needed(away, values.sd)} | more


def judged(rows: Iterable[Mapping[str, Any]], family: bool = True) -> pd.DataFrame:
    """The rows of :func:`claim` as a frame, with ``p (Holm)`` and ``verdict``; ``family``: they are corrected together.

    >>> judged([claim("it rises", "here", [1.0, 2.0, 1.5]), claim("it falls", "here", [1.0, 2.0, 1.5], side="below")])[
    ...     ["claim", "p (Holm)", "verdict"]
    ... ].round(3).values.tolist()
    [['it rises', 0.07, 'cannot tell'], ['it falls', 0.07, 'cannot tell']]
    """
    table = pd.DataFrame(list(rows))
    if table.empty:
        return pd.DataFrame(columns=[*COLUMNS, "detail"])
    table["p (Holm)"] = holm(table["p"]) if family else table["p"]
    table["verdict"] = [verdict(row) for row in table.to_dict("records")]
    return table.loc[:, [*COLUMNS, *(name for name in table if name not in COLUMNS)]]


def told(text: str, values: Mapping[str, pd.Series], together: str = TOGETHER, **fields: Any) -> list[dict[str, Any]]:
    """The rows of a claim whose effect is known by place (task, level) and run: of their means, then of each place.

    Runs that lack a place do not count for the mean; without any the claim is "not measured". Of a single place there
    is the claim alone. ``fields`` are those of :func:`claim`.
    """
    if not values:
        return []
    means = pd.concat(values, axis=1).dropna().mean(axis=1).to_numpy()
    where = together if len(values) > 1 else next(iter(values))
    rows = [claim(text, where, means if len(means) else UNMEASURED, **fields, detail=False)]
    places = values.items() if len(values) > 1 else ()
    return rows + [claim(text, place, x, **fields, detail=True) for place, x in places if len(x)]


def judged_apart(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The claims of some rows judged as one family, their details as another (:func:`judged`)."""
    rows = list(rows)
    parts = [judged([row for row in rows if row["detail"] is detail]) for detail in (False, True)]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def verdict(row: Mapping[str, Any]) -> str:
    """The one rule: the word for a row with ``low``, ``high``, ``limit``, ``side`` and ``p (Holm)``.

    >>> verdict({"low": 0.1, "high": 0.9, "limit": 0.0, "side": "below", "p (Holm)": 0.01, "n": 5})
    'reversed here'
    """
    low, high = (row[end] - row["limit"] for end in ("low", "high"))
    if row["n"] < 2 or not row["p (Holm)"] <= ALPHA or not low * high > 0:  # NaN included
        return UNKNOWN
    return HOLDS if (low > 0) == (row["side"] == "above") else REVERSED


def excludes(row: Mapping[str, Any]) -> bool:
    """Whether a row that cannot be told has yet an interval without the effect that the claim is about.

    >>> row = {"verdict": UNKNOWN, "side": "above", "expected": 0.9, "low": -0.5, "high": 0.43}
    >>> excludes(row), excludes(row | {"high": 1.2}), excludes(row | {"expected": None})
    (True, False, False)
    """
    if row["verdict"] != UNKNOWN or row["expected"] is None or row["low"] is None:
        return False
    return bool(row["high"] < row["expected"] if row["side"] == "above" else row["low"] > row["expected"])


def sentence(row: Mapping[str, Any]) -> str:
    """A judged row in words.

    >>> (row,) = judged([claim("light pruning helps", "RTE", [1.0, 2.0, 0.0], expected=0.9)]).to_dict("records")
    >>> sentence(row)
    'Light pruning helps (RTE): cannot tell (+1.00 points, 95% interval -1.48 to +3.48; p = 0.23; n = 3; power 16% for \
+0.9 points, 12 runs would do).'
    """
    share = row["unit"] == "share"

    def figure(value: float, digits: int = 2) -> str:
        return f"{value:+.{digits}%}" if share else f"{value:+.{digits}f} {row['unit']}".rstrip()

    start = f"{row['claim'][:1].upper()}{row['claim'][1:]}" + (f" ({row['where']})" if row["where"] else "")
    if math.isnan(row["effect"]):
        return f"{start}: {row['verdict']} (not measured)."
    told = [figure(row["effect"])]
    if math.isnan(row["low"]):
        told[0] += ", no interval"
    else:
        ends = (f"{100 * row[end]:+.1f}" if share else f"{row[end]:+.2f}" for end in ("low", "high"))
        told[0] += f", 95% interval {' to '.join(ends)}"
    if not math.isnan(row["p"]):
        corrected = "" if row["p"] == row["p (Holm)"] else f", corrected {row['p (Holm)']:.2g}"
        told.append(f"p = {row['p']:.2g}{corrected}")
    told.append(f"n = {row['n']:.0f}")
    if row["limit"]:
        told.append(f"limit {figure(row['limit'])}")
    expected = figure(row["expected"], 1) if row["expected"] else "no difference"
    if excludes(row):
        told.append(f"{expected} excluded")
    elif row["verdict"] == UNKNOWN and not math.isnan(row["power"]):
        would = f", {row['needed']:,.0f} runs would do" if math.isfinite(row["needed"]) else ""
        told.append(f"power {row['power']:.0%} for {expected}{would}")
    return f"{start}: {row['verdict']} ({'; '.join(told)})."


def sentences(frame: pd.DataFrame) -> list[str]:
    """The rows of a judged frame in words, one :func:`sentence` each."""
    return [sentence(row) for row in frame.to_dict("records")]


def t_power(effect: float, sd: float, n: float) -> float:
    """Probability that the two-sided t-test of n runs sees an effect of a spread ``sd``; NaN if it is unknown.

    >>> round(t_power(1.0, 1.0, 10), 2), t_power(1.0, 1.0, 1)
    (0.8, 0.0)
    >>> t_power(0.9, 0.2, 12)
    1.0
    """
    if math.isnan(effect) or math.isnan(sd):
        return 0.0 if n < 2 and not math.isnan(effect) else math.nan
    if n < 2:
        return 0.0
    if sd == 0:
        return float(effect > 0)
    away, edge = effect / sd * math.sqrt(n), float(stats.t.ppf(1 - ALPHA / 2, n - 1))
    wrong_side = np.nan_to_num(stats.nct.cdf(-edge, n - 1, away))  # scipy has NaN where next to nothing is left
    return float(stats.nct.sf(edge, n - 1, away) + wrong_side)


def runs_needed(effect: float, sd: float) -> float:
    """The fewest runs with which :func:`t_power` reaches ``POWER``; NaN if unknown, inf for no effect.

    >>> runs_needed(1.0, 1.0), runs_needed(0.9, 2.0)
    (10.0, 41.0)
    """
    if math.isnan(effect) or math.isnan(sd):
        return math.nan
    if effect == 0:
        return math.inf
    n = max(2, math.floor(((stats.norm.ppf(1 - ALPHA / 2) + stats.norm.ppf(POWER)) * sd / effect) ** 2))
    while t_power(effect, sd, n) < POWER:  # the normal count is a few runs short at most
        n += 1
    return float(n)
