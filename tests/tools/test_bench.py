"""What the benchmark compares is the same work: the Trainer's run of a spec, and ours, come out alike."""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import time
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import baseline
import bench
import gpu
import numpy as np
import psutil
import pytest
import tricks

from supertickets.chapters.speed.tables import read_benchmarks
from supertickets.errors import SuperticketsError
from supertickets.studies import full_run, get_profile
from supertickets.studies.experiments import rewound
from supertickets.tasks import data_ref
from supertickets.training import batching, fast, fine_tune, loop, published
from supertickets.training.fast import replayed


@pytest.fixture(scope="module")
def full():
    profile = get_profile("lab")
    return full_run("lab-base", data_ref("entailment", train_size=200, dev_size=300), 0, profile.hyper)


@pytest.fixture(scope="module")
def theirs(full):
    return baseline.train(full)


def test_the_trainer_does_the_same_run(full, theirs):
    ours = fine_tune(full)
    assert ours.metrics["report"]["score"] > 0.85  # there is something to agree about
    assert theirs.score == pytest.approx(ours.metrics["report"]["score"], abs=0.08)
    assert 3 <= theirs.epochs <= 6
    order = np.corrcoef(theirs.scores.heads.ravel(), ours.scores("example").heads.ravel())
    assert order[0, 1] > 0.7


def test_the_trainer_trains_the_ticket_as_masks(full, theirs):
    ticket = rewound(full, "losing", 0.5)
    with pytest.raises(SuperticketsError, match="scores"):
        baseline.train(ticket)
    pruned = baseline.train(ticket, theirs.scores)
    assert pruned.scores is None
    assert pruned.score < theirs.score - 0.15


def test_a_measurement_goes_through_a_process_of_its_own(monkeypatch, capsys):
    settings = {"side": "ours", "suite": "engine", "workers": 1, "seeds": [0], "data_dir": "", "precision": "fp32"}
    settings["captured"] = True
    bench.one_side({**settings, "first": 1, "on": "engine"})
    *rows, last = [json.loads(line.removeprefix(bench.MARK)) for line in capsys.readouterr().out.splitlines()]
    assert [row["kind"] for row in rows] == ["random"]
    assert 0 < rows[0]["seconds"] <= last["wall"]
    assert last["busy"] == rows[0]["seconds"]


def test_the_suites_hold_the_runs_they_promise():
    assert len(bench.specs_of("lab", "fp32", (0, 1, 2), "")) == 3 * 25 * 3
    idle = bench.specs_of("engine", "fp32", (0,), "")
    assert len(idle) == 120
    assert not any(spec.parents for spec in idle)


def test_a_gpu_is_given_a_long_run_and_many_short_ones():
    runs = bench.specs_of("one run", "bf16", (3,), "")
    assert [(run.hyper.precision, run.hyper.epochs - run.hyper.patience, run.seed) for run in runs] == [
        ("bf16", 0, 3),
        ("bf16", 0, 4),
    ]
    few = bench.specs_of("few-shot", "bf16", (0,), "")
    assert len({spec.id for spec in few}) >= 8 * bench.FEW
    assert not any(spec.parents for spec in few)


def test_where_there_is_no_gpu_one_sentence_says_so():
    bench_ = [sys.executable, bench.__file__, "--suites", "gpu", "--out", "/nowhere/gpu.json"]
    done = subprocess.run(bench_, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode
    assert re.fullmatch(
        r"make gpu cannot measure with .*: its torch \(.*\) sees no CUDA device; name .*\n", done.stderr
    )


def on_a_gpu(monkeypatch, tmp_path, tests, measured, minutes="9"):
    """What ``make gpu`` leaves, were there a GPU: its rows, and the sentences it ends with."""
    monkeypatch.setattr(gpu, "require_gpu", lambda: None)
    monkeypatch.setattr(gpu.subprocess, "run", tests)
    monkeypatch.setattr(bench, "measured", measured)
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["bench.py", "--suites", "gpu", "--minutes", minutes, "--out", str(out)])
    said = ""
    for _ in range(2):  # what the first time left is not kept
        try:
            bench.main()
        except SystemExit as end:
            said = str(end)
    found = read_benchmarks(out)
    assert found.made["command"] == "make gpu"
    return found.frame.to_dict("list"), said


