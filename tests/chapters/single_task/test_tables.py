"""Tables 1, 2, 6, 7 and 9 from frames of which the answer is known."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from single_frames import frame_of

from supertickets.chapters.claims import HOLDS, UNKNOWN
from supertickets.chapters.display import table_html
from supertickets.chapters.single_task.tables import (
    rates_table,
    table1,
    table1_layout,
    table1_metrics,
    table2,
    table6,
    table7,
    table9,
)
from supertickets.errors import SuperticketsError
from supertickets.runs import Record, RunSpec, paired_scores, super_ticket_pairs
from supertickets.tasks import DataRef, Task, split_dev, task_facts
from supertickets.tasks.lab_tasks import lab_task


def test_table1_is_the_paired_difference_on_the_report_split(frame):
    row = table1(frame).iloc[0]
    wide = paired_scores(frame)
    selection = paired_scores(frame, "selection_score")["winning"]
    gains = [
        100 * (wide.loc[seed, ("winning", selection.loc[seed].idxmax())] - wide.loc[seed, ("full", 0.0)])
        for seed in range(4)
    ]
    assert row["gain"] == pytest.approx(np.mean(gains))
    half = stats.t.ppf(0.975, 3) * np.std(gains, ddof=1) / 2
    assert (row["low"], row["high"]) == pytest.approx((np.mean(gains) - half, np.mean(gains) + half))
    assert row["p"] == pytest.approx(np.asarray(stats.ttest_1samp(gains, 0))[1])
    assert row["verdict"] == HOLDS
    assert row["paper: task"] == "RTE"
    assert row["paper: gain"] == pytest.approx(72.5 - 69.2)
    # The seeds' luck of 5 points would drown a gain of 4 if the test were not paired.
    assert np.asarray(stats.ttest_ind(wide[("winning", 0.1)], wide[("full", 0.0)]))[1] > 0.05


def test_table1_corrects_for_the_number_of_tasks():
    # p of about 0.02 alone is not enough beside five tasks without an effect.
    good = frame_of({"winning": [0.815, 0.815, 0.815]}, noise=0.006)
    flat = [frame_of({"winning": [0.8, 0.8, 0.8]}, task=f"flat{i}", noise=0.02) for i in range(5)]
    alone, beside = table1(good).iloc[0], table1(pd.concat([good, *flat])).iloc[0]
    assert alone["p"] == beside["p"]
    assert alone["verdict"] == HOLDS
    assert beside["p (Holm)"] == pytest.approx(6 * alone["p"])
    assert beside["verdict"] == (HOLDS if 6 * alone["p"] <= 0.05 else UNKNOWN)


def test_the_average_row_pairs_the_mean_over_tasks_by_seed(two_tasks):
    pairs = super_ticket_pairs(two_tasks).set_index(["task", "seed"])
    gains = [
        np.mean(
            [
                pairs.loc[(task, seed), "super"] - pairs.loc[(task, seed), "full"]
                for task in ("entailment", "similarity")
            ]
        )
        for seed in range(4)
    ]
    table = table1(two_tasks)
    row = table.iloc[-1]
    assert list(table["task"]) == ["entailment", "similarity", "average"]
    assert row["gain"] == pytest.approx(np.mean(gains))
    assert row["gain"] == pytest.approx(table["gain"].iloc[:2].mean())
    half = stats.t.ppf(0.975, 3) * np.std(gains, ddof=1) / 2
    assert (row["low"], row["high"]) == pytest.approx((np.mean(gains) - half, np.mean(gains) + half))
    assert row["weights remaining (%)"] == pytest.approx(table["weights remaining (%)"].iloc[:2].mean())
    assert row["p (Holm)"] == row["p"]
    assert (row["paper: ST-DNN"], row["paper: SuperT"], row["paper: weights remaining (%)"]) == (82.8, 83.7, 86.8)
    assert table1(two_tasks, size="large").iloc[-1]["paper: SuperT"] == 85.1
    # The two tasks count for the correction, the average does not.
    assert table["p (Holm)"].iloc[:2].min() == pytest.approx(2 * table["p"].iloc[:2].min())


def test_the_average_row_leaves_out_seeds_that_lack_a_task(two_tasks):
    gap = two_tasks[(two_tasks["task"] != "similarity") | (two_tasks["seed"] != 3)]
    table = table1(gap)
    assert list(table["seeds"]) == [4, 3, 3]
    assert table.iloc[-1]["gain"] == pytest.approx(table1(gap[gap["seed"] != 3]).iloc[-1]["gain"])
    apart = two_tasks[(two_tasks["task"] != "similarity") == (two_tasks["seed"] < 2)]
    row = table1(apart).iloc[-1]
    assert (row["seeds"], row["verdict"], np.isnan(row["gain"])) == (0, UNKNOWN, True)


def test_tasks_without_kin_get_no_columns_of_the_paper(frame):
    table = table1(frame.assign(task="mine"))
    assert list(table["task"]) == ["mine", "average"]
    assert not [name for name in table if name.startswith("paper")]


def test_every_metric_of_every_task(frame):
    paraphrase = frame.assign(
        task="paraphrase", report_accuracy=frame["report_score"] - 0.02, report_f1=frame["report_score"] + 0.02
    )
    groups = frame.assign(
        task="inference",
        report_accuracy=frame["report_score"],
        report_accuracy_matched=frame["report_score"] + 0.1,
        report_accuracy_mismatched=frame["report_score"] - 0.1,
    )
    table = table1_metrics(pd.concat([paraphrase, groups]))
    assert list(zip(table["task"], table["metric"], strict=True)) == [
        ("paraphrase", "accuracy"),
        ("paraphrase", "f1"),
        ("inference", "accuracy_matched"),
        ("inference", "accuracy_mismatched"),
    ]
    assert list(table["paper: ST-DNN"]) == [86.2, 90.4, 84.5, 84.4]
    assert table["gain"].to_numpy() == pytest.approx(table1(frame).iloc[0]["gain"])
    assert table["ST-DNN"].iloc[2] - table["ST-DNN"].iloc[3] == pytest.approx(20)


def test_table_1_as_the_paper_lays_it_out(two_tasks):
    score = two_tasks["report_score"]
    made = two_tasks.assign(report_accuracy=score, report_pearson=score, report_spearman=score + 0.1)
    made.loc[made["task"] == "entailment", ["report_pearson", "report_spearman"]] = np.nan
    made.loc[made["task"] == "similarity", "report_accuracy"] = np.nan
    made = made.iloc[::-1]
    table, tall = table1_layout(made).set_index("model"), table1(made).set_index("task")
    assert list(table)[:2] == ["entailment acc", "similarity P/S corr"]  # RTE before STS-B, as in the paper
    assert table.index.to_list() == ["ST-DNN", "SuperT", "paper: ST-DNN base", "paper: SuperT base"]
    first, second = table.loc["SuperT", "similarity P/S corr"].split("/")
    assert float(first) == pytest.approx(tall.loc["similarity", "SuperT"], abs=0.05)
    assert float(second) == pytest.approx(float(first) + 10, abs=0.11)
    assert table.loc["paper: SuperT base"].to_list() == ["72.5", "89.8/89.4", 83.7, 86.8]
    assert table.loc["SuperT", "average"] == tall.loc["average", "SuperT"]


def test_the_rates_that_were_chosen():
    runs = {"task": "entailment", "selection_score": [0.7, 0.9, 0.85, 0.85], "selection_loss": 1.0}
    frame = pd.DataFrame(runs | {"learning_rate": [1e-4, 1e-4, 2e-4, 2e-4]})
    (row,) = rates_table(frame).round(6).to_dict("records")
    assert row == {"task": "entailment", "at 0.0001": 80.0, "at 0.0002": 85.0, "chosen": "0.0002"}


def test_what_cannot_be_tabulated_is_said(frame):
    with pytest.raises(SuperticketsError, match="no finished runs"):
        table1(pd.DataFrame())
    with pytest.raises(SuperticketsError, match="no 'report_f1'; choose one of report_score"):
        super_ticket_pairs(frame, "report_f1")
    with pytest.raises(SuperticketsError, match="several full models with seed 0"):
        table1(pd.concat([frame, frame.assign(data="another")]))
    with pytest.raises(SuperticketsError, match="BERT-huge"):
        table1(frame, size="huge")
    with pytest.raises(SuperticketsError, match="'test' split"):
        table1_metrics(frame, "test")


def test_a_single_seed_gives_no_verdict(frame):
    row = table1(frame[frame["seed"] == 0]).iloc[0]
    assert np.isnan(row["low"])
    assert row["verdict"] == UNKNOWN


def test_table2_reads_test_scores_where_there_are_any(two_tasks):
    assert table2(two_tasks).empty  # labels kept by the benchmark
    scored = two_tasks.assign(test_score=two_tasks["report_score"], test_accuracy=two_tasks["report_score"])
    table = table2(scored)
    assert set(table["metric"]) == {"accuracy", ""}
    assert list(table["ST-DNN"])[:-1] == list(table1_metrics(scored, "test", printed_in=2)["ST-DNN"])
    average = table.iloc[-1]
    assert (average["task"], average["seeds"]) == ("average", 4)
    assert average["gain"] == pytest.approx(table["gain"].iloc[:-1].mean())
    assert (average["paper: ST-DNN"], average["paper: SuperT"]) == (79.6, 80.4)
    lacking = scored[~((scored["task"] == "similarity") & (scored["seed"] == 1))]
    assert table2(lacking)["seeds"].tolist() == [4, 3, 3]
    of_rte = table[table["paper: task"] == "RTE"].iloc[0]
    assert (of_rte["paper: ST-DNN"], of_rte["paper: SuperT"]) == (66.4, 69.6)


def test_table6_sets_two_spreads_and_the_papers_side_by_side(two_tasks):
    calm = two_tasks.copy()
    full = calm["kind"] == "full"
    calm.loc[full, "report_score"] = 0.8 + 0.001 * calm["seed"]
    row = table6(calm).set_index("task").loc["similarity"]
    chosen = super_ticket_pairs(calm).set_index("task").loc["similarity"]
    values = chosen["super"].to_numpy()
    assert row["SuperT: sd"] == pytest.approx(np.std(values, ddof=1))
    assert row["ST-DNN: sd"] == pytest.approx(0.1 * np.std(range(4), ddof=1))
    bounds = [np.std(values, ddof=1) * np.sqrt(3 / stats.chi2.ppf(share, 3)) for share in (0.975, 0.025)]
    assert [row["SuperT: low"], row["SuperT: high"]] == pytest.approx(bounds)
    assert row["p (equal spread)"] == pytest.approx(
        np.asarray(stats.levene(values, chosen["full"].to_numpy(), center="median"))[1]
    )
    assert (row["paper: task"], row["paper: SuperT: sd"]) == ("STS-B", 0.49)
    assert "paper: ST-DNN: sd" not in row
    assert np.isnan(table6(calm[calm["seed"] == 0])["p (equal spread)"]).all()


def test_table7_counts_the_levels_chosen(frame):
    wanted = {0: 0.1, 1: 0.3, 2: 0.3, 3: 0.5}
    best = (frame["kind"] == "winning") & (frame["level"] == frame["seed"].map(wanted))
    row = table7(frame.assign(selection_score=best.astype(float))).iloc[0]
    sizes = [1 - 0.8 * level for level in wanted.values()]
    assert row["levels chosen"] == "10%, 30% (x2), 50%"
    assert row["weights remaining, mean"] == pytest.approx(np.mean(sizes))
    assert row["weights remaining, sd"] == pytest.approx(np.std(sizes, ddof=1))
    theirs = ["paper: task", "paper: weights remaining, mean", "paper: weights remaining, sd"]
    assert row[theirs].to_list() == ["RTE", 0.83, 0.07]


def record_on(task: Task) -> Record:
    """A record that says of a task what a run would."""
    facts = task_facts(task, split_dev(task))
    spec = RunSpec("e", "r", DataRef(task.name), 0)
    return Record(spec, (), 1, {}, {}, {}, {}, {}, tasks={task.name: facts})


def test_table9_counts_what_is_in_the_data():
    clean, noisy = (lab_task("entailment", train_size=400, dev_size=30, test_size=0, noise=rate) for rate in (0, 0.2))
    scores = lab_task("similarity", train_size=400, dev_size=20, test_size=10)
    reviews = lab_task("sentiment", train_size=40, dev_size=20, test_size=0)
    table = pd.concat([table9([record_on(task)]) for task in (clean, noisy, scores, reviews)], ignore_index=True)
    assert list(table["train"]) == [400, 400, 400, 40]
    assert list(table["dev"]) == [30, 30, 20, 20]
    assert table["test"].iloc[2] == 10
    assert table["test"].isna().tolist() == [True, True, False, True]
    assert table["label noise"].iloc[0] == "0.0% wrong"
    assert 12 < float(table["label noise"].iloc[1].split("%")[0]) < 28
    assert 0.4 < float(table["label noise"].iloc[2].removeprefix("sd ")) < 0.6
    assert table["balance (train)"].iloc[0] == "50% / 50%"
    assert list(table["kind of text"])[2:] == ["pair of texts, regression", "single sentence, classification"]
    words = [len(" ".join(texts).split()) for texts in clean.train.texts]
    assert table["words"].iloc[0] == pytest.approx(np.mean(words))
    assert list(table["paper: corpus"]) == ["RTE", "RTE", "STS-B", "SST"]
    html = table_html(table, "What the tasks hold.")
    assert re.search(r"<td[^>]*>400<", html)
    assert "400.00" not in html
