"""Sweeps in processes of their own, which tests of faults disturb, and what must hold of a store afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from supertickets.runs import RunStore, Spec

SWEEP = """
import json, os, pathlib, sys
from supertickets.engines import run_all
from supertickets.errors import SuperticketsError
from supertickets.runs import spec_from_json
from supertickets.runs import RunStore
if __name__ == "__main__":
    specs = [spec_from_json(data) for data in json.loads(pathlib.Path(sys.argv[1]).read_text())]
    print("ready", flush=True)
    {prepare}
    try:
        summary = run_all(specs, RunStore(sys.argv[2]), workers=int(sys.argv[3]), progress=False)
        print(json.dumps([len(summary.finished), len(summary.found), summary.failed]))
    except SuperticketsError as error:
        print(json.dumps(str(error)))
"""


def start_sweep(
    specs: Sequence[Spec], store: Path, workers: int, name: str = "specs", prepare: str = "pass"
) -> subprocess.Popen[str]:
    """A sweep in a session of its own; ``prepare`` is a line of Python carried out after the imports."""
    path = store.parent / f"{name}.json"
    path.write_text(json.dumps([spec.to_json() for spec in specs]))
    command = [sys.executable, "-c", SWEEP.replace("{prepare}", prepare), str(path), str(store), str(workers)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, start_new_session=True, text=True)


def workers_of(driver: int) -> list[int]:
    """Children of a sweep that are loky workers (found through /proc, as ps does)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_text()
        except (OSError, ValueError):
            continue
        if parent == driver and "popen_loky" in command:
            found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true: Callable[[], object], seconds: float = 250.0) -> float:
    """Waits until something holds and says how long it took; fails if it does not hold in time."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - started


def results(store: RunStore, specs: Iterable[Spec]) -> pd.DataFrame:
    """The frame of some runs but for what was measured of the machine."""
    return store.frame(specs).drop(columns=["seconds", "memory"], errors="ignore")


def assert_undisturbed(store: RunStore, specs: Sequence[Spec], reference: RunStore) -> None:
    """Every run is there exactly once, whole, with the results of the undisturbed sweep, and nothing is left over."""
    assert store.ids() == sorted(spec.id for spec in specs)
    for spec in specs:
        assert store.get(spec.id) is not None
    pd.testing.assert_frame_equal(results(store, specs), results(reference, specs), check_exact=True)
    assert store.failures() == {}
    assert left_over(store) == []


def left_over(store: RunStore) -> list[str]:
    """Files of a store that a sweep which came to its end should not leave: heartbeats, claims, unfinished files."""
    found = []
    for folder, _, names in os.walk(store.path):
        kind = os.path.relpath(folder, store.path).split(os.sep)[0]
        for name in names:
            if kind in ("running", "claims") or name.endswith((".tmp", ".half", ".void")):
                found.append(f"{os.path.relpath(folder, store.path)}/{name}")
    return sorted(found)


def make_old(path: Path, seconds: float) -> None:
    """Dates a file or folder back."""
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
