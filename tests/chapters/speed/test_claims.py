"""Sentences about the benchmarks say met, not met and not measured."""

import pytest
from bench_rows import LAB, LEVELS, OFFSETS, ROWS, TRICKS, profiled, side, written
from scipy import stats

from supertickets.chapters.claims import HOLDS, REVERSED, UNKNOWN
from supertickets.chapters.speed.claims import (
    floor_sentences,
    same_scores,
    speed_claims,
    speed_sentences,
    step_sentences,
    trick_sentences,
    worst_steps,
)
from supertickets.chapters.speed.tables import read_benchmarks, step_table, trick_table


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


def test_the_same_scores_are_an_equivalence_within_a_margin(frame):
    table = same_scores(frame)
    means = [1.0, -2.0, 3.0, 0.0]  # points; the three runs of a task and seed count once
    low, high = stats.t.interval(0.95, 3, loc=0.5, scale=stats.sem(means))
    assert list(table["limit"]) == [-1.0, 1.0] * 3 and list(table["side"]) == ["above", "below"] * 3
    assert (table["n"].iloc[0], table["runs"].iloc[0]) == (4, 12)
    assert tuple(table.loc[0, ["effect", "low", "high"]]) == pytest.approx((0.5, low, high))
    assert set(table["verdict"]) == {UNKNOWN}  # no difference seen, and yet not the same
    assert list(table["where"]) == [
        name
        for name in ("lab, fp32 against fp32", "RTE, bf16 against bf16", "RTE, bf16 against fp32")
        for _ in range(2)
    ]
    assert table["n"].iloc[2:].eq(1).all() and table["low"].iloc[2:].isna().all()  # one task and one seed


@pytest.mark.parametrize(("shift", "words"), [(0.0, [HOLDS, HOLDS]), (-0.05, [REVERSED, HOLDS])])
def test_scores_that_are_the_same_and_scores_that_are_not(tmp_path, shift, words):
    shifted = {place: offset / 10 + shift for place, offset in OFFSETS.items()}
    rows = [*side("lab", "ours", "fp32", 1, 2, 6.0, LAB, shifted), *side("lab", "theirs", "fp32", 1, 1, 42.0, LAB, {})]
    assert list(same_scores(read_benchmarks(written(tmp_path / "b.json", rows)).frame)["verdict"]) == words


def test_an_engine_at_its_limit_has_not_met_it(frame):
    frame.loc[frame["side"] == "engine", "overhead"] = 0.03
    assert speed_claims(frame).set_index("suite").loc["engine", "verdict"] == "not met"


def test_without_a_profile_there_is_no_floor(frame, tmp_path):
    assert floor_sentences(frame) == []
    alone = [*ROWS, profiled("lab", 0.0, 0.010, 0.5, 0.3)]
    assert floor_sentences(read_benchmarks(written(tmp_path / "made.json", alone)).frame) == []


def test_tricks_are_priced_task_by_task_and_small_ones_named(tmp_path):
    frame = read_benchmarks(written(tmp_path / "b.json", [*ROWS, *TRICKS])).frame
    table = trick_table(frame)
    assert table["without / with"].tolist() == [1.2, 1.5, 1.01]
    assert table.loc[1].tolist() == ["entailment", "b", 1.5, 1.35, pytest.approx(1.65)]
    assert trick_sentences(frame) == [
        "RTE: a run takes longer without a (1.20 times).",
        "entailment: a run takes longer without b (1.50 times); by less than 5%, if at all, without a.",
    ]
