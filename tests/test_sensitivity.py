"""Tables 5 and 8 against numbers known by construction, their tests against true and absent differences."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from supertickets import paper
from supertickets.errors import SuperticketsError
from supertickets.observations import TOGETHER
from supertickets.power import paper_power, seeds_needed, spread_power
from supertickets.sensitivity import rate_tests, sentences, spread_tests, table5, table8
from supertickets.sensitivity_data import rate_scores
from supertickets.sensitivity_figures import rates_data, rates_figure

RATES = (5e-4, 1e-3, 2e-3)
FIVE = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])  # sd sqrt(2.5)


def single_frame(scores):
    """Rows of single-task runs from {(task, kind): report scores by seed in points}; "losing" ones are decoys."""
    rows = []
    for (task, kind), values in scores.items():
        for seed, score in enumerate(values):
            common = {"encoder": "lab-base", "task": task, "data": f"data of {task}", "seed": seed, "kind": kind}
            chosen = {"level": 0.2, "selection_score": 0.9, "selection_loss": 0.4, "report_score": score / 100}
            rows.append(common | chosen | ({"level": 0.0} if kind == "full" else {}))
            if kind == "winning":  # a level that was not chosen, and would change every number
                rows.append(common | chosen | {"level": 0.5, "selection_score": 0.8, "report_score": seed % 2})
    return pd.DataFrame(rows)


def multi_frame(scores):
    """Rows of multi-task runs from {(task, model): points by (seed, rate)}, with decoys before fine-tuning."""
    rows = []
    for (task, model), values in scores.items():
        for seed, of_seed in enumerate(values):
            common = {"model": model, "task": task, "seed": seed}
            rows.append(common | {"stage": "multi-task", "learning_rate": RATES[0], "report_score": seed % 2})
            for rate, score in zip(RATES, of_seed, strict=False):
                rows.append(common | {"stage": "fine-tuned", "learning_rate": rate, "report_score": score / 100})
    return pd.DataFrame(rows)


def shifts(by_seed, by_rate):
    """Scores (seeds, rates) whose means over rates are ``by_seed`` and over seeds ``by_rate``, but for a constant."""
    by_seed, by_rate = np.asarray(by_seed, dtype=float), np.asarray(by_rate, dtype=float)
    crossed = np.outer(by_seed, by_rate - by_rate.mean())  # averages out in both directions, if seeds are centred
    return 80 + by_seed[:, None] + by_rate[None, :] + crossed


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
    table = table5(single, None, size="base").set_index(["model", "task"])
    [row] = [row for row in paper.table(6) if row["model"] == "SuperT base"]
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
    assert "paper: sd" not in table8(multi, size="base")


def test_table8_without_seed_noise_has_no_interval_to_speak_of():
    table = table8(multi_frame({("a", "MT-DNN"): 80 + np.add.outer(FIVE, [-3, 0, 3])}))
    assert table[["low", "high"]].iloc[0].to_list() == pytest.approx([3.0, 3.0])
    assert table["by chance"].item() == pytest.approx(0.0, abs=1e-9)


def test_what_seeds_alone_make_of_rates_that_do_not_matter():
    rng = np.random.default_rng(4)
    tables = [table8(multi_frame({("a", "MT-DNN"): rng.normal(80, 1, (5, 3))}), n_resamples=9) for _ in range(120)]
    both = np.array([table[["sd", "by chance"]].iloc[0] for table in tables])
    assert (both**2).mean(axis=0) == pytest.approx([0.2, 0.2], rel=0.25)


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


def rate_frame(rng, seeds, slopes, tasks=3):
    """MT-DNN's and Ticket-Share's scores move by the slopes with the rate; a seed's rates share its luck."""
    scores = {}
    for i in range(tasks):
        luck = rng.normal(0, 2, (seeds, 1))
        for model, slope in zip(("MT-DNN", "Ticket-Share"), slopes, strict=True):
            scores[f"task {i}", model] = 80 + luck + slope * np.array([-1, 0, 1]) + rng.normal(0, 1, (seeds, 3))
    return multi_frame(scores)


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


def test_power_is_that_of_a_simulated_f_test():
    rng = np.random.default_rng(9)
    a, b = rng.normal(0, 2, (20000, 5)), rng.normal(0, 1, (20000, 5))
    f = a.var(axis=1, ddof=1) / b.var(axis=1, ddof=1)
    rejected = np.mean(2 * np.minimum(stats.f.cdf(f, 4, 4), stats.f.sf(f, 4, 4)) < 0.05)
    assert spread_power(2.0, 5) == pytest.approx(rejected, abs=0.009)
    assert spread_power(0.5, 5) == pytest.approx(spread_power(2.0, 5))


@pytest.mark.parametrize("ratio", [0.16 / 0.17, 0.5, 1.3, 4.0])
def test_seeds_needed_are_the_fewest(ratio):
    n = seeds_needed(ratio)
    assert spread_power(ratio, n) >= 0.8 > spread_power(ratio, n - 1)
    # var(log sd) is about 1 / (2 (n - 1)) for each model
    assert n == pytest.approx(2 + ((1.96 + 0.8416) / math.log(ratio)) ** 2, rel=0.02, abs=3)


def test_five_seeds_cannot_tell_the_papers_numbers_apart():
    rows = paper_power()
    assert len(rows) == 10
    assert max(row["power"] for row in rows) < 0.6
    assert min(row["seeds needed"] for row in rows) > 5
    assert rows[0]["ratio"] == pytest.approx(0.72 / 1.17)


def test_the_figures_numbers_and_panels():
    multi = rate_frame(np.random.default_rng(10), 5, (2.0, 0.5), tasks=5)
    data = rates_data(multi)
    first = data.loc[(data["task"] == "task 0") & (data["model"] == "MT-DNN") & (data["learning_rate"] == RATES[1])]
    values = rate_scores(multi)["task 0"]["MT-DNN"][RATES[1]].to_numpy()
    low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert first[["n", "mean", "low", "high"]].iloc[0].to_list() == pytest.approx([5, values.mean(), low, high])
    fig = rates_figure(multi)
    shown = [axis for axis in fig.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == [f"task {i} (n = 5 seeds)" for i in range(5)]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["MT-DNN", "Ticket-Share"]
    drawn = [container[0].get_ydata() for container in shown[0].containers]
    assert np.ravel(drawn) == pytest.approx(data.loc[data["task"] == "task 0", "mean"].to_list())
    plt.close(fig)


def test_mistakes_are_named():
    single = single_frame({("a", "full"): 80 + FIVE, ("a", "winning"): 80 + FIVE})
    multi = multi_frame({("a", model): shifts(FIVE, [0, 1, 2]) for model in ("MT-DNN", "Ticket-Share")})
    with pytest.raises(SuperticketsError, match="single-task runs have no 'seed', 'report_f1'"):
        table5(single.drop(columns="seed"), multi, "report_f1")
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
    with pytest.raises(SuperticketsError, match="BERT-small"):
        table5(single, None, size="small")
    with pytest.raises(SuperticketsError, match="other than 1"):
        seeds_needed(1.0)
    with pytest.raises(SuperticketsError, match="positive number, not 0"):
        spread_power(0.0, 5)
    with pytest.raises(SuperticketsError, match="two seeds at least"):
        spread_power(0.5, 1)
