"""Faults of every kind in the middle of a sweep: nothing is lost, nothing is done twice, and the results stay the same."""

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

import pytest
from disturbed import alive, assert_undisturbed, results, start_sweep, wait_until, workers_of
from tiny import save_tiny_encoder, toy_full_run

from supertickets.engines import run_all
from supertickets.experiments import ticket_sweep
from supertickets.store import BrokenRecordWarning, RunStore


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
    store.write_claim(specs[0].id, CLAIMS[claim])
    path = Path(store.path) / "claims" / f"{specs[0].id}.json"
    os.utime(path, (time.time() - 1000,) * 2)  # one that is being written right now would be waited for
    assert len(run_all(specs, store, workers=1, progress=False).finished) == len(specs)
    assert_undisturbed(store, specs, undisturbed)


def test_a_folder_in_a_claims_place_does_not_stop_a_sweep(specs, undisturbed, tmp_path):
    store = RunStore(tmp_path / "store")
    path = Path(store.path) / "claims" / f"{specs[0].id}.json"
    path.mkdir(parents=True)
    os.utime(path, (time.time() - 1000,) * 2)
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
    with pytest.raises(SystemExit, match="^0$"):
        main()
    assert f"{len(specs)} runs done" in capsys.readouterr().out
