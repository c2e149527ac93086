"""Our sweep beside the Trainer's on the same specs, steps beside their operations, what each trick gives, the engine.

``make bench`` runs every measurement in a process of its own, one after another, and writes one JSON file of rows with
what produced them, which appendix D shows. Times of a machine mean nothing elsewhere; ratios of one run do.
``make gpu`` does so on a GPU, its tests first; what fails or finds no time is named in the file, and the rest goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gpu

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("entailment", "paraphrase", "acceptability")
REAL_SIZE = 640
REAL_LEVELS = (0.2, 0.5, 0.8)
MARK = "row: "
FEW = 17  # runs of the few-shot suite for each worker, the first of which does not count
LEAST, MOST = 10.0, 150.0  # seconds: with fewer left no measurement is begun; what one on a GPU may take


def specs_of(suite: str, precision: str, seeds: Sequence[int], data_dir: str) -> list[Any]:
    """The runs both sides carry out: the lab's grid, or a task's full model and winning tickets on real data."""
    from supertickets.studies import full_run, get_profile, phase_transition, ticket_sweep
    from supertickets.tasks import data_ref

    if suite == "lab":
        return phase_transition(get_profile("lab", tasks=TASKS, seeds=seeds))
    if suite in ("one run", "few-shot"):  # on a GPU: a long run alone, and many short ones, what it is worst at
        if suite == "one run":
            encoder, ref, hyper = _timed("RTE" if data_dir else "lab", data_dir, precision)
            # Twice, in one process: what a process pays once is in the first alone.
            return [full_run(encoder, ref, seeds[0] + k, replace(hyper, patience=hyper.epochs)) for k in range(2)]
        encoder, ref, hyper = _timed("SST-2" if data_dir else "lab", data_dir, precision, train_size=500)
        fulls = [full_run(encoder, ref, seed, hyper) for seed in range(40)]
        return [run for full in fulls for run in ticket_sweep(full, kinds=["random"])[1:]]
    if suite == "engine":  # runs without parents, of a second or so
        profile = get_profile("lab", tasks=TASKS[:1], seeds=range(30), levels=(0.4, 0.5, 0.6, 0.7))
        return [spec for spec in phase_transition(profile, ["random"]) if spec.ticket.kind == "random"]
    profile = get_profile("minilm")
    ref = data_ref(suite, data_dir=data_dir, train_size=REAL_SIZE)
    full = full_run("minilm", ref, seeds[0], replace(profile.hyper, epochs=1, precision=precision))
    return ticket_sweep(full, REAL_LEVELS, ["winning"])


def ours(specs: Sequence[Any], workers: int) -> Iterator[dict[str, Any]]:
    """The sweep of a fresh store, workers' start included."""
    from supertickets.engines import run_all
    from supertickets.runs import RunStore

    with tempfile.TemporaryDirectory() as folder:
        store, started = RunStore(folder), time.perf_counter()
        run_all(specs, store, workers=workers, progress=False).raise_if_failed()
        wall = time.perf_counter() - started
        records = {record.id: record for record in store.records([spec.id for spec in specs])}
        for spec in specs:
            record = records[spec.id]
            seconds = record.timings["total"]
            yield _row(spec, seconds, record.metrics["report"]["score"], len(record.epochs))
    yield {"wall": wall, **_taken(list(records.values()))}


