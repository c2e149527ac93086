"""Sweeps: nothing repeated, nothing lost, the same numbers however they are carried out."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import toy_full_run

from supertickets.engines import run_all
from supertickets.engines.execution import execute
from supertickets.errors import SuperticketsError
from supertickets.runs import RunStore, claimed, super_tickets
from supertickets.studies import ticket_sweep
from supertickets.studies.experiments import rewound

SWEEP = """
import json, pathlib, sys
from supertickets.engines import run_all
from supertickets.runs import RunSpec
from supertickets.runs import RunStore
if __name__ == "__main__":
    specs = [RunSpec.from_json(data) for data in json.loads(pathlib.Path(sys.argv[1]).read_text())]
    if len(sys.argv) > 4:  # ready; wait for the other sweep
        print("ready", flush=True)
        sys.stdin.readline()
    summary = run_all(specs, RunStore(sys.argv[2]), workers=int(sys.argv[3]), progress=False)
    print(len(summary.finished), len(summary.found), len(summary.failed))
"""


@pytest.fixture(scope="module")
def specs(encoder, toy):
    return [
        spec
        for seed in (0, 1)
        for spec in ticket_sweep(toy_full_run(encoder, toy, seed, epochs=1), (0.3, 0.6), ("winning", "random"))
    ]


@pytest.fixture(scope="module")
def undisturbed(specs, tmp_path_factory):
    store = RunStore(tmp_path_factory.mktemp("undisturbed"))
    summary = run_all(specs, store, workers=1, progress=False)
    assert (len(summary.finished), summary.found, summary.failed) == (10, [], {})
    return store


def same_results(a: RunStore, b: RunStore, specs) -> bool:
    for spec in specs:
        first, second = a[spec.id], b[spec.id]
        assert first.metrics == second.metrics
        assert first.arrays.keys() == second.arrays.keys()
        for name in first.arrays:
            np.testing.assert_array_equal(first.arrays[name], second.arrays[name])
    return True


def sweep_process(specs, path: Path, store: Path, workers: int) -> subprocess.Popen:
    path.write_text(json.dumps([spec.to_json() for spec in specs]))
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP, path, store, str(workers)],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )


def test_a_second_call_repeats_nothing(specs, undisturbed):
    summary = run_all(specs, undisturbed, workers=1, progress=False)
    assert (summary.finished, len(summary.found), summary.failed) == ([], 10, {})
    assert str(summary) == "0 runs carried out, 10 found in the store"


def test_processes_give_the_numbers_of_one_process(specs, undisturbed, tmp_path):
    store = RunStore(tmp_path)
    summary = run_all(specs, store, workers=2, progress=False)
    assert len(summary.finished) == 10
    assert same_results(store, undisturbed, specs)


def test_kill_at_random_moments_and_resume(specs, undisturbed, tmp_path):
    rng, store = random.Random(0), RunStore(tmp_path / "store")
    for n_done in (1, 3, 5):  # after at least so many records, and a moment
        process = sweep_process(specs, tmp_path / "specs.json", tmp_path / "store", workers=1)
        deadline = time.monotonic() + 120
        while len(store) < n_done and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    done_before = set(store.ids())
    assert len(done_before) >= 5
    summary = run_all(specs, store, workers=1, progress=False)
    assert set(summary.found) == done_before
    assert len(summary.finished) + len(summary.found) == 10
    assert len(store) == 10
    assert same_results(store, undisturbed, specs)


def test_a_killed_worker_costs_nothing_but_time(specs, undisturbed, tmp_path):
    process = sweep_process(specs, tmp_path / "specs.json", tmp_path / "store", workers=2)
    store, deadline = RunStore(tmp_path / "store"), time.monotonic() + 120
    while not store.ids() and time.monotonic() < deadline:
        time.sleep(0.2)
    victims = worker_pids(process.pid)
    for pid in victims[:1]:
        os.kill(pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=200)
    assert victims
    finished, found, failed = map(int, out.split())
    assert (finished + found, failed) == (10, 0)
    assert found <= 2  # one a worker: the pool died after the record was saved and before the driver heard of it
    assert same_results(store, undisturbed, specs)


def test_two_sweeps_on_one_store_do_every_run_once(specs, undisturbed, tmp_path):
    (tmp_path / "specs.json").write_text(json.dumps([spec.to_json() for spec in specs]))
    command = [sys.executable, "-c", SWEEP, str(tmp_path / "specs.json"), str(tmp_path / "store"), "1", "wait"]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [[int(part) for part in process.communicate(timeout=300)[0].split()] for process in processes]
    assert [sum(result) for result in results] == [10, 10]
    assert sum(finished for finished, _, _ in results) == 10  # each carried out by one of the two
    assert all(finished > 0 for finished, _, _ in results)
    assert [failed for _, _, failed in results] == [0, 0]
    assert same_results(RunStore(tmp_path / "store"), undisturbed, specs)


def test_a_run_of_another_sweep_is_left_alone(specs, tmp_path):
    store = RunStore(tmp_path)
    store.heartbeat(specs[0].id, 1, 6)
    with claimed(store, specs[0].id) as mine:
        assert mine
        assert execute(specs[0], store.path).kind == "busy"
    assert store.progress(specs[0].id) > 0  # the other's sign of life is still there
    assert execute(specs[0], store.path).kind == "done"
    assert execute(specs[0], store.path).kind == "found"
    assert store.progress(specs[0].id) == 0


def worker_pids(parent: int) -> list[int]:
    """Children of the sweep that are loky workers (found through /proc, like ps does)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ppid = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_text()
        except (OSError, ValueError):
            continue
        if ppid == parent and "popen_loky" in command:
            found.append(int(entry.name))
    return found


