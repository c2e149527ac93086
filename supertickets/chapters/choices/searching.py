"""Tickets found in other ways than the paper's (its section 9): what they score, and how far scores agree."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from supertickets.chapters.chapter import Scale
from supertickets.chapters.claims import judged_apart, told
from supertickets.chapters.drawing import COLOURS, FULL_COLOUR, STYLE, lines_around_zero, subplots
from supertickets.chapters.single_task.claims import paper_gain
from supertickets.runs import paired_scores
from supertickets.statistics import mean_interval
from supertickets.studies import SEARCH_LEVELS, search_runs
from supertickets.tickets import Scores, Ticket, random_ticket, winning_ticket

WAYS = {
    "token": "scored at every position",
    "signed": "scored with the sign",
    "squared": "scored by squares",
    "magnitude": "scored by the size of weights",
    "leave_one_out": "scored by leaving each out",
    "random": "drawn at random",
    "example@8": "scored on 8 examples",
    "example@32": "scored on 32 examples",
    "early": "scored after one epoch",
    "iterative": "pruned in steps of 10%",
    "late": "rewound to the end of epoch 1",
}
"""Ways to find a ticket, each the paper's but for one thing, in words."""
AGREEMENT_LEVELS = (0.2, 0.5, 0.8)
_TOGETHER = "mean of " + " and ".join(f"{level:.0%}" for level in SEARCH_LEVELS)


def search_scores(scale: Scale) -> pd.DataFrame:
    """Report scores in points: a row per training set whose runs are all there, a column per (way, level).

    "example" is the paper's way, "full" of level 0 the full model.
    """
    there = set(frame["run"]) if len(frame := scale.frame("search")) else set()
    found = {}
    for way, specs in search_runs(scale.profile, scale.inputs).items() if there else ():
        wide = 100 * paired_scores(scale.store.frame([spec for spec in specs if spec.id in there]))
        found |= {
            (way, level): wide[kind, level]
            for kind, level in wide
            if level in SEARCH_LEVELS or (way, kind) == ("full", "full")
        }
    return pd.DataFrame(found).rename_axis(columns=["way", "level"]) if found else pd.DataFrame()


def search_claims(scores: pd.DataFrame) -> pd.DataFrame:
    """That tickets found in each of :data:`WAYS` beat the paper's: one family, and their levels as another."""
    rows: list[dict[str, Any]] = []
    for way, words in WAYS.items() if len(scores) else ():
        by_level = {f"{x:.0%}": scores.loc[:, (way, x)] - scores.loc[:, ("example", x)] for x in SEARCH_LEVELS}
        text = f"tickets {words} beat the paper's"
        rows += told(text, by_level, _TOGETHER, expected=paper_gain(), way=way)
    return judged_apart(rows)


def ways_figure(claims: pd.DataFrame) -> Figure:
    """A line per way, a mark per level with its 95% interval: points above the tickets found as the paper says."""
    parts = claims.loc[claims["detail"].astype(bool)]
    ways = [way for way in WAYS if way in set(parts["way"])]
    fig, axis = lines_around_zero([WAYS[way] for way in ways], "score minus that of the paper's tickets (points)")
    looks = zip(parts["where"].unique(), (STYLE["winning"], (FULL_COLOUR, "s")), (-0.14, 0.14), strict=True)
    for level, (colour, marker), shift in looks:
        own = parts.loc[parts["where"] == level]
        at = np.array([ways.index(way) for way in own["way"]]) + shift
        ends = np.nan_to_num([own["effect"] - own["low"], own["high"] - own["effect"]])
        axis.errorbar(own["effect"], at, xerr=ends, fmt=marker, color=colour, elinewidth=1, label=f"{level} pruned")
    fig.legend(loc="outside upper right", ncols=2, frameon=False)
    return fig