def theirs(specs: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The Trainer, one run after another; imports do not count."""
    import baseline

    scores: dict[str, Any] = {}
    started = time.perf_counter()
    for spec in specs:
        found = baseline.train(spec, scores.get(spec.ticket.parent))
        scores[spec.id] = found.scores
        yield _row(spec, found.seconds, found.score, found.epochs)
    yield {"wall": time.perf_counter() - started, "gpu_mib": baseline.gpu_memory()}


def engine(specs: Sequence[Any], workers: int) -> Iterator[dict[str, Any]]:
    """Runs of about a second by workers that are there already: what is not spent in runs is the engine's."""
    from supertickets.engines import run_all
    from supertickets.runs import RunStore

    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(folder)
        run_all(specs[:workers], store, workers=workers, progress=False).raise_if_failed()
        started = time.perf_counter()
        run_all(specs[workers:], store, workers=workers, progress=False).raise_if_failed()
        wall = time.perf_counter() - started
        taken = _taken(list(store.records([spec.id for spec in specs[workers:]])))
    yield {"runs": len(specs) - workers, "wall": wall, **taken, "overhead": workers * wall / taken["busy"] - 1}


def steps(suite: str, data_dir: str, precision: str) -> Iterator[dict[str, Any]]:
    """Step times at every level, compacted and masked."""
    import torch

    from supertickets.training import step_times

    few = 16 if torch.cuda.is_available() else 2  # there a pass begins with a wait for its first batch
    settings = {"lab": {}, "RTE": {"n_batches": few, "repeats": 5}}.get(suite, {"n_batches": 6, "repeats": 5})
    yield from step_times(*_timed(suite, data_dir, precision), **settings).to_dict("records")


def profiles(suite: str, data_dir: str, precision: str) -> Iterator[dict[str, Any]]:
    """Where the time of a training step goes, for the full model and at the highest level."""
    import torch

    from supertickets.training import step_profile

    n_batches = 16 if torch.cuda.is_available() else 8 if suite == "lab" else 2
    yield from step_profile(*_timed(suite, data_dir, precision), n_batches=n_batches).to_dict("records")


def prices(suite: str, data_dir: str, precision: str) -> Iterator[dict[str, Any]]:
    """A short run of the full model with every speed trick, and without each."""
    import tricks

    from supertickets.studies import full_run

    # Long enough that what a run does once hides nothing: 120 steps in the lab, a few long ones elsewhere.
    lab = suite == "lab"
    encoder, ref, hyper = _timed(suite, data_dir, precision, train_size=640 if lab else 128, dev_size=128)
    run = full_run(encoder, ref, 0, replace(hyper, epochs=3 if lab else 1))
    for row in tricks.priced(run, rounds=5):
        yield {"task": ref.name, **row}


def _timed(suite: str, data_dir: str, precision: str, **sizes: int) -> tuple[Any, ...]:
    """Encoder, data and settings of what is timed."""
    from supertickets.studies import get_profile
    from supertickets.tasks import data_ref

    lab = suite == "lab"
    profile = get_profile("lab" if lab else "minilm")
    ref = data_ref(TASKS[0], **{**profile.data, **sizes}) if lab else data_ref(suite, data_dir=data_dir, **sizes)
    return profile.encoder, ref, replace(profile.hyper, precision=precision)


def _taken(records: Sequence[Any]) -> dict[str, float]:
    """Seconds that runs took together, on how many GPUs, and the most memory that one had there."""
    import torch

    busy = sum(record.timings["total"] for record in records)
    memory = max(record.memory.get("gpu", 0.0) for record in records)
    return {"busy": busy, "gpus": torch.cuda.device_count(), "gpu_mib": memory}


def _row(spec: Any, seconds: float, score: float, epochs: int) -> dict[str, Any]:
    task, rule = spec.data.name, spec.ticket
    row = {"task": task, "seed": spec.seed, "kind": rule.kind, "level": rule.level}
    return {**row, "seconds": seconds, "score": score, "epochs": epochs}


def measured(side: str, suite: str, threads: int, workers: int, options: argparse.Namespace, **more: Any) -> list[dict]:
    """The rows of one side, measured in a process of its own; the last one has ``peak_mib``, the memory of the tree."""
    settings = {"side": side, "suite": suite, "workers": workers, "seeds": options.seeds, "data_dir": options.data_dir}
    settings |= {"precision": "fp32", "first": 0, "on": suite, "captured": True, "beside": "", **more}
    left = options.until - time.monotonic()
    if left < LEAST:
        raise SystemExit("there was no time left")
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--side", json.dumps(settings)]
    print(f"{time.strftime('%H:%M:%S')} {suite}: {side}, {settings['precision']}, {threads} threads", file=sys.stderr)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with gpu.multi_process_service() if settings["beside"] else contextlib.nullcontext({}) as given:
        process = subprocess.Popen(command, **pipes, text=True, env=environment | given)
        memory = gpu.Memory(process.pid)
        try:
            out, told = process.communicate(timeout=None if math.isinf(left) else left)
        except subprocess.TimeoutExpired:
            for one in memory.processes():
                one.kill()
            process.communicate()
            raise SystemExit("there was no time left") from None
        finally:
            peak = memory.stop()
    if process.returncode:
        print(f"It failed; alone it is: {shlex.join(command)}", file=sys.stderr)
        raise SystemExit("".join(told.strip().splitlines()[-1:]) or f"it ended with status {process.returncode}")
    rows = [json.loads(line.removeprefix(MARK)) for line in out.splitlines() if line.startswith(MARK)]
    rows[-1]["peak_mib"] = peak
    common = {"suite": suite, "side": side, "threads": threads, "workers": workers, "precision": settings["precision"]}
    return [{**common, "beside": settings["beside"] or None, **row} for row in rows]


def one_side(settings: dict[str, Any]) -> None:
    """What a process of its own does: the rows go to its output, each on a line."""
    side, suite, data_dir = settings["side"], settings["suite"], settings["data_dir"]
    many = {"train_size": 20_000} if settings["on"] == "lab" else {}  # few batches are not worth captures
    alone: dict[str, Any] = {"steps": steps, "profile": profiles, "tricks": prices}
    alone["floor"] = lambda *given: gpu.floor(*_timed(*given))
    alone["passes"] = lambda *given: gpu.passes(*_timed(*given, **many))
    if not settings["captured"]:
        from supertickets.training import timing
        from supertickets.training.fast import forward

        timing.graphs = timing.low_precision = lambda *_: None
        forward.by_hand = partial(forward.by_hand, layers=False)
    if side in alone:
        rows = alone[side](settings["on"], data_dir, settings["precision"])
    else:
        specs = specs_of(suite, settings["precision"], settings["seeds"], data_dir)
        specs = specs[: settings["first"] or None]
        workers = settings["workers"]
        rows = theirs(specs) if side == "theirs" else (engine if side == "engine" else ours)(specs, workers)
    for row in rows:
        print(MARK + json.dumps(row), flush=True)


def all_of_it(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every measurement that was asked for, one after another."""
    n, workers = len(os.sched_getaffinity(0)), options.workers or len(os.sched_getaffinity(0))
    rows: list[dict[str, Any]] = []
    for suite in options.suites:
        if suite == "gpu":
            rows += on_gpu(options)
        elif suite not in ("lab", "engine", "tricks") and not options.data_dir:
            print(f"{suite} is left out: name the folder of its data with --data-dir", file=sys.stderr)
        elif suite == "engine":
            rows += measured("engine", suite, 1, workers, options)
        elif suite.endswith("tricks"):
            rows += measured("tricks", suite, 1, 1, options, on="lab" if suite == "tricks" else "RTE")
        else:
            rows += both_sides(suite, n, workers, options)
    return rows


def both_sides(suite: str, n: int, workers: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Steps of the lab or of a task on real data, then our sweep and the Trainer's runs."""
    rows: list[dict[str, Any]] = []
    for side in ("steps", "profile"):
        rows += measured(side, suite, 1, 1, options, precision="fp32" if suite == "lab" else "bf16")
    if suite == "lab":
        tried = {t: measured("theirs", suite, t, 1, options, first=2)[-1]["wall"] for t in sorted({1, n})}
        rows += [{"suite": suite, "side": "trial", "threads": t, "wall": wall} for t, wall in tried.items()]
        rows += measured("ours", suite, 1, workers, options)
        rows += measured("theirs", suite, min(tried, key=tried.__getitem__), 1, options)
    else:
        rows += measured("ours", suite, 1, workers, options, precision="bf16")
        for precision in ("bf16", "fp32"):
            rows += measured("theirs", suite, n, 1, options, precision=precision)
    return rows


def on_gpu(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The tests marked ``gpu``, then what a GPU does, the most telling first; a row ``missing`` for what failed."""
    from supertickets.engines import default_workers

    on, n = "RTE" if options.data_dir else "lab", len(os.sched_getaffinity(0))
    usual = options.workers or default_workers()
    by_mps = [(12, "MPS"), (4, "MPS")] if gpu.control() else []
    side_by_side = dict.fromkeys([(usual, ""), *by_mps[:1], (8, ""), (4, ""), *by_mps[1:], (2, ""), (1, "")])
    few = [("engine", "few-shot", 1, workers, {"first": FEW * workers, "beside": how}) for workers, how in side_by_side]
    plan: list[tuple[str, str, int, int, dict[str, Any]]] = [
        ("profile", on, 1, 1, {}),
        ("ours", "one run", 1, 1, {}),
        *few[: 1 + len(by_mps[:1])],
        ("theirs", "one run", n, 1, {}),
        ("profile", f"{on}, step by step", 1, 1, {"on": on, "captured": False}),
        ("floor", on, 1, 1, {}),
        ("steps", on, 1, 1, {}),
        *few[1 + len(by_mps[:1]) :],
        ("passes", "SST-2" if options.data_dir else "lab", 1, 1, {}),
    ]
    rows = [gpu.tested(min(options.until - time.monotonic(), MOST))]
    for side, suite, threads, workers, more in plan:
        until = min(options.until, time.monotonic() + MOST)
        its = argparse.Namespace(**{**vars(options), "until": until})
        try:
            rows += measured(side, suite, threads, workers, its, **{"precision": "bf16", **more})
        except SystemExit as why:
            beside = f" with {more['beside']}" if more.get("beside") else ""
            rows.append({"suite": suite, "side": "missing", "task": f"{side}, workers {workers}{beside}: {why}"})
    return rows


def kept(path: Path, made: dict[str, Any], suites: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of suites that are not measured now, and when they were; none from another device or other versions."""
    try:
        content = json.loads(path.read_text())
        before, rows = content["made"], content["rows"]
        since = before["suites"]
    except (OSError, ValueError, KeyError):
        return [], {}
    if any(before.get(key) != value for key, value in made.items()):
        return [], {}
    return [row for row in rows if row["suite"] not in suites], {k: v for k, v in since.items() if k not in suites}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "book/results/benchmarks.json")
    parser.add_argument("--suites", default="lab,engine,tricks,RTE tricks,RTE,CoLA", type=lambda text: text.split(","))
    parser.add_argument("--seeds", default="0,1,2", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--workers", default=0, type=int, help="workers of our sweep (one per core; GPUs hold several)")
    parser.add_argument("--data-dir", default="", help="folder that holds RTE/ and CoLA/")
    parser.add_argument("--minutes", default=math.inf, type=float, help="no measurement goes on after so many")
    parser.add_argument("--side", default="", help="one measurement, as JSON (used by the program itself)")
    options = parser.parse_args()
    if options.side:
        one_side(json.loads(options.side))
        return
    if options.suites == ["gpu"]:
        gpu.require_gpu()
    from supertickets.runs import commit_id, device_name, library_versions

    options.until = time.monotonic() + 60 * options.minutes
    started = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime())
    command = "make gpu" if options.suites == ["gpu"] else "make bench"
    made = {"command": command, "device": device_name(), **library_versions()}
    others, measured_before = ([], {}) if options.suites == ["gpu"] else kept(options.out, made, options.suites)
    suites = dict.fromkeys(options.suites, f"{started} (commit {commit_id(ROOT)})")
    rows = [*others, *all_of_it(options)]
    content = {"format": "supertickets.benchmarks", "version": 1, "made": made | {"suites": measured_before | suites}}
    missing = [f"{row['suite']}: {row['task']}" for row in rows if row["side"] == "missing"]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if missing and options.out.exists():  # what was measured before is kept beside it
        options.out.replace(options.out.with_stem(f"{options.out.stem}-before-{started.replace(':', '')}"))
    options.out.write_text(json.dumps(content | {"rows": rows}, indent=1) + "\n")
    print(f"Written: {options.out}", file=sys.stderr)
    if missing:
        sys.exit("\n".join(["Not all could be measured:", *missing]))


if __name__ == "__main__":
    main()
