"""What was promised about speed, each beside what was measured; errors are those of ``tables.throughput_table``."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from supertickets.chapters.claims import MARGIN, claim, judged
from supertickets.chapters.speed import tables

LAB, REAL = "lab", ("RTE", "CoLA")
TIMES = {
    (LAB, "fp32"): 6.0,
    ("RTE", "fp32"): 4.0,
    ("RTE", "bf16"): 2.0,
    ("CoLA", "fp32"): math.nan,
    ("CoLA", "bf16"): math.nan,
}
"""At least so many times the Trainer's runs per minute, by suite and the Trainer's precision; NaN: no target."""
MIDDLE, BEYOND = (0.2, 0.8), 1.15
"""Between these levels a compacted step takes at most so many times what its operations predict (real encoders)."""
OVERHEAD = 0.03
"""The engine's own share of the time with runs of a second stays below this."""
WORTH = 1.05
"""A speed trick without which a run takes less than so many times as long gives nothing worth its code."""
ON_GPU = {
    "seconds of a run alone": 6.0,
    "the Trainer's time over ours, first run of a process": 10.0,
    "the Trainer's time over ours, a later run": 10.0,
    "short runs an hour, at best": 40_000.0,
    "utilisation of a step, replayed against step by step": 5.0,
}
"""The targets for a GPU: of a run of RTE, of runs of 500 examples of SST-2, of steps of RTE by the library's layers.

What a process pays once (loading CUDA's libraries, compiling a kernel, tokenising) is in its first run, on both sides.
"""
COLUMNS = ["claim", "suite", "value", "sense", "target", "at", "verdict"]


def speed_claims(frame: pd.DataFrame) -> pd.DataFrame:
    """Every target beside its figure: "met", "not met", "not measured", or "no target" (CoLA; the lab's steps).

    1. Runs per minute of our sweep against the Trainer's, 2. the worst of compacted step times over their operations
    share from level 20% to 80%, ``at`` that level, 3. the engine's overhead, as a share. Nothing here is an estimate
    with an interval. ``frame`` is ``Benchmarks.frame``.
    """
    speeds = tables.throughput_table(frame).set_index(["suite", "Trainer precision"])["ratio"].to_dict()
    rows = []
    for (suite, precision), target in TIMES.items():
        value = speeds.get((suite, precision), math.nan)
        rows.append(_claim(f"runs per minute against the Trainer in {precision}", suite, value, "at least", target))
    worst = worst_steps(frame)
    for suite in (*REAL, LAB):
        for mode in ("training", "inference"):
            value, level = worst.get((suite, mode), (math.nan, math.nan))
            target = math.nan if suite == LAB else BEYOND
            rows.append(
                _claim(f"{mode} with a compacted model against its operations", suite, value, "at most", target, level)
            )
    engines = frame.loc[frame["side"] == "engine", "overhead"].to_list()
    rows.append(_claim("overhead of the engine", "engine", engines[0] if engines else math.nan, "below", OVERHEAD))
    return pd.DataFrame(rows, columns=COLUMNS)


def gpu_claims(cards: Sequence[tables.Benchmarks]) -> pd.DataFrame:
    """The targets for a GPU beside their figures, as in :func:`speed_claims`, and when each was ``measured``.

    ``cards`` are those of :func:`~supertickets.chapters.speed.tables.on_gpus`: the first that has a figure counts.
    """
    found = [(tables.measured_on(card), _on_gpu(card.frame)) for card in cards]
    rows = []
    for text, target in ON_GPU.items():
        sense = "at most" if text == next(iter(ON_GPU)) else "at least"
        known = [(figures[text], when) for when, figures in found if not math.isnan(figures[text])]
        value, when = known[0] if known else (math.nan, "")
        rows.append(_claim(text, "", value, sense, target) | {"measured": when})
    return pd.DataFrame(rows, columns=[*COLUMNS, "measured"]).drop(columns=["suite", "at"])


def _on_gpu(frame: pd.DataFrame) -> dict[str, float]:
    """The figures of :data:`ON_GPU`, of several the best; NaN for what was not measured."""
    alone = frame.loc[(frame["suite"] == "one run") & frame["score"].notna()].sort_values(by="seed")
    ours, theirs = (alone.loc[alone["side"] == side, "seconds"].to_list() for side in ("ours", "theirs"))
    speeds = [their / our for our, their in zip(ours, theirs, strict=False)]
    short = frame.loc[(frame["suite"] == "few-shot") & frame["runs"].notna()]
    steps = tables.profile_table(frame).query("level == 0").set_index("suite")["utilisation"].to_dict()
    pairs = [(used, steps.get(f"{suite}, step by step")) for suite, used in steps.items()]
    found = [ours[:1], speeds[:1], speeds[1:], list(3600 * short["runs"] / short["wall"])]
    found.append([used / plain for used, plain in pairs if plain])
    return {text: max(values, default=math.nan) for text, values in zip(ON_GPU, found, strict=True)}


