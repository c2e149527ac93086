"""Shares of importance, agreement and clusters of tasks."""

import math

import numpy as np
import pandas as pd
import pytest
from importance_tables import COLUMNS, EIGHT, noisy, shares_of, table_of
from scipy import stats

from supertickets.chapters.task_shares.tables import (
    close_up_units,
    cluster_tasks,
    dominated_units,
    importance_table,
    rank_agreement,
    share_tasks,
    task_shares,
)
from supertickets.errors import SuperticketsError
from supertickets.runs import Record, RunSpec
from supertickets.statistics import jackknife, mean_interval
from supertickets.tasks import DataRef
from supertickets.tickets import Scores, winning_ticket

SHAPE = (3, 4)


def record_of(task: str, seed: int, heads: np.ndarray, ffns: np.ndarray, encoder: str = "e") -> Record:
    spec = RunSpec(encoder, f"revision of {encoder}", DataRef(task), seed)
    arrays = {"importance/example/heads": heads, "importance/example/ffns": ffns}
    arrays["importance/example/n_examples"] = np.array([10])
    return Record(spec, (), 0, {}, {}, arrays, {}, {})


def records_of(tasks: tuple[str, ...] = ("a", "b"), seeds: int = 2) -> list[Record]:
    rng = np.random.default_rng(0)
    return [
        record_of(task, seed, scale * rng.gamma(2, size=SHAPE), scale * rng.gamma(2, size=SHAPE[0]))
        for scale, task in enumerate(tasks, start=1)
        for seed in range(seeds)
    ]


def test_the_table_has_a_row_per_run_and_unit():
    table = importance_table(records_of(), normalisation="raw")
    assert list(table) == COLUMNS
    assert len(table) == 4 * (12 + 3)
    here = table.loc[(table["task"] == "b") & (table["seed"] == 1)].set_index(["unit", "layer", "head"])["importance"]
    scores = records_of()[3].scores("example")
    assert here["head", 2, 4] == scores.heads[1, 3]
    assert here["ffn", 3, 0] == scores.ffns[2]


def test_importance_is_normalised_as_tickets_rank_it():
    records = [record_of("a", 0, np.array([[3.0, 4.0], [50.0, 120.0], [0.0, 0.0]]), np.array([2.0, 3.0, 6.0]))]
    scores = records[0].scores("example")
    for normalisation, ffns in (("paper", scores.ffns), ("all", np.array([2, 3, 6]) / 7)):
        table = importance_table(records, normalisation=normalisation)
        heads = table.loc[table["unit"] == "head", "importance"].to_numpy()
        assert np.array_equal(heads, scores.normalised_heads().ravel())
        assert np.allclose(table.loc[table["unit"] == "ffn", "importance"], ffns, atol=1e-15)
    ranked = winning_ticket(Scores(heads.reshape(3, 2), scores.ffns), 0.5)
    assert ranked == winning_ticket(scores, 0.5)
    with pytest.raises(SuperticketsError, match="no normalisation 'none' of importance; choose one of 'paper', 'all'"):
        importance_table(records, normalisation="none")


def test_a_loss_of_another_scale_changes_the_shares_of_what_is_not_normalised():
    """Section 3 normalises heads only: by default the FFNs of a task with a large loss weigh more."""
    records = records_of()
    loud = [(record, record.scores("example")) for record in records[2:]]
    louder = [*records[:2], *(record_of("b", r.spec.seed, 100 * own.heads, 100 * own.ffns) for r, own in loud)]
    for normalisation, changed in (("paper", {"ffn"}), ("all", set()), ("raw", {"head", "ffn"})):
        before, after = (task_shares(importance_table(each, normalisation=normalisation)) for each in (records, louder))
        grown = after["b"] - before["b"] > 0.1
        assert set(before.loc[grown, "unit"]) == changed
        assert np.allclose(after.loc[~grown, "b"], before.loc[~grown, "b"], atol=1e-12)
    pd.testing.assert_frame_equal(
        importance_table(louder), importance_table(louder, normalisation="paper")
    )  # the default


