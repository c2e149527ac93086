"""Other ways to find a ticket: a better one is found where it was put in, and scores agree as they were made to."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from supertickets.chapters.choices import searching
from supertickets.chapters.choices.searching import (
    WAYS,
    agreement_figure,
    agreement_sentences,
    agreement_table,
    search_claims,
    search_scores,
    ways_figure,
)
from supertickets.chapters.claims import HOLDS, REVERSED, UNKNOWN
from supertickets.studies import SEARCH_LEVELS, at_hand, get_profile, search_runs
from supertickets.tickets import Scores


def scores(n: int = 12, **moved: float) -> pd.DataFrame:
    """Training sets differ by much more than ways do."""
    rng, sets = np.random.default_rng(0), 70 + 5 * np.sin(np.arange(n))
    columns = {
        (way, level): sets - 20 * level + moved.get(way, 0.0) + 0.3 * rng.normal(size=n)
        for way in ("example", *WAYS)
        for level in SEARCH_LEVELS
    }
    return pd.DataFrame(columns)


def test_a_better_way_is_found_and_one_family_is_judged():
    found = search_claims(scores(iterative=2.0, random=-3.0))
    claims = found.loc[~found["detail"].astype(bool)].set_index("way")["verdict"].to_dict()
    assert (claims.pop("iterative"), claims.pop("random")) == (HOLDS, REVERSED)
    assert set(claims.values()) == {UNKNOWN} and len(claims) == len(WAYS) - 2
    assert len(found) == 3 * len(WAYS) and set(found["n"]) == {12}
    (axis,) = ways_figure(found).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == list(WAYS.values())
    assert search_claims(pd.DataFrame()).empty


class Store:
    """Every run that is planned: scores of few examples are those of all with more noise, the fewer the more."""

    def __init__(self) -> None:
        self.specs = {x.id: (way, x) for way, specs in search_runs(get_profile("lab")).items() for x in specs}

    def frame(self, specs: Any) -> pd.DataFrame:
        rows = [
            {"run": x.id, "seed": x.seed, "kind": x.ticket.kind, "level": x.ticket.level, "report_score": x.seed / 1e4}
            for x in specs
        ]
        return pd.DataFrame(rows)

    def records(self, runs: Any, arrays: bool) -> Any:
        for run in runs:
            way, spec = self.specs[run]

            def made(name: str, way: str = way, seed: int = spec.seed) -> Scores:
                n = float(name.partition("@")[2] or 200)
                rng = np.random.default_rng(seed)
                true, noise = rng.random((6, 8)), np.random.default_rng([seed, int(n)]).random((6, 8))
                off = 0.0 if name == "example" and way == "full" else 1 / n
                return Scores(true + 10 * off * noise, true.sum(1), name, int(n))

            yield SimpleNamespace(scores=made)


def test_scores_agree_the_better_the_more_examples_they_read():
    store = Store()
    whole = store.frame([spec for _, spec in store.specs.values()])
    scale = cast(Any, SimpleNamespace(store=store, profile=get_profile("lab"), inputs=at_hand(), frame=lambda _: whole))
    table = agreement_table(scale).set_index("score")
    few = table.loc[[name for name in table.index if "@" in str(name)]]
    assert few["heads"].is_monotonic_increasing and few["kept at 50%"].is_monotonic_increasing
    assert few["FFNs"].tolist() == pytest.approx([1] * 5)
    assert table.loc["random", "kept at 20%"] == pytest.approx(0.8 / 1.2, abs=0.05)
    assert np.isnan(table.loc["random", "heads"]) and set(table["n"]) == {12}
    assert table.loc["example@128", "kept at 20%"] > table.loc["random", "kept at 20%"] + 0.1
    told = agreement_sentences(table.reset_index())
    assert len(told) == 2 and told[0].startswith(
        f"Scored on 8 examples, heads rank as by all at {few['heads'].iloc[0]:.2f}"
    )
    assert len(agreement_figure(table.reset_index()).axes) == 2
    wide = search_scores(scale)
    assert wide.shape == (12, 1 + len(SEARCH_LEVELS) * (1 + len(WAYS)))
    assert set(WAYS) | {"example", "full"} == set(wide.columns.get_level_values("way"))
    assert wide["full", 0.0].tolist() == pytest.approx([seed / 100 for seed in range(3000, 3012)])
    empty = cast(
        Any, SimpleNamespace(store=store, profile=get_profile("lab"), inputs=at_hand(), frame=lambda _: pd.DataFrame())
    )
    assert agreement_table(empty).empty and search_claims(search_scores(empty)).empty


def test_every_way_is_one_that_is_run():
    assert set(search_runs(get_profile("lab"))) == {"full", "example", *searching.WAYS}
