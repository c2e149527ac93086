"""Tests of spread keep their error rates, find what is there and say so."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from spread_frames import FIVE, multi_frame, rate_frame, shifts, single_frame

from supertickets.chapters.claims import ALPHA, HOLDS, REVERSED, TOGETHER, UNKNOWN, sentences
from supertickets.chapters.sensitivity.claims import matched_rates, paper_power, rate_tests, spread_tests
from supertickets.chapters.sensitivity.tables import table8, tuned_single
from supertickets.statistics import holm, seeds_needed, spread_power


def test_spread_tests_are_scipys_and_closed_forms():
    rng = np.random.default_rng(0)
    a, b = rng.normal(80, 1, 12), rng.normal(80, 2, 12)
    together, row = spread_tests(single_frame({("entailment", "winning"): a, ("entailment", "full"): b}), None).iloc
    assert [together["effect"], row["effect"]] == pytest.approx([a.std(ddof=1) / b.std(ddof=1)] * 2)
    assert row["p (Brown-Forsythe)"] == pytest.approx(stats.levene(a, b, center="median").pvalue)
    assert row["p (Pitman-Morgan)"] == pytest.approx(tuple(stats.pearsonr(a + b, a - b))[1])
    assert row["p"] == max(row["p (Brown-Forsythe)"], row["p (Pitman-Morgan)"]) == row["p (Holm)"]
    assert row["expected"] == pytest.approx(0.72 / 1.17)
    assert (row["power"], row["needed"]) == (spread_power(row["expected"], 12), seeds_needed(row["expected"]))
    ratios = np.divide([0.72, 0.2, 0.97, 0.07, 0.16], [1.17, 0.61, 1.32, 0.16, 0.17])  # Table 5
    assert together["expected"] == pytest.approx(stats.gmean(ratios))


def test_spread_tests_correct_for_the_number_of_tasks_and_pair_by_seed():
    rng = np.random.default_rng(1)
    scores = {(task, kind): rng.normal(80, 1, 8) for task in "abc" for kind in ("full", "winning")}
    frame = single_frame(scores)
    table = spread_tests(frame.sample(frac=1, random_state=0).reset_index(drop=True), None)
    by_task = table.loc[table["where"] != TOGETHER].set_index("where").sort_index()
    np.testing.assert_allclose(by_task["p (Holm)"], holm(by_task["p"]))
    assert by_task["effect"].to_list() == pytest.approx(
        [scores[task, "winning"].std(ddof=1) / scores[task, "full"].std(ddof=1) for task in "abc"]
    )
    expected = [stats.pearsonr(scores[t, "winning"] + scores[t, "full"], scores[t, "winning"] - scores[t, "full"])
                for t in "abc"]  # fmt: skip
    assert by_task["p (Pitman-Morgan)"].to_list() == pytest.approx([p for _, p in expected])
    together = table.iloc[0]
    assert together["effect"] == pytest.approx(math.exp(np.log(by_task["effect"]).mean()))
    assert (together["where"], together["tasks"], together["n"]) == (TOGETHER, 3, 8)
    assert together["p (Holm)"] == together["p"]  # the only comparison


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
    assert set(many["verdict"]) == {HOLDS}
    assert np.max(many["high"]) < 1
    turned = spread_tests(spread_frame(np.random.default_rng(2), 60, 2.0), None)
    assert set(turned["verdict"]) == {REVERSED}
    few = spread_tests(spread_frame(np.random.default_rng(2), 5, 0.5), None)
    assert set(few["verdict"].iloc[1:]) == {UNKNOWN}


def test_all_tasks_together_keep_their_error_rate_though_tasks_of_a_seed_are_alike():
    rng = np.random.default_rng(3)
    found = [spread_tests(spread_frame(rng, 5, 1.0), None) for _ in range(100)]
    wrong = [table["verdict"].iloc[0] != UNKNOWN for table in found]
    assert np.mean(wrong) < 0.09  # 0.05 and two standard errors; a t interval over tasks is at 0.14
    single = [(table["verdict"].iloc[1:] != UNKNOWN).any() for table in found]
    assert np.mean(single) < 0.05


def test_too_few_seeds_or_no_spread_conclude_nothing():
    two = single_frame({(task, kind): [80.0, 81.0 + len(task + kind)] for task in "ab" for kind in ("full", "winning")})
    table = spread_tests(two, None)
    assert np.isnan(table["p"]).all()
    assert set(table["verdict"]) == {UNKNOWN}
    assert "no interval; n = 2" in sentences(table)[1]
    flat = single_frame({("a", "full"): 80 + FIVE, ("a", "winning"): [80.0] * 5, ("b", "full"): 80 + FIVE,
                         ("b", "winning"): 80 - FIVE})  # fmt: skip
    table = spread_tests(flat, None).set_index("where")
    assert table.loc["a", "effect"] == 0
    assert table.loc["a", "verdict"] == UNKNOWN
    assert (table.loc[TOGETHER, "tasks"], table.loc[TOGETHER, "effect"]) == (1, pytest.approx(1.0))


def test_the_interval_over_learning_rates_covers():
    rng = np.random.default_rng(5)
    inside, inside_difference = [], []
    for _ in range(100):
        noisy = [shifts(np.zeros(5), rates) + rng.normal(size=(5, 3)) for rates in ([-2, 0, 2], [-1, 0, 1])]
        multi = multi_frame({("a", "MT-DNN"): noisy[0], ("a", "Ticket-Share"): noisy[1]})
        row, test = table8(multi, n_resamples=999).iloc[0], rate_tests(multi).iloc[0]
        inside.append(row["low"] <= 2 <= row["high"])
        inside_difference.append(test["low"] <= 1 - 4 <= test["high"])
    assert np.mean(inside) > 0.89
    assert np.mean(inside_difference) > 0.89


def test_rate_tests_find_what_is_there():
    rng = np.random.default_rng(6)
    clear = rate_tests(rate_frame(rng, 12, (3.0, 0.5)))
    assert set(clear["verdict"]) == {HOLDS}
    assert clear["where"].to_list() == [TOGETHER, "task 0", "task 1", "task 2"]
    assert clear["effect"].iloc[0] == pytest.approx(clear["effect"].iloc[1:].mean())
    assert clear["effect"].iloc[1:].to_list() == pytest.approx(
        (clear["sd with tickets"] ** 2 - clear["sd without"] ** 2).iloc[1:].to_list()
    )
    np.testing.assert_allclose(clear["p (Holm)"], [clear["p"].iloc[0], *holm(clear["p"].iloc[1:])])
    assert set(rate_tests(rate_frame(rng, 12, (0.5, 3.0)))["verdict"]) == {REVERSED}
    assert np.isnan(rate_tests(rate_frame(rng, 2, (3.0, 0.5)))["p"]).all()  # two seeds have no jackknife of pairs


@pytest.mark.parametrize("noise", [(1.0, 1.0), (4.0, 1.0), (1.0, 4.0)])
@pytest.mark.parametrize(("seeds", "times"), [(5, 60), pytest.param(3, 500, marks=pytest.mark.slow),
                                              pytest.param(12, 500, marks=pytest.mark.slow)])  # fmt: skip
def test_a_model_that_is_only_noisier_is_not_called_sensitive(seeds, times, noise, record_property):
    """No score depends on the rate. Of sds that keep their chance part, the noisier model's is the larger."""
    rng = np.random.default_rng(11)
    found = [rate_tests(rate_frame(rng, seeds, (0.0, 0.0), noise=noise)) for _ in range(times)]
    most = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / times)
    claims = np.mean([table["verdict"].iloc[0] != UNKNOWN for table in found])
    details = np.mean([(table["verdict"].iloc[1:] != UNKNOWN).any() for table in found])
    record_property("false verdicts: claims, details", [claims, details])
    assert max(claims, details) <= most
    effects = np.array([table["effect"].iloc[0] for table in found])
    assert abs(effects.mean()) < 4 * effects.std() / math.sqrt(times)