def test_shares_are_the_proportions_of_means_over_seeds():
    table = table_of({"b": np.array([[1.0, 0.0], [3.0, 0.0]]), "a": np.array([[6.0, 0.0]])})
    shares = task_shares(table)
    assert share_tasks(shares) == ["b", "a"]  # the table's order
    assert shares.loc[0, ["importance", "b", "a"]].tolist() == [4.0, 0.25, 0.75]
    assert shares.loc[1, "importance"] == 0
    assert shares.loc[1, ["b", "a"]].isna().all()


def test_shares_sum_to_one():
    shares = task_shares(importance_table(records_of(("a", "b", "c"))))
    assert shares[["unit", "layer", "head"]].iloc[[0, 11, 12, 14]].to_numpy().tolist() == [
        ["head", 1, 1],
        ["head", 3, 4],
        ["ffn", 1, 0],
        ["ffn", 3, 0],
    ]
    assert np.allclose(shares[["a", "b", "c"]].sum(axis=1), 1, atol=1e-12)


def test_records_that_cannot_be_compared_are_refused():
    with pytest.raises(SuperticketsError, match="no finished full runs"):
        importance_table([])
    with pytest.raises(SuperticketsError, match="has no token importance scores"):
        importance_table(records_of(), "token")
    other = record_of("c", 0, np.ones((2, 4)), np.ones(2), encoder="small")
    with pytest.raises(SuperticketsError, match=r"e with 3 x 4 heads, small with 2 x 4 heads"):
        importance_table([*records_of(), other])
    with pytest.raises(SuperticketsError, match="Units of different encoders"):
        importance_table([*records_of(), record_of("c", 0, np.ones(SHAPE), np.ones(3), encoder="like it")])
    with pytest.raises(SuperticketsError, match="Task 'a' has several full runs with seed 0"):
        importance_table([*records_of(), records_of()[0]])


def test_tables_that_have_no_shares_are_refused():
    table = importance_table(records_of())
    with pytest.raises(SuperticketsError, match="is empty"):
        task_shares(table.iloc[:0])
    with pytest.raises(SuperticketsError, match="not signed ones"):
        task_shares(table.assign(importance=-table["importance"]))
    with pytest.raises(SuperticketsError, match="no importance in some runs"):
        task_shares(table.iloc[1:])


def test_identical_seeds_agree_perfectly():
    rng = np.random.default_rng(0)
    a, b = rng.gamma(2, size=(2, 30))
    agreement = rank_agreement(table_of({"a": np.array([a] * 4), "b": np.array([b] * 4)})).set_index(["a", "b"])
    for task in "ab":
        assert agreement.loc[(task, task), ["correlation", "low", "high", "ceiling"]].tolist() == [1, 1, 1, 1]
        assert agreement.loc[(task, task), "pairs"] == 6
    expected = stats.spearmanr(a, b)
    assert agreement.loc[("a", "b"), "correlation"] == pytest.approx(float(np.asarray(expected)[0]), abs=1e-12)
    assert agreement.loc[("a", "b"), "pairs"] == 4


def test_the_interval_of_two_tasks_is_the_t_interval_of_their_seeds():
    rng = np.random.default_rng(1)
    a, b = rng.gamma(2, size=(2, 5, 30))
    row = rank_agreement(table_of({"a": a, "b": b})).set_index(["a", "b"]).loc[("a", "b")]
    by_seed = [float(np.asarray(stats.spearmanr(x, y))[0]) for x, y in zip(a, b, strict=True)]
    interval = mean_interval(by_seed)
    assert row[["correlation", "low", "high"]].tolist() == pytest.approx([interval.mean, interval.low, interval.high])


def test_the_ceiling_is_estimated_without_claiming_too_much():
    """95% intervals of the agreement of seeds hold its true value in at least 90 of 100 experiments, not in all."""
    rng = np.random.default_rng(2)
    base, n = rng.normal(size=40), 5

    def drawn(seeds: int) -> np.ndarray:
        return 10 + base + rng.normal(size=(seeds, 40))

    truth = rank_agreement(table_of({"a": drawn(60)}))["correlation"].iloc[0]
    held, halves = 0, []
    for _ in range(150):
        row = rank_agreement(table_of({"a": drawn(n)})).iloc[0]
        held += row["low"] <= truth <= row["high"]
        halves.append((row["high"] - row["low"]) / 2)
    assert held >= 135
    assert np.mean(halves) < 0.3


