"""The map's cells have training sets of their own, and what a build carries out of it are runs of the map."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from supertickets.errors import SuperticketsError
from supertickets.studies import get_profile, some_cells
from supertickets.studies.experiments import stages
from supertickets.studies.inputs import Inputs
from supertickets.studies.training_sets import MAP_NOISES, MAP_SIZES, map_cells
from supertickets.tasks import DataRef

DRAWN = Inputs(lambda name, **arguments: DataRef(name, f"{sorted(arguments)}", **arguments), lambda encoder: encoder)
"""Stands in for the lab: drawing 1,440 tasks takes minutes."""


def runs(name: str, **changes: Any) -> list[Any]:
    store: Any = None  # the map is one stage, which needs no records
    (stage,) = stages("map", replace(get_profile(name), **changes), store, DRAWN)
    return list(stage)


def test_no_two_cells_share_a_training_set_and_none_is_used_elsewhere():
    profile = get_profile("lab")
    sets = {cell: set(range(cell.first, cell.first + cell.n)) for cell in profile.map}
    assert len(sets) == len(MAP_SIZES) * len(MAP_NOISES)
    assert not any(a & b for a, b in combinations(sets.values(), 2))
    figure1 = set(range(profile.sets.first, profile.sets.first + profile.sets.n))
    assert not any(own & (figure1 | set(range(100))) for own in sets.values())


def test_a_cell_is_a_full_model_and_three_light_tickets_on_twelve_sets():
    specs = runs("lab")
    assert len(specs) == len({spec.id for spec in specs}) == 30 * 12 * 4
    one = [s for s in specs if (s.data.train_size, s.data.noise, s.data.train_seed) == (200, 0.3, 200303)]
    assert [(s.ticket.kind, s.ticket.level) for s in one] == [("full", 0.0), *(("winning", x) for x in (0.1, 0.2, 0.3))]
    assert {(s.seed, s.data.dev_size) for s in one} == {(200303, 400)}


def test_what_smoke_and_the_chapter_carry_out_are_runs_of_the_labs_map():
    whole = {spec.id for spec in runs("lab")}
    few = runs("lab", map=some_cells(get_profile("lab").map, "50", "0, 0.4", 2))
    assert {spec.id for spec in few} == {spec.id for spec in runs("smoke")}
    assert len(few) == 16
    assert {spec.id for spec in few} < whole


def test_profiles_without_a_map_have_no_runs_of_it():
    assert runs("minilm") == []


def test_cells_are_chosen_by_what_is_given():
    cells = map_cells("paraphrase", (50, 100), (0.0, 0.1), 12)
    assert some_cells(cells) == cells
    assert [(cell.size, cell.n) for cell in some_cells(cells, noises="0.1", n=20)] == [(50, 12), (100, 12)]
    with pytest.raises(SuperticketsError, match="numbers, separated by commas"):
        some_cells(cells, "fifty")
