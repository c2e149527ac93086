"""The map's cells: gain, variance and bias of light pruning from records, as the general decomposition has them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from supertickets.chapters.chapter import Chapter, recorded_scales
from supertickets.chapters.map.tables import CONDITIONS, agreement, cells, map_table, resampled, terms
from supertickets.runs import RunStore, pack
from supertickets.statistics import bias_variance
from supertickets.studies import get_profile, some_cells


def records(size: int = 50, noise: float | None = None, sets: int = 6, shrink: float = 0.5, n: int = 200) -> list[Any]:
    """Full models and light tickets on real data; a ticket's logits lie closer together, and a little off."""
    rng = np.random.default_rng(size)
    labels, selection = rng.integers(0, 2, n), np.arange(n) < n // 10
    found = []
    for k in range(sets):
        own = rng.normal(size=n)
        for kind, level in CONDITIONS:
            right = (2 * labels - 1) * (1 + own * (1 if kind == "full" else shrink) - level)
            logits = np.stack([-right, right], 1)
            score = float((logits[~selection].argmax(1) == labels[~selection]).mean())
            data = SimpleNamespace(name="t", train_seed=k, train_size=size, noise=noise, in_lab=False)
            rule = SimpleNamespace(kind=kind, level=level)
            found.append(
                SimpleNamespace(
                    id=f"{kind}{level}-{size}-{k}",
                    spec=SimpleNamespace(encoder="e", ticket=rule, data=data, seed=k),
                    arrays={"dev_labels": labels, "selection": selection, "dev_logits": logits},
                    metrics={"report": {"score": score}},
                    size={},
                )
            )
    return found


def test_terms_are_those_of_the_general_decomposition():
    made = records()
    (cell,) = cells(made)
    own = terms(cell)
    report = ~made[0].arrays["selection"]
    truth = made[0].arrays["dev_labels"][report]
    known = {}
    for condition in CONDITIONS:
        runs = [r for r in made if (r.spec.ticket.kind, r.spec.ticket.level) == condition]
        known[condition] = bias_variance(np.stack([softmax(r.arrays["dev_logits"][report], 1) for r in runs]), truth)
    full, light = known[CONDITIONS[0]], [known[condition] for condition in CONDITIONS[1:]]
    assert own["variance"][0] == pytest.approx(100 * full.variance, rel=1e-9)
    assert own["bias2"][0] == pytest.approx(100 * full.bias2, rel=1e-9)
    assert own["fall of variance"][0] == pytest.approx(100 * (full.variance - np.mean([d.variance for d in light])))
    assert own["rise of bias"][0] == pytest.approx(100 * (np.mean([d.bias2 for d in light]) - full.bias2))
    scores = {c: [r.metrics["report"]["score"] for r in made if r.spec.ticket.level == c[1]] for c in CONDITIONS}
    light_mean = np.mean([scores[c] for c in CONDITIONS[1:]], axis=0)
    np.testing.assert_allclose(cell.gains, 100 * (light_mean - scores[CONDITIONS[0]]))


def test_resampled_terms_are_those_of_the_drawn_sets():
    (cell,) = cells(records(sets=5))
    rng = np.random.default_rng(1)
    weights = resampled(cell, 4000, rng)
    assert weights.shape == (4000, 5)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    drawn = terms(cell, weights)
    several = weights.max(axis=1) < 1  # without those of one set alone, variance is unbiased
    assert drawn["variance"][several].mean() == pytest.approx(terms(cell)["variance"][0], rel=0.02)
    alone = terms(cell, np.eye(5))
    assert alone["variance"] == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(alone["gain"], cell.gains)


def test_a_cell_needs_two_complete_training_sets():
    made = [r for r in records(sets=3) if r.id != "winning0.2-50-1"]
    (cell,) = cells(made)
    assert cell.n == 2
    assert cells(r for r in made if r.spec.seed != 0) == []
    assert cells([]) == []


def test_cells_stand_by_size_and_noise_and_unknown_noise_is_not_a_number():
    found = cells([*records(100, 0.2), *records(50, 0.4), *records(50, 0.0), *records(50)])
    assert [(c.train_size, c.noise) for c in found[1:]] == [(50, 0.0), (50, 0.4), (100, 0.2)]
    assert found[0].train_size == 50
    assert np.isnan(found[0].noise)


def test_the_table_has_an_interval_around_every_term():
    table = map_table(cells([*records(50, 0.0, sets=8), *records(100, 0.0, sets=8)]), 300)
    assert list(table["train_size"]) == [50, 100]
    for name in ("fall of variance", "rise of bias"):
        low, middle, high = (table[column].to_numpy() for column in (f"{name}: low", name, f"{name}: high"))
        assert np.all((low < middle) & (middle < high))
    assert min(table["fall of variance: low"]) > 0  # logits half as far apart
    assert 0 < min(table["variance's share"]) < max(table["variance's share"]) < 1


def test_runs_are_set_beside_their_records_by_id():
    row = {"train_size": 50, "train_seed": 0, "kind": "full", "level": 0.0}
    here = pd.DataFrame([{"run": "a", **row, "report_score": 0.5}, {"run": "b", **row, "report_score": 0.5}])
    both = agreement(here, here.assign(run=["b", "c"], report_score=[0.75, 0.5]))
    assert both[["run", "recorded", "here", "difference"]].values.tolist() == [["b", 75.0, 50.0, -25.0]]
    assert agreement(here, pd.DataFrame()).empty


def test_of_recorded_runs_the_scales_that_have_some_are_shown(tmp_path):
    few = get_profile("smoke")
    few = replace(few, map=some_cells(few.map, noises="0"))
    chapter = Chapter(replace(few, map=(replace(few.map[0], n=1),)), str(tmp_path / "runs"), workers=1)
    made = chapter.here().frame("map")
    pack(RunStore(str(tmp_path / "runs")).records(arrays=True), tmp_path / "lab-map.zip")
    (scale,) = recorded_scales(str(tmp_path), "map")
    assert (scale.key, scale.live) == ("lab", False)
    assert set(scale.frame("map")["run"]) == set(made["run"])  # smoke's are the lab's
    assert "4 of 1440 runs" in scale.told("map")
    assert agreement(made, scale.frame("map"))["difference"].tolist() == [0.0] * 4
    assert recorded_scales(str(tmp_path), "audit") == recorded_scales("", "map") == []