def test_rate_tests_are_paired_by_seed_and_repeatable():
    multi = rate_frame(np.random.default_rng(7), 6, (2.0, 1.0))
    again = rate_tests(multi.sample(frac=1, random_state=1).reset_index(drop=True))
    both = [pd.DataFrame(table.set_index("where")).sort_index() for table in (rate_tests(multi), again)]
    pd.testing.assert_frame_equal(both[0], both[1], check_column_type=False)
    same = multi.loc[multi["model"] == "MT-DNN"]
    equal = rate_tests(pd.concat([same, same.assign(model="Ticket-Share")], ignore_index=True))
    assert equal[["effect", "low", "high"]].abs().to_numpy().max() < 1e-9  # what they share cancels


def test_the_paper_says_what_to_look_for():
    multi = rate_frame(np.random.default_rng(8), 5, (1.0, 1.0), tasks=1)
    found = rate_tests(multi.assign(task="entailment"))["expected"]
    pairs = [(0.44, 1.26), (0.58, 0.86), (0.61, 1.05), (0.36, 0.42), (0.25, 0.26)]  # Table 8, RTE first
    differences = [new**2 - old**2 for new, old in pairs]
    assert found.to_list() == pytest.approx([np.mean(differences), differences[0]])


def test_sentences_give_ratios_and_squared_points():
    spread = spread_tests(spread_frame(np.random.default_rng(8), 40, 0.5, tasks=2), None)
    first = sentences(spread)[0]
    assert first.startswith("SuperT spreads less over seeds than ST-DNN (all tasks together): holds here (+0.")
    assert "times the spread, 95% interval" in first
    rates = rate_tests(rate_frame(np.random.default_rng(8), 12, (3.0, 0.5), tasks=2))
    assert "squared points, 95% interval" in sentences(rates)[0]
    for frame, n in ((spread, 40), (rates, 12)):  # chapter 8 ends with what is no detail; joined frames have float n
        assert list(frame["detail"]) == [False, True, True]
        assert re.search(rf"; n = {n}[;)]", sentences(frame.astype({"n": float}))[0])


