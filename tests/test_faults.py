"""Faults of every kind in the middle of a sweep: nothing is lost, nothing done twice, and the results stay the same."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from disturbed import alive, assert_undisturbed, make_old, results, start_sweep, wait_until, workers_of
from tiny import save_tiny_encoder, toy_full_run

from supertickets.engines import run_all
from supertickets.errors import SuperticketsError
from supertickets.runs import RunStore
from supertickets.runs.store import BrokenRecordWarning
from supertickets.studies import ticket_sweep


@pytest.fixture(scope="module")
def specs(encoder, toy):
    """A full run and its tickets, quick ones."""
    return ticket_sweep(toy_full_run(encoder, toy, epochs=1), (0.3, 0.6), ("winning", "random"))


@pytest.fixture(scope="module")
def long_specs(encoder, toy):
    """The same of a second or so each, so that there is a middle to disturb."""
    full = toy_full_run(encoder, toy, epochs=60, patience=60)
    return ticket_sweep(full, (0.3, 0.6), ("winning", "random"))


def finished_sweep(specs, path: Path) -> RunStore:
    store = RunStore(path)
    assert len(run_all(specs, store, workers=1, progress=False).finished) == len(specs)
    return store


@pytest.fixture(scope="module")
def undisturbed(specs, tmp_path_factory):
    return finished_sweep(specs, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def long_undisturbed(long_specs, tmp_path_factory):
    return finished_sweep(long_specs, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def store(undisturbed, tmp_path) -> RunStore:
    """A copy of the finished sweep, to be damaged."""
    copy = RunStore(tmp_path / "store")
    for record in undisturbed.records(arrays=True):
        copy.save(record)
    return copy


def file_of(store: RunStore, run_id: str, suffix: str = ".json") -> Path:
    return next(Path(store.path).glob(f"runs/*/{run_id}*{suffix}"))


def rewritten(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def now_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def swapped_arrays(store: RunStore, run_id: str) -> None:
    other = next(record.id for record in store.records() if record.id != run_id)
    file_of(store, run_id, ".safetensors").write_bytes(file_of(store, other, ".safetensors").read_bytes())


def bit_flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


POISONS = {
    "truncated": lambda store, run: file_of(store, run).write_bytes(file_of(store, run).read_bytes()[:700]),
    "empty": lambda store, run: file_of(store, run).write_bytes(b""),
    "not text": lambda store, run: file_of(store, run).write_bytes(os.urandom(500)),
    "nested": lambda store, run: file_of(store, run).write_text("[" * 100_000),
    "no timings": lambda store, run: rewritten(file_of(store, run), timings=None),
    "newer": lambda store, run: rewritten(file_of(store, run), version=2),
    "of another run": lambda store, run: file_of(store, run).write_bytes(
        next(path for path in Path(store.path).glob("runs/*/*.json") if run not in path.name).read_bytes()
    ),
    "a folder": lambda store, run: now_a_folder(file_of(store, run)),
    "arrays truncated": lambda store, run: os.truncate(file_of(store, run, ".safetensors"), 100),
    "arrays swapped": lambda store, run: swapped_arrays(store, run),
    "arrays changed": lambda store, run: bit_flipped(file_of(store, run, ".safetensors")),
    "arrays gone": lambda store, run: file_of(store, run, ".safetensors").unlink(),
    "arrays a folder": lambda store, run: now_a_folder(file_of(store, run, ".safetensors")),
}


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_parent_is_done_again_before_its_children(poison, specs, undisturbed, store):
    """The full run's record is damaged, and those of two of the tickets that are read off its scores are gone."""
    full, children = specs[0].id, [spec.id for spec in specs if spec.parents]
    before = {spec.id: file_of(store, spec.id).stat().st_mtime_ns for spec in specs}
    for child in children:
        file_of(store, child).unlink()
    POISONS[poison](store, full)
    with pytest.warns(BrokenRecordWarning, match="cannot be trusted"):
        summary = run_all(specs, store, workers=1, progress=False)
    assert sorted(summary.finished) == sorted([full, *children])
    assert_undisturbed(store, specs, undisturbed)
    untouched = [spec.id for spec in specs if spec.id not in (full, *children)]
    assert [file_of(store, run).stat().st_mtime_ns for run in untouched] == [before[run] for run in untouched]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # set aside once and for all
        assert len(run_all(specs, store, workers=1, progress=False).found) == len(specs)


