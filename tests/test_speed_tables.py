"""Speed tables and figures from rows whose figures are known by construction."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle
from scipy import stats

from supertickets.errors import SuperticketsError
from supertickets.speed_claims import (
    floor_sentences,
    memory_sentences,
    profile_sentences,
    speed_claims,
    speed_sentences,
    step_sentences,
    worst_steps,
)
from supertickets.speed_figures import step_figure, throughput_figure
from supertickets.speed_tables import (
    HOME,
    benchmarks_path,
    made_sentence,
    memory_table,
    profile_table,
    read_benchmarks,
    same_scores,
    score_sentences,
    step_table,
    throughput_table,
)

SINCE = {"lab": "2030-01-01 (commit abc)", "RTE": "2030-01-02 (commit def)"}
MADE = {"command": "make bench", "device": "CPU (made up)", "torch": "9.9", "suites": SINCE}
LEVELS = {0.0: 1.0, 0.2: 0.8, 0.5: 0.5, 0.8: 0.2, 0.9: 0.1}


def side(suite, name, precision, threads, workers, wall, specs, offsets, peak=100.0):
    """Rows of a side: every run scores 0.8 plus the offset of its (task, seed), and the last row has the wall time."""
    common = {"suite": suite, "side": name, "precision": precision, "threads": threads, "workers": workers}
    made = [
        {"task": task, "seed": seed, "kind": kind, "level": level, "seconds": 1.0, "epochs": 3}
        | {"score": 0.8 + offsets.get((task, seed), 0.0)}
        for task, seed, kind, level in specs
    ]
    return [common | row for row in [*made, {"wall": wall, "peak_mib": peak}]]


def steps(suite, slower):
    """Step rows: compacted takes its share of the operations times ``slower`` at that level, masked the whole time."""
    rows = []
    for mode in ("training", "inference"):
        for level, share in LEVELS.items():
            for way in ("compacted", "masked") if level else ("compacted",):
                ratio = share * slower.get((mode, level), 1.0) if way == "compacted" else 1.1
                row = {"suite": suite, "side": "steps", "level": level, "way": way, "mode": mode, "seconds": ratio}
                row |= {"ratio": ratio, "low": 0.9 * ratio, "high": 1.2 * ratio, "operations": share}
                rows.append(row | {"weights_remaining": (1 + share) / 2})
    return rows


def grid(tasks, seeds):
    return [
        (task, seed, kind, level)
        for task in tasks
        for seed in seeds
        for kind, level in (("full", 0.0), ("winning", 0.2), ("random", 0.5))
    ]


LAB, RTE = grid(("entailment", "paraphrase"), (0, 1)), grid(("RTE",), (0,))
OFFSETS = {("entailment", 0): 0.01, ("entailment", 1): -0.02, ("paraphrase", 0): 0.03, ("paraphrase", 1): 0.0}
ROWS = [
    *steps("lab", {("training", 0.5): 1.5}),
    {"suite": "lab", "side": "trial", "threads": 1, "wall": 5.0},
    *side("lab", "ours", "fp32", 1, 2, 6.0, LAB, OFFSETS, peak=600.0),
    *side("lab", "theirs", "fp32", 1, 1, 42.0, LAB, {}, peak=400.0),
    {"suite": "engine", "side": "engine", "precision": "fp32", "threads": 1, "workers": 2, "runs": 118}
    | {"wall": 61.2, "busy": 120.0, "overhead": 0.02, "peak_mib": 500.0},
    *steps("RTE", {("training", 0.5): 1.1, ("inference", 0.8): 1.3, ("training", 0.9): 9.0}),
    *side("RTE", "ours", "bf16", 1, 2, 10.0, RTE, {("RTE", 0): 0.05}, peak=900.0),
    *side("RTE", "theirs", "bf16", 2, 1, 15.0, RTE, {}, peak=1000.0),
    *side("RTE", "theirs", "fp32", 2, 1, 45.0, RTE, {}, peak=1200.0),
]


def written(path, rows=ROWS, **changed):
    content = {"format": "supertickets.benchmarks", "version": 1, "made": MADE, "rows": rows}
    path.write_text(json.dumps(content | changed), encoding="utf-8")
    return path


@pytest.fixture
def frame(tmp_path):
    return read_benchmarks(written(tmp_path / "b.json")).frame


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
        ({"format": "supertickets.ticket"}, "holds no benchmarks"),
        ({"version": 2}, "is of version 2, and version 1 is understood"),
        ({"rows": []}, "no rows"),
        ({"rows": [{"suite": "lab"}]}, "damaged"),
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
    with pytest.raises(SuperticketsError, match=r"cannot be read .* make it anew with `make bench`"):
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


def test_score_differences_are_clustered_by_task_and_seed(frame):
    table = same_scores(frame)
    lab = table.iloc[0]
    means = [1.0, -2.0, 3.0, 0.0]  # points; the three runs of a cluster count once
    expected = stats.t.interval(0.95, 3, loc=0.5, scale=stats.sem(means))
    assert (lab["n"], lab["clusters"]) == (12, 4)
    assert (lab["difference"], lab["low"], lab["high"]) == pytest.approx((0.5, *expected))
    assert lab["largest"] == pytest.approx(3.0) and lab["where"] == "paraphrase, seed 0"
    assert table.loc[1:, "clusters"].eq(1).all() and table.loc[1:, "low"].isna().all()
    said = score_sentences(table)
    assert "+0.50 points of report score over 12 runs" in said[0] and "no difference seen" in said[0]
    assert "+5.00 points of report score over 3 runs (one task and one seed, so no interval)" in said[1]


def test_a_shift_of_all_clusters_is_seen(tmp_path):
    shifted = {place: offset / 10 - 0.05 for place, offset in OFFSETS.items()}
    rows = [*side("lab", "ours", "fp32", 1, 2, 6.0, LAB, shifted), *side("lab", "theirs", "fp32", 1, 1, 42.0, LAB, {})]
    found = score_sentences(same_scores(read_benchmarks(written(tmp_path / "b.json", rows)).frame))
    assert "a difference beyond the clusters' spread" in found[0]


def test_steps_beside_their_operations(frame):
    table = step_table(frame)
    assert list(dict.fromkeys(table["suite"])) == ["lab", "RTE"]
    assert len(table) == 2 * 2 * len(LEVELS)
    row = table[(table["suite"] == "RTE") & (table["mode"] == "training") & (table["level"] == 0.5)].iloc[0]
    assert (row["operations"], row["compacted"], row["masked"]) == pytest.approx((0.5, 0.55, 1.1))
    assert row["compacted / operations"] == pytest.approx(1.1)
    assert worst_steps(frame)["RTE", "training"] == pytest.approx((1.1, 0.5))  # 90% is none of 20% to 80%
    assert worst_steps(frame)["RTE", "inference"] == pytest.approx((1.3, 0.8))
    live = frame[(frame["suite"] == "lab") & (frame["side"] == "steps")]
    live = live[["level", "way", "mode", "seconds", "ratio", "low", "high", "operations", "weights_remaining"]]
    assert list(step_table(live).columns)[:2] == ["mode", "level"]
    (training, inference) = step_sentences(live)
    assert "Training: at level 90%, with 10% of the operations left" in training
    assert "takes 10% of the full model's time, a masked one 110%" in training
    assert "at most 1.50 times what its operations predict (at level 50%)" in training
    assert inference.startswith("Inference: ")


def test_claims_say_met_not_met_and_not_measured(frame):
    claims = speed_claims(frame)
    verdicts = {(row["suite"], row["claim"]): row["verdict"] for row in claims.to_dict("records")}
    assert verdicts["lab", "runs per minute against the Trainer in fp32"] == "met"  # 7 of 6
    assert verdicts["RTE", "runs per minute against the Trainer in fp32"] == "met"  # 4.5 of 4
    assert verdicts["RTE", "runs per minute against the Trainer in bf16"] == "not met"  # 1.5 of 2
    assert verdicts["CoLA", "runs per minute against the Trainer in fp32"] == "not measured"
    assert verdicts["RTE", "training with a compacted model against its operations"] == "met"
    assert verdicts["RTE", "inference with a compacted model against its operations"] == "not met"
    assert verdicts["lab", "training with a compacted model against its operations"] == "no target"
    assert verdicts["engine", "overhead of the engine"] == "met"
    said = speed_sentences(claims)
    assert len(said) == len(claims)
    assert "Lab, runs per minute against the Trainer in fp32: met (7.00x; target at least 6.00x)." in said
    assert any("not met (at worst 1.30x, at level 80%; target at most 1.15x)." in line for line in said)
    assert "Overhead of the engine: met (2.0%; target below 3.0%)." in said
    assert any(line.startswith("CoLA,") and line.endswith("in fp32: not measured.") for line in said)


def test_an_engine_at_its_limit_has_not_met_it(frame):
    frame.loc[frame["side"] == "engine", "overhead"] = 0.03
    assert speed_claims(frame).set_index("suite").loc["engine", "verdict"] == "not met"


def test_memory_of_all_workers_and_of_one(frame):
    table = memory_table(frame)
    assert list(table["suite"]) == ["lab", "lab", "RTE", "RTE", "RTE"]
    assert list(table["MiB a worker"]) == [300, 400, 450, 1000, 1200]
    said = memory_sentences(frame)
    assert said[0] == "Lab, against the Trainer in fp32: 1.50 times its memory with 2 workers, 0.75 times a worker."
    assert len(said) == 3


def profiled(suite, level, seconds, products, elementwise):
    row = {"suite": suite, "side": "profile", "level": level, "seconds": seconds, "products": products}
    row |= {"elementwise": elementwise, "between": 1 - products - elementwise, "rate": 40.0, "utilisation": 0.2}
    return row


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


def test_without_a_profile_there_is_no_floor(frame, tmp_path):
    assert floor_sentences(frame) == []
    alone = [*ROWS, profiled("lab", 0.0, 0.010, 0.5, 0.3)]
    assert floor_sentences(read_benchmarks(written(tmp_path / "made.json", alone)).frame) == []


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
        assert table.empty and "suite" in table
    assert step_sentences(frame) == []
    assert set(speed_claims(frame)["verdict"]) == {"met", "not measured"}
    for draw in (step_figure, throughput_figure):
        with pytest.raises(SuperticketsError, match="to draw"):
            draw(frame)


def test_figures_draw_the_numbers_of_the_tables(frame):
    fig = throughput_figure(frame)
    assert [bar.get_width() for bar in fig.axes[0].patches if isinstance(bar, Rectangle)] == pytest.approx(
        [7.0, 1.5, 4.5]
    )
    assert fig.axes[0].get_yticklabels()[0].get_text() == "lab: fp32 against fp32"
    strokes = next(line for line in fig.axes[0].lines if line.get_label() == "target")
    assert np.asarray(strokes.get_xdata()).tolist() == [6.0, 2.0, 4.0]
    plt.close(fig)
    fig = step_figure(frame)
    assert [axis.get_title() for axis in fig.axes] == [
        "lab, training",
        "lab, inference",
        "RTE, training",
        "RTE, inference",
    ]
    ideal, *_ = fig.axes[2].lines
    assert np.asarray(ideal.get_ydata()).tolist() == list(LEVELS.values())
    curves = {part.get_label(): part for part in fig.axes[2].containers if isinstance(part, ErrorbarContainer)}
    masked, compacted = (np.asarray(curves[way].lines[0].get_ydata()) for way in ("masked", "compacted"))
    assert masked == pytest.approx([1.0, *[1.1] * 4])  # from the full model on
    assert compacted[2] == pytest.approx(0.55)
    plt.close(fig)