def passed(*_given, **_more):
    return SimpleNamespace(stdout="..\n10 passed in 3.0s\n", returncode=0)


def test_what_is_measured_on_a_gpu_is_written_with_what_failed(monkeypatch, tmp_path):
    def measured(side, suite, _threads, workers, _options, **more):
        if side == "theirs":
            raise SystemExit("the Trainer wants accelerate")
        return [{"suite": suite, "side": side, "workers": workers, "on": more.get("on")}]

    frame, said = on_a_gpu(monkeypatch, tmp_path, passed, measured)
    assert said == "Not all could be measured:\none run: theirs, workers 1: the Trainer wants accelerate"
    begin, then = ["tests", "profile", "ours", "engine", "missing"], ["profile", "floor", "steps"]
    assert list(frame["side"]) == [*begin, *then, *["engine"] * 3, "passes"]
    assert frame["task"][0] == "10 passed in 3.0s"
    assert sorted([frame["workers"][3], *frame["workers"][8:11]]) == [1, 2, 4, 8]


def test_the_time_for_a_gpu_is_kept_to(monkeypatch, tmp_path):
    def late(*_given, timeout, **_more):
        raise subprocess.TimeoutExpired("pytest", timeout)

    frame, said = on_a_gpu(monkeypatch, tmp_path, late, bench.measured, minutes="0.1")  # less than a start takes
    assert set(frame["side"]) == {"missing"}
    assert said.count("there was no time left") == len(frame["side"]) == 12


@pytest.fixture
def profile_of_lab():
    return get_profile("lab")


def test_the_floor_of_a_step_is_below_it(profile_of_lab):
    ref = data_ref("entailment", train_size=64, dev_size=40)
    (row,) = gpu.floor("lab-base", ref, profile_of_lab.hyper)
    least = [row[name] for name in ("products", "elementwise", "between")]
    assert min(least) > 0
    assert max(least) < row["seconds"]


def test_passes_are_timed_replayed_and_not(profile_of_lab, monkeypatch):
    ref, made = data_ref("entailment", train_size=64, dev_size=40), []
    monkeypatch.setattr(replayed, "graphs", lambda _: None)
    rows = list(gpu.passes("lab-base", ref, profile_of_lab.hyper))
    assert {row["way"] for row in rows} == {"batch by batch"}  # nothing is worth captures here
    for module in (fast, loop, published):
        monkeypatch.setattr(module, "graphs", lambda _: lambda carry_out: made.append(carry_out) or carry_out)
    monkeypatch.setattr(replayed, "_WORTH", 1)
    for module in (batching, replayed):
        monkeypatch.setattr(module, "tokens_at_once", lambda *_: 256)
    rows = list(gpu.passes("lab-base", ref, profile_of_lab.hyper))
    modes, ways = ("evaluation", "importance scoring"), ("replayed", "batch by batch")
    assert [(row["mode"], row["way"]) for row in rows] == [(mode, way) for mode in modes for way in ways]
    assert all(row["seconds"] > 0 for row in rows)
    assert made


def test_a_measurement_that_takes_too_long_is_ended_with_its_children(monkeypatch, tmp_path):
    script, sleep = tmp_path / "slow.py", "import time; time.sleep(300)"
    script.write_text(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleep!r}])")
    monkeypatch.setattr(bench, "__file__", str(script))
    monkeypatch.setattr(bench, "LEAST", 0)
    others = set(psutil.Process().children(recursive=True))
    with pytest.raises(SystemExit, match="there was no time left"):
        bench.measured("ours", "lab", 1, 1, Namespace(seeds=[0], data_dir="", until=time.monotonic() + 4))
    left = set(psutil.Process().children(recursive=True)) - others
    assert not psutil.wait_procs(list(left), timeout=20)[1]


