"""Tables of the benchmarks' rows."""

import pytest
from bench_rows import LAB, MADE, ROWS, profiled, written

from supertickets.chapters.speed.claims import (
    floor_sentences,
    memory_sentences,
    profile_sentences,
    same_scores,
    speed_claims,
    step_sentences,
)
from supertickets.chapters.speed.figures import step_figure, throughput_figure
from supertickets.chapters.speed.tables import (
    HOME,
    benchmarks_path,
    made_sentence,
    memory_table,
    profile_table,
    read_benchmarks,
    step_table,
    throughput_table,
)
from supertickets.errors import SuperticketsError


def test_a_file_comes_back_with_what_made_it(tmp_path):
    found = read_benchmarks(written(tmp_path / "b.json"))
    assert found.made == MADE
    assert len(found.frame) == len(ROWS)
    said = made_sentence(found.made)
    assert said.startswith("Measured by `make bench`: lab on 2030-01-01 (commit abc), RTE on 2030-01-02 (commit def)")
    assert said.endswith(", device CPU (made up), torch 9.9.")


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"format": "supertickets.ticket"}, "holds no benchmarks of version 1"),
        ({"version": 2}, "version is another"),
        ({"rows": []}, "no rows"),
        ({"rows": [{"suite": "lab"}]}, "a row says not"),
        ({"made": None}, "damaged"),
    ],
)
def test_another_file_is_refused(tmp_path, changed, complaint):
    with pytest.raises(SuperticketsError, match=complaint):
        read_benchmarks(written(tmp_path / "b.json", **changed))


def test_a_missing_and_a_truncated_file_say_what_to_do(tmp_path):
    with pytest.raises(SuperticketsError, match=r"There are no benchmarks at .*gone\.json; `make bench` measures them"):
        read_benchmarks(tmp_path / "gone.json")
    path = written(tmp_path / "b.json")
    path.write_text(path.read_text()[:200], encoding="utf-8")
    with pytest.raises(SuperticketsError, match=r"damaged ones .* make it anew with `make bench`"):
        read_benchmarks(path)
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(SuperticketsError, match="holds no benchmarks"):
        read_benchmarks(tmp_path / "list.json")


def test_the_file_is_found_from_any_folder_of_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert benchmarks_path() == HOME  # nothing there: the place where it belongs
    place = tmp_path / "project" / HOME
    place.parent.mkdir(parents=True)
    written(place)
    for folder in ("notebooks", "book/chapters"):
        (tmp_path / "project" / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / "project" / folder)
        assert benchmarks_path().samefile(place)
    assert benchmarks_path("elsewhere.json").name == "elsewhere.json"


def test_throughput_by_construction(frame):
    table = throughput_table(frame)
    assert list(zip(table["suite"], table["precision"], table["Trainer precision"], strict=True)) == [
        ("lab", "fp32", "fp32"),
        ("RTE", "bf16", "bf16"),
        ("RTE", "bf16", "fp32"),
    ]
    assert list(table["ratio"]) == pytest.approx([7.0, 1.5, 4.5])
    assert list(table["runs"]) == [12, 3, 3]
    assert list(table["runs/min"]) == pytest.approx([120, 18, 18])
    assert list(table["runs/min, Trainer"]) == pytest.approx([60 * 12 / 42, 12, 4])
    assert list(table["MiB"]) == [600, 900, 900] and list(table["MiB, Trainer"]) == [400, 1000, 1200]
    assert list(table["threads, Trainer"]) == [1, 2, 2] and list(table["workers"]) == [2, 2, 2]


def test_different_runs_are_not_compared(tmp_path):
    rows = [row for row in ROWS if not (row["side"] == "theirs" and row.get("kind") == "random")]
    frame = read_benchmarks(written(tmp_path / "b.json", rows)).frame
    for function in (throughput_table, same_scores, speed_claims):
        with pytest.raises(SuperticketsError, match="12 runs of ours and 8 of the Trainer, 8 of them the same"):
            function(frame)
    rows = [row for row in ROWS if not (row["side"] == "ours" and "wall" in row)]
    with pytest.raises(SuperticketsError, match="have 0 rows with a wall time"):
        throughput_table(read_benchmarks(written(tmp_path / "b.json", rows)).frame)


def test_memory_of_all_workers_and_of_one(frame):
    table = memory_table(frame)
    assert list(table["suite"]) == ["lab", "lab", "RTE", "RTE", "RTE"]
    assert list(table["MiB a worker"]) == [300, 400, 450, 1000, 1200]
    said = memory_sentences(frame)
    assert said[0] == "Lab, against the Trainer in fp32: 1.50 times its memory with 2 workers, 0.75 times a worker."
    assert len(said) == 3


def test_the_floor_of_a_suite_is_read_off_its_profile(tmp_path):
    rows = [profiled("lab", 0.0, 0.010, 0.5, 0.3), profiled("lab", 0.8, 0.004, 0.25, 0.25)]
    frame = read_benchmarks(written(tmp_path / "made.json", [*ROWS, *rows])).frame
    assert profile_table(frame).to_dict("records") == [{k: v for k, v in row.items() if k != "side"} for row in rows]
    (second,) = floor_sentences(frame)  # seven times the Trainer's runs per minute is more than was promised
    # 1 of 5 ms of products is left, and 3 of 5 ms of the rest; the rows of steps leave a fifth of the operations.
    assert second.endswith("take 20% of the time of the full model's (operations: 20%), everything else 60%.")
    rows = [profiled("RTE", 0.0, 0.010, 0.5, 0.3), profiled("RTE", 0.8, 0.004, 0.25, 0.25)]
    first, _ = floor_sentences(read_benchmarks(written(tmp_path / "made.json", [*ROWS, *rows])).frame)
    # The Trainer in bf16 took 15 s and ours 10; calls take 20% of a full step and 50% at level 80%.
    assert first.startswith("RTE, against the Trainer in bf16: 1.50 times its runs per minute")
    assert "1.25 to 2.00 times as fast, so at most 1.9 to 3.0 times." in first
    assert profile_sentences(profile_table(frame))[1].startswith("Lab, at level 80%: a training step takes 4.0 ms, 25%")


def test_on_gpus_runs_are_counted_per_gpu_and_hour(tmp_path):
    on_gpus = [{**row, "gpus": 2} if "wall" in row and row.get("side") == "ours" else row for row in ROWS]
    table = throughput_table(read_benchmarks(written(tmp_path / "made.json", on_gpus)).frame)
    lab = table.set_index("suite").loc["lab"]
    assert lab["runs/GPU-hour"] == pytest.approx(len(LAB) / (6.0 / 3600) / 2)
    on_cpu = [{**row, "gpus": 0} if "wall" in row and row.get("side") == "ours" else row for row in ROWS]
    assert "runs/GPU-hour" not in throughput_table(read_benchmarks(written(tmp_path / "made.json", on_cpu)).frame)


def test_a_suite_that_lacks_a_side_is_left_out(tmp_path):
    rows = [row for row in ROWS if row["side"] in ("ours", "engine")]
    frame = read_benchmarks(written(tmp_path / "b.json", rows)).frame
    for table in (throughput_table(frame), same_scores(frame), step_table(frame)):
        assert table.empty
    assert step_sentences(frame) == []
    assert set(speed_claims(frame)["verdict"]) == {"met", "not measured"}
    for draw in (step_figure, throughput_figure):
        with pytest.raises(SuperticketsError, match="to draw"):
            draw(frame)
