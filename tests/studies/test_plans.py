"""Plans and status: what is done, what the rest takes, what is under way, and all of it quickly."""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny import command_line, toy_full_run

from supertickets.runs import Record, RunSpec, RunStore, Spec, claimed, readable, task_of
from supertickets.studies import get_profile, plan, plans, status
from supertickets.studies.experiments import stages
from supertickets.studies.plans import Needs, Part

ONE = get_profile("smoke", tasks="entailment", seeds=[0], levels=[0.3])
TWO = get_profile("smoke", tasks="entailment,similarity", seeds=[0, 1], levels=[0.3])
MIB = 900.0


def recorded(spec: Spec, seconds: float, peak: float = MIB) -> Record:
    """A record that no training made."""
    memory = {"process": peak, "gpu": peak / 2, "gpu_reserved": peak}
    return Record(spec, (), 1, {"report": {"score": 0.5}}, {}, {}, {"total": seconds}, {}, memory)


def kind_of(spec: Spec) -> str:
    assert isinstance(spec, RunSpec)
    return spec.ticket.kind


@pytest.fixture
def begun(tmp_path) -> RunStore:
    """Of Table 1 for two tasks, the full models of one: two seeds, which took 10 and 30 seconds."""
    store = RunStore(tmp_path)
    full = [spec for spec in next(stages("table1", TWO, store)) if kind_of(spec) == "full"]
    for spec, seconds in zip(full[:2], (10, 30), strict=True):
        store.save(recorded(spec, seconds))
    return store


def test_a_plan_of_nothing_done_knows_no_cost(tmp_path):
    store = RunStore(tmp_path)
    found = plan("table2", ONE, store)
    assert (len(found.done), len(found.missing), found.failed) == (0, 2, {})
    assert math.isnan(found.seconds)
    assert math.isnan(found.wall)
    assert (found.n_unknown, found.open_ended) == (2, True)
    assert str(found) == (
        "table2: 0 of 2 runs done, 2 missing; time: unknown until one like them has finished (sweep one seed to find "
        "out); more runs follow from their results"
    )
    assert len(store) == 0  # a plan carries out nothing


def test_missing_runs_cost_what_their_like_did_and_others_are_unknown(begun):
    found = plan("table1", TWO, begun, workers=2)
    by_task = {part.task: part for part in found.parts}
    # Per task two seeds, each a full model and a ticket of every kind; 20 seconds is the mean of what was measured.
    assert by_task["entailment"] == Part("entailment", 2, 6, 0, 120.0, 0)
    assert by_task["similarity"] == Part("similarity", 0, 8, 0, 0.0, 8)
    assert (found.seconds, found.wall, found.workers, found.n_unknown) == (120.0, 60.0, 2, 8)
    assert "; time: about 2 min on one worker, 60 s with 2, not counting 8 runs" in str(found)
    assert found.table().splitlines() == [
        "task        done  missing  failed  time on one worker",
        "entailment     2        6       0  2 min",
        "similarity     0        8       0  unknown",
    ]


def test_no_plan_is_shorter_than_its_longest_run(begun):
    found = plan("table1", TWO, begun, workers=99)
    assert found.workers == 14  # no more than there are runs
    assert found.wall == 20.0


def test_runs_of_other_experiments_tell_the_cost_too(tmp_path):
    store = RunStore(tmp_path)
    for spec in next(stages("table1", TWO, store)):
        if kind_of(spec) == "losing":
            store.save(recorded(spec, 7))
    found = plan("table2", TWO, store)
    assert (len(found.done), found.n_unknown) == (0, 0)
    assert found.seconds == 7 * len(found.missing)


def test_a_failed_run_is_neither_done_nor_missing(begun):
    spec = plan("table1", TWO, begun).missing[0]
    begun.fail(spec, "the disk was full")
    found = plan("table1", TWO, begun)
    assert found.failed == {spec.id: "the disk was full"}
    assert spec.id not in {other.id for other in found.missing}
    assert ", 1 failed;" in str(found)


def test_memory_is_the_largest_peak_of_runs_like_the_missing_ones(begun):
    assert plan("table1", TWO, begun, workers=2).needs.peak == MIB
    larger = next(spec for spec in plan("table1", TWO, begun).missing if task_of(spec) == "similarity")
    begun.save(recorded(larger, 5, 2 * MIB))
    needs = plan("table1", TWO, begun, workers=2).needs
    assert needs.peak == 2 * MIB
    assert "memory: up to 1.8 GiB a worker, 3.5 GiB with 2 at once" in str(plan("table1", TWO, begun, workers=2))