def same_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Are ours and the Trainer's report scores the same on the same specs? An equivalence test per suite and precision.

    Two claims each, all a family: ours are no lower, and no higher, than the Trainer's by ``MARGIN`` points; the same
    are those of which both hold (two one-sided tests, Schuirmann 1987). The runs of one task and seed share data order
    and parent, so their mean counts once: n are tasks with seeds.
    """
    rows = []
    for suite, ours, theirs in tables.sides(frame):
        runs = tables.by_spec(ours, theirs)
        groups = runs.groupby(["task", "seed"], sort=False)
        gaps = [100 * float(np.diff(group[["score, theirs", "score, ours"]].to_numpy()).mean()) for _, group in groups]
        precisions = f"{tables.end_of(ours)['precision']} against {tables.end_of(theirs)['precision']}"
        for text, side, limit in (("lower", "above", -MARGIN), ("higher", "below", MARGIN)):
            text = f"our scores are no {text} than the Trainer's"
            rows.append(
                claim(text, f"{suite}, {precisions}", gaps, side=side, limit=limit, expected=0.0, runs=len(runs))
            )
    return judged(rows)


def speed_sentences(claims: pd.DataFrame) -> list[str]:
    """One sentence per row of :func:`speed_claims`."""
    said = []
    for row in claims.to_dict("records"):
        share = row["suite"] == "engine"
        start = f"{row['claim']}: {row['verdict']}" if share else f"{row['suite']}, {row['claim']}: {row['verdict']}"
        start = start[0].upper() + start[1:]
        limit = "" if math.isnan(row["target"]) else f"target {row['sense']} {_figure(row['target'], share)}"
        found = "" if math.isnan(row["value"]) else _figure(row["value"], share)
        if found and not math.isnan(row["at"]):
            found = f"at worst {found}, at level {row['at']:.0%}"
        details = "; ".join(filter(None, (found, limit)))
        said.append(f"{start} ({details})." if details else f"{start}.")
    return said


def floor_sentences(frame: pd.DataFrame) -> list[str]:
    """Why suites are not faster, read off the profile of their steps in ``Benchmarks.frame``.

    Where a sweep misses its target: how many times the Trainer's runs per minute there would be if calls between
    operations cost nothing, which is the floor of this way of computing a step. And by how much products and all the
    rest of a step shrink to the sparsest ticket, beside its operations: what is no product does not follow them.
    """
    table, shares = tables.profile_table(frame), tables.step_table(frame)
    speeds, said = tables.throughput_table(frame), []
    for suite, group in table.groupby("suite", sort=False):
        rows = group.sort_values("level").to_dict("records")
        if len(rows) < 2:
            continue
        full, last = rows[0], rows[-1]
        gains = sorted(1 / (1 - row["between"]) for row in (full, last))
        name = f"{str(suite)[:1].upper()}{str(suite)[1:]}"
        for row in speeds.loc[speeds["suite"] == suite].to_dict("records"):
            if not row["ratio"] < TIMES.get((str(suite), row["Trainer precision"]), math.nan):
                continue
            said.append(
                f"{name}, against the Trainer in {row['Trainer precision']}: {row['ratio']:.2f} times its runs per "
                f"minute; with calls that cost nothing a step would be {gains[0]:.2f} to {gains[1]:.2f} times as fast, "
                f"so at most {gains[0] * row['ratio']:.1f} to {gains[1] * row['ratio']:.1f} times."
            )
        kept = shares.loc[(shares["suite"] == suite) & np.isclose(shares["level"], last["level"]), "operations"]
        before, after = (row["products"] * row["seconds"] for row in (full, last))
        rest = (last["seconds"] - after) / (full["seconds"] - before)
        predicted = f" (operations: {kept.iloc[0]:.0%})" if len(kept) else ""
        said.append(
            f"{name}, a training step at level {last['level']:.0%}: its products take {after / before:.0%} of the time "
            f"of the full model's{predicted}, everything else {rest:.0%}."
        )
    return said


def step_sentences(frame: pd.DataFrame) -> list[str]:
    """What a ``step_times`` frame says, a sentence per mode: the sparsest ticket both ways, and the worst compacted."""
    table, worst = tables.step_table(frame), worst_steps(frame)
    said = []
    for mode, group in table.groupby("mode", sort=False):
        last = group.loc[group["level"].idxmax()]
        text = (
            f"{str(mode).capitalize()}: at level {last['level']:.0%}, with {last['operations']:.0%} of the operations "
            f"left, a compacted model takes {last['compacted']:.0%} of the full model's time"
        )
        text += "" if math.isnan(last["masked"]) else f", a masked one {last['masked']:.0%}"
        if ("", mode) in worst:
            value, level = worst["", str(mode)]
            text += (
                f"; from level {MIDDLE[0]:.0%} to {MIDDLE[1]:.0%} a compacted model takes at most {value:.2f} times "
                f"what its operations predict (at level {level:.0%})"
            )
        said.append(f"{text}.")
    return said


def profile_sentences(frame: pd.DataFrame) -> list[str]:
    """What a ``step_profile`` frame says, or the table of it; a sentence per line."""
    said = []
    for row in frame.to_dict("records"):
        model = f"at level {row['level']:.0%}" if row["level"] else "the full model"
        model = f"{row['suite']}, {model}" if "suite" in row else model
        said.append(
            f"{model[:1].upper()}{model[1:]}: a training step takes {1000 * row['seconds']:.1f} ms, "
            f"{row['products']:.0%} of it in matrix products, {row['elementwise']:.0%} in other arithmetic and "
            f"copying, {row['between']:.0%} in the calls between ({row['rate']:.0f} GFLOP/s over all, "
            f"{row['utilisation']:.0%} of what a large product reaches); with calls that cost nothing it would be "
            f"{1 / (1 - row['between']):.2f} times as fast."
        )
    return said


def memory_sentences(frame: pd.DataFrame) -> list[str]:
    """Peak memory of our sweep against the Trainer's, a sentence per suite and precision of the Trainer."""
    table, said = tables.memory_table(frame), []
    for suite, group in ((str(name), group) for name, group in table.groupby("suite", sort=False)):
        ours, theirs = (group.loc[group["side"] == side].to_dict("records") for side in ("ours", "Trainer"))
        for mine, yours in ((mine, yours) for mine in ours for yours in theirs):
            workers = f"{mine['workers']} worker" + ("" if mine["workers"] == 1 else "s")
            whole, one = mine["MiB"] / yours["MiB"], mine["MiB a worker"] / yours["MiB"]
            said.append(
                f"{suite[:1].upper()}{suite[1:]}, against the Trainer in {yours['precision']}: {whole:.2f} times its "
                f"memory with {workers}, {one:.2f} times a worker."
            )
    return said