def test_matched_tickets_are_compared_with_those_found_at_another_rate():
    rng, rows = np.random.default_rng(9), []
    for task in "ab":
        for seed in range(6):
            common = {"task": task, "seed": seed, "learning_rate": 1e-3, "selection_loss": 1.0, "encoder": "e"}
            for rate in (1e-3, 2e-3):
                run = f"{task} {seed} {rate}"
                full = {"run": run, "kind": "full", "level": 0.0, "parent": "", "learning_rate": rate}
                rows.append(common | full | {"selection_score": 400 * rate, "report_score": 0.7})
                for level in (0.1, 0.2):
                    score = 0.8 + 0.02 * (rate == 1e-3) + 0.1 * rng.normal() * 0.01
                    ticket = {"run": f"{run} {level}", "kind": "winning", "level": level, "parent": run}
                    rows.append(common | ticket | {"selection_score": 1 - score, "report_score": score})
    frame = pd.DataFrame(rows).assign(data="d")
    found = matched_rates(frame)
    assert found["where"].to_list() == [TOGETHER, "a", "b"]
    assert found["effect"].to_list() == pytest.approx([2.0] * 3, abs=0.2)
    assert set(found["verdict"]) == {HOLDS}
    single = tuned_single(frame)
    assert set(single.loc[single["kind"] == "full", "learning_rate"]) == {2e-3}  # the better one on selection
    assert set(single.loc[single["kind"] == "winning", "report_score"] > 0.81) == {True}  # mismatched ones are out
    assert matched_rates(frame.query("kind == 'full'")).empty


def test_five_seeds_cannot_tell_the_papers_numbers_apart():
    rows = paper_power()
    assert len(rows) == 10
    assert max(row["power"] for row in rows) < 0.6
    assert min(row["seeds needed"] for row in rows) > 5
    assert rows[0]["ratio"] == pytest.approx(0.72 / 1.17)
