"""What appendix D shows of a GPU, from a made-up file: all that ``make gpu`` writes, floor and passes among it."""

import pytest
from bench_rows import profiled, shown_of_a_gpu, side, steps, written

FLOOR = {"suite": "RTE", "side": "floor", "seconds": 0.002, "products": 0.0005, "elementwise": 0.0002, "between": 0.001}
PASSES = [
    {"suite": "SST-2", "side": "passes", "task": "SST-2", "mode": mode, "way": way, "seconds": seconds}
    for mode, way, seconds in (
        ("evaluation", "replayed", 0.5),
        ("evaluation", "batch by batch", 0.75),
        ("importance scoring", "replayed", 1.5),
        ("importance scoring", "batch by batch", 2.5),
    )
]


def alone(name: str, *seconds: float) -> list[dict[str, object]]:
    """A side's runs of one process, one after another, which took so long."""
    runs = [("RTE", seed, "full", 0.0) for seed in range(len(seconds))]
    *rows, end = side("one run", name, "bf16", 1, 1, sum(seconds), runs, {})
    return [*({**row, "seconds": took} for row, took in zip(rows, seconds, strict=True)), end]


MISSING = {"suite": "RTE", "side": "missing", "task": "floor: no time"}
ROWS = [
    {"suite": "gpu", "side": "tests", "task": "12 passed"},
    profiled("RTE", 0.0, 0.002, 0.5, 0.3),
    profiled("RTE, step by step", 0.0, 0.02, 0.05, 0.05),
    *alone("ours", 5.0, 2.0),
    *alone("theirs", 40.0, 24.0),
    {"suite": "few-shot", "side": "engine", "workers": 2, "gpus": 1, "runs": 198, "wall": 20.0, "busy": 38.0},
    FLOOR,
    *PASSES,
    *steps("RTE", {}),
]


def test_all_that_was_measured_on_a_gpu_is_shown(tmp_path, capsys):
    written(tmp_path / "gpu.json", [*ROWS, {"suite": "lab", "side": "missing", "task": "no time"}])
    found, said = shown_of_a_gpu(tmp_path)
    names = ["gpu-claims", "gpu-throughput", "gpu-few-shot", "gpu-steps", "gpu-profile", "gpu-floor", "gpu-passes"]
    assert list(found) == names
    assert all(len(table) for table in found.values())
    (floor,) = found["gpu-floor"].to_dict("records")
    assert floor.pop("suite") == "RTE"
    assert list(floor) == ["a step", "arithmetic", "memory", "launches"]
    assert list(floor.values()) == pytest.approx([2.0, 0.5, 0.2, 1.0])
    passes = found["gpu-passes"].set_index("mode")
    assert passes["replayed"].to_dict() == {"evaluation": 0.5, "importance scoring": 1.5}
    assert passes["batch by batch"].to_dict() == {"evaluation": 0.75, "importance scoring": 2.5}
    targets = found["gpu-claims"].set_index("claim")
    assert targets["value"].to_list() == pytest.approx([5.0, 8.0, 12.0, 35_640.0, 1.0])
    assert targets["verdict"].to_list() == ["met", "not met", "met", "not met", "not met"]
    assert len(said) == 3
    assert said[-1].startswith("RTE: a replayed step takes 1.2 times these three together")
    assert "Not measured in the last: lab, no time" in capsys.readouterr().out


def test_an_earlier_measurement_says_what_the_last_had_no_time_for(tmp_path, capsys):
    at = {when: {"suites": {"gpu": f"2030-01-0{when} (commit abc)"}} for when in (1, 2)}
    written(tmp_path / "gpu.json", [*alone("ours", 4.0), *alone("theirs", 20.0), MISSING], made=at[2])
    written(tmp_path / "gpu-before.json", ROWS, made=at[1])
    found, _ = shown_of_a_gpu(tmp_path)
    targets = found["gpu-claims"].set_index("claim")
    assert targets["value"].to_list() == pytest.approx([4.0, 5.0, 12.0, 35_640.0, 1.0])
    assert [when[9] for when in targets["measured"]] == ["2", "2", "1", "1", "1"]
    assert found["gpu-throughput"]["runs"].to_list() == [1]
    assert len(found["gpu-floor"]) == 1
    assert "Not measured in the last: RTE, floor: no time" in capsys.readouterr().out


def test_what_could_not_be_measured_leaves_empty_tables(tmp_path):
    written(tmp_path / "gpu.json", [{"suite": "gpu", "side": "missing", "task": "its tests"}])
    found, said = shown_of_a_gpu(tmp_path)
    assert found["gpu-floor"].empty
    assert "gpu-passes" not in found
    assert not said


def test_without_its_file_the_page_says_so(tmp_path, capsys):
    assert shown_of_a_gpu(tmp_path) == ({}, [])
    assert "No GPU has been measured" in capsys.readouterr().out
