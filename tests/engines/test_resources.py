"""Memory: of a run at its peak, of a machine, of a container."""

import os
from pathlib import Path

import numpy as np
import torch
from tiny import toy_full_run

from supertickets.engines import gpu_memory, machine_memory, resources
from supertickets.engines.execution import execute
from supertickets.engines.resources import peak_memory
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
