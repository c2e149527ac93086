"""The run store: whole records or none, broken ones set aside, many writers, full disks."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import toy_full_run

from supertickets.errors import SuperticketsError
from supertickets.runs import Record, RunStore
from supertickets.runs.spec import without_places
from supertickets.runs.store import BrokenRecordWarning


@pytest.fixture(scope="module")
def record(encoder, toy) -> Record:
    """A record that no training made: the store does not care."""
    return Record(
        spec=toy_full_run(encoder, toy),
        epochs=({"train_loss": 0.5, "selection_score": 0.75},),
        best_epoch=1,
        metrics={"report": {"score": 0.75, "accuracy": 0.75}},
        size={"weights_remaining": 1.0},
        arrays={
            "dev_logits": np.arange(6.0, dtype=np.float32).reshape(3, 2),
            "selection": np.array([True, False, True]),
        },
        timings={"total": 1.5},
        environment={"device": "test"},
    )


@pytest.fixture
def store(tmp_path, record) -> RunStore:
    made = RunStore(tmp_path / "store")
    made.save(record)
    return made


def record_file(store, record):
    return next(path for path in (p for p in _files(store)) if path.endswith(f"{record.id}.json"))


def _files(store) -> list[str]:
    return [os.path.join(folder, name) for folder, _, names in os.walk(store.path) for name in names]


def test_round_trip(store, record):
    back = store[record.id]
    assert back.id == record.id
    assert back.spec == without_places(record.spec)
    assert (back.epochs, back.metrics, back.size, back.best_epoch) == (
        record.epochs,
        record.metrics,
        record.size,
        record.best_epoch,
    )
    for name, array in record.arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array)
        assert back.arrays[name].dtype == array.dtype
    assert record.id in store
    assert len(store) == 1
    assert store.frame().loc[0, "report_score"] == 0.75
    assert store.frame([]).empty


def test_saving_twice_leaves_one_record(store, record):
    store.save(record)
    assert len(_files(store)) == 2


def test_a_missing_run_is_named(store):
    with pytest.raises(SuperticketsError, match="has no finished run 0000"):
        store["0000"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: _truncate(path, 0.5),
        lambda path: _truncate(path, 0.0),
        lambda path: _write(path, "[1, 2]"),
        lambda path: _write(path, json.dumps({"format": "something else"})),
        lambda path: _write(path, Path(path).read_text().replace('"seed": 0', '"seed": 1')),
    ],
    ids=["half", "empty", "not a record", "foreign", "tampered"],
)
def test_a_record_that_cannot_be_trusted_is_set_aside(store, record, damage):
    damage(record_file(store, record))
    with pytest.warns(BrokenRecordWarning, match="cannot be trusted.*will be repeated"):
        assert record.id not in store
    assert len(store) == 0
    assert any(f"{os.sep}broken{os.sep}" in path for path in _files(store))
    store.save(record)  # and its run can be done again
    assert record.id in store


def test_truncated_arrays_are_noticed(store, record):
    path = next(path for path in _files(store) if path.endswith(".safetensors"))
    _truncate(path, 0.5)
    with pytest.warns(BrokenRecordWarning, match="truncated"):
        assert store.get(record.id, arrays=False) is None


def test_changed_arrays_are_noticed(store, record):
    path = next(path for path in _files(store) if path.endswith(".safetensors"))
    data = bytearray(Path(path).read_bytes())
    data[-1] ^= 1
    _write(path, bytes(data))
    with pytest.warns(BrokenRecordWarning, match="truncated or changed"):
        assert store.get(record.id) is None


def test_a_record_under_another_name_is_foreign(store, record):
    path = record_file(store, record)
    other = "ffffffffffffffffffff"
    folder = os.path.join(store.path, "runs", "ff")
    os.makedirs(folder)
    os.rename(path, os.path.join(folder, f"{other}.json"))
    with pytest.warns(BrokenRecordWarning, match="belongs to run"):
        assert other not in store


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(store, record, monkeypatch):
    before = sorted(_files(store))

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    other = dataclasses.replace(record, spec=dataclasses.replace(record.spec, seed=5))
    with pytest.raises(SuperticketsError, match=r"No space left on device.*free some space"):
        store.save(other)
    assert sorted(_files(store)) == before
    store.heartbeat("abc", 1, 2)  # durable or not, a heartbeat never stops a run
    assert record.id in store


def test_failures_are_noted_and_forgotten_on_success(store, record):
    store.fail(record.spec, "the loss is nan")
    assert store.failures() == {record.id: "the loss is nan"}
    store.save(record)
    assert store.failures() == {}


def test_heartbeats(store):
    assert store.progress("abc") == 0.0
    store.heartbeat("abc", 3, 6)
    assert store.progress("abc") == 0.5
    store.forget_heartbeat("abc")
    assert store.progress("abc") == 0.0


def test_a_store_in_memory_stands_for_remote_ones(record):
    store = RunStore("memory://supertickets-test")
    store.save(record)
    np.testing.assert_array_equal(store[record.id].arrays["dev_logits"], record.arrays["dev_logits"])
    assert store.ids() == [record.id]


def test_bad_paths(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SuperticketsError, match="file is no packed store"):
        RunStore(tmp_path / "file")
    with pytest.raises(SuperticketsError, match="cannot be opened"):
        RunStore("nosuchprotocol://bucket")


WRITER = """
import sys, json, pathlib
import numpy as np
from supertickets.runs import Record, RunSpec
from supertickets.runs import RunStore
spec = RunSpec.from_json(json.loads(pathlib.Path(sys.argv[1]).read_text()))
store = RunStore(sys.argv[2])
rng = np.random.default_rng(int(sys.argv[3]))
print("ready", flush=True)
while True:
    metrics = {"report": {"score": float(rng.random())}}
    arrays = {"dev_logits": rng.random((200, 3)).astype(np.float32)}
    store.save(Record(spec, (), 1, metrics, {}, arrays, {}, {}))
"""


def test_two_writers_of_one_run_and_a_reader_never_see_a_mixture(tmp_path, record):
    spec_file = tmp_path / "spec.json"
    spec_file.write_text(json.dumps(record.spec.to_json()))
    path = tmp_path / "store"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, spec_file, path, str(n)], stdout=subprocess.PIPE)
        for n in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline().strip() == b"ready"
        store, reads, deadline = RunStore(path), 0, time.monotonic() + 2
        while time.monotonic() < deadline:
            if store.ids():
                assert store[record.id].arrays["dev_logits"].shape == (200, 3)  # checksums agree, or this raises
                reads += 1
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert reads > 20
    assert RunStore(path)[record.id].arrays["dev_logits"].shape == (200, 3)  # killed in the middle of a write


def _truncate(path: str, share: float) -> None:
    data = Path(path).read_bytes()
    _write(path, data[: int(len(data) * share)])


def _write(path: str, data: str | bytes) -> None:
    Path(path).write_bytes(data.encode() if isinstance(data, str) else data)