def agreement_table(scale: Scale) -> pd.DataFrame:
    """How far scores agree with the paper's, over training sets: a row per score, and one for random tickets.

    Columns: ``score``, ``examples`` that it reads, n, Spearman's rank correlation of ``heads`` (normalised by layer, as
    they are ranked) with its 95% interval and of ``FFNs``, and the Jaccard index of the tickets' kept units by level.
    """
    frame, runs = scale.frame("search"), search_runs(scale.profile, scale.inputs)
    there, found = set(frame["run"]) if len(frame) else set(), {}
    soon = [spec for spec in runs.get("early", ()) if spec.ticket.kind == "full"]
    for full, early in zip(runs.get("full", ()), soon, strict=True):
        if not {full.id, early.id} <= there:
            continue
        record, sooner = scale.store.records([full.id, early.id], arrays=True)
        whole = record.scores("example")
        tickets = [random_ticket(whole.heads.shape, level, full.seed) for level in AGREEMENT_LEVELS]
        found.setdefault("random", []).append((0, np.nan, np.nan, *_overlaps(whole, tickets)))
        others = {name: record.scores(name) for name in full.estimators if name != "example"}
        for name, other in (others | {"early": sooner.scores("example")}).items():
            tickets = [winning_ticket(other, level) for level in AGREEMENT_LEVELS]
            pairs = ((whole.normalised_heads(), other.normalised_heads()), (whole.ffns, other.ffns))
            values = (
                other.n_examples,
                *(pd.Series(a.ravel()).corr(pd.Series(b.ravel()), "spearman") for a, b in pairs),
                *_overlaps(whole, tickets),
            )
            found.setdefault(name, []).append(values)
    rows = []
    for name, values in found.items():
        examples, heads, ffns, *overlaps = np.array(values).T
        interval = mean_interval(heads) if np.isfinite(heads).all() else None
        row: dict[str, Any] = {"score": name, "examples": int(examples[0]), "n": len(values), "heads": heads.mean()}
        row |= {"low": interval.low if interval else np.nan, "high": interval.high if interval else np.nan}
        row["FFNs"] = ffns.mean()
        rows.append(row | {f"kept at {x:.0%}": y.mean() for x, y in zip(AGREEMENT_LEVELS, overlaps, strict=True)})
    return pd.DataFrame(rows)


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """A table of :func:`agreement_table` whose scores have the names that readers know them by."""
    names = zip(table["score"], table["examples"], strict=True)
    return table.assign(score=[WAYS.get(name, f"scored on {n} examples") for name, n in names])


def agreement_sentences(table: pd.DataFrame) -> list[str]:
    """How far the scores of few examples agree with that of all, those of which tickets are trained."""
    level = f"{SEARCH_LEVELS[-1]:.0%}"
    rows = {str(row["score"]): row for row in table.to_dict("records")}
    chance, few = rows["random"], [rows[name] for name in WAYS if "@" in name]
    return [
        f"Scored on {row['examples']} examples, heads rank as by all at {row['heads']:.2f}, FFNs at {row['FFNs']:.2f}; "
        f"of what the tickets keep between them at {level} pruned, {row[f'kept at {level}']:.0%} is common "
        f"(random tickets: {chance[f'kept at {level}']:.0%})."
        for row in few
    ]


def agreement_figure(table: pd.DataFrame) -> Figure:
    """Rank correlation, and overlap (Jaccard; dotted: random tickets), against the number of examples scored."""
    few = table.loc[table["score"].str.contains("@")].sort_values("examples")
    chance = table.loc[table["score"] == "random"].iloc[0]
    fig, axes = subplots(1, 2, figsize=(7.2, 3.0), sharey=True)
    ends = [few["heads"] - few["low"], few["high"] - few["heads"]]
    axes[0].errorbar(
        few["examples"], few["heads"], np.nan_to_num(ends), color=STYLE["winning"][0], marker="o", label="heads"
    )
    axes[0].plot(few["examples"], few["FFNs"], marker="s", color=FULL_COLOUR, label="FFNs")
    axes[0].set(ylabel="agreement with the full score", title="rank correlation")
    kept = (x for x in table if x.startswith("kept at"))
    looks = zip(kept, (COLOURS[0], COLOURS[2], COLOURS[3]), "o^D", strict=True)  # seen on light and dark pages
    for name, colour, marker in looks:
        axes[1].plot(few["examples"], few[name], marker=marker, color=colour, label=name)
        axes[1].axhline(chance[name], color=colour, linestyle=":", linewidth=1)
    axes[1].set(title="units that both tickets keep")
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.set_xticks(few["examples"], few["examples"])
        axis.set(xlabel="examples scored", ylim=(None, 1.02))
        axis.legend(loc="lower right", framealpha=1.0, edgecolor="none")
    sns.despine(fig)
    return fig


def _overlaps(scores: Scores, tickets: Sequence[Ticket]) -> list[float]:
    """The Jaccard index of what each ticket keeps and what the winning ticket of its level does."""
    pairs = [
        [np.append(ticket.heads.ravel(), ticket.ffns) for ticket in (winning_ticket(scores, level), other)]
        for level, other in zip(AGREEMENT_LEVELS, tickets, strict=True)
    ]
    return [float((a & b).sum() / (a | b).sum()) for a, b in pairs]
