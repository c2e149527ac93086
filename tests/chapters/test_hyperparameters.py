"""Appendix B: the paper's settings beside those of the profiles, and what tuning them would change."""

from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from supertickets.chapters.claims import HOLDS, REVERSED, TOGETHER
from supertickets.chapters.hyperparameters import (
    SILENT,
    departures,
    hyperparameter_table,
    tuned_sentences,
    tuned_settings,
    tuning_claims,
)
from supertickets.chapters.paper import paper_facts
from supertickets.runs import RunSpec, RunStore
from supertickets.studies import SETTINGS, get_profile, stages


def test_every_setting_of_the_paper_stands_beside_the_profiles():
    names = ("paper-base", "lab", "minilm")
    table = hyperparameter_table([get_profile(name) for name in names])
    rows = table.set_index("setting")
    assert not table.isna().any(axis=None)
    assert rows.loc["batch size", "the paper"] == ", ".join(map(str, paper_facts()["hyperparameters"]["batch_sizes"]))
    assert rows.loc["epochs at most", ["the paper", *names]].tolist() == ["6"] * 4
    chosen = get_profile("minilm").rate_by_task.values()
    assert rows.loc["learning rate of Table 1", "minilm"] == ", ".join(map(str, sorted(set(chosen))))
    assert rows.loc["word pieces of a text at most", "lab"] == "64"
    found = departures(table, "paper-base")
    assert "batch size" in found and "warm-up, share of the steps" not in found
    assert "then alone: learning rates" not in found  # A.2.2's five, with those that go down to a fifth
    assert not set(found) & set(table.loc[table["the paper"] == SILENT, "setting"])
    assert "tasks" in departures(table, "lab")


class Remembered:
    """A store in which a run scores what ``score`` says of its spec, on both splits."""

    def __init__(self, score) -> None:
        self.score = score

    def frame(self, specs) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        rows = []
        for spec in specs:
            selection, report = self.score(spec)
            row = {"run": spec.id, "task": spec.data.name, "seed": spec.seed, "kind": spec.ticket.kind}
            row |= {name: getattr(spec.hyper, name) for name in SETTINGS}
            row |= {"selection_score": selection, "selection_loss": 1.0}
            rows.append(row | {"report_score": report + 1e-4 * rng.normal()})
        return pd.DataFrame(rows)


def tuned(score, **fields):
    """Every stage of the tuning, carried out in a store of the kind above, and its last frame."""
    profile = replace(get_profile("smoke", tasks="acceptability, entailment"), **fields)
    store = Remembered(score)
    found = [cast("list[RunSpec]", list(stage)) for stage in stages("tuning", profile, cast("RunStore", store))]
    return profile, found, store.frame(found[-1])


def batch_of_32(spec):
    """Best on the selection split: rate 2e-3 with a batch of 32, dropout 0.3; four points better on the report."""
    at = (spec.hyper.learning_rate, spec.hyper.batch_size, spec.hyper.task_dropout)
    good = at[:2] == (2e-3, 32)
    gain = 0.02 if spec.ticket.kind == "winning" else 0.0
    return 0.7 + 0.1 * good + 0.05 * (at[2] == 0.3), 0.8 + 0.04 * good + gain * (1 + good)


def test_settings_are_tuned_as_in_the_paper_and_judged_on_seeds_that_chose_nothing():
    profile, (grid, dropouts, last), frame = tuned(batch_of_32)
    assert {(s.hyper.learning_rate, s.hyper.batch_size) for s in grid} == {
        (rate, size) for rate in (1e-3, 2e-3) for size in (16, 32)
    }
    assert {s.hyper.task_dropout for s in grid} == {0.05, 0.1}  # A.1.2: CoLA's kin has less
    new = {spec.id for spec in dropouts} - {spec.id for spec in grid}
    settings = {(s.data.name, s.hyper.learning_rate, s.hyper.batch_size, s.hyper.task_dropout)
                for s in dropouts if s.id in new}  # fmt: skip
    assert settings == {
        ("acceptability", 2e-3, 32, 0.1),
        ("acceptability", 2e-3, 32, 0.3),
        ("entailment", 2e-3, 32, 0.3),
    }
    fresh = [spec for spec in last if spec.seed not in profile.seeds]
    assert {spec.seed for spec in fresh} == {2, 3} and {spec.seed for spec in dropouts} == {0, 1}
    assert {(s.ticket.kind, s.ticket.level) for s in fresh} == {
        ("full", 0.0),
        *(("winning", x) for x in (0.1, 0.2, 0.3)),
    }
    full = {spec.id: spec.hyper for spec in fresh if spec.ticket.kind == "full"}
    assert all(full[spec.ticket.parent] == spec.hyper for spec in fresh if spec.ticket.parent)
    table = tuned_settings(frame, profile)
    assert table.loc[table["chosen"], list(SETTINGS)].to_numpy().tolist() == [[2e-3, 32, 0.3]] * 2
    assert set(table["runs"]) == {2}  # the fresh seeds are no part of the choice


def test_untuned_models_are_as_good_or_are_not():
    profile, _, frame = tuned(batch_of_32, grid=replace(get_profile("smoke").grid, fresh=4))
    found = tuning_claims(frame, profile)
    claims = found.loc[found["where"] == TOGETHER].set_index("claim")
    assert claims["effect"].tolist() == pytest.approx([-4, -6, 2], abs=0.1)  # by hand, in points
    assert claims["verdict"].tolist() == [REVERSED, REVERSED, HOLDS]
    assert set(claims["n"]) == {4} and set(claims["limit"]) == {-1.0}
    assert len(found) == 9
    first, second = tuned_sentences(frame, profile)
    assert first.startswith("The rate of 0.001 is low for acceptability: tuning chooses 0.002; on 4 seeds")
    assert "to full models +3.99 points [3.98, 4.01], to light tickets +5.99" in second
    profile, _, frame = tuned(lambda spec: (batch_of_32(spec)[0], 0.8), grid=replace(profile.grid, fresh=4))
    assert set(tuning_claims(frame, profile)["verdict"]) == {HOLDS}
    assert tuned_sentences(frame, profile) == []


def test_a_choice_that_is_the_profiles_own_changes_nothing():
    own = get_profile("smoke").hyper.learning_rate
    profile, (*_, last), frame = tuned(lambda spec: (0.9 * (spec.hyper.learning_rate == own), 0.8))  # ties: the lower
    assert len({spec.id for spec in last if spec.seed not in profile.seeds}) == 2 * 2 * 4  # no run twice
    assert set(tuning_claims(frame, profile)["effect"]) == {0.0}
