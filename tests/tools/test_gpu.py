"""``make gpu`` without a GPU: its own code from the plan to the page, with little data and captures that are calls."""

import contextlib
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import bench
import gpu
import pytest
import torch
from bench_rows import shown_of_a_gpu

from supertickets import training
from supertickets.training import batching, fast, loop, published, timing
from supertickets.training.fast import forward, replayed


@pytest.fixture
def little(monkeypatch):
    """Small data, small batches in evaluation, each process a call; the kinds of measurement that were made."""
    timed, in_turn, made, captured = bench._timed, timing._in_turn, [], []
    monkeypatch.setattr(timing, "_in_turn", lambda functions, _repeats: in_turn(functions, 1))
    monkeypatch.setattr(replayed, "_FAULTS", {})
    monkeypatch.setattr(replayed, "_WORTH", 1)
    for module in (batching, replayed):
        monkeypatch.setattr(module, "tokens_at_once", lambda *_: 256)
    sizes = {"train_size": 32, "dev_size": 20}
    monkeypatch.setattr(bench, "_timed", lambda *given, **more: timed(*given, **{**more, **sizes}))

    class Process:
        pid, returncode = os.getpid(), 0

        def __init__(self, command, **_):
            self.settings = json.loads(command[-1])
            made.append((self.settings["side"], self.settings["workers"], self.settings["first"]))

        def communicate(self, timeout):
            with monkeypatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
                for module in (training, fast, loop, published, replayed, timing):
                    patch.setattr(module, "graphs", lambda _: lambda carry_out: captured.append(1) or carry_out)
                patch.setattr(forward, "by_hand", forward.by_hand)  # in a process of its own it is left otherwise
                patch.setattr(timing, "low_precision", timing.low_precision)
                before = len(captured)
                bench.one_side({**self.settings, "workers": 1, "first": min(2, self.settings["first"])})
                assert (len(captured) > before) == (self.settings["side"] != "theirs")
            return out.getvalue(), ""

    own = SimpleNamespace(Popen=Process, PIPE=None, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(bench, "subprocess", own)
    return made


def test_all_that_make_gpu_asks_for_is_measured_and_shown(little, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "require_gpu", lambda: None)
    monkeypatch.setattr(gpu, "tested", lambda _: {"suite": "gpu", "side": "tests", "task": "10 passed"})
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["bench.py", "--suites", "gpu", "--minutes", "7.5", "--out", str(out)])
    bench.main()
    assert {workers: first for side, workers, first in little if side == "engine"} == {w: 17 * w for w in (1, 2, 4, 8)}
    tables, said = shown_of_a_gpu(tmp_path)
    assert {name: len(table) for name, table in tables.items()} == {
        "gpu-claims": 5,
        "gpu-throughput": 1,
        "gpu-few-shot": 4,
        "gpu-steps": 18,
        "gpu-profile": 4,
        "gpu-floor": 1,
        "gpu-passes": 2,
    }
    assert len(said) == 5
    for table in tables.values():
        assert table.notna().to_numpy().mean() > 0.8


def test_its_tests_are_run_as_they_would_be_there(monkeypatch):
    monkeypatch.setattr(gpu, "GPU_TESTS", ("tests/test_devices.py",))
    row = gpu.tested(120.0)
    word = "passed" if torch.cuda.is_available() else "skipped"
    assert (row["side"], row["task"].startswith(f"4 {word}")) == ("tests", True), row


@pytest.mark.parametrize("left", [b"tests/x.py::test_y ", None])
def test_what_tests_said_before_their_time_was_over_is_not_lost(left, monkeypatch, capsys):
    def late(*_given, timeout, **_more):
        raise subprocess.TimeoutExpired("pytest", timeout, output=left)

    monkeypatch.setattr(gpu.subprocess, "run", late)
    assert gpu.tested(1.0)["task"] == "its tests: there was no time left"
    assert capsys.readouterr().err == (left or b"").decode()


def test_packages_that_are_not_there_are_named(monkeypatch):
    there = {"torch", "transformers"}
    monkeypatch.setattr(gpu, "find_spec", lambda name: SimpleNamespace() if name in there else None)
    with pytest.raises(SystemExit, match="it has no accelerate and no datasets and no loky"):
        gpu.require_gpu()
