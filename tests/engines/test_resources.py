"""Memory: of a run at its peak, of a machine, of a container; and which GPUs there are, by their names."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from loky import ProcessPoolExecutor
from loky.backend import context
from tiny import toy_full_run

from supertickets.engines import default_workers, gpu_memory, machine_memory, processes, resources
from supertickets.engines.execution import execute
from supertickets.engines.resources import peak_memory, visible_gpus
from supertickets.options import RUNS_PER_GPU
from supertickets.runs import RunStore, in_words


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
    monkeypatch.setattr(resources, "_LIMITS", (str(limit),))
    limit.write_text("max\n")
    assert machine_memory() >= whole
    limit.write_text(str(64 * 2**20))
    assert machine_memory() == 64
    assert in_words(machine_memory()) == "64 MiB"
    assert not gpu_memory() <= 0


MIGS = ["MIG-9a5b8f3c-1111-2222-3333-444444444444", "MIG-GPU-8f2c/1/0"]


@pytest.mark.parametrize(
    ("named", "seen", "expected"),
    [
        (None, 3, ["0", "1", "2"]),
        ("6, 7", 2, ["6", "7"]),
        ("GPU-8f2c,GPU-91d0", 2, ["GPU-8f2c", "GPU-91d0"]),
        (",".join(MIGS), 1, MIGS),  # CUDA counts the first alone
        ("2,-1,3", 1, ["2"]),
        ("0,9", 1, ["0"]),  # there is no ninth
        ("", 0, []),
        ("-1", 0, []),
    ],
)
def test_gpus_are_those_that_are_named(named, seen, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: seen > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: seen)
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == expected
    assert default_workers(3) == (3 * len(expected) or len(os.sched_getaffinity(0)))
    assert default_workers() == (RUNS_PER_GPU * len(expected) or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(("quota", "expected"), [("250000 100000", 3), ("50000 100000", 1), ("max 100000", 16)])
def test_a_containers_share_of_the_processors_sets_the_workers(quota, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    (tmp_path / "cpu.max").write_text(quota + "\n")
    there, of_system = Path.exists, "/sys/fs/cgroup/cpu.max"
    monkeypatch.setattr(os.path, "exists", lambda path: path == of_system or there(Path(path)))
    read = open
    monkeypatch.setattr(context, "open", lambda path: read(tmp_path / "cpu.max" if path == of_system else path), False)
    assert default_workers() == expected


def test_workers_take_all_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(processes.threading.Thread, "start", lambda _thread: None)  # which would end this process
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "as it was")
    taken = []
    for number, gpus in enumerate([MIGS] * 4 + [[]]):
        monkeypatch.setattr(processes, "current_process", lambda its=number: SimpleNamespace(name=f"LokyProcess-{its}"))
        processes._begin(os.getppid(), gpus)
        taken.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert taken == [*MIGS, *MIGS, MIGS[1]]  # without GPUs nothing is touched


def test_a_worker_process_has_a_gpu_of_its_own(monkeypatch):
    def slowly(name):
        time.sleep(0.5)  # so that neither worker does it all
        return os.getenv(name)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "as it was")
    settings = {"max_workers": 2, "initializer": processes._begin, "initargs": (os.getpid(), ["GPU-a", "GPU-b"])}
    with ProcessPoolExecutor(**settings) as workers:
        seen = set(workers.map(slowly, ["CUDA_VISIBLE_DEVICES"] * 12))
    assert seen == {"GPU-a", "GPU-b"}