@pytest.mark.parametrize("poison", [name for name in POISONS if name not in ("arrays swapped", "arrays changed")])
def test_a_poisoned_record_is_done_again_and_the_others_are_left_alone(poison, specs, undisturbed, store):
    """Arrays that changed at the same length are noticed when they are read; all else by looking at the record."""
    victim = specs[1].id
    POISONS[poison](store, victim)
    with pytest.warns(BrokenRecordWarning, match="cannot be trusted"):
        summary = run_all(specs, store, workers=1, progress=False)
    assert summary.finished == [victim]
    assert_undisturbed(store, specs, undisturbed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_record_that_may_not_be_read_is_done_again(specs, undisturbed, store):
    file_of(store, specs[1].id).chmod(0)
    with pytest.warns(BrokenRecordWarning, match="Permission denied"):
        assert run_all(specs, store, workers=1, progress=False).finished == [specs[1].id]
    assert_undisturbed(store, specs, undisturbed)


def test_a_parent_that_is_poisoned_while_the_sweep_goes_on_is_told_and_repaired_by_the_next(specs, undisturbed, store):
    """The record is damaged when the plan is made already: its children cannot be carried out any more."""
    full, child = specs[0], next(spec for spec in specs if spec.parents)
    file_of(store, child.id).unlink()

    class Poisoning(RunStore):
        """Poisoned as soon as the parent's arrays were looked into for the plan."""

        def get(self, run_id, arrays=True):
            record = super().get(run_id, arrays)
            if record is not None and arrays and run_id == full.id:
                bit_flipped(file_of(self, full.id, ".safetensors"))
            return record

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        summary = run_all([full, child], Poisoning(store.path), workers=1, progress=False)
        assert "its parent run" in summary.failed[child.id]
        assert "the same command does both again" in summary.failed[child.id]
        again = run_all(specs, store, workers=1, progress=False)
    assert sorted(again.finished) == sorted([full.id, child.id])
    assert_undisturbed(store, specs, undisturbed)


CLAIMS = {
    "a list": b"[1, 2]",
    "not text": b"\xff\xfe\x00",
    "no owner": b'{"time": 1}',
    "of the far future": json.dumps({"host": "elsewhere", "pid": 1, "token": "x", "time": 1e18}).encode(),
    "of no time": b'{"host": "elsewhere", "pid": 1, "token": "x", "time": NaN}',
    "of an impossible process": json.dumps({"host": os.uname().nodename, "pid": 10**30, "time": time.time()}).encode(),
    "of all processes": json.dumps({"host": os.uname().nodename, "pid": -1, "time": time.time()}).encode(),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_poisoned_claim_does_not_stop_a_sweep(claim, specs, undisturbed, tmp_path):
    store = RunStore(tmp_path / "store")
    store.files.write(f"claims/{specs[0].id}.json", CLAIMS[claim])
    path = Path(store.path) / "claims" / f"{specs[0].id}.json"
    make_old(path, 1000)  # one that is being written right now would be waited for
    assert len(run_all(specs, store, workers=1, progress=False).finished) == len(specs)
    assert_undisturbed(store, specs, undisturbed)


def test_a_folder_in_a_claims_place_does_not_stop_a_sweep(specs, undisturbed, tmp_path):
    store = RunStore(tmp_path / "store")
    path = Path(store.path) / "claims" / f"{specs[0].id}.json"
    path.mkdir(parents=True)
    make_old(path, 1000)
    assert len(run_all(specs, store, workers=1, progress=False).finished) == len(specs)
    assert_undisturbed(store, specs, undisturbed)


@pytest.mark.parametrize(
    "beat", ["[]", "{", '"x"', '{"epoch": 1, "epochs": 0, "time": 0, "pid": 1}', '{"epoch": "a", "epochs": "b"}']
)
def test_poisoned_notes_are_no_signs_of_life_and_no_failures(beat, specs, store, capsys, monkeypatch):
    """Heartbeats and notes of failures are read by the driver itself, which must not fall over them."""
    from supertickets.cli import main

    for folder in ("running", "failed"):
        (Path(store.path) / folder).mkdir(exist_ok=True)
        (Path(store.path) / folder / f"{specs[0].id}.json").write_text(beat)
    full = {"epoch": "one", "epochs": 6, "time": "now", "pid": 1}
    (Path(store.path) / "running" / f"{specs[1].id}.json").write_text(json.dumps(full))
    assert store.progress(specs[0].id) == 0.0
    assert store.failures() == {}
    assert store.failed_specs() == []
    assert len(run_all(specs, store, workers=1, progress=False).found) == len(specs)
    monkeypatch.setattr("sys.argv", ["supertickets", "status", "--store", store.path])
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    assert f"{len(specs)} runs done" in capsys.readouterr().out


def test_what_killed_sweeps_leave_is_tidied_up_and_what_lives_is_not(specs, store):
    """Of claims, heartbeats, half-written files and half-saved models, those that are nobody's go."""
    here, now, root = os.uname().nodename, time.time(), Path(store.path)
    dead = subprocess.Popen(["true"])
    dead.wait()
    owners = {"dead": (here, dead.pid, now), "expired": ("elsewhere", 1, now - 500), "lives": ("elsewhere", 1, now)}
    for name, (host, pid, stamp) in owners.items():
        store.files.write(
            f"claims/{name}.json", json.dumps({"host": host, "pid": pid, "token": "x", "time": stamp}).encode()
        )
        store.heartbeat(name, 1, 2)
    old = [
        root / "runs" / "ab" / "a.json.tmp",
        root / "claims" / "b.void",
        root / "models" / ".c" / "model",
        root / "x.tmp",
    ]
    young = [path.with_name(f"{path.name}.young.tmp") for path in old[:2]] + [root / "models" / ".d" / "model"]
    for path in (*old, *young):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    for path in (*old, old[2].parent):
        make_old(path, 100_000)
    assert len(run_all(specs, store, workers=1, progress=False).found) == len(specs)
    assert list(store.claims()) == list(store.running()) == ["lives"]
    assert [path.exists() for path in old] == [False, False, False, True]  # the last is none of the store's
    assert all(path.exists() for path in young)


def parts(process: subprocess.Popen[str], seconds: float = 250.0) -> tuple[Any, str]:
    """What a sweep said in the end, as numbers finished and found, and failures; and what it wrote to stderr."""
    out, err = process.communicate(timeout=seconds)
    return json.loads(out.splitlines()[-1]), err


def test_workers_end_with_a_killed_driver_and_the_next_sweep_goes_on(long_specs, long_undisturbed, tmp_path):
    """Each finishes the run that it is at, which the next sweep finds; then it goes, without being told."""
    store = RunStore(tmp_path / "store")
    process = start_sweep(long_specs, tmp_path / "store", workers=2)
    wait_until(lambda: len(store.ids()) >= 1 and len(store.running()) == 2)
    workers, expected = workers_of(process.pid), {*store.ids(), *store.running()}
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)  # the workers hold no pipe of the driver's
    assert len(workers) == 2
    summary = run_all(long_specs, store, workers=1, progress=False)
    wait_until(lambda: not any(map(alive, workers)), 60)
    assert len(expected) >= 2
    assert expected <= set(summary.found)  # those of the orphans were left to them
    assert_undisturbed(store, long_specs, long_undisturbed)


@pytest.mark.slow
def test_a_sweep_takes_over_the_runs_of_another_that_is_killed(long_specs, long_undisturbed, tmp_path):
    """Two drivers on one store, of which one is killed, with its workers, in the middle of its runs."""
    store = RunStore(tmp_path / "store")
    victim = start_sweep(long_specs, tmp_path / "store", workers=2, name="victim")
    wait_until(lambda: len(store.running()) >= 1)
    other = start_sweep(long_specs, tmp_path / "store", workers=1, name="other")
    wait_until(lambda: len(store) >= 2)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    (finished, found, failed), _ = parts(other)
    assert (finished + found, failed) == (len(long_specs), {})
    assert_undisturbed(store, long_specs, long_undisturbed)


@pytest.mark.slow
def test_a_run_that_kills_its_worker_is_given_up_and_the_others_are_done(specs, undisturbed, tmp_path):
    """As the kernel does when memory runs out: whoever is at this run is killed, as often as it is tried."""
    store, victim, kills = RunStore(tmp_path / "store"), specs[-1].id, set()
    process = start_sweep(specs, tmp_path / "store", workers=2)
    over = threading.Event()

    def hunt() -> None:
        while not over.is_set():
            pid = json.loads(store.files.read_if_there(f"claims/{victim}.json") or b"{}").get("pid")
            if pid and pid not in kills:
                kills.add(pid)
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        (finished, found, failed), _ = parts(process)
    finally:
        over.set()
        hunter.join()
    assert (finished + found, list(failed)) == (len(specs) - 1, [victim])
    assert "its worker process was killed twice (out of memory?); free memory or use fewer workers" in failed[victim]
    assert list(store.failures()) == [victim]
    again = run_all(specs, store, workers=1, progress=False, retry_failed=True)
    assert again.finished == [victim]
    assert_undisturbed(store, specs, undisturbed)


def test_a_quota_stops_the_sweep_with_a_sentence_and_nothing_half_written(long_specs, long_undisturbed, tmp_path):
    """Notes of a kilobyte can be written, records of runs with 60 epochs cannot."""
    store = RunStore(tmp_path / "store")
    tried = [spec.id for spec in long_specs if not spec.parents]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(SuperticketsError) as said:
            run_all([spec for spec in long_specs if spec.id in tried], store, workers=1, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(said.value).startswith("The sweep stopped after 0 finished runs, since the run store")
    assert "could not take 3 in a row; free some space and carry out the failed runs again" in str(said.value)
    assert "File too large" in str(said.value)
    assert len(store) == 0
    files = [path for path in Path(store.path).rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == {"failed", "logs"}
    assert sorted(store.failures()) == sorted(tried)
    summary = run_all(long_specs, store, workers=1, progress=False)
    assert all("ask for a retry" in summary.failed[run_id] for run_id in tried)
    run_all(long_specs, store, workers=1, progress=False, retry_failed=True)
    assert_undisturbed(store, long_specs, long_undisturbed)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB, if this user may have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def command(*arguments: str | Path) -> subprocess.Popen[str]:
    """A command line of the package, in a session of its own."""
    code = "from supertickets.cli import main; main()"
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=pipe, stderr=pipe, start_new_session=True, text=True
    )


SWEEP = ("sweep", "figure6", "--profile", "smoke", "--seeds", "0,1,2,3,4", "--workers", "2", "--quiet")


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            return ballast
    raise AssertionError("the disk has no end")


@pytest.mark.slow
def test_a_disk_that_fills_up_stops_the_sweep_and_once_there_is_space_it_goes_on(small_disk, tmp_path):
    """The whole command: some runs are saved, then nothing can be written, not even why."""
    store = RunStore(small_disk / "store")
    process = command(*SWEEP, "--store", store.path)
    wait_until(lambda: len(store) >= 2)
    ballast = fill(small_disk)
    out, err = process.communicate(timeout=250)
    assert process.returncode == 2
    assert "Traceback" not in err
    assert "supertickets: The sweep stopped after" in err
    assert "No space left on device" in err
    done = store.ids()
    assert all(store.get(run_id) is not None for run_id in done)
    assert [path for path in Path(store.path).rglob("*.tmp") if path.stat().st_size] == []
    ballast.unlink()
    process = command(*SWEEP, "--store", store.path, "--retry-failed")
    out, err = process.communicate(timeout=250)
    assert (process.returncode, err.count("failed:")) == (0, 0)
    assert f"{len(done)} found in the store" in out
    assert len(store) > len(done)
    # The frame is that of a sweep on a disk that never was full.
    undisturbed = RunStore(tmp_path / "undisturbed")
    specs = [record.spec for record in store.records()]
    run_all(specs, undisturbed, workers=1, progress=False)
    assert_undisturbed(store, specs, undisturbed)


def test_a_run_that_diverges_fails_alone_and_as_often_as_it_is_tried(encoder, toy, store, specs, undisturbed):
    bad = ticket_sweep(toy_full_run(encoder, toy, seed=7, learning_rate=1e6, clip=1e30), (0.3,), ("winning", "random"))
    for record in (specs[1], specs[2]):
        file_of(store, record.id).unlink()
    for retry in (False, True):
        summary = run_all([*bad, *specs], store, workers=1, progress=False, retry_failed=retry)
        assert len(summary.finished) == (0 if retry else 2)
        assert "training has diverged; lower the learning rate or check the data" in summary.failed[bad[0].id]
        assert summary.failed[bad[1].id] == f"its parent run {bad[0].id} failed"
        assert "training has diverged" in summary.failed[bad[2].id]
        assert set(store.failures()) == {bad[0].id, bad[2].id}
    process = command("retry", "--store", store.path, "--workers", "1", "--quiet")
    out, err = process.communicate(timeout=250)
    assert process.returncode == 1
    assert err.count("training has diverged") == 2
    assert "Traceback" not in err
    assert "2 failed" in out
    assert store.ids() == sorted(spec.id for spec in specs)
    assert results(store, specs).equals(results(undisturbed, specs))


LITTLE_MEMORY = (
    "import resource, pathlib; size = int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * 4096; "
    "resource.setrlimit(resource.RLIMIT_AS, (size + (300 << 20),) * 2)"
)


def test_a_run_out_of_memory_fails_with_the_fix_and_the_others_are_done(tmp_path, toy, specs, undisturbed):
    """A feed-forward layer of a million and a half neurons needs hundreds of megabytes that a worker may not have."""
    huge = toy_full_run(save_tiny_encoder(tmp_path / "huge", layers=1, neurons=1_500_000), toy, epochs=1)
    store = RunStore(tmp_path / "store")
    (finished, _, failed), err = parts(start_sweep([huge, *specs], tmp_path / "store", 1, prepare=LITTLE_MEMORY))
    assert (finished, list(failed)) == (len(specs), [huge.id])
    assert "there is not enough memory (" in failed[huge.id]
    assert "use fewer workers, smaller batches or shorter inputs" in failed[huge.id]
    assert "\n" not in failed[huge.id]
    assert "Traceback" not in err
    assert store.failures() == {huge.id: failed[huge.id]}
    assert results(store, specs).equals(results(undisturbed, specs))


@pytest.mark.parametrize(
    ("number", "code", "everyone"),
    [
        pytest.param(signal.SIGINT, 130, True, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, False, id="SIGTERM", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, True, id="SIGTERM to all", marks=pytest.mark.slow),
    ],
)
def test_a_sweep_that_is_asked_to_stop_does_so_at_once_with_a_sentence(number, code, everyone, tmp_path):
    """A terminal sends Ctrl-C to the workers as well; a scheduler SIGTERM to the driver, or to all."""
    store = RunStore(tmp_path / "store")
    process = command(*SWEEP, "--store", store.path)
    wait_until(lambda: len(store) >= 1)
    workers = workers_of(process.pid)
    (os.killpg if everyone else os.kill)(process.pid, number)
    started = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert time.monotonic() - started < 20
    # Python tells of a signal that comes while an object is cleared away; the sentence is the last word.
    assert err.endswith("supertickets: stopped; what was finished is kept: the same command goes on from there.\n")
    assert err.count("Traceback") == err.count("Exception ignored")
    assert len(workers) == 2
    wait_until(lambda: not any(map(alive, workers)), 20)
    done = store.ids()
    assert store.failures() == {}
    process = command(*SWEEP, "--store", store.path)
    out, err = process.communicate(timeout=250)
    assert (process.returncode, err) == (0, "")
    assert f"{len(done)} found in the store" in out
    specs = [record.spec for record in store.records()]
    assert len(specs) > len(done)
    assert store.failures() == {}