def test_agreement_with_few_or_different_seeds():
    rng = np.random.default_rng(3)
    one = rank_agreement(table_of({"a": rng.gamma(2, size=(1, 9)), "b": rng.gamma(2, size=(1, 9))}))
    assert one["pairs"].tolist() == [0, 1, 0]
    assert one["correlation"].isna().tolist() == [True, False, True]
    assert one[["low", "high", "ceiling"]].isna().to_numpy().all()
    two = rank_agreement(table_of({"a": rng.gamma(2, size=(2, 9))}))
    assert two[["pairs", "correlation", "low"]].notna().to_numpy().tolist() == [[True, True, False]]
    table = table_of({"a": rng.gamma(2, size=(2, 9)), "b": rng.gamma(2, size=(3, 9))})
    table.loc[table["task"] == "b", "seed"] += 10
    assert rank_agreement(table)["pairs"].tolist() == [1, 6, 3]
    with pytest.raises(SuperticketsError, match="no units of kind 'ffn'"):
        rank_agreement(table, "ffn")


def test_the_jackknife_of_a_mean_is_the_t_interval():
    values = np.array([1.0, 4.0, 2.0, 8.0])
    found = jackknife(values.mean(), [np.delete(values, i).mean() for i in range(4)])
    interval = mean_interval(values)
    assert (found.low, found.high, found.sd) == pytest.approx((interval.low, interval.high, interval.sd))
    assert not jackknife(1.0, [1.0]).known
    assert not jackknife(1.0, [1.0, math.nan]).known


def test_clustering_puts_similar_tasks_together():
    rng = np.random.default_rng(4)
    base, other = rng.gamma(2, size=(2, 48))
    scores = {"a": noisy(base, 3, 0.2, rng), "odd": noisy(other, 3, 0.2, rng), "b": noisy(base, 3, 0.2, rng)}
    order = cluster_tasks(table_of(scores))
    assert set(order) == set(scores) and order.index("odd") in (0, 2)
    with pytest.raises(SuperticketsError, match="at least two"):
        cluster_tasks(table_of({"a": scores["a"]}))
    with pytest.raises(SuperticketsError, match="alike and ranks nothing"):
        cluster_tasks(table_of({"a": scores["a"], "flat": np.ones((3, 48))}))


def test_dominated_units_are_found():
    found = dominated_units(shares_of(EIGHT))
    assert found[["head", "tasks", "n"]].to_numpy().tolist() == [[2, "t0", 1], [3, "t1 + t3", 2]]
    assert found["share"].tolist() == pytest.approx([0.65, 0.7])
    lower = dominated_units(shares_of(EIGHT), 0.4)
    assert lower["head"].tolist() == [2, 6, 3]  # by share, one task first
    three = shares_of({"even": [1 / 3] * 3, "one": [0.6, 0.2, 0.2], "two": [0.4, 0.4, 0.2], "no": [0.37, 0.36, 0.27]})
    assert dominated_units(three)["tasks"].tolist() == ["t0", "t0 + t1"]
    for threshold in (1 / 3, 0.2, 1.0):
        with pytest.raises(SuperticketsError, match="above 1/3 and below 1"):
            dominated_units(three, threshold)
    assert dominated_units(shares_of({"even": [0.5, 0.5]}), 0.75).empty


def test_close_ups_are_the_extremes():
    units = close_up_units(shares_of(EIGHT))
    names = {title: list(EIGHT)[head - 1] for title, (_, _, head) in units.items()}
    assert names == {
        "most evenly shared": "even",
        "most shared by all but one task": "all but one",
        "most dominated by one task": "one",
        "most dominated by two tasks": "two",
    }
    assert len(close_up_units(shares_of({str(i): [0.5, 0.3, 0.2] for i in range(9)}))) == 3
    with pytest.raises(SuperticketsError, match="shares of two tasks at least"):
        close_up_units(shares_of({"nothing": [0.0, 0.0]}))