def test_a_failed_run_is_noted_and_the_rest_goes_on(encoder, toy, tmp_path):
    bad = ticket_sweep(toy_full_run(encoder, toy, learning_rate=1e30), (0.3,), ("winning",))
    good = toy_full_run(encoder, toy, epochs=1)
    store = RunStore(tmp_path)
    summary = run_all([*bad, good], store, workers=1, progress=False)
    assert summary.finished == [good.id]
    assert "diverged" in summary.failed[bad[0].id]
    assert "parent run" in summary.failed[bad[1].id]
    assert list(store.failures()) == [bad[0].id]
    with pytest.raises(SuperticketsError, match="2 of 3 runs failed"):
        summary.raise_if_failed()
    # Left alone the next time, tried again on request.
    again = run_all([*bad, good], store, workers=1, progress=False)
    assert "earlier sweep" in again.failed[bad[0].id]
    assert "parent run" in again.failed[bad[1].id]
    assert list(store.failures()) == [bad[0].id]
    assert "diverged" in run_all(bad, store, workers=1, retry_failed=True, progress=False).failed[bad[0].id]


def test_an_orphan_is_refused(encoder, toy, tmp_path):
    full = toy_full_run(encoder, toy)
    with pytest.raises(SuperticketsError, match="needs the scores of run"):
        run_all([rewound(full, "winning", 0.3)], RunStore(tmp_path), workers=1, progress=False)


def test_the_super_ticket_is_chosen_on_selection_scores_only(specs, undisturbed):
    frame = undisturbed.frame(specs)
    chosen = super_tickets(frame)
    assert list(chosen["seed"]) == [0, 1]
    for _, row in chosen.iterrows():
        rivals = frame[(frame["seed"] == row["seed"]) & (frame["kind"] == "winning")]
        assert row["selection_score"] == rivals["selection_score"].max()
    # Whatever the report scores are.
    scrambled = frame.assign(report_score=frame["report_score"].sample(frac=1, random_state=0).to_numpy())
    assert list(super_tickets(scrambled)["run"]) == list(chosen["run"])


def test_ties_go_to_the_lower_loss_then_the_lighter_level(specs, undisturbed):
    frame = undisturbed.frame(specs)
    tied = frame.assign(selection_score=0.5, selection_loss=0.7)
    assert set(super_tickets(tied)["level"]) == {0.3}
    heavy_is_surer = tied.assign(selection_loss=np.where(tied["level"] == 0.6, 0.6, 0.7))
    assert set(super_tickets(heavy_is_surer)["level"]) == {0.6}
