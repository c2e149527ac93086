"""Claims: one owner per run, renewed while it works, void when it is killed."""

import itertools
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from supertickets.runs import RunStore, claimed, locks

RUN = "0123456789abcdef0123"


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path) -> RunStore:
    return RunStore(tmp_path if request.param == "local" else f"memory://{tmp_path}")


def test_a_run_has_one_owner_at_a_time(store):
    with claimed(store, RUN) as mine:
        assert mine
        with claimed(store, RUN) as too:
            assert not too
        with claimed(store, RUN[::-1]) as another:
            assert another
        with claimed(store, RUN) as still_not:  # giving up what one does not have changes nothing
            assert not still_not
    assert store.files.read_if_there(f"claims/{RUN}.json") is None
    with claimed(store, RUN) as afterwards:
        assert afterwards


def test_a_claim_is_given_up_when_the_work_fails(store):
    with pytest.raises(RuntimeError), claimed(store, RUN):
        raise RuntimeError
    assert store.files.read_if_there(f"claims/{RUN}.json") is None


def test_a_claim_is_renewed_and_expires_without(store):
    with claimed(store, RUN, expiry=0.6) as mine:
        assert mine
        time.sleep(1.0)
        with claimed(store, RUN, expiry=0.6) as too:
            assert not too
    elsewhere = {"host": "another-machine", "pid": 1, "token": "x"}
    store.files.write(f"claims/{RUN}.json", json.dumps({**elsewhere, "time": time.time() - 5}).encode())
    with claimed(store, RUN, expiry=10) as too_early:
        assert not too_early
    with claimed(store, RUN, expiry=1) as late:
        assert late
    store.files.write(f"claims/{RUN}.json", json.dumps({**elsewhere, "time": time.time()}).encode())
    with claimed(store, RUN, expiry=10) as of_another:
        assert not of_another


def test_a_half_written_claim_is_not_void_at_once(store):
    store.files.write(f"claims/{RUN}.json", b'{"host": "so')
    with claimed(store, RUN, expiry=10) as mine:
        assert not mine
    time.sleep(0.3)
    with claimed(store, RUN, expiry=0.2) as mine:
        assert mine


def test_the_claim_of_a_killed_process_is_void_at_once(tmp_path):
    code = "import sys,time; from supertickets.runs import claimed; from supertickets.runs import RunStore\n"
    code += f"with claimed(RunStore(sys.argv[1]), '{RUN}') as mine:\n    print(mine, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    store = RunStore(tmp_path)
    with claimed(store, RUN) as while_it_lives:
        assert not while_it_lives
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with claimed(store, RUN) as mine:
        assert mine


def _compete(path: str, start: float, n: int) -> list[tuple[int, float, float]]:
    """Which runs this process had, and from when to when (the clock is the machine's)."""
    store, had = RunStore(path), []
    time.sleep(max(0.0, start - time.time()))
    for i in range(n):
        with claimed(store, f"{i:020x}") as mine:
            if mine:
                since = time.monotonic()
                time.sleep(0.003)
                had.append((i, since, time.monotonic()))
    return had


def test_on_windows_no_process_is_ended_by_the_question_whether_it_lives(store, monkeypatch):
    monkeypatch.setattr(locks.sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("on Windows os.kill ends a process"))
    owner = {"host": socket.gethostname(), "pid": 2**22 + 1, "token": "a"}
    store.files.write(f"claims/{RUN}.json", json.dumps({**owner, "time": time.time()}).encode())
    with claimed(store, RUN) as mine:
        assert not mine
    store.files.write(f"claims/{RUN}.json", json.dumps({**owner, "time": time.time() - 1}).encode())
    with claimed(store, RUN, expiry=0.5) as mine:  # it was not renewed
        assert mine


def test_a_store_without_links_will_do(store, monkeypatch):
    for name in ("link", "symlink"):
        monkeypatch.setattr(os, name, lambda *_: pytest.fail("a file system without links"))
    with claimed(store, RUN) as mine, claimed(store, RUN) as too:
        assert (mine, too) == (True, False)


def test_a_void_claim_is_taken_over_by_one_at_a_time(tmp_path):
    """Four processes race for claims that a dead owner left."""
    store = RunStore(tmp_path)
    for i in range(100):
        store.files.write(
            f"claims/{i:020x}.json", json.dumps({"host": "gone", "pid": 1, "token": "x", "time": 0.0}).encode()
        )
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        had = pool.starmap(_compete, [(str(tmp_path), time.time() + 10, 100)] * 4)
    times = sorted(one for each in had for one in each)
    assert {i for i, _, _ in times} == set(range(100))
    for (i, _, end), (following, start, _) in itertools.pairwise(times):
        assert i != following or end <= start
