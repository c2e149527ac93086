"""One row, one rule and one sentence for every claim."""

import math

import numpy as np
import pytest

from supertickets.chapters.claims import ALPHA, HOLDS, REVERSED, UNKNOWN, claim, judged, runs_needed, sentence, t_power
from supertickets.errors import SuperticketsError
from supertickets.statistics import Interval


def word(values, **fields) -> str:
    return judged([claim("it helps", "here", values, **fields)])["verdict"].iloc[0]


@pytest.mark.parametrize(
    ("values", "fields", "expected"),
    [
        ([1.0, 1.2, 0.9, 1.1], {}, HOLDS),
        ([-1.0, -1.2, -0.9, -1.1], {}, REVERSED),
        ([1.0, 1.2, 0.9, 1.1], {"side": "below"}, REVERSED),
        ([1.0, 1.2, 0.9, 1.1], {"limit": 1.0}, UNKNOWN),
        ([-0.1, 0.1, 0.0, 0.2], {"limit": -1.0}, HOLDS),  # no loss beyond a margin
        ([5.0], {}, UNKNOWN),  # one run decides nothing
        ([5.0, 5.0], {}, UNKNOWN),  # neither do two that are alike
        (Interval(5, 0.5, 0.1, 0.2, 0.8), {"p": 0.01}, HOLDS),
        (Interval(5, 0.5, 0.1, 0.2, 0.8), {"p": 0.06}, UNKNOWN),
        (Interval(5, 0.5, 0.1, 0.0, 0.8), {"p": 0.01}, UNKNOWN),
        (Interval(1, math.nan, math.nan, math.nan, math.nan), {}, UNKNOWN),
    ],
)
def test_the_rule(values, fields, expected):
    assert word(values, **fields) == expected


def test_a_family_is_corrected_and_claims_that_could_not_be_tested_do_not_count():
    rows = [claim("a", str(i), [0.5, 1.0, 1.6]) for i in range(3)]
    alone = judged(rows[:1])
    together = judged([*rows, claim("a", "one run", [1.0])])
    assert alone["p (Holm)"].iloc[0] == alone["p"].iloc[0] < 0.1
    np.testing.assert_allclose(together["p (Holm)"].iloc[:3], 3 * alone["p"].iloc[0])
    assert math.isnan(together["p (Holm)"].iloc[3])
    assert list(judged([]).columns[:2]) == ["claim", "where"]
    np.testing.assert_array_equal(judged(rows, family=False)["p (Holm)"], judged(rows, family=False)["p"])


def test_no_word_contradicts_the_effect_beside_it():
    rng = np.random.default_rng(0)
    for _ in range(200):
        effect, limit = rng.normal(size=2)
        side = rng.choice(["above", "below"])
        row = judged([claim("x", "", rng.normal(effect, 1, 6), limit=limit, side=side)]).to_dict("records")[0]
        beyond = row["effect"] > limit if side == "above" else row["effect"] < limit
        assert row["verdict"] == UNKNOWN or (row["verdict"] == HOLDS) == beyond


@pytest.mark.parametrize("n", [3, 5, 12])
@pytest.mark.parametrize("families", [400, pytest.param(4000, marks=pytest.mark.slow)])
def test_false_verdicts_of_a_family_are_as_rare_as_they_say(n, families, record_property):
    """No claim of eight is true or false: one of them gets a word in at most 5% of the families."""
    rng, false = np.random.default_rng(n), 0
    for _ in range(families):
        rows = [claim("x", str(i), values) for i, values in enumerate(rng.normal(size=(8, n)))]
        false += bool((judged(rows)["verdict"] != UNKNOWN).any())
    record_property("false verdicts", false / families)
    assert false / families < ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / families)


def test_power_is_the_share_of_experiments_that_see_the_effect():
    rng = np.random.default_rng(0)
    seen = np.mean([word(rng.normal(0.9, 1.5, 20)) == HOLDS for _ in range(400)])
    assert seen == pytest.approx(t_power(0.9, 1.5, 20), abs=3 * 0.5 / 20)
    n = runs_needed(0.9, 1.5)
    assert t_power(0.9, 1.5, n) >= 0.8 > t_power(0.9, 1.5, n - 1)
    assert runs_needed(0.0, 1.0) == math.inf
    assert (t_power(1.0, 0.0, 3), t_power(0.0, 0.0, 3)) == (1.0, 0.0)
    assert math.isnan(t_power(math.nan, 1.0, 5)) and math.isnan(runs_needed(1.0, math.nan))


def test_sentences_say_what_the_row_has():
    rows = judged([claim("it rises", "RTE", [1.0, 1.2, 0.9]), claim("it rises", "CoLA", [1.0, 0.8, 1.2])])
    first, second = map(sentence, rows.to_dict("records"))
    assert first.startswith(
        "It rises (RTE): holds here (+1.03 points, 95% interval +0.65 to +1.41; p = 0.0072, corrected"
    )
    assert second.endswith("n = 3).")
    (share,) = judged([claim("few", "", Interval(5, 0.03, 0.01, 0.01, 0.05), limit=0.1, unit="share")]).to_dict(
        "records"
    )
    assert sentence(share) == "Few: cannot tell (+3.00%, 95% interval +1.0 to +5.0; n = 5; limit +10.00%)."
    (one,) = judged([claim("few", "", [1.0])]).to_dict("records")
    assert sentence(one) == "Few: cannot tell (+1.00 points, no interval; n = 1)."
    with pytest.raises(SuperticketsError, match="above or below, not 'beside'"):
        claim("x", "", [1.0], side="beside")
