"""Where light pruning gains, and whether variance explains it: found where it is so, and not where it is not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from supertickets.chapters.claims import HOLDS, UNKNOWN
from supertickets.chapters.map.claims import (
    GROWS,
    SHRINKS,
    explained_sentence,
    explanation,
    explanation_claims,
    gains,
    larger_model,
    neighbours,
)
from supertickets.chapters.map.tables import Cell, terms


def cell(fall: float, bias: float, rng: np.random.Generator, sets: int = 12, n: int = 60, **known: float) -> Cell:
    """A cell whose tickets' errors have ``fall`` less spread than the full model's and lie ``bias`` further off."""
    full = 0.3 * rng.normal(size=(sets, n))
    errors = [full, *((1 - fall) * full + bias for _ in range(3))]
    products = np.array([200 * p @ p.T / n for p in errors])
    return Cell("e", "t", int(known.get("size", 50)), known.get("noise", 0.0), 90.0, np.zeros(sets), products)


def made(a: float, b: float, spread: float = 0.5, seed: int = 0, between: float = 0.0) -> list[Cell]:
    """Thirty cells whose gains follow their own terms with slopes ``a`` and ``b``, but for chance."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(30):
        own = cell(rng.uniform(0, 0.2), rng.uniform(0, 0.2), rng)
        own_terms = terms(own)
        mean = a * own_terms["fall of variance"][0] + b * own_terms["rise of bias"][0] + between * rng.normal()
        found.append(replace(own, gains=mean + spread * rng.normal(size=own.n)))
    return found


def test_slopes_are_found_with_their_signs():
    fit = explanation(made(0.8, -0.4))
    assert fit is not None
    np.testing.assert_allclose(fit.slopes, [0.8, -0.4], atol=3 * fit.sds.max())
    assert fit.sds.max() < 0.1
    assert fit.explained > 0.9
    assert fit.cells == 30
    found = explanation_claims(made(0.8, -0.4))
    assert set(found["n"]) == {30}  # what the interval's t counts
    assert set(found.loc[~found["detail"], "verdict"]) == {HOLDS}
    assert set(found.loc[found["detail"], "claim"]) == {GROWS, SHRINKS}
    assert "30 cells" in explained_sentence(made(0.8, -0.4))[0]


def test_gains_that_follow_nothing_are_not_explained():
    """About one regression in twenty finds a slope by chance; corrected, with both slopes, no more."""
    verdicts = [explanation_claims(made(0.0, 0.0, seed=seed), 200)["verdict"].iloc[:2] for seed in range(40)]
    assert sum((v != UNKNOWN).any() for v in verdicts) <= 6  # P(more) is under 1% at a rate of 5%


def test_the_large_models_gain_is_compared_over_the_cells_of_both_set_by_set():
    rng = np.random.default_rng(0)
    base = [cell(0.1, 0.1, rng, size=size) for size in (50, 100, 200)]
    base = [replace(own, gains=20 * rng.normal(size=own.n)) for own in base]  # sets differ far more than the encoders
    large = [replace(own, encoder="l", gains=own.gains + 1 + 0.1 * rng.normal(size=own.n)) for own in base[::2]]
    found = larger_model(base, large)
    together = found.loc[~found["detail"]].iloc[0]
    assert (together["verdict"], together["n"], together["where"]) == (HOLDS, 12, "mean of 2 cells")
    assert together["effect"] == pytest.approx(1.0, abs=0.1)
    assert larger_model(base[:1], large[1:]).empty


def test_halves_keep_chance_that_gain_and_terms_share_out_of_the_slope():
    """Sets that happen to lie far from the others lose most: nothing that pruning did, and the halves see nothing."""
    rng, tied = np.random.default_rng(3), []
    for _ in range(200):
        own = cell(0.1, 0.0, rng, sets=8, n=4)
        tied.append(replace(own, gains=np.einsum("ss->s", own.products[0])))
    together, apart = explanation(tied), explanation(tied, halves=True)
    assert together is not None
    assert apart is not None
    assert together.slopes[0] > 5 * together.sds[0]
    assert abs(apart.slopes[0]) < 3 * apart.sds[0]


def test_cells_count_by_the_precision_of_their_gains():
    found = made(0.8, -0.4, 0.2)
    rng = np.random.default_rng(5)
    wild = [replace(own, gains=own.gains + 30 * rng.normal(size=own.n)) for own in made(0.8, -0.4, seed=9)[:5]]
    fit, plain = explanation(found + wild), explanation(found)
    assert fit is not None
    assert plain is not None
    np.testing.assert_allclose(fit.slopes, plain.slopes, atol=0.05)


def test_too_few_cells_explain_nothing():
    few = made(0.8, -0.4)[:4]
    assert explanation(few) is None
    assert explained_sentence(few) == []
    assert set(explanation_claims(few)["verdict"]) == {UNKNOWN}
    assert explanation_claims([])["effect"].isna().tolist() == [True, True]


def test_gains_are_claimed_together_and_corrected_cell_by_cell():
    rng = np.random.default_rng(0)
    known = [{"size": size, "noise": noise} for size in (50, 100) for noise in (0.0, 0.4)]
    found = [replace(cell(0.1, 0.0, rng, **k), gains=rng.normal(size=12)) for k in known]
    found[3] = replace(found[3], gains=3 + rng.normal(size=12))
    judged = gains(found)
    assert judged["where"].tolist()[0] == "mean of 4 cells"
    assert judged["effect"].iloc[0] == pytest.approx(np.mean([own.gains.mean() for own in found]))
    details = judged.loc[judged["detail"]].set_index("where")
    assert details["verdict"].to_dict()["100 examples, 40% wrong"] == HOLDS
    assert np.all(details["p (Holm)"].to_numpy() >= details["p"].to_numpy())


def test_other_encoders_lie_beside_the_cells_whose_variance_falls_as_much():
    cells = pd.DataFrame({"fall of variance": [-1.0, 0.1, 0.3], "gain": [-3.0, 1.0, 2.0]})
    row = {"encoder": "minilm", "task": "SST-2", "train_size": 500, "fall of variance": 0.2, "gain": 0.5}
    ends = {"fall of variance: low": 0.0, "fall of variance: high": 0.4, "gain: low": -0.5, "gain: high": 1.5}
    (said,) = neighbours(cells, pd.DataFrame([row | ends]))
    assert said.startswith("minilm on 500 examples of SST-2: fall of variance +0.20 [+0.00, +0.40] hundredths")
    assert said.endswith(
        "2 of 3 cells have a fall of variance within that interval; their gains are +1.50 points on average."
    )
    (alone,) = neighbours(cells.head(1), pd.DataFrame([row | ends]))
    assert alone.endswith("0 of 1 cells have a fall of variance within that interval.")
