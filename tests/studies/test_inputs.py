"""Specs made from the data at hand, and the same specs made from records alone."""

from dataclasses import replace

import pandas as pd

from supertickets.runs import AdaptationSpec, Hyper
from supertickets.studies import (
    at_chosen_rates,
    at_hand,
    chosen_rates,
    get_profile,
    phase_transition,
    recorded,
    training_set_sweeps,
)
from supertickets.studies.experiments import light_sweeps, multi_task, on_test_sets, rate_runs
from supertickets.studies.profiles import TrainingSets
from supertickets.studies.tuning import at_rates, mismatched
from supertickets.tasks import data_ref

SMOKE = get_profile("smoke", tasks="entailment", seeds=[0, 1])


def ids(specs) -> list[str]:
    return [spec.id for spec in specs]


def test_specs_made_from_records_have_the_ids_of_those_made_from_data():
    here = [*phase_transition(SMOKE), *training_set_sweeps(SMOKE)]
    known = recorded(here)
    assert ids(phase_transition(SMOKE, inputs=known)) == ids(phase_transition(SMOKE))
    assert ids(training_set_sweeps(SMOKE, known)) == ids(training_set_sweeps(SMOKE))
    shared = multi_task(SMOKE, pd.DataFrame())
    target = data_ref("captions", train_size=48, dev_size=100)
    adapted = AdaptationSpec(shared[0], target, 0.1)
    for known in (recorded(shared), recorded([adapted])):
        assert ids(multi_task(SMOKE, pd.DataFrame(), known)) == ids(shared)
    assert recorded([adapted]).data("captions", train_size=48, dev_size=100) == target


def test_the_test_split_is_another_recorded_input():
    specs = phase_transition(SMOKE, ())
    frame = pd.DataFrame([{"run": spec.id, "kind": "full"} for spec in specs])
    columns = {"encoder": "", "task": "", "data": "", "seed": 0, "level": 0.0, "selection_score": 0.0}
    frame = frame.assign(selection_loss=0.0, **columns)
    tested = on_test_sets(specs, frame)
    assert all(spec.data.with_test for spec in tested)
    assert ids(on_test_sets(specs, frame, recorded([*specs, *tested]))) == ids(tested)


def test_what_was_never_recorded_belongs_to_no_record():
    nothing = recorded([])
    (spec, *_) = phase_transition(SMOKE, (), nothing)
    assert (spec.data.fingerprint, spec.encoder_revision) == ("", "")
    assert spec.id not in ids(phase_transition(SMOKE, ()))


def test_of_two_records_that_differ_the_first_counts():
    (spec, *_) = phase_transition(SMOKE, ())
    other = replace(spec, data=replace(spec.data, fingerprint="other"))
    arguments = spec.data.request()
    assert recorded([spec, other]).data(**arguments) == spec.data
    assert recorded([other, spec]).data(**arguments).fingerprint == "other"


def test_a_profile_knows_its_tasks_rates_sizes_and_levels():
    hyper = Hyper(learning_rate=5e-3, batch_size=16, max_length=64)
    profile = replace(
        SMOKE,
        tasks=("entailment", "similarity"),
        rate_by_task={"similarity": 2e-3},
        data_by_task={"similarity": {"dev_size": 60}},
        levels_by_kind={"random": (0.5,), "losing": ()},
        light=(TrainingSets("entailment", 32, 2, hyper=hyper),),
    )
    specs = phase_transition(profile)
    assert {(s.data.name, s.hyper.learning_rate, s.data.dev_size) for s in specs} == {
        ("entailment", 1e-3, 100),
        ("similarity", 2e-3, 60),
    }
    kinds = [(s.ticket.kind, s.ticket.level) for s in specs if (s.seed, s.data.name) == (0, "entailment")]
    assert kinds == [("full", 0.0), ("winning", 0.2), ("winning", 0.5), ("winning", 0.8), ("random", 0.5)]
    light = light_sweeps(profile)
    assert [(spec.seed, spec.ticket.level) for spec in light[:4]] == [(0, 0.0), (0, 0.1), (0, 0.2), (0, 0.3)]
    assert {spec.hyper.learning_rate for spec in light} == {5e-3}
    assert light_sweeps(replace(SMOKE, light=())) == []


def test_a_tasks_rate_is_chosen_on_the_selection_split_alone():
    specs = rate_runs(SMOKE)
    assert len(specs) == 2 * len(SMOKE.rates)
    best, other = sorted(SMOKE.rates)
    rows = [
        {
            "run": spec.id,
            "task": "entailment",
            "learning_rate": spec.hyper.learning_rate,
            "selection_score": 0.8,
            "selection_loss": 0.5 if spec.hyper.learning_rate == best else 0.6,  # decides between equal scores
            "report_score": 0.5 if spec.hyper.learning_rate == best else 0.9,
        }
        for spec in specs
    ]
    frame = pd.DataFrame(rows)
    found = chosen_rates(frame)
    assert found.loc[found["chosen"], "learning_rate"].tolist() == [best]
    assert found["learning_rate"].tolist() == [best, other]
    assert set(at_chosen_rates(frame)["learning_rate"]) == {best}
    lacking = frame.loc[(frame["learning_rate"] != best) | (frame["run"] == specs[0].id)]  # of one seed alone: luck
    assert set(at_chosen_rates(lacking)["learning_rate"]) == {other}


def test_tuning_runs_are_found_at_one_rate_and_rewound_at_another():
    tuning, sweep = rate_runs(SMOKE), phase_transition(SMOKE, ["winning"])
    found = mismatched(tuning, sweep, (0.2, 0.5))
    rates = {spec.id: spec.hyper.learning_rate for spec in tuning}
    assert [(rates[s.ticket.parent], s.hyper.learning_rate, s.ticket.level, s.seed) for s in found] == [
        (2e-3, 1e-3, level, seed) for seed in (0, 1) for level in (0.2, 0.5)
    ]
    row = {"task": "entailment", "selection_loss": 1.0}
    frame = pd.DataFrame([row | {"learning_rate": rate, "selection_score": rate} for rate in (1e-3, 2e-3)])
    again = at_rates(sweep, frame)
    assert [(s.ticket.kind, s.ticket.level, s.seed) for s in again] == [
        (s.ticket.kind, s.ticket.level, s.seed) for s in sweep
    ]
    assert {spec.hyper.learning_rate for spec in again} == {2e-3}
    assert {spec.ticket.parent for spec in again[1:4]} == {again[0].id} <= set(rates)
    assert ids(at_rates(sweep, pd.DataFrame())) == ids(sweep)


def test_recorded_profiles_are_at_one_recipe():
    minilm, mpnet = get_profile("minilm"), get_profile("mpnet")
    assert minilm.large == "mpnet"
    assert len(minilm.tasks) == 8
    assert minilm.data_of("RTE") == {"train_size": 500} == mpnet.data_of("SST-2")
    assert get_profile("minilm-full").data == {} == get_profile("mpnet-full").data
    assert at_hand().revision("lab-base") != at_hand().revision("lab-large")
