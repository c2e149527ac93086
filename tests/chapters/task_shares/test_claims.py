"""Claims about shares: noise is not taken for tasks."""

import math

import numpy as np
import pandas as pd
import pytest
from importance_tables import EIGHT, noisy, shares_of, table_of

from supertickets.chapters.claims import HOLDS, REVERSED, UNKNOWN, sentences
from supertickets.chapters.task_shares.claims import BESIDE, CLAIMS, dominated_sentences, share_claims, sst2_claims
from supertickets.chapters.task_shares.tables import dominated_units
from supertickets.statistics import holm


def claims_of(spread: float, seeds: int = 5, tasks: int = 4, noise: float = 0.05) -> pd.DataFrame:
    """Tasks whose importance differs by ``spread`` (standard deviation of its logarithm), seeds by ``noise``."""
    rng = np.random.default_rng(5)
    base = rng.gamma(2, size=60)
    return share_claims(
        table_of({f"t{i}": noisy(noisy(base, 1, spread, rng)[0], seeds, noise, rng) for i in range(tasks)})
    )


def test_what_most_tasks_share_matters_less_to_sst2():
    rng = np.random.default_rng(0)
    base = {name: np.ones(20) for name in ("a", "b", "c", "sentiment")}
    base["a"] = np.where(np.arange(20) < 5, 5.0, 1.0)  # those units are a's, and not counted
    for factor, verdict in ((0.4, HOLDS), (1.0, UNKNOWN), (2.0, REVERSED)):
        given = base | {"sentiment": factor * np.where(np.arange(20) < 5, 100.0, 1.0)}
        (row,) = sst2_claims(table_of({k: noisy(x, 5, 0.02, rng) for k, x in given.items()})).to_dict("records")
        assert row["effect"] == pytest.approx(4 * factor / (3 + factor), abs=0.05)
        assert (row["verdict"], row["n"]) == (verdict, 5)
    assert sst2_claims(table_of({name: noisy(np.ones(9), 3, 0.1, rng) for name in "abcd"})).empty


def test_claims_about_tasks_that_are_alike():
    claims = claims_of(spread=0.0, noise=0.2)
    assert claims["claim"].tolist() == [*CLAIMS, *BESIDE]
    # Nothing but seed noise: tasks are as even as seeds, and nothing is dominated, not "a small number".
    assert claims["verdict"].tolist() == [HOLDS, *[UNKNOWN] * 5]
    assert claims["where"].tolist()[1:3] == ["0 of 60 by all seeds"] * 2
    assert claims["effect"].iloc[1:3].max() < 0.01
    assert 0.8 < claims.loc[0, "effect"] < 1
    same = claims_of(spread=0.0)  # all shares almost equal for all seeds
    assert same.loc[3, ["compared", "tasks", "seeds"]].tolist() == [4, 1.0, 1.0]
    assert same["effect"].tolist() == [1, 0, 0, 0, 0, 0]


def test_noise_alone_is_not_taken_for_tasks():
    claims = claims_of(spread=0.0, noise=0.6)
    assert claims.loc[3, "tasks"] < 0.5  # far from even,
    assert claims.loc[3, "low"] < 0 < claims.loc[3, "high"]  # but so are the seeds of one task
    assert claims.loc[3, "verdict"] == UNKNOWN


def test_claims_about_tasks_that_differ():
    claims = claims_of(spread=1.0)
    assert claims.loc[[0, 3, 4], "verdict"].tolist() == [REVERSED, HOLDS, HOLDS]
    assert claims.loc[3, "seeds"] == 1.0
    assert claims.loc[3, "effect"] == pytest.approx(claims.loc[3, "tasks"] - 1)
    assert claims.loc[1, ["limit", "side", "verdict"]].tolist() == [0.1, "below", REVERSED]  # that is not a few
    np.testing.assert_allclose(claims["p (Holm)"], [*holm(claims["p"].iloc[:3]), *holm(claims["p"].iloc[3:])])


def test_a_few_are_more_than_none_and_less_than_a_tenth():
    rng = np.random.default_rng(0)
    alike, lone = np.ones(60), np.ones(60)
    lone[:3] = 20.0
    table = table_of({name: noisy(base, 5, 0.1, rng) for name, base in zip("abcd", (lone, *[alike] * 3), strict=True)})
    table.loc[(table["seed"] == 0) & (table["task"] == "a") & (table["head"] == 3), "importance"] = 1.0
    claims = share_claims(table)
    assert claims.loc[1, ["where", "limit", "side", "verdict"]].tolist() == [
        "3 of 60 by all seeds",
        0.0,
        "above",
        HOLDS,
    ]
    assert 0 < claims.loc[1, "low"] < claims.loc[1, "high"] < 0.1
    assert claims.loc[1, "n"] == 5 and claims.loc[1, "effect"] == pytest.approx((4 * 3 + 2) / 5 / 60)


def test_claims_with_few_seeds_cannot_tell():
    claims = claims_of(spread=1.0, seeds=1)
    assert set(claims["verdict"]) == {UNKNOWN}
    assert not math.isnan(claims.loc[0, "effect"])
    assert sentences(claims)[3].endswith("cannot tell (not measured).")
    assert claims_of(spread=1.0, seeds=4)["compared"].tolist()[3:] == [3, 3, 3]
    assert claims_of(spread=1.0, seeds=3)["compared"].dropna().tolist() == [2]  # two tell no dominance at 0.5
    apart = table_of({"a": np.ones((1, 4)), "b": np.ones((1, 4)), "c": np.ones((1, 4))})
    apart["seed"] = np.repeat([0, 1, 2], 4)
    assert share_claims(apart)["verdict"].iloc[0] == UNKNOWN


def test_sentences_give_names():
    assert dominated_sentences(dominated_units(shares_of(EIGHT)), names=1) == [
        "Dominated by one task: head 2 of layer 1 (t0, 65%).",
        "Dominated by two tasks: head 3 of layer 1 (t1 + t3, 70%).",
    ]
    assert "and 1 more" in dominated_sentences(dominated_units(shares_of(EIGHT), 0.4), names=1)[0]
