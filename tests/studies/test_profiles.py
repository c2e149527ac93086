"""Training sizes and sets of a profile can be changed."""

import numpy as np
import pytest

from supertickets.errors import SuperticketsError
from supertickets.studies import get_profile, training_set_sweeps, with_subsets, with_training_sets
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
