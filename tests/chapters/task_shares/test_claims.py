"""Claims about shares: noise is not taken for tasks."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from importance_tables import EIGHT, noisy, shares_of, table_of

from supertickets.chapters.task_shares.claims import CLAIMS, share_claims, share_sentences
from supertickets.chapters.task_shares.tables import (
    dominated_units,
)
from supertickets.errors import SuperticketsError


def claims_of(spread: float, seeds: int = 5, tasks: int = 4, noise: float = 0.05) -> pd.DataFrame:
    """Tasks whose importance differs by ``spread`` (standard deviation of its logarithm), seeds by ``noise``."""
    rng = np.random.default_rng(5)
    base = rng.gamma(2, size=60)
    return share_claims(
        table_of({f"t{i}": noisy(noisy(base, 1, spread, rng)[0], seeds, noise, rng) for i in range(tasks)})
    )


def test_claims_about_tasks_that_are_alike():
    claims = claims_of(spread=0.0)
    assert claims["claim"].iloc[::2].tolist() == [name for name, *_ in CLAIMS]
    assert claims["verdict"].tolist()[0] == "supported"
    assert claims.loc[0, ["units", "of", "value"]].tolist() == [60, 60, 1.0]
    # Nothing but seed noise: tasks are as even as seeds, and nothing is dominated, not "a small number".
    assert claims.loc[1, ["compared", "tasks", "seeds"]].tolist() == [4, 1.0, 1.0]
    assert claims["verdict"].tolist()[1:] == ["not supported"] * 5


def test_noise_alone_is_not_taken_for_tasks():
    claims = claims_of(spread=0.0, noise=0.6)
    assert claims.loc[1, "tasks"] < 0.5  # far from even,
    assert claims.loc[1, "low"] < 0 < claims.loc[1, "high"]  # but so are the seeds of one task
    assert claims.loc[1, "verdict"] == "inconclusive"


def test_claims_about_tasks_that_differ():
    claims = claims_of(spread=1.0)
    assert claims["verdict"].tolist()[:4] == ["not supported", "supported", "not supported", "supported"]
    assert claims.loc[1, "seeds"] == 1.0
    assert claims.loc[1, "value"] == pytest.approx(claims.loc[1, "tasks"] - 1)
    assert 6 < claims.loc[2, "units"] < 30


def test_claims_with_few_seeds_are_inconclusive():
    claims = claims_of(spread=1.0, seeds=1)
    assert claims.loc[[0, 1, 3, 5], "verdict"].tolist() == ["inconclusive"] * 4
    assert not math.isnan(claims.loc[0, "value"])
    assert "too few seeds" in share_sentences(claims)[1]
    assert claims_of(spread=1.0, seeds=4)["compared"].tolist()[1::2] == [3, 3, 3]
    assert claims_of(spread=1.0, seeds=3)["compared"].dropna().tolist() == [2]  # two tell no dominance at 0.5
    apart = table_of({"a": np.ones((1, 4)), "b": np.ones((1, 4)), "c": np.ones((1, 4))})
    apart["seed"] = np.repeat([0, 1, 2], 4)
    assert share_claims(apart)["verdict"].iloc[0] == "inconclusive"
    with pytest.raises(SuperticketsError, match=r"between 0 and 1, not 1\.5"):
        share_claims(apart, band=1.5)


def test_sentences_give_verdict_numbers_and_names():
    claims = claims_of(spread=1.0)
    said = share_sentences(claims, dominated_units(shares_of(EIGHT)), names=1)
    assert len(said) == 8
    assert re.match(r"Almost equal shares for most tasks: not supported \(\d+ of 60 units by all seeds", said[0])
    assert f"{100 * claims.loc[1, 'value']:+.1f} points, 95% interval {100 * claims.loc[1, 'low']:+.1f} to" in said[1]
    assert said[6:] == [
        "Dominated by one task: head 2 of layer 1 (t0, 65%).",
        "Dominated by two tasks: head 3 of layer 1 (t1 + t3, 70%).",
    ]
    assert "and 1 more" in share_sentences(claims, dominated_units(shares_of(EIGHT), 0.4), names=1)[6]
