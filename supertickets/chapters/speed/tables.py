"""Speed as tables: our sweep beside the Trainer's on the same specs, and step times beside their operations.

``make bench`` writes one JSON file of rows (tools/bench.py says what they hold). Times of one machine mean
nothing on another, so what the tables compare are ratios of times that were taken in the same go.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from supertickets.errors import SuperticketsError

FORMAT, VERSION = "supertickets.benchmarks", 1
HOME = Path("book/results/benchmarks.json")
SPEC = ["task", "seed", "kind", "level"]
ROW = ["suite", "side", "threads", "workers", "precision", *SPEC, "seconds", "score", "epochs", "wall", "busy"]
ROW += ["peak_mib", "runs", "overhead", "way", "mode", "ratio", "low", "high", "operations", "weights_remaining"]
PROFILE = ["level", "seconds", "products", "elementwise", "between", "rate", "utilisation"]
ROW += ["gpus", "gpu_mib", "beside", "trick", *PROFILE[2:]]
THROUGHPUT = ["suite", "precision", "Trainer precision", "runs", "runs/min", "runs/min, Trainer", "ratio", "workers"]
THROUGHPUT += ["threads, Trainer", "epochs", "epochs, Trainer", "MiB", "MiB, Trainer"]
PER_GPU = "runs/GPU-hour"
STEPS = ["mode", "level", "weights remaining", "operations", "compacted", "masked", "compacted / operations"]
TRICKS = ["task", "trick", "without / with", "low", "high"]
MEMORY = ["suite", "side", "precision", "workers", "MiB", "MiB a worker"]


@dataclass(frozen=True)
class Benchmarks:
    """What ``make bench`` measured: a ``frame`` with a line per row of the file, and how it was ``made``."""

    made: Mapping[str, Any]
    frame: pd.DataFrame


def benchmarks_path(given: str = "") -> Path:
    """``given``, or ``book/results/benchmarks.json`` in the working directory or the nearest folder above that has it.

    >>> benchmarks_path("mine.json")
    PosixPath('mine.json')
    """
    if given:
        return Path(given)
    here = Path.cwd()
    return next((folder / HOME for folder in (here, *here.parents) if (folder / HOME).is_file()), HOME)


def read_benchmarks(path: str | Path) -> Benchmarks:
    """The benchmarks of a file; its frame has a column for whatever a row may hold, NaN where it does not.

    Raises SuperticketsError if the file is missing, truncated, of another kind or of another version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        made, rows = content["made"], content["rows"]
        if (content["format"], content["version"]) != (FORMAT, VERSION) or not (rows and isinstance(made, dict)):
            raise ValueError("its format or version is another, or it has no rows")
        if not all({"suite", "side"} <= row.keys() for row in rows):
            raise ValueError("a row says not of what it is")
    except FileNotFoundError:
        raise SuperticketsError(f"There are no benchmarks at {path}; `make bench` measures them.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        told = f"{path} holds no benchmarks of version {VERSION}, or damaged ones ({fault})"
        raise SuperticketsError(f"{told}; make it anew with `make bench`.") from fault
    return Benchmarks(made, pd.DataFrame(rows).reindex(columns=ROW))


def on_gpus(folder: Path) -> list[Benchmarks]:
    """What ``make gpu`` measured, the newest first; an earlier file says what the last had no time for."""
    found = (read_benchmarks(path) for path in folder.glob("gpu*.json"))
    return sorted(found, key=measured_on, reverse=True)


def measured_on(card: Benchmarks) -> str:
    """When a GPU was measured, and at which commit."""
    return str((card.made.get("suites") or {}).get("gpu", ""))


def newest(cards: Sequence[Benchmarks], side: str, suite: str = "") -> pd.DataFrame:
    """The frame of the first that has rows of a side, and of a suite whose name ends so; else of the first."""
    frames = [card.frame for card in cards]
    there = (frame["side"].eq(side) & frame["suite"].str.endswith(suite) for frame in frames)
    return next((frame for frame, rows in zip(frames, there, strict=True) if rows.any()), frames[0])


def made_sentence(made: Mapping[str, Any]) -> str:
    """What produced the benchmarks, in one sentence: command, each suite's date and commit, device, versions.

    >>> made_sentence({"command": "make bench", "device": "CPU", "suites": {"lab": "2030-01-01 (commit abc)"}})
    'Measured by `make bench`: lab on 2030-01-01 (commit abc), device CPU.'
    """
    suites = made.get("suites") or {}
    parts = [f"{suite} on {when}" for suite, when in suites.items()]
    parts += [f"{key} {made[key]}" for key in made if key not in ("command", "suites")]
    return f"Measured by `{made.get('command', 'an unknown command')}`: {', '.join(parts)}."


def throughput_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Runs per minute of ours and of the Trainer, their ratio, and what both took, per suite and precision.

    A line per suite and precision of the Trainer, from ``Benchmarks.frame``. ``workers`` of ours have one thread each;
    the Trainer is one process with so many ``threads``. ``epochs`` are means of a run, which early stopping
    may end; ``MiB`` is the peak memory of all processes of a side together. Where GPUs did the work there is a column
    ``runs/GPU-hour`` of ours. A suite that lacks a side is left out.

    Raises SuperticketsError if the two sides did not carry out the same runs.
    """
    rows = []
    for suite, ours, theirs in sides(frame):
        mine, yours = end_of(ours), end_of(theirs)
        runs = by_spec(ours, theirs)
        rate, their_rate = (60 * len(runs) / side["wall"] for side in (mine, yours))
        row = {"suite": suite, "precision": mine["precision"], "Trainer precision": yours["precision"]}
        row |= {"runs": len(runs), "runs/min": rate, "runs/min, Trainer": their_rate, "ratio": rate / their_rate}
        row |= {"workers": int(mine["workers"]), "threads, Trainer": int(yours["threads"])}
        row |= {"epochs": runs["epochs, ours"].mean(), "epochs, Trainer": runs["epochs, theirs"].mean()}
        row |= {"MiB": mine["peak_mib"], "MiB, Trainer": yours["peak_mib"]}
        rows.append(row | {PER_GPU: 60 * rate / mine["gpus"] if mine["gpus"] > 0 else math.nan})
    on_gpus = any(row[PER_GPU] > 0 for row in rows)  # NaN is not
    return pd.DataFrame(rows, columns=[*THROUGHPUT, PER_GPU] if on_gpus else THROUGHPUT)


def memory_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Peak memory of our sweep and of the Trainer's runs, in MiB: all processes together, and per worker of ours.

    Counted is what a process has to itself, not what several share.
    """
    rows = []
    for side, name in (("ours", "ours"), ("theirs", "Trainer")):
        for end in frame.loc[(frame["side"] == side) & frame["wall"].notna()].to_dict("records"):
            workers = int(end["workers"])
            row = {"suite": end["suite"], "side": name, "precision": end["precision"], "workers": workers}
            rows.append(row | {"MiB": end["peak_mib"], "MiB a worker": end["peak_mib"] / workers})
    table = pd.DataFrame(rows, columns=MEMORY)
    order = {suite: place for place, suite in enumerate(dict.fromkeys(frame["suite"]))}
    return table.sort_values("suite", key=lambda column: column.map(order), kind="stable", ignore_index=True)


def step_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Time of a step, relative to the full model's, at every level, beside the share of operations that is left.

    ``frame`` is that of :func:`supertickets.training.step_times`, or ``Benchmarks.frame``: then a column ``suite``
    leads. All columns from ``weights remaining`` on are shares of the full model. ``compacted / operations`` is how
    much longer a compacted step takes than its operations predict.
    """
    key = ["suite", "mode", "level"] if "suite" in frame else ["mode", "level"]
    steps = frame.loc[frame["side"] == "steps"] if "side" in frame else frame
    if steps.empty:
        return pd.DataFrame(columns=[*key[:-2], *STEPS])
    common = steps.groupby(key, sort=False)[["weights_remaining", "operations"]].first()
    ways = steps.pivot_table("ratio", key, "way", sort=False).reindex(columns=["compacted", "masked"])
    table = common.join(ways).reset_index().rename(columns={"weights_remaining": "weights remaining"})
    table["compacted / operations"] = table["compacted"] / table["operations"]
    suites = table["suite"] if "suite" in table else pd.Series(0, index=table.index)
    order = pd.DataFrame({"suite": pd.factorize(suites)[0], "mode": pd.factorize(table["mode"])[0]})
    ranks = order.assign(level=table["level"]).sort_values(["suite", "mode", "level"], kind="stable").index
    return table.loc[ranks, [*key[:-2], *STEPS]].reset_index(drop=True)


def profile_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Where the time of a training step goes, by suite and level, from ``Benchmarks.frame``.

    The columns are those of :func:`supertickets.training.step_profile`.
    """
    return frame.loc[frame["side"] == "profile", ["suite", *PROFILE]].reset_index(drop=True)


def trick_table(frame: pd.DataFrame) -> pd.DataFrame:
    """How many times the processor time a run takes without each speed trick, from ``Benchmarks.frame``.

    Medians over rounds with quartiles, the largest first within a task.
    """
    rows = frame.loc[frame["side"] == "tricks"].rename(columns={"ratio": "without / with"})
    order = ["task", "without / with"]
    return rows[TRICKS].sort_values(order, ascending=[True, False], kind="stable", ignore_index=True)


def sides(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Suite, rows of ours, rows of the Trainer at one precision, for all that have both."""
    found = []
    for suite, group in frame.groupby("suite", sort=False):
        ours, theirs = group.loc[group["side"] == "ours"], group.loc[group["side"] == "theirs"]
        if not ours.empty:
            found += [(str(suite), ours, each) for _, each in theirs.groupby("precision", sort=False)]
    return found


def end_of(side: pd.DataFrame) -> dict[str, Any]:
    """The last row of a side, which has its wall time and memory."""
    ends = side.loc[side["wall"].notna()]
    if len(ends) != 1:
        first = side.iloc[0]
        raise SuperticketsError(
            f"The benchmarks of suite {first['suite']!r}, side {first['side']!r}, {first['precision']}, have "
            f"{len(ends)} rows with a wall time and not one; make them anew with `make bench`."
        )
    return ends.iloc[0].to_dict()


def by_spec(ours: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """A row per spec with score and epochs of both sides."""
    both = [side.loc[side["score"].notna(), [*SPEC, "score", "epochs"]] for side in (ours, theirs)]
    runs = both[0].merge(both[1], on=SPEC, suffixes=(", ours", ", theirs"))
    if not len(runs) == len(both[0]) == len(both[1]) > 0:
        raise SuperticketsError(
            f"Of suite {ours['suite'].iloc[0]!r} there are {len(both[0])} runs of ours and {len(both[1])} of the "
            f"Trainer, {len(runs)} of them the same; only the same runs can be compared: `make bench` carries them out."
        )
    return runs
