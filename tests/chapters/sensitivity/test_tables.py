"""Tables 5 and 8 from frames of which the answer is known."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from spread_frames import FIVE, RATES, multi_frame, shifts, single_frame

from supertickets.chapters import paper
from supertickets.chapters.sensitivity.claims import rate_tests, spread_tests
from supertickets.chapters.sensitivity.figures import rates_figure
from supertickets.chapters.sensitivity.tables import rate_variance, table5, table8
from supertickets.errors import SuperticketsError
from supertickets.statistics import seeds_needed, spread_power


def test_table5_by_construction():
    single = single_frame({("entailment", "full"): 80 + FIVE, ("entailment", "winning"): 82 + 0.5 * FIVE})
    multi = multi_frame({("entailment", "MT-DNN"): shifts(3 * FIVE, [-4, 0, 4])})
    table = table5(single, multi).set_index("model")
    assert list(table.index) == ["ST-DNN", "SuperT", "MT-DNN"]
    sd = math.sqrt(2.5)
    # MT-DNN: the spread of the means over rates, not the mean of the spreads, which differ by rate here
    assert list(table["sd"]) == pytest.approx([sd, 0.5 * sd, 3 * sd])
    assert (80 + np.outer(3 * FIVE, [1 - 4, 1, 1 + 4])).std(axis=0, ddof=1).mean() != pytest.approx(3 * sd)
    assert table["seeds"].to_list() == [5, 5, 5]
    assert table["rates"].to_list() == [1, 1, 3]
    ends = [sd * math.sqrt(4 / stats.chi2.ppf(quantile, 4)) for quantile in (0.975, 0.025)]
    assert list(table[["low", "high"]].iloc[0]) == pytest.approx(ends)
    printed = {row["model"]: row["RTE"] for row in paper.table(5)}
    assert table["paper: sd"].to_list() == [printed[f"{model} large"] for model in table.index]
    assert table["paper: task"].to_list() == ["RTE"] * 3


def test_table5_beside_table_6_and_tasks_of_ones_own():
    single = single_frame({(task, kind): 80 + FIVE for task in ("inference", "my own") for kind in ("full", "winning")})
    table = table5(single, None).set_index(["model", "task"])
    [row] = [row for row in paper.table(6) if row["model"] == "SuperT large"]
    assert table["paper: sd"].dropna().to_dict() == {("SuperT", "inference"): row["MNLI"]}
    assert len(table) == 4


def test_tables_are_made_from_what_is_there():
    few = {("a", "full"): 80 + FIVE, ("a", "winning"): [80.0], ("b", "full"): [70.0, 71.0]}
    assert table5(single_frame(few), pd.DataFrame())["task"].to_list() == ["a", "b"]
    multi = multi_frame({("a", "MT-DNN"): shifts(FIVE, [0, 1, 2]), ("b", "Ticket-Share"): shifts(FIVE, [0, 1, 2])})
    lacking = multi.loc[~((multi["task"] == "b") & (multi["seed"] == 4) & (multi["learning_rate"] == RATES[2]))]
    found = table5(None, lacking).set_index("task")
    assert found["seeds"].to_dict() == {"a": 5, "b": 4}
    assert table8(lacking).set_index("task")["seeds"].to_dict() == {"a": 5, "b": 4}


def test_learning_rates_that_one_model_lacks_are_left_out_of_both():
    scores = shifts(FIVE, [0, 1, 5])
    multi = multi_frame({("a", "MT-DNN"): scores, ("a", "Ticket-Share"): scores[:, :2]})
    assert set(table8(multi)["rates"]) == {2}
    assert table8(multi)["sd"].to_list() == pytest.approx([math.sqrt(0.5)] * 2)


def test_table8_by_construction():
    scores = shifts(FIVE, [-3, 0, 3])
    multi = multi_frame({("entailment", "MT-DNN"): scores, ("entailment", "Ticket-Share"): shifts(FIVE, [-1, 0, 1])})
    table = table8(multi).set_index("model")
    # the spread of the means over seeds, not the mean over seeds of the spreads
    assert table["sd"].to_dict() == pytest.approx({"MT-DNN": 3.0, "Ticket-Share": 1.0})
    assert scores.std(axis=1, ddof=1).mean() != pytest.approx(3.0)
    assert set(table["rates"]) == {3}
    assert set(table["seeds"]) == {5}
    printed = {row["model"]: row["RTE"] for row in paper.table(8)}
    assert table["paper: sd"].to_list() == [printed["MT-DNN large"], printed["Ticket-Share large"]]


def test_table8_without_seed_noise_has_no_interval_to_speak_of():
    table = table8(multi_frame({("a", "MT-DNN"): 80 + np.add.outer(FIVE, [-3, 0, 3])}))
    assert table[["low", "high"]].iloc[0].to_list() == pytest.approx([3.0, 3.0])
    assert table["by chance"].item() == pytest.approx(0.0, abs=1e-9)


def test_what_seeds_alone_make_of_rates_that_do_not_matter():
    rng = np.random.default_rng(4)
    tables = [table8(multi_frame({("a", "MT-DNN"): rng.normal(80, 1, (5, 3))}), n_resamples=9) for _ in range(120)]
    both = np.array([table[["sd", "by chance"]].iloc[0] for table in tables])
    assert (both**2).mean(axis=0) == pytest.approx([0.2, 0.2], rel=0.25)


def test_the_variance_over_rates_is_without_bias_and_the_rest_is_chance():
    rng = np.random.default_rng(9)
    steps = np.array([-2.0, 0.0, 2.0])
    scores = steps + rng.normal(0, 3, (4000, 4, 3)) + rng.normal(0, 5, (4000, 4, 1))
    assert np.mean([rate_variance(each) for each in scores]) == pytest.approx(steps.var(ddof=1), abs=0.2)
    each = scores[0]  # by the analysis of variance of seeds and rates
    residual = each - each.mean(axis=0) - each.mean(axis=1, keepdims=True) + each.mean()
    chance = (residual**2).sum() / (3 * 2) / 4
    assert rate_variance(each) == pytest.approx(each.mean(axis=0).var(ddof=1) - chance)
    assert table8(multi_frame({("a", "MT-DNN"): each}))["by chance"].item() == pytest.approx(math.sqrt(chance))


def test_mistakes_are_named():
    single = single_frame({("a", "full"): 80 + FIVE, ("a", "winning"): 80 + FIVE})
    multi = multi_frame({("a", model): shifts(FIVE, [0, 1, 2]) for model in ("MT-DNN", "Ticket-Share")})
    with pytest.raises(SuperticketsError, match="single-task runs have no 'seed', 'report_score'"):
        table5(single.drop(columns=["seed", "report_score"]), multi)
    with pytest.raises(SuperticketsError, match="multi-task runs have no 'learning_rate'"):
        table5(single, multi.drop(columns="learning_rate"))
    with pytest.raises(SuperticketsError, match="multi-task runs have no 'model'"):
        table8(pd.DataFrame())
    with pytest.raises(SuperticketsError, match="two seeds of one model"):
        table5(None, None)
    with pytest.raises(SuperticketsError, match="two seeds of one model"):
        table5(single.loc[single["seed"] == 0], None)
    with pytest.raises(SuperticketsError, match="two seeds with every learning rate"):
        table8(multi.loc[multi["seed"] == 0])
    with pytest.raises(SuperticketsError, match="with one learning rate; it takes 2"):
        rate_tests(multi.loc[multi["learning_rate"] == RATES[0]])
    with pytest.raises(SuperticketsError, match="with no learning rates in common; it takes 2"):
        rates_figure(multi.loc[multi["stage"] == "multi-task"])
    with pytest.raises(SuperticketsError, match="No task has two seeds with both MT-DNN"):
        rate_tests(multi.loc[multi["model"] == "MT-DNN"])
    with pytest.raises(SuperticketsError, match="both models of a comparison"):
        spread_tests(single.loc[single["kind"] == "full"], None)
    with pytest.raises(SuperticketsError, match="several training sets"):
        table5(single.assign(data=[f"set {i}" for i in range(len(single))]), None)
    with pytest.raises(SuperticketsError, match="several runs of model 'MT-DNN', task 'a', seed 0"):
        table8(pd.concat([multi, multi], ignore_index=True))
    with pytest.raises(SuperticketsError, match="other than 1"):
        seeds_needed(1.0)
    with pytest.raises(SuperticketsError, match="positive number, not 0"):
        spread_power(0.0, 5)
    with pytest.raises(SuperticketsError, match="two seeds at least"):
        spread_power(0.5, 1)
