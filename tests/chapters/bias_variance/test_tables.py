"""Noise, bias and variance of tickets over training sets."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.special import softmax

from supertickets.chapters.bias_variance.claims import directions
from supertickets.chapters.bias_variance.figures import trade_off_figure
from supertickets.chapters.bias_variance.tables import trade_off, variance_parts
from supertickets.chapters.single_task.claims import (
    boundaries,
    phase_sentence,
)
from supertickets.engines import run_all
from supertickets.errors import SuperticketsError
from supertickets.runs import RunStore
from supertickets.studies import get_profile, training_set_sweeps
from supertickets.studies.profiles import TrainingSets


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The smallest sweep of training sets: 3 sets, levels 20% and 80%, winning and random."""
    store = RunStore(str(tmp_path_factory.mktemp("runs")))
    specs = training_set_sweeps(get_profile("smoke", levels=[0.2, 0.8]), kinds=["winning", "random"])
    run_all(specs, store, workers=1, progress=False).raise_if_failed()
    return store, specs


def test_the_terms_are_those_of_the_predictions_and_add_up(swept):
    store, specs = swept
    records = list(store.records([spec.id for spec in specs], arrays=True))
    terms = trade_off(records, n_resamples=50)
    assert len(terms) == 4 * 5
    assert np.max(np.abs(terms["residual"])) < 1e-12
    full = [record for record in records if record.spec.ticket.kind == "full"]
    report = ~full[0].arrays["selection"]
    p = np.stack([softmax(record.arrays["dev_logits"][report].astype(float), axis=1) for record in full])
    q = full[0].spec.data.load().dev.probabilities[report]
    value = terms.loc[terms["kind"] == "full"].set_index("term")["value"]
    assert value["noise"] == pytest.approx(1 - 0.7**2 - 0.3**2)
    assert value["variance"] == pytest.approx(p.var(axis=0, ddof=1).sum(axis=1).mean())
    assert value["error"] == pytest.approx((1 - 2 * (p * q).sum(-1) + (p**2).sum(-1)).mean())
    winning = terms.loc[(terms["kind"] == "winning") & (terms["level"] == 0.8)].set_index("term")["value"]
    changes = directions(records, ["brier"], n_resamples=50)
    for text, term in (("variance falls", "variance"), ("bias rises", "bias2")):
        change = changes.loc[(changes["claim"] == text) & (changes["place"] == "80%"), "effect"]
        np.testing.assert_allclose(change, 100 * (winning[term] - value[term]))
    for loss in ("cross_entropy", "zero_one"):
        assert np.max(np.abs(trade_off(records, loss, n_resamples=20)["residual"])) < 1e-9


def test_two_seeds_a_set_split_the_variance(tmp_path):
    profile = get_profile("smoke", levels=[0.5])
    store, specs = RunStore(str(tmp_path)), training_set_sweeps(profile, kinds=[], repeats=2)
    assert len({spec.seed for spec in specs}) == 6
    run_all(specs, store, workers=1, progress=False).raise_if_failed()
    records = list(store.records([spec.id for spec in specs], arrays=True))
    row = variance_parts(records, n_resamples=20).iloc[0]
    assert (row["sets"], row["seeds"]) == (3, 2)
    assert row["variance"] == pytest.approx(row["training_set"] + row["initialisation"])
    report = ~records[0].arrays["selection"]
    p = np.stack([softmax(record.arrays["dev_logits"][report].astype(float), axis=1) for record in records])
    within = p.reshape(3, 2, -1, 2).var(axis=1, ddof=1).sum(axis=-1).mean()
    assert row["initialisation"] == pytest.approx(within)
    assert variance_parts([record for record in records if record.spec.seed < 1000]).empty


def test_missing_runs_leave_the_rest(swept):
    store, specs = swept
    lacking = [spec.id for spec in specs if not (spec.seed == 1 and spec.ticket.kind == "random")]
    terms = trade_off(store.records(lacking, arrays=True), n_resamples=20)
    sizes = terms.groupby("kind")["n_sets"].first()
    assert sizes.to_dict() == {"full": 3, "random": 2, "winning": 3}
    frame = store.frame([spec for spec in specs if spec.id in lacking])
    phases = boundaries(frame)
    assert phases.n_seeds == 2
    fig = trade_off_figure(frame, terms, phases)
    assert [axis.get_xlim()[0] > axis.get_xlim()[1] for axis in fig.axes] == [True] * 3
    assert "0.420" in fig.axes[1].get_title()
    plt.close(fig)
    assert "Phase I ends at" in phase_sentence(phases)


def test_one_training_set_or_two_dev_sets_are_refused(swept):
    store, specs = swept
    one = [spec.id for spec in specs if spec.seed == 0]
    with pytest.raises(SuperticketsError, match="at least two training sets"):
        trade_off(store.records(one, arrays=True))
    records = list(store.records([spec.id for spec in specs], arrays=True))
    other = replace(records[0], arrays={**records[0].arrays, "dev_labels": 1 - records[0].arrays["dev_labels"]})
    with pytest.raises(SuperticketsError, match=f"Run {other.id} .* was not evaluated on the dev set"):
        trade_off([*records[1:], other])


def test_a_regression_is_split_by_the_squared_loss(tmp_path):
    profile = replace(get_profile("smoke", levels=[0.5]), sets=TrainingSets("similarity", 32, 2))
    store, specs = RunStore(str(tmp_path)), training_set_sweeps(profile, kinds=["winning"])
    run_all(specs, store, workers=1, progress=False).raise_if_failed()
    terms = trade_off(store.records([spec.id for spec in specs], arrays=True), n_resamples=20)
    assert set(terms["loss"]) == {"squared"}
    changes = directions(store.records([spec.id for spec in specs], arrays=True), n_resamples=20)
    assert set(changes["loss"]) == {"squared"}
    np.testing.assert_allclose(terms.loc[terms["term"] == "noise", "value"], 0.25)  # (5 x 0.1)^2
    assert np.max(np.abs(terms["residual"])) < 1e-9
