"""A log for every run."""

import errno
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from tiny import toy_full_run

from supertickets.engines import execution
from supertickets.engines.execution import execute
from supertickets.errors import SuperticketsError
from supertickets.runs import RunLog, RunStore
from supertickets.runs.spec import described
from supertickets.runs.store_files import StoreFiles
from supertickets.studies.experiments import rewound

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

    monkeypatch.setattr(store.files, "append", full)
    assert not store.log("abc", "text")


KILLED = """
import json, sys, time
from supertickets.runs import RunLog
from supertickets.runs import RunSpec
from supertickets.runs import RunStore
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
