"""Tests of spread keep their error rates, find what is there and say so."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from spread_frames import FIVE, multi_frame, rate_frame, shifts, single_frame

from supertickets.chapters.claims import TOGETHER
from supertickets.chapters.sensitivity.claims import paper_power, rate_tests, sentences, spread_tests
from supertickets.chapters.sensitivity.tables import table8


def test_spread_tests_are_scipys_and_closed_forms():
    rng = np.random.default_rng(0)
    a, b = rng.normal(80, 1, 12), rng.normal(80, 2, 12)
    row = spread_tests(single_frame({("entailment", "winning"): a, ("entailment", "full"): b}), None).iloc[0]
    assert row["ratio"] == pytest.approx(a.std(ddof=1) / b.std(ddof=1))
    assert row["p (Brown-Forsythe)"] == pytest.approx(stats.levene(a, b, center="median").pvalue)
    assert row["p (Pitman-Morgan)"] == pytest.approx(tuple(stats.pearsonr(a + b, a - b))[1])
    assert row["p"] == max(row["p (Brown-Forsythe)"], row["p (Pitman-Morgan)"]) == row["p (Holm)"]
    assert row["paper: ratio"] == pytest.approx(0.72 / 1.17)


def test_spread_tests_correct_for_the_number_of_tasks_and_pair_by_seed():
    rng = np.random.default_rng(1)
    scores = {(task, kind): rng.normal(80, 1, 8) for task in "abc" for kind in ("full", "winning")}
    frame = single_frame(scores)
    table = spread_tests(frame.sample(frac=1, random_state=0).reset_index(drop=True), None)
    by_task = table.loc[table["task"] != TOGETHER].set_index("task").sort_index()
    assert by_task["p (Holm)"].min() == pytest.approx(min(1, 3 * by_task["p"].min()))
    assert by_task["ratio"].to_list() == pytest.approx(
        [scores[task, "winning"].std(ddof=1) / scores[task, "full"].std(ddof=1) for task in "abc"]
    )
    expected = [stats.pearsonr(scores[t, "winning"] + scores[t, "full"], scores[t, "winning"] - scores[t, "full"])
                for t in "abc"]  # fmt: skip
    assert by_task["p (Pitman-Morgan)"].to_list() == pytest.approx([p for _, p in expected])
    together = table.set_index("task").loc[TOGETHER]
    assert together["ratio"] == pytest.approx(math.exp(np.log(by_task["ratio"]).mean()))
    assert (together["tasks"], together["seeds"]) == (3, 8)


def spread_frame(rng, seeds, ratio, tasks=5, alike=0.5):
    """Tasks whose runs correlate by ``alike`` within a seed; tickets spread ``ratio`` times as much."""
    scores = {}
    for kind, sd in (("full", 1.0), ("winning", ratio)):
        common = rng.normal(size=seeds)
        for i in range(tasks):
            own = rng.normal(size=seeds)
            scores[f"task {i}", kind] = 80 + sd * (math.sqrt(alike) * common + math.sqrt(1 - alike) * own)
    return single_frame(scores)


def test_many_seeds_find_a_smaller_spread_and_five_do_not():
    many = spread_tests(spread_frame(np.random.default_rng(2), 60, 0.5), None)
    assert set(many["verdict"]) == {"supported"}
    assert np.max(many["high"]) < 1
    turned = spread_tests(spread_frame(np.random.default_rng(2), 60, 2.0), None)
    assert set(turned["verdict"]) == {"not supported"}
    few = spread_tests(spread_frame(np.random.default_rng(2), 5, 0.5), None)
    assert set(few.loc[few["task"] != TOGETHER, "verdict"]) == {"inconclusive"}


def test_all_tasks_together_keep_their_error_rate_though_tasks_of_a_seed_are_alike():
    rng = np.random.default_rng(3)
    found = [spread_tests(spread_frame(rng, 5, 1.0), None) for _ in range(100)]
    wrong = [table.loc[table["task"] == TOGETHER, "verdict"].item() != "inconclusive" for table in found]
    assert np.mean(wrong) < 0.09  # 0.05 and two standard errors; a t interval over tasks is at 0.14
    single = [(table.loc[table["task"] != TOGETHER, "verdict"] != "inconclusive").any() for table in found]
    assert np.mean(single) < 0.05


def test_too_few_seeds_or_no_spread_conclude_nothing():
    two = single_frame({(task, kind): [80.0, 81.0 + len(task + kind)] for task in "ab" for kind in ("full", "winning")})
    table = spread_tests(two, None)
    assert np.isnan(table["p"]).all()
    assert set(table["verdict"]) == {"inconclusive"}
    flat = single_frame({("a", "full"): 80 + FIVE, ("a", "winning"): [80.0] * 5, ("b", "full"): 80 + FIVE,
                         ("b", "winning"): 80 - FIVE})  # fmt: skip
    table = spread_tests(flat, None).set_index("task")
    assert table.loc["a", "ratio"] == 0
    assert table.loc["a", "verdict"] == "inconclusive"
    assert (table.loc[TOGETHER, "tasks"], table.loc[TOGETHER, "ratio"]) == (1, pytest.approx(1.0))


def test_the_interval_over_learning_rates_covers():
    rng = np.random.default_rng(5)
    inside, inside_difference = [], []
    for _ in range(100):
        noisy = [shifts(np.zeros(5), rates) + rng.normal(size=(5, 3)) for rates in ([-2, 0, 2], [-1, 0, 1])]
        multi = multi_frame({("a", "MT-DNN"): noisy[0], ("a", "Ticket-Share"): noisy[1]})
        row, test = table8(multi, n_resamples=999).iloc[0], rate_tests(multi, n_resamples=999).iloc[0]
        inside.append(row["low"] <= 2 <= row["high"])
        inside_difference.append(test["low"] <= -1 <= test["high"])
    assert np.mean(inside) > 0.89
    assert np.mean(inside_difference) > 0.89


def test_rate_tests_find_what_is_there_and_nothing_else():
    rng = np.random.default_rng(6)
    clear = rate_tests(rate_frame(rng, 12, (3.0, 0.5)))
    assert set(clear["verdict"]) == {"supported"}
    assert clear["task"].to_list() == ["task 0", "task 1", "task 2", TOGETHER]
    assert clear["difference"].iloc[-1] == pytest.approx(clear["difference"].iloc[:-1].mean())
    assert clear["difference"].to_list() == pytest.approx((clear["sd with tickets"] - clear["sd without"]).to_list())
    turned = rate_tests(rate_frame(rng, 12, (0.5, 3.0)))
    assert set(turned["verdict"]) == {"not supported"}
    null = [rate_tests(rate_frame(rng, 5, (1.0, 1.0)), n_resamples=999)["verdict"] for _ in range(60)]
    assert np.mean([(words.iloc[:-1] != "inconclusive").any() for words in null]) < 0.12
    assert np.mean([words.iloc[-1] != "inconclusive" for words in null]) < 0.12


def test_rate_tests_are_paired_by_seed_and_repeatable():
    multi = rate_frame(np.random.default_rng(7), 6, (2.0, 1.0))
    again = rate_tests(multi.sample(frac=1, random_state=1).reset_index(drop=True))
    both = [pd.DataFrame(table.set_index("task")).sort_index() for table in (rate_tests(multi), again)]
    pd.testing.assert_frame_equal(both[0], both[1], check_column_type=False)
    same = multi.loc[multi["model"] == "MT-DNN"]
    equal = rate_tests(pd.concat([same, same.assign(model="Ticket-Share")], ignore_index=True))
    assert equal[["difference", "low", "high"]].abs().to_numpy().max() < 1e-9  # what they share cancels


def test_sentences_say_verdict_effect_interval_and_n():
    spread = spread_tests(spread_frame(np.random.default_rng(8), 40, 0.5, tasks=2), None)
    rates = rate_tests(rate_frame(np.random.default_rng(8), 12, (3.0, 0.5), tasks=2))
    said = sentences(spread, rates)
    assert len(said) == 6
    assert said[0].startswith("SuperT against ST-DNN, task 0: supported (0.")
    assert f"{spread['low'].iloc[0]:.2f} to {spread['high'].iloc[0]:.2f}" in said[0]
    assert said[2].startswith(f"SuperT against ST-DNN, {TOGETHER} (2): supported")
    assert f"{rates['difference'].iloc[0]:+.2f} points, 95% interval" in said[3]
    assert "judged at 97.5%" in said[3]  # one of two tasks
    assert "judged" not in said[5]
    assert all(line.endswith("seeds).") for line in said)
    two = single_frame({("a", kind): [80.0, 81.0] for kind in ("full", "winning")})
    assert "no p-value, n = 2 seeds" in sentences(spread_tests(two, None))[0]
    assert sentences() == []


def test_five_seeds_cannot_tell_the_papers_numbers_apart():
    rows = paper_power()
    assert len(rows) == 10
    assert max(row["power"] for row in rows) < 0.6
    assert min(row["seeds needed"] for row in rows) > 5
    assert rows[0]["ratio"] == pytest.approx(0.72 / 1.17)
