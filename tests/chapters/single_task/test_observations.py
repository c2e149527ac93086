"""The paper's four observations follow the curves they are made from."""

import numpy as np
import pandas as pd
import pytest

from supertickets.chapters.single_task.claims import (
    boundaries,
    larger_models,
    light_gain,
    phase_table,
    sentences,
    smaller_data,
    transitions,
    winners,
)
from supertickets.errors import SuperticketsError
from supertickets.studies import get_profile, training_set_sweeps
from supertickets.tasks import split_dev, task_facts


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