def test_what_does_not_fit_is_said():
    assert str(Needs(math.nan, 4096, 2, "the machine")) == "memory: not measured yet"
    assert str(Needs(900, 4096, 4, "the machine")) == (
        "memory: up to 900 MiB a worker, 3.5 GiB with 4 at once; the machine has 4.0 GiB"
    )
    assert str(Needs(900, 4096, 8, "a GPU")).endswith(
        "a GPU has 4.0 GiB. That will not fit: only 4 at once will; use fewer workers or a larger machine."
    )
    assert "not even one will" in str(Needs(9000, 4096, 1, "a GPU"))
    assert "has" not in str(Needs(9000, math.nan, 1, "the machine"))


def test_workers_that_share_a_gpu_share_its_memory(begun, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(plans, "gpu_memory", lambda: 2000.0)
    needs = plan("table1", TWO, begun, workers=5).needs
    assert (needs.place, needs.n_runs, needs.peak, needs.fitting) == ("a GPU", 3, MIB, 2)
    assert "only 2 at once will" in str(needs)


def test_times_are_readable():
    assert [readable(seconds) for seconds in (3, 119, 600, 7260)] == ["3 s", "2 min", "10 min", "2 h 01 min"]
    assert Part("a", 1).time == "-"
    assert Part("a", 1, 3, 0, 8.0, 1).time == "8 s + 1 unknown"


def test_runs_under_way_and_stopped_are_told_apart(begun):
    alive, dead, silent, elsewhere = (f"{i:020x}" for i in range(4))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = os.uname().nodename
    begun.heartbeat(alive, 2, 6)
    begun.files.write(f"claims/{dead}.json", json.dumps({"host": host, "pid": gone.pid, "time": time.time()}).encode())
    begun.files.write(
        f"claims/{silent}.json", json.dumps({"host": "afar", "pid": 1, "time": time.time() - 1000}).encode()
    )
    begun.files.write(f"claims/{elsewhere}.json", json.dumps({"host": "afar", "pid": 1, "time": time.time()}).encode())
    found = status(begun)
    assert {run.run: run.stopped for run in found.runs} == {alive: False, dead: True, silent: True, elsewhere: False}
    lines = str(found).splitlines()
    assert lines[0] == f"2 runs done, 2 under way, 2 stopped, 0 failed in {begun.path}"
    assert any(
        re.fullmatch(rf"{alive}: epoch 2 of at most 6, \d s ago, process {os.getpid()} on {host}", x) for x in lines
    )
    assert f"{dead}: first epoch, process {gone.pid} on {host}: stopped" in lines
    assert f"{elsewhere}: first epoch, process 1 on afar" in lines


def test_the_epoch_of_an_earlier_attempt_is_not_that_of_this_one(begun):
    run = f"{7:020x}"
    begun.files.write(f"running/{run}.json", json.dumps({"epoch": 5, "epochs": 6, "time": 1.0, "pid": 1}).encode())
    with claimed(begun, run):
        assert [(each.epoch, each.stopped) for each in status(begun).runs] == [(0, False)]
        begun.heartbeat(run, 1, 6)
        assert [(each.epoch, each.stopped) for each in status(begun).runs] == [(1, False)]


def test_the_rate_of_the_last_hour_counts_from_the_first_run(tmp_path):
    store = RunStore(tmp_path)
    assert status(store).per_hour == 0
    todo = plan("table1", ONE, store)
    assert status(store).left(todo).endswith("so the time left is unknown")
    old, *recent = todo.missing[:3]
    for spec, seconds, ago in ((old, 1, 7200), (recent[0], 200, 1600), (recent[1], 10, 0)):
        store.save(recorded(spec, seconds))
        path = Path(tmp_path, "runs", spec.id[:2], f"{spec.id}.json")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))
        path.write_text(json.dumps({**json.loads(path.read_text()), "finished": stamp}))
    found = status(store)
    assert (found.n_done, found.n_last_hour) == (3, 2)
    assert found.per_hour == pytest.approx(4, rel=0.01)  # two in the half hour since the first of them began
    assert "2 runs finished in the last hour, at 4.0 an hour" in str(found)
    assert found.left(plan("table1", ONE, store)) == "table1: 3 runs done, 1 missing; about 15 min left at this rate"