def test_a_measurement_that_fails_says_why(monkeypatch, tmp_path):
    (script := tmp_path / "broken.py").write_text("raise ImportError('accelerate is not there')")
    monkeypatch.setattr(bench, "__file__", str(script))
    with pytest.raises(SystemExit, match=r"^ImportError: accelerate is not there$"):
        bench.measured("ours", "lab", 1, 1, Namespace(seeds=[0], data_dir="", until=math.inf))


@pytest.mark.parametrize("starts", [True, False])
def test_the_multi_process_service_is_started_and_ended(monkeypatch, tmp_path, starts):
    program, seen = tmp_path / "nvidia-cuda-mps-control", tmp_path / "seen"
    told = f'echo "$CUDA_MPS_PIPE_DIRECTORY $1" >> {seen}'
    program.write_text(f'#!/bin/sh\n{told}\n[ "$1" ] || cat >> {seen}\nexit {int(not starts)}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with nullcontext() if starts else pytest.raises(SystemExit, match="NVIDIA's MPS does not start"):
        with gpu.multi_process_service() as given:
            assert seen.read_text() == f"{given['CUDA_MPS_PIPE_DIRECTORY']} -d\n"
        assert seen.read_text().endswith(f"{given['CUDA_MPS_PIPE_DIRECTORY']} \nquit\n")
    assert starts or "quit" not in seen.read_text()


def test_every_test_for_a_gpu_is_among_those_that_it_is_given():
    root = Path(bench.__file__).parents[1]
    marked = [path for path in (root / "tests").rglob("test_*.py") if "pytest.mark.gpu" in path.read_text()]
    marked.remove(Path(__file__))
    assert len(marked) >= 3
    given = [root / part for part in gpu.GPU_TESTS]
    assert all(any(path.is_relative_to(part) for part in given) for path in marked)


def test_suites_that_are_not_measured_again_are_kept_if_made_alike(tmp_path):
    path, made = tmp_path / "made.json", {"device": "CPU", "torch": "9"}
    rows = [{"suite": "lab", "side": "ours"}, {"suite": "RTE", "side": "ours"}]
    path.write_text(json.dumps({"made": made | {"suites": {"lab": "before", "RTE": "then"}}, "rows": rows}))
    assert bench.kept(path, made, ["RTE"]) == (rows[:1], {"lab": "before"})
    assert bench.kept(path, made | {"torch": "10"}, ["RTE"]) == ([], {})
    assert bench.kept(tmp_path / "none.json", made, ["RTE"]) == ([], {})
    path.write_text("{")
    assert bench.kept(path, made, ["RTE"]) == ([], {})


def test_every_trick_can_be_taken_away_and_the_run_stays_what_it_was(monkeypatch):
    spec = full_run("lab-base", data_ref("entailment", train_size=32, dev_size=40), 0, get_profile("lab").hyper)
    outputs = []

    def watched(spec):
        outputs.append(fine_tune(spec).arrays["dev_logits"])

    monkeypatch.setattr(tricks, "fine_tune", watched)
    rows = list(tricks.priced(dataclasses.replace(spec, hyper=dataclasses.replace(spec.hyper, epochs=1)), rounds=1))
    assert [row["trick"] for row in rows] == list(tricks.TRICKS)
    assert all(0 < row["low"] <= row["ratio"] <= row["high"] for row in rows)
    assert len(outputs) == 2 * (1 + len(tricks.TRICKS))
    whole, *others = outputs[1 + len(tricks.TRICKS) :]
    np.testing.assert_array_equal(outputs[len(others)], whole)  # all is as it was
    same = {name: np.abs(found - whole).max() for name, found in zip(tricks.TRICKS, others, strict=True)}
    assert same.pop("batches of like length") > 0  # other examples meet
    assert max(same.values()) < 1e-4, same
