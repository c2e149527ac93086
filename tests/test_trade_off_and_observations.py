"""Figure 1 from records, and the verdicts on the paper's four observations."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from supertickets.engines import run_all
from supertickets.errors import SuperticketsError
from supertickets.experiments import subset_sweeps, training_set_sweeps
from supertickets.facts import task_facts
from supertickets.observations import larger_models, light_gain, sentences, smaller_data, transitions, winners
from supertickets.profiles import TrainingSets, get_profile, with_subsets, with_training_sets
from supertickets.store import RunStore
from supertickets.tasks import split_dev
from supertickets.trade_off import (
    boundaries,
    directions,
    phase_sentence,
    phase_table,
    trade_off,
    trade_off_figure,
    variance_parts,
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The smallest sweep of training sets: 3 sets, levels 20% and 80%, winning and random."""
    store = RunStore(str(tmp_path_factory.mktemp("runs")))
    specs = training_set_sweeps(get_profile("smoke", levels=[0.2, 0.8]), kinds=["winning", "random"])
    run_all(specs, store, workers=1, progress=False).raise_if_failed()
    return store, specs


def test_the_training_sets_are_different_and_the_dev_set_is_one():
    specs = training_set_sweeps(get_profile("smoke", levels=[0.5]), kinds=["winning"])
    tasks = [spec.data.load() for spec in specs[::2]]
    assert len({task.train.texts for task in tasks}) == 3
    assert len({task.dev.texts for task in tasks}) == 1
    assert {len(task.train) for task in tasks} == {32}
    assert {(spec.data.train_seed, spec.seed) for spec in specs} == {(0, 0), (1, 1), (2, 2)}
    np.testing.assert_allclose(np.max(np.asarray(tasks[0].dev.probabilities), axis=1), 0.7)


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
    assert terms.loc[terms["kind"] == "full", "change"].isna().all()
    winning = terms.loc[(terms["kind"] == "winning") & (terms["level"] == 0.8)].set_index("term")
    assert winning.loc["variance", "change"] == pytest.approx(winning.loc["variance", "value"] - value["variance"])
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
    only = trade_off(
        store.records([spec.id for spec in specs if spec.ticket.kind != "full"], arrays=True), n_resamples=9
    )
    assert np.all(np.isnan(only["change"]))
    assert set(directions(only)["verdict"]) == {"inconclusive"}


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
    np.testing.assert_allclose(terms.loc[terms["term"] == "noise", "value"], 0.25)  # (5 x 0.1)^2
    assert np.max(np.abs(terms["residual"])) < 1e-9


def test_directions_read_the_intervals():
    rows = [
        {"kind": "winning", "level": level, "term": term, "n_sets": 8, "value": 1.0}
        | {"change": (low + high) / 2, "change_low": low, "change_high": high}
        for level, term, low, high in [
            (0.1, "variance", -2.0, -1.0),
            (0.2, "variance", 1.0, 2.0),
            (0.1, "bias2", -1.0, 1.0),
            (0.2, "bias2", 0.5, 1.0),
        ]
    ]
    found = directions(pd.DataFrame(rows))
    assert list(found["verdict"]) == ["supported", "not supported", "inconclusive", "supported"]


def curves(gain: dict[float, float], seeds: int, task: str = "t", noise: float = 0.002, seed: int = 0) -> pd.DataFrame:
    """Records by hand: winning tickets gain as given, random ones lose 0.1, losing ones 0.2."""
    rng = np.random.default_rng(seed)
    rows = []
    for run in range(seeds):
        base = 0.8 + 0.02 * rng.normal()
        rows.append({"task": task, "seed": run, "kind": "full", "level": 0.0, "report_score": base})
        for kind, shift in (("winning", 0.0), ("random", -0.1), ("losing", -0.2)):
            for level, value in gain.items():
                score = base + value + shift + noise * rng.normal()
                rows.append({"task": task, "seed": run, "kind": kind, "level": level, "report_score": score})
    return pd.DataFrame(rows)


RISE = {0.1: 0.02, 0.2: 0.03, 0.3: 0.01, 0.5: -0.05, 0.8: -0.2}
FALL = {0.1: -0.01, 0.2: -0.02, 0.3: -0.03, 0.5: -0.05, 0.8: -0.2}


