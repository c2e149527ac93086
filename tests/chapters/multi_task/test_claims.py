"""The claims about sharing follow the scores, and are one family."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sharing_frames import made_up

from supertickets.chapters.claims import ALPHA, HOLDS, REVERSED, TOGETHER, UNKNOWN, sentences
from supertickets.chapters.multi_task.claims import fine_tuning_claims, sharing_claims, with_hindsight
from supertickets.statistics import holm


def test_the_claims_follow_the_scores():
    up = sharing_claims(made_up(0.05))
    assert list(up["verdict"]) == [*[HOLDS] * 4, UNKNOWN]  # two tasks are no relation to their size
    level = sharing_claims(made_up(0.0, small=0.03))
    assert list(level["verdict"])[2:4] == [HOLDS, HOLDS]
    assert list(level["where"]) == [TOGETHER, TOGETHER, "tiny", "big", "2 tasks"]
    assert list(sharing_claims(made_up(-0.05))["verdict"])[:4] == [REVERSED] * 4
    assert sentences(up)[0].startswith("Ticket-Share is better than MT-DNN (all tasks together): holds here (+5.")


def test_among_tasks_of_one_size_none_is_the_smallest():
    frame = made_up(0.05)
    assert sum("est task" in text for text in sharing_claims(frame)["claim"]) == 2
    assert not any("est task" in text for text in sharing_claims(frame.assign(train_examples=500))["claim"])


def test_small_tasks_gain_most_and_sst2_little():
    parts = [
        made_up(0.02 * (4 - i)).query("task == 'big'").assign(task=task, train_examples=10 ** (i + 1))
        for i, task in enumerate(("entailment", "paraphrase", "question_answer", "sentiment"))
    ]
    frame = pd.concat(parts, ignore_index=True)
    noise = 0.001 * np.random.default_rng(1).normal(size=len(frame))  # the parts have the same
    found = sharing_claims(frame.assign(report_score=frame["report_score"] + noise)).set_index("claim")
    size = found.loc["Ticket-Share gains less over MT-DNN in larger tasks"]
    assert (size["effect"], size["n"], size["verdict"]) == (pytest.approx(-2, abs=0.1), 4, HOLDS)
    sst2 = found.loc["Ticket-Share gains less over MT-DNN on SST-2 than on the other tasks"]
    assert (sst2["effect"], sst2["where"]) == (pytest.approx(2 - 6, abs=0.2), "sentiment against 3")
    assert sst2["verdict"] == HOLDS


def test_an_effect_is_the_mean_over_tasks_by_seed_and_the_claims_are_one_family():
    frame = made_up(0.001)
    found = sharing_claims(frame)
    wide = frame.loc[frame["stage"] == "fine-tuned"].pivot_table(index="seed", columns="model", values="report_score")
    gains = 100 * (wide["Ticket-Share"] - wide["MT-DNN"])  # seeds, not seeds and tasks, are the n
    row = found.iloc[1]
    assert (row["n"], row["effect"]) == (5, pytest.approx(gains.mean()))
    assert row["p"] == pytest.approx(tuple(stats.ttest_1samp(gains, 0))[1])
    np.testing.assert_allclose(found["p (Holm)"], holm(found["p"]))
    one = sharing_claims(frame.loc[frame["seed"] == 0])
    assert set(one["verdict"]) == {UNKNOWN} and set(one["power"]) == {0.0}


def test_the_paper_says_what_to_look_for():
    for size, expected in (("base", [0.9, 1.0, 2.1, -0.1]), ("large", [1.0, 0.7])):
        found = sharing_claims(made_up(0.0), size=size)["expected"]
        assert list(found)[: len(expected)] == pytest.approx(expected)


def test_fine_tuning_helps_or_harms_at_the_rate_that_the_selection_split_chooses():
    """A rate that harms is tried first: it is not chosen, and so does not make fine-tuning look bad."""
    frame = made_up(0.02)
    tuned = frame["stage"] == "fine-tuned"
    harmful = frame.loc[tuned].assign(learning_rate=2e-3, report_score=0.5, selection_score=0.5)
    frame.loc[tuned, ["report_score", "selection_score"]] += 0.03
    both = pd.concat([harmful, frame], ignore_index=True)
    found = fine_tuning_claims(both)
    assert found["effect"].tolist() == pytest.approx([3, 3], abs=0.2) and set(found["verdict"]) == {HOLDS}
    assert found["expected"].tolist() == pytest.approx([84.6 - 82.4, 85.6 - 83.3])
    alone = fine_tuning_claims(both.loc[(both["stage"] != "fine-tuned") | (both["learning_rate"] == 2e-3)])
    assert set(alone["verdict"]) == {REVERSED}
    assert fine_tuning_claims(frame.loc[~tuned]).empty
    unlucky = both.assign(selection_score=1 - both["selection_score"])  # the rate that harms is chosen
    assert set(fine_tuning_claims(unlucky)["verdict"]) == {REVERSED}
    said = [float(line.split("average by ")[1].split()[0]) for line in with_hindsight(unlucky)]
    assert said == pytest.approx([3, 3], abs=0.2)
    assert with_hindsight(frame.loc[~tuned]) == []


@pytest.mark.parametrize("times", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_no_claim_of_a_family_is_found_where_nothing_is(times, record_property):
    rng = np.random.default_rng(0)
    frame, false = made_up(0.0), 0
    for _ in range(times):
        level = frame.assign(report_score=0.8 + 0.02 * rng.normal(size=len(frame)))
        false += (sharing_claims(level)["verdict"].iloc[:2] != UNKNOWN).any()
    record_property("false verdicts", false / times)
    assert false / times <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / times)


def test_seeds_without_every_task_do_not_count():
    frame = made_up(0.05)
    lacking = frame.loc[~((frame["seed"] == 2) & (frame["task"] == "big") & (frame["model"] == "MT-DNN"))]
    assert sharing_claims(lacking)["n"].iloc[0] == 4
