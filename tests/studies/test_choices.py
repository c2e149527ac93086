"""Tickets found in other ways: what differs from the paper's way, on the same training sets and seeds."""

from dataclasses import replace

from supertickets.runs import RunSpec, spec_from_json
from supertickets.studies import SEARCH_LEVELS, get_profile, search_runs
from supertickets.studies.choices import STEPS

LAB = get_profile("lab")
FEW = replace(LAB, search=(replace(LAB.search[0], n=2),))


def test_every_way_has_a_ticket_per_level_and_training_set():
    runs = search_runs(FEW)
    sets = {spec.data for spec in runs["full"]}
    assert len(sets) == len(runs["full"]) == 2
    for way, specs in runs.items():
        assert {spec.data for spec in specs} == sets
        levels = {spec.ticket.level for spec in specs if spec.ticket.kind != "full"}
        assert levels == (set() if way == "full" else set(STEPS) if way == "iterative" else set(SEARCH_LEVELS))
    every = [spec for specs in runs.values() for spec in specs]
    assert len({spec.id for spec in every}) == len(every)
    assert all(spec_from_json(spec.to_json()).id == spec.id for spec in every)
    assert not search_runs(replace(LAB, search=()))


def test_a_step_is_read_off_the_one_before():
    runs = search_runs(replace(FEW, search=(replace(FEW.search[0], n=1),)))
    parents = [spec.ticket.parent for spec in runs["iterative"]]
    assert parents == [runs["full"][0].id, *(spec.id for spec in runs["iterative"][:-1])]
    assert all(spec.estimators == ("example",) for spec in runs["iterative"])
    early = runs["early"][0]
    assert early.acting == ("early_scores",) and {x.ticket.parent for x in runs["early"][1:]} == {early.id}
    late, own = runs["late"][0], runs["example"][0]
    assert isinstance(late, RunSpec) and late.id != own.id and replace(late, choices=()).id == own.id
