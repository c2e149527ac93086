"""Training sizes and sets of a profile can be changed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_golden import Scored

from supertickets.errors import SuperticketsError
from supertickets.studies import get_profile, stages, training_set_sweeps, with_subsets, with_training_sets
from supertickets.studies.experiments import subset_sweeps


def test_the_training_sets_are_different_and_the_dev_set_is_one():
    specs = training_set_sweeps(get_profile("smoke", levels=[0.5]), kinds=["winning"])
    tasks = [spec.data.load() for spec in specs[::2]]
    assert len({task.train.texts for task in tasks}) == 3
    assert len({task.dev.texts for task in tasks}) == 1
    assert {len(task.train) for task in tasks} == {32}
    assert {(spec.data.train_seed, spec.seed) for spec in specs} == {(0, 0), (1, 1), (2, 2)}
    np.testing.assert_allclose(np.max(np.asarray(tasks[0].dev.probabilities), axis=1), 0.7)


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


def test_kinds_of_tickets_that_are_not_asked_for_have_no_levels():
    profile = with_training_sets(get_profile("smoke", levels=[0.5]), n=1, kinds="random")
    assert [spec.ticket.kind for spec in training_set_sweeps(profile)] == ["full", "random"]
    with pytest.raises(SuperticketsError, match="Unknown kind of ticket 'winnning'; known: winning, random, losing"):
        with_training_sets(profile, kinds="winnning")


def test_lower_rates_are_fine_tuned_in_runs_of_their_own():
    """What was recorded without them stays as it was."""
    store: Any = Scored()
    profile = get_profile("smoke")
    *_, before = stages("table3", profile, store)
    *_, after = stages("table3", replace(profile, lower_rates=(1e-4, 2e-4)), store)
    assert after[: len(before)] == before
    lower: list[Any] = [*after[len(before) :]]
    assert {(spec.model, spec.seed) for spec in lower} == {(m, s) for m in ("MT-DNN", "Ticket-Share") for s in (0, 1)}
    assert len(lower) == 4
    tuned: list[Any] = [spec for spec in before if getattr(spec, "fine_tuning", ())]
    together = [replace(spec, fine_tuning=()) for spec in tuned]
    for spec in lower:
        assert [hyper.learning_rate for hyper in spec.fine_tuning] == [1e-4, 2e-4]
        assert replace(spec, fine_tuning=()) in together  # at the rate that is chosen
    large = get_profile("lab-large")
    assert min(large.lower_rates) == pytest.approx(min(large.rates) / 5)