def test_the_commands(begun, monkeypatch, capsys, encoder, toy):
    store = ("--store", begun.path)
    here = ("--profile", "smoke", "--tasks", "entailment", "--seeds", "0,1", *store)
    code, out, _ = command_line(monkeypatch, capsys, "plan", "table1", *here, "--workers", "2", "--by-task")
    assert code == 0
    assert out.startswith(
        "table1: 2 of 20 runs done, 18 missing; time: about 6 min on one worker, 3 min with 2\nmemory: "
    )
    assert re.search(r"entailment +2 +18 +0  6 min\n$", out)
    code, out, _ = command_line(monkeypatch, capsys, "status", *store)
    assert code == 0
    assert re.fullmatch(rf"2 runs done, 0 under way, 0 failed in {begun.path}\n2 runs finished .* an hour\n", out)
    begun.fail(toy_full_run(encoder, toy), "diverged")
    code, out, err = command_line(monkeypatch, capsys, "status", "table1", *here)
    assert "table1: 2 runs done, 18 missing; about " in out
    assert err.endswith("failed: diverged\n")
    assert begun.log("abcd", "started\n")
    assert command_line(monkeypatch, capsys, "log", "ab", *store) == (0, "started\n", "")
    code, _, err = command_line(monkeypatch, capsys, "log", "ff", *store)
    assert code == 2
    assert err.startswith(f"supertickets: The run store {begun.path} has no log of a run ff;")


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory) -> RunStore:
    """10,000 records of two tasks and 200 seeds, written without the store, which takes care and so time."""
    path = tmp_path_factory.mktemp("many")
    profile = get_profile("lab", tasks="entailment,paraphrase", seeds=list(range(200)))
    specs = [*next(stages("table1", profile, RunStore(path / "none")))]
    store = RunStore(path)
    assert len(specs) == 10_000
    values = {"score": 0.75, "accuracy": 0.7512345678, "loss": 0.678123456789}
    record = dataclasses.replace(
        recorded(specs[0], 20.0),
        epochs=({"train_loss": 0.5, "selection_score": 0.75, "selection_accuracy": 0.75, "selection_loss": 0.5},) * 6,
        metrics=dict.fromkeys(("selection", "report", "dev"), values),
    )
    store.save(record)
    (made,) = (path / "runs").glob("*/*.json")
    content = json.loads(made.read_text())
    for spec in specs:
        folder = path / "runs" / spec.id[:2]
        folder.mkdir(exist_ok=True)
        each = {**content, "id": spec.id, "spec": spec.to_json()}
        each["arrays"] = {"file": f"{spec.id}.safetensors", "sha256": "", "bytes": 2}
        (folder / f"{spec.id}.safetensors").write_bytes(b"{}")
        (folder / f"{spec.id}.json").write_text(json.dumps(each, indent=1))
    return store


def test_ten_thousand_records_are_opened_planned_and_loaded_in_seconds(ten_thousand):
    """Each within a few times what any program needs to read and parse the files (0.3 s where this was written)."""
    seconds: dict[str, float] = {}

    def timed(name: str, call):
        for _ in range(3):  # others may be at work on the machine
            start = time.process_time()
            found = call()
            seconds[name] = min(time.process_time() - start, seconds.get(name, math.inf))
        return found

    path = ten_thousand.path
    timed("files", lambda: [json.loads(file.read_bytes()) for file in Path(path).glob("runs/*/*.json")])
    assert timed("open", lambda: len(RunStore(path))) == 10_000
    profile = get_profile("lab", tasks="entailment,paraphrase", seeds=list(range(201)))
    found = timed("plan", lambda: plan("table1", profile, RunStore(path)))
    assert (len(found.done), len(found.missing)) == (10_000, 50)
    assert found.seconds == pytest.approx(50 * 20)
    frame = timed("frame", lambda: RunStore(path).frame())
    assert len(frame) == 10_000
    assert set(frame["report_score"]) == {0.75}
    assert timed("status", lambda: status(RunStore(path))).n_last_hour == 10_000
    assert max(seconds.values()) < 5 * seconds["files"], seconds
