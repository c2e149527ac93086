"""What a run leaves besides its record: its log and its peak memory."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import toy_full_run

from supertickets import execution, memory
from supertickets.errors import SuperticketsError
from supertickets.execution import execute
from supertickets.experiments import rewound
from supertickets.memory import gpu_memory, in_words, machine_memory, peak_memory
from supertickets.run_logs import RunLog, described
from supertickets.store import RunStore
from supertickets.store_files import StoreFiles

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path) -> RunStore:
    return RunStore(tmp_path if request.param == "local" else f"memory://{tmp_path}")


def test_the_log_of_a_run_says_what_happened(encoder, toy, store):
    spec = toy_full_run(encoder, toy)
    assert execute(spec, store.path).kind == "done"
    lines = store.read_log(spec.id).splitlines()
    assert len(lines) == 4
    assert re.fullmatch(STAMP + rf"started on \S+, process {os.getpid()}: .* on train, full model, seed 0", lines[0])
    record = store[spec.id]
    for number, (line, values) in enumerate(zip(lines[1:3], record.epochs, strict=True), start=1):
        assert re.match(STAMP + f"epoch {number} of at most 2: train loss", line)
        assert f"selection score {values['selection_score']:.4f}" in line
    score = record.metrics["report"]["score"]
    assert re.match(STAMP + rf"finished in \d+\.\d s: report score {score:.4f}, best epoch \d, peak memory ", lines[3])
    assert store.read_log(spec.id[:6]) == store.read_log(spec.id)


def test_a_log_is_found_by_the_start_of_its_id(store):
    for run_id in ("ab01", "ab02"):
        assert store.log(run_id, f"{run_id}\n")
    assert store.read_log("ab01") == "ab01\n"
    assert store.log("ab01", "more\n")
    assert store.read_log("ab01") == "ab01\nmore\n"
    with pytest.raises(SuperticketsError, match="2 logs of runs that start with ab: ab01, ab02; give more"):
        store.read_log("ab")
    with pytest.raises(SuperticketsError, match="has no log of a run c0ffee;"):
        store.read_log("c0ffee")


def test_a_foreseen_error_is_one_sentence_and_an_unforeseen_one_has_its_traceback_in_the_log(
    encoder, toy, tmp_path, monkeypatch
):
    store, bad = RunStore(tmp_path), toy_full_run(encoder, toy, learning_rate=1e30)
    outcome = execute(bad, store.path)
    assert store.failures() == {bad.id: outcome.error}
    assert outcome.error.endswith(f"(log: {tmp_path}/logs/{bad.id}.log)")
    assert "failed: The loss of task train" in store.read_log(bad.id)
    assert "Traceback" not in store.read_log(bad.id)

    def broken(*_args):
        raise KeyError("a bug\nof two lines")

    monkeypatch.setattr(execution, "fine_tune", broken)
    unlucky = toy_full_run(encoder, toy, seed=7)
    outcome = execute(unlucky, store.path)
    assert outcome.kind == "failed"
    assert outcome.error.startswith("KeyError: ")
    assert "\n" not in outcome.error
    log = store.read_log(unlucky.id)
    assert "    Traceback (most recent call last):" in log
    assert "in broken" in log
    # The next attempt goes on below.
    monkeypatch.undo()
    assert execute(unlucky, store.path).kind == "done"
    assert store.read_log(unlucky.id).startswith(log)
    assert len(re.findall("started on", store.read_log(unlucky.id))) == 2


def test_a_run_goes_on_without_its_log(encoder, toy, tmp_path, monkeypatch):
    store, spec = RunStore(tmp_path), toy_full_run(encoder, toy, epochs=1)
    (tmp_path / "logs").write_text("in the way")
    assert execute(spec, store.path).kind == "done"
    bad = toy_full_run(encoder, toy, learning_rate=1e30)
    assert execute(bad, store.path).error.endswith("check the data.")  # no word of a log that is not there

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store._files, "append", full)
    assert not store.log("abc", "text")


KILLED = """
import json, sys, time
from supertickets.run_logs import RunLog
from supertickets.runs import RunSpec
from supertickets.store import RunStore
log = RunLog(RunStore(sys.argv[1]), RunSpec.from_json(json.loads(sys.argv[2])))
log.started()
log.epoch(1, {"train_loss": 0.5})
print("ready", flush=True)
time.sleep(60)
"""


def test_the_log_of_a_killed_run_remains(encoder, toy, tmp_path):
    spec = toy_full_run(encoder, toy)
    command = [sys.executable, "-c", KILLED, str(tmp_path), json.dumps(spec.to_json())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    lines = RunStore(tmp_path).read_log(spec.id).splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("epoch 1 of at most 2: train loss 0.5000")


def test_an_epoch_costs_one_line_added_to_a_file(encoder, toy, tmp_path, monkeypatch):
    called = []
    for name in ("read", "write", "append", "create", "names", "there"):
        plain = getattr(StoreFiles, name)
        monkeypatch.setattr(StoreFiles, name, lambda *given, n=name, f=plain: (called.append(n), f(*given))[1])
    log = RunLog(RunStore(tmp_path), toy_full_run(encoder, toy))
    for number in range(3):
        log.epoch(number, {"train_loss": 0.5, "selection_score": 0.5, "selection_loss": 0.5})
    assert called == ["append"] * 3


def test_runs_are_told_in_words(encoder, toy):
    full = toy_full_run(encoder, toy, seed=3)
    assert described(full) == f"{encoder} on train, full model, seed 3"
    winning = rewound(full, "winning", 0.3)
    told = f"{encoder} on train, winning ticket at sparsity level 30% of run {full.id} by example scores, seed 3"
    assert described(winning) == told
    assert "random ticket at sparsity level 30%, seed 3" in described(rewound(full, "random", 0.3))


def test_peak_memory_is_that_of_the_run_alone():
    with peak_memory() as found:
        block = np.ones(40_000_000)  # 305 MiB
        assert block.sum() == 40_000_000
        del block
    with peak_memory() as afterwards:
        pass
    assert found["process"] > 305
    if os.access("/proc/self/clear_refs", os.W_OK):
        assert found["process"] - afterwards["process"] > 250


def test_peak_memory_is_an_upper_bound_where_the_mark_cannot_be_set_back(monkeypatch):
    def nothing_there(*_args, **_kwargs):
        raise FileNotFoundError

    with peak_memory() as usual:
        pass
    monkeypatch.setattr(Path, "write_text", nothing_there)
    monkeypatch.setattr(Path, "read_text", nothing_there)
    with peak_memory() as found:
        pass
    assert found["process"] >= usual["process"] - 50


def test_on_a_gpu_its_memory_is_measured_from_the_start_of_the_run(monkeypatch):
    peaks = {"reset_peak_memory_stats": 0}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: peaks.update(reset_peak_memory_stats=1))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**20)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 4 * 2**20)
    with peak_memory() as found:
        assert peaks == {"reset_peak_memory_stats": 1}
    assert (found["gpu"], found["gpu_reserved"]) == (3.0, 4.0)


def test_a_record_holds_its_peak_and_so_does_the_frame(encoder, toy, tmp_path):
    spec, store = toy_full_run(encoder, toy, epochs=1), RunStore(tmp_path)
    assert execute(spec, store.path).kind == "done"
    peak = store[spec.id].memory["process"]
    assert 50 < peak < machine_memory()
    row = store.frame([spec]).loc[0]
    assert row["memory"] == store[spec.id].memory.get("gpu", peak)


def test_the_memory_of_a_container_is_its_limit(tmp_path, monkeypatch):
    whole = machine_memory()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (str(limit),))
    limit.write_text("max\n")
    assert machine_memory() >= whole
    limit.write_text(str(64 * 2**20))
    assert machine_memory() == 64
    assert in_words(machine_memory()) == "64 MiB"
    assert not gpu_memory() <= 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the page faults of a Linux process")
def test_memory_that_is_kept_is_not_faulted_in_again_and_goes_back_afterwards():
    """In a process of its own, since what glibc has been told once stays told."""
    code = """
import resource, torch
from supertickets.memory import kept_memory, _peak_resident
def rounds():
    for _ in range(10):
        blocks = [torch.ones(10_000_000) for _ in range(2)]  # 80 MB a round
        del blocks
def faults():
    rounds()  # until the heap has grown: how many rounds that takes is the C library's and the kernel's affair
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    rounds()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
plain, start = faults(), resident()
with kept_memory():
    kept, inside = faults(), resident()
print(plain, kept, inside - start, resident() - start)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain, kept, inside, after = map(float, done.stdout.split())
    if plain < 10 * 2 * 10:  # a fault for each 4 MiB of huge pages would be as many
        pytest.skip("this C library keeps memory by itself")
    assert kept < plain / 10  # not even one of the ten rounds
    assert inside > 60 > 10 > after  # MiB