def test_the_light_gain_is_paired_and_in_points():
    gains = light_gain(curves(RISE, 4, noise=0.0))
    np.testing.assert_allclose(gains, 2.0)
    frame = curves(RISE, 4, noise=0.0)
    lacking = frame.loc[~((frame["seed"] == 2) & (frame["kind"] == "full"))]
    assert list(light_gain(lacking).loc["t"].index) == [0, 1, 3]


def test_verdicts_follow_the_curves():
    both = pd.concat([curves(RISE, 5), curves(RISE, 5, "u", seed=1)])
    order = winners(both)
    assert list(order["verdict"]) == ["supported", "supported"]
    np.testing.assert_allclose(order["effect"], [10, 10], atol=0.5)
    rises = transitions(both)
    assert list(rises["comparison"].str.split(":").str[0]) == ["t", "u", "all tasks together"]
    assert list(rises["verdict"]) == ["supported"] * 3
    assert rises["n"].iloc[-1] == 10
    assert list(transitions(curves(FALL, 10))["verdict"]) == ["not supported"]
    larger = larger_models(curves(FALL, 5), curves(RISE, 5, seed=1))
    assert list(larger["verdict"]) == ["supported"]
    assert larger["effect"].iloc[0] == pytest.approx(4.0, abs=0.3)
    assert list(larger_models(curves(RISE, 5), curves(FALL, 5, seed=1))["verdict"]) == ["not supported"]
    smaller = smaller_data({300: curves(FALL, 5), 100: curves(RISE, 5, seed=1), 50: curves(FALL, 5, seed=3)})
    assert smaller["verdict"].iloc[0] == "supported"
    assert smaller["comparison"].iloc[0] == "t: 100 minus 300 examples"
    assert "supported (t: 100 minus 300" in sentences(smaller)[0]
    with pytest.raises(SuperticketsError, match="two sizes"):
        smaller_data({300: both})


def test_the_phases_of_every_task():
    task = training_set_sweeps(get_profile("smoke", levels=[0.5]), kinds=[])[0].data.load()
    selection = split_dev(task)
    facts, labels = task_facts(task, selection), task.dev.labels[~selection]
    assert facts.constant_score == pytest.approx(np.bincount(labels).max() / len(labels))
    frame = curves(RISE, 6, task.name).assign(constant_score=facts.constant_score)
    random = frame["kind"] == "random"
    frame.loc[random & (frame["level"] == 0.8), "report_score"] = 0.65  # winning tickets end at 0.6
    table = phase_table(pd.concat([frame, frame.loc[frame["kind"] == "full"].assign(task="without tickets")]))
    row = table.iloc[0]
    assert len(table) == 1
    assert row["best"] == 0.2
    assert 0.5 < row["meeting: low"] <= row["meeting"] <= row["meeting: high"] <= 0.8
    assert 0.5 < row["collapse"] <= 0.8


def test_what_is_not_there_is_left_out():
    frame = curves(RISE, 3)
    assert winners(frame.loc[frame["kind"] == "winning"]).empty
    assert transitions(frame.loc[frame["kind"] != "full"]).empty
    assert larger_models(frame, frame.loc[frame["kind"] == "full"]).empty
    with pytest.raises(SuperticketsError, match="winning and random"):
        boundaries(frame.loc[frame["kind"] != "random"])


def test_training_sizes_and_sets_can_be_changed():
    profile = with_training_sets(with_subsets(get_profile("smoke", seeds=[0], levels=[0.5]), "20"), "paraphrase", 24, 2)
    specs = subset_sweeps(profile)
    assert [spec.data.train_size for spec in specs] == [48, 48, 20, 20]
    assert specs[0].data.load().dev.texts == specs[-1].data.load().dev.texts
    assert len(specs[-1].data.load().train) == 20
    sets = training_set_sweeps(profile, kinds=["losing"])
    assert [(spec.data.name, spec.data.train_size) for spec in sets] == [("paraphrase", 24)] * 4
    with pytest.raises(SuperticketsError, match="whole numbers"):
        with_subsets(profile, "many")
