"""Rows as the benchmarks write them."""

import json
from pathlib import Path

from supertickets.chapters.speed import claims, tables

NOTEBOOK = Path(__file__).parents[1] / "notebooks/D_costs.py"
SINCE = {"lab": "2030-01-01 (commit abc)", "RTE": "2030-01-02 (commit def)"}


MADE = {"command": "make bench", "device": "CPU (made up)", "torch": "9.9", "suites": SINCE}


LEVELS = {0.0: 1.0, 0.2: 0.8, 0.5: 0.5, 0.8: 0.2, 0.9: 0.1}


def side(suite, name, precision, threads, workers, wall, specs, offsets, peak=100.0):
    """Rows of a side: every run scores 0.8 plus the offset of its (task, seed), and the last row has the wall time."""
    common = {"suite": suite, "side": name, "precision": precision, "threads": threads, "workers": workers}
    made = [
        {"task": task, "seed": seed, "kind": kind, "level": level, "seconds": 1.0, "epochs": 3}
        | {"score": 0.8 + offsets.get((task, seed), 0.0)}
        for task, seed, kind, level in specs
    ]
    return [common | row for row in [*made, {"wall": wall, "peak_mib": peak}]]


def steps(suite, slower):
    """Step rows: compacted takes its share of the operations times ``slower`` at that level, masked the whole time."""
    rows = []
    for mode in ("training", "inference"):
        for level, share in LEVELS.items():
            for way in ("compacted", "masked") if level else ("compacted",):
                ratio = share * slower.get((mode, level), 1.0) if way == "compacted" else 1.1
                row = {"suite": suite, "side": "steps", "level": level, "way": way, "mode": mode, "seconds": ratio}
                row |= {"ratio": ratio, "low": 0.9 * ratio, "high": 1.2 * ratio, "operations": share}
                rows.append(row | {"weights_remaining": (1 + share) / 2})
    return rows


def grid(tasks, seeds):
    return [
        (task, seed, kind, level)
        for task in tasks
        for seed in seeds
        for kind, level in (("full", 0.0), ("winning", 0.2), ("random", 0.5))
    ]


LAB, RTE = grid(("entailment", "paraphrase"), (0, 1)), grid(("RTE",), (0,))


OFFSETS = {("entailment", 0): 0.01, ("entailment", 1): -0.02, ("paraphrase", 0): 0.03, ("paraphrase", 1): 0.0}


TRICKS = [
    {"suite": "tricks", "side": "tricks", "task": task, "trick": trick, "ratio": ratio, "low": 0.9 * ratio}
    | {"high": 1.1 * ratio, "seconds": 2.0}
    for task, trick, ratio in (("RTE", "a", 1.2), ("entailment", "a", 1.01), ("entailment", "b", 1.5))
]


ROWS = [
    *steps("lab", {("training", 0.5): 1.5}),
    {"suite": "lab", "side": "trial", "threads": 1, "wall": 5.0},
    *side("lab", "ours", "fp32", 1, 2, 6.0, LAB, OFFSETS, peak=600.0),
    *side("lab", "theirs", "fp32", 1, 1, 42.0, LAB, {}, peak=400.0),
    {"suite": "engine", "side": "engine", "precision": "fp32", "threads": 1, "workers": 2, "runs": 118}
    | {"wall": 61.2, "busy": 120.0, "overhead": 0.02, "peak_mib": 500.0},
    *steps("RTE", {("training", 0.5): 1.1, ("inference", 0.8): 1.3, ("training", 0.9): 9.0}),
    *side("RTE", "ours", "bf16", 1, 2, 10.0, RTE, {("RTE", 0): 0.05}, peak=900.0),
    *side("RTE", "theirs", "bf16", 2, 1, 15.0, RTE, {}, peak=1000.0),
    *side("RTE", "theirs", "fp32", 2, 1, 45.0, RTE, {}, peak=1200.0),
]


def written(path, rows=ROWS, **changed):
    content = {"format": "supertickets.benchmarks", "version": 1, "made": MADE, "rows": rows}
    path.write_text(json.dumps(content | changed), encoding="utf-8")
    return path


def profiled(suite, level, seconds, products, elementwise):
    row = {"suite": suite, "side": "profile", "level": level, "seconds": seconds, "products": products}
    row |= {"elementwise": elementwise, "between": 1 - products - elementwise, "rate": 40.0, "utilisation": 0.2}
    return row


def shown_of_a_gpu(folder: Path) -> tuple[dict, list[str]]:
    """Tables by name and sentences of the part of appendix D on GPUs, from the gpu.json of a folder."""
    (cell,) = [cell for cell in NOTEBOOK.read_text(encoding="utf-8").split("\n# %%\n") if "on_gpus" in cell]
    found, said = {}, []

    def show_table(table, caption, name, **_):
        found[name] = table

    code = cell.split("\n# %% [markdown]")[0]
    given = {"path": folder / "benchmarks.json", "tables": tables, "claims": claims, "show_table": show_table}
    exec(compile(code, "D_costs", "exec"), given | {"measured": lambda *told: said.extend(told)})
    return found, said