def trick_sentences(frame: pd.DataFrame) -> list[str]:
    """What the speed tricks give, a sentence per task: those worth :data:`WORTH` or more, and the others."""
    said = []
    for task, group in tables.trick_table(frame).groupby("task", sort=False):
        gains = [(row["trick"], row["without / with"]) for row in group.to_dict("records")]
        worth = [f"{name} ({ratio:.2f} times)" for name, ratio in gains if ratio >= WORTH]
        less = [name for name, ratio in gains if ratio < WORTH]
        text = f"{task}: a run takes longer without {', '.join(worth) or 'none of them'}"
        said.append(
            f"{text}; by less than {WORTH - 1:.0%}, if at all, without {', '.join(less)}." if less else f"{text}."
        )
    return said


def worst_steps(frame: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float]]:
    """The largest ``compacted / operations`` at MIDDLE levels and its level, by (suite, mode); suite "" if none."""
    table = tables.step_table(frame)
    inside = table["level"].between(MIDDLE[0] - 1e-9, MIDDLE[1] + 1e-9) & table["compacted / operations"].notna()
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for row in table.loc[inside].to_dict("records"):
        key, value = (row.get("suite", ""), row["mode"]), (row["compacted / operations"], row["level"])
        found[key] = max(found.get(key, value), value)
    return found


def _claim(claim: str, suite: str, value: float, sense: str, target: float, level: float = math.nan) -> dict[str, Any]:
    if math.isnan(value):
        verdict = "not measured"
    elif math.isnan(target):
        verdict = "no target"
    else:
        held = {"at least": value >= target, "at most": value <= target, "below": value < target}[sense]
        verdict = "met" if held else "not met"
    row = {"claim": claim, "suite": suite, "value": value, "sense": sense, "target": target}
    return row | {"at": level, "verdict": verdict}


def _figure(value: float, share: bool) -> str:
    return f"{value:.1%}" if share else f"{value:.2f}x"
