"""The paper's claims about domain adaptation (section 7), put to the test."""

from __future__ import annotations

import pandas as pd

from supertickets.chapters.claims import COMPARISONS
from supertickets.chapters.domain_adaptation.tables import by_seed
from supertickets.statistics import holm, mean_interval, paired_difference, verdict


def adaptation_gains(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """What a source with tickets gains over the one without, one row per comparison, target and fraction, in points.

    Paired by seed, with a 95% t interval, p and p corrected over all rows (Holm); a verdict needs both.
    """
    means = by_seed(frame, column)
    rows = []
    for better, worse in COMPARISONS:
        for _, group in means.groupby(["task", "fraction"], sort=False):
            if better not in group or worse not in group:
                continue
            both = group[[better, worse]].dropna().to_numpy()
            if len(both):
                found = paired_difference(both[:, 0], both[:, 1])
                rows.append(
                    {
                        "comparison": f"{better} minus {worse}",
                        "target": group["task"].iloc[0],
                        "fraction": float(group["fraction"].iloc[0]),
                        "seeds": found.n,
                        "gain": found.effect,
                        "low": found.interval.low,
                        "high": found.interval.high,
                        "p": found.p,
                        "verdict": verdict(found.interval),
                    }
                )
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    table.insert(8, "p (Holm)", holm(table["p"]))
    table.loc[table["p (Holm)"] > 0.05, "verdict"] = "inconclusive"
    return table


def adaptation_claims(frame: pd.DataFrame, column: str = "report_score") -> pd.DataFrame:
    """The claims of section 7.2, each with its paired difference over seeds, 95% t interval and verdict, in points.

    For each comparison: models with tickets adapt better (mean over targets and fractions), and especially so with few
    examples (gain at the smallest fraction minus gain with the whole training set, mean over targets). Only seeds that
    have every target and fraction count.
    """
    means = by_seed(frame, column)
    fractions = sorted(means["fraction"].unique())
    rows = []
    for better, worse in COMPARISONS:
        if better not in means or worse not in means:
            continue
        gains = means.assign(gain=means[better] - means[worse])
        wide = gains.pivot_table(index="seed", columns=["fraction", "task"], values="gain", dropna=False)
        wide = wide.dropna()
        if wide.empty:
            continue
        tested = [(f"{better} adapts better than {worse}", wide.mean(axis=1))]
        if len(fractions) > 1:
            few, everything = (wide.loc[:, fraction].mean(axis=1) for fraction in (fractions[0], fractions[-1]))
            share = f"{100 * fractions[0]:g}%"
            tested.append((f"{better} gains more with {share} of the training set than with all", few - everything))
        for claim, values in tested:
            interval = mean_interval(values.to_numpy())
            rows.append(
                {
                    "claim": claim,
                    "seeds": interval.n,
                    "difference": interval.mean,
                    "low": interval.low,
                    "high": interval.high,
                    "verdict": verdict(interval),
                }
            )
    return pd.DataFrame(rows)


def claim_sentences(claims: pd.DataFrame) -> list[str]:
    """One sentence per claim: verdict, difference in points, interval, seeds."""
    return [
        f"{row['claim']}: {row['verdict']} ({row['difference']:+.2f} points, 95% interval {row['low']:+.2f} to "
        f"{row['high']:+.2f}, {row['seeds']} seeds)."
        for row in claims.to_dict("records")
    ]
