"""Domain adaptation: nested subsets, what is taken along from the source, and runs that are found again."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import toy_full_run

from supertickets.chapters.domain_adaptation.tables import table4
from supertickets.engines import run_all
from supertickets.engines.execution import source_model
from supertickets.errors import SuperticketsError
from supertickets.runs import AdaptationSpec, Hyper, RunSpec, RunStore, SharingSpec, TicketRule, spec_from_json
from supertickets.studies import get_profile, phase_transition
from supertickets.studies.experiments import adaptation_sources, adaptations, multi_task, rewound
from supertickets.tasks import data_ref, nested_subset
from supertickets.tickets import Ticket, random_ticket
from supertickets.training import adapt


@given(
    st.lists(st.integers(0, 2), min_size=60, max_size=150),
    st.integers(0, 5),
    st.tuples(st.floats(0.2, 1.0), st.floats(0.2, 1.0)),
)
def test_subsets_are_nested_stratified_and_reproducible(classes, draw, fractions):
    labels = np.array([*classes, *[0] * 5, *[1] * 5, *[2] * 5])
    small, large = (nested_subset(labels, fraction, draw) for fraction in sorted(fractions))
    assert set(small) <= set(large)
    for fraction, rows in zip(sorted(fractions), (small, large), strict=True):
        assert len(set(rows)) == len(rows)
        assert len(rows) == int(fraction * len(labels) + 1e-9)
        for value in range(3):
            assert abs((labels[rows] == value).sum() - fraction * (labels == value).sum()) <= 2
    np.testing.assert_array_equal(small, nested_subset(labels, min(fractions), draw))


def test_draws_differ_and_the_whole_is_the_whole():
    labels = np.arange(200) % 2
    assert set(nested_subset(labels, 0.1, 0)) != set(nested_subset(labels, 0.1, 1))
    np.testing.assert_array_equal(nested_subset(labels, 1.0, 3), np.arange(200))
    assert len(nested_subset(np.linspace(0, 5, 40), 0.25)) == 10  # real-valued labels have no classes


def test_a_fraction_that_leaves_a_class_empty_is_refused_by_name():
    with pytest.raises(SuperticketsError, match=r"0\.500% of the training set of science are 1 of 200 examples, fewer"):
        nested_subset(np.arange(200) % 2, 0.005, name="science")
    with pytest.raises(SuperticketsError, match=r"A subset of science has 1 of 200 examples, fewer than one for each"):
        nested_subset(np.arange(200) % 2, name="science", size=1)
    with pytest.raises(SuperticketsError, match=r"training set of science has 200 examples, not the 500 .* leave that"):
        nested_subset(np.arange(200) % 2, name="science", size=500)
    for fraction in (0.0, 1.5, -1.0):
        with pytest.raises(SuperticketsError, match="above 0 and is at most 1"):
            AdaptationSpec(a_source(), lab_ref("science"), fraction)


def test_a_size_is_a_fraction_by_its_number():
    labels = np.arange(200) % 3
    np.testing.assert_array_equal(nested_subset(labels, draw=1000, size=50), nested_subset(labels, 0.25, 1000))
    np.testing.assert_array_equal(nested_subset(labels, size=200), np.arange(200))
    for fields in ({"size": 0}, {"size": 20, "fraction": 0.5}):
        with pytest.raises(SuperticketsError, match="has one size, of at least one example, or is a fraction"):
            an_adaptation(**{"fraction": 1.0, **fields})


HYPER = Hyper(learning_rate=1e-3, batch_size=16, epochs=1, max_length=64)


def lab_ref(name: str):
    return data_ref(name, train_size=48, dev_size=60)


def a_source(name: str = "inference", ticket: TicketRule | None = None) -> RunSpec:
    from supertickets.models import encoder_revision

    return RunSpec(
        "lab-base", encoder_revision("lab-base"), lab_ref(name), 3, HYPER, ticket or TicketRule(), estimators=()
    )


def head_of(model) -> torch.Tensor:
    return model.get_parameter("classifier.weight").detach()


def a_shared_source() -> SharingSpec:
    single = a_source()
    return SharingSpec(
        single.encoder,
        single.encoder_revision,
        (lab_ref("inference"), lab_ref("paraphrase")),
        (TicketRule("random", 0.4), TicketRule("random", 0.6)),
        (0.1, 0.1),
        3,
        HYPER,
    )


def an_adaptation(source=None, target: str = "captions", fraction: float = 0.5, **fields) -> AdaptationSpec:
    return AdaptationSpec(source or a_source(), lab_ref(target), fraction, hyper=HYPER, **fields)


def test_the_source_is_trained_once_and_found_again(tmp_path):
    source = a_source(ticket=TicketRule("random", 0.5))
    folder = tmp_path / "models" / source.id
    model, ticket = source_model(source, "", {}, folder)
    np.testing.assert_array_equal(ticket.heads, random_ticket((6, 8), 0.5, seed=3).heads)
    changed = (folder / "model.safetensors").stat().st_mtime_ns
    again, its = source_model(source, "", {}, folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == changed
    assert [path.name for path in (tmp_path / "models").iterdir()] == [source.id]
    anew, _ = source_model(source, "", {})  # kept nowhere
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)
        torch.testing.assert_close(anew.state_dict()[name], tensor, rtol=0, atol=0)
    np.testing.assert_array_equal(its.heads, ticket.heads)


def test_the_source_weights_are_those_that_the_source_run_ends_with(tmp_path):
    from supertickets.models import load_tokenizer
    from supertickets.training import cached_encode, fine_tune, predict

    source = a_source()
    record = fine_tune(source)
    model, _ = source_model(source, "", {}, tmp_path / "model")
    dev = cached_encode(source.data.load(), "dev", load_tokenizer("lab-base"), 64)
    np.testing.assert_allclose(predict(model, dev), record.arrays["dev_logits"], atol=1e-5)


def test_the_head_goes_along_where_the_labels_are_the_same():
    spec = an_adaptation()
    model, ticket = source_model(spec.source, "", {})
    before = head_of(model).clone()
    record = adapt(dataclasses.replace(spec, hyper=dataclasses.replace(HYPER, learning_rate=1e-30)), (model, ticket))
    assert record.environment["task head"].startswith("kept: the labels of the source are those of captions")
    torch.testing.assert_close(head_of(model), before)
    assert record.size["train_examples"] == 24
    assert record.arrays["dev_logits"].shape == (60, 3)

    other = an_adaptation(target="science")
    model, ticket = source_model(other.source, "", {})
    record = adapt(other, (model, ticket))
    assert record.environment["task head"] == (
        "new: science has the labels entails, neutral; the source's labels are entailment, neutral, contradiction"
    )
    assert record.arrays["dev_logits"].shape == (60, 2)
    assert model.config.id2label == {0: "entails", 1: "neutral"}


def test_a_shared_source_is_the_union_of_its_tickets():
    source = a_shared_source()
    spec = an_adaptation(source, source_task="inference")
    assert (spec.model, an_adaptation().model) == ("Ticket-Share", "ST-DNN")
    model, ticket = source_model(source, "inference", {})
    a, b = random_ticket((6, 8), 0.4, 3), random_ticket((6, 8), 0.6, 3)
    np.testing.assert_array_equal(ticket.heads, a.union(b).heads)
    assert adapt(spec, (model, ticket)).environment["task head"].startswith("kept")
    without = an_adaptation(source)
    record = adapt(without, source_model(source, "", {}))
    assert record.environment["task head"].endswith("none of the source's tasks goes along")


def test_a_spec_is_read_back_and_its_id_changes_with_what_matters():
    spec = an_adaptation(rewound_source())
    assert spec.parents == (a_scored_source().id,)
    assert spec.model == "SuperT"
    assert "size" not in spec.to_json()  # nor in what its id is made of: older runs keep theirs
    sized = an_adaptation(fraction=1.0, size=24)
    for one in (spec, sized, an_adaptation(a_shared_source(), source_task="inference")):
        read = spec_from_json(json.loads(json.dumps(one.to_json(), sort_keys=True)))
        assert read == one
        assert read.id == one.id
    different = [
        spec,
        an_adaptation(),
        dataclasses.replace(spec, fraction=0.4),
        dataclasses.replace(spec, draw=1),
        dataclasses.replace(spec, fraction=1.0, size=24),
        dataclasses.replace(spec, data=lab_ref("science")),
        dataclasses.replace(spec, hyper=Hyper()),
    ]
    assert len({one.id for one in different}) == len(different)
    with pytest.raises(SuperticketsError, match="damaged"):
        spec_from_json({**spec.to_json(), "colour": 1})


def a_scored_source() -> RunSpec:
    return dataclasses.replace(a_source(), estimators=("example",))


def rewound_source() -> RunSpec:
    return rewound(a_scored_source(), "winning", 0.4)


def test_table_4_runs_at_the_smallest_scale(tmp_path):
    profile = get_profile("smoke", levels=[0.3], seeds=[1])
    profile = dataclasses.replace(
        profile, adaptation=dataclasses.replace(profile.adaptation, sizes={"captions": (12, None)})
    )
    store = RunStore(str(tmp_path))
    single, sources = phase_transition(profile, ["winning"]), adaptation_sources(profile)
    assert {spec.data.name for spec in sources} == {"inference"}
    run_all([*single, *sources], store, workers=1, progress=False).raise_if_failed()
    shared = multi_task(profile, store.frame(single))
    specs = adaptations(profile, store.frame(sources), shared)
    assert [(spec.model, spec.size, spec.hyper.learning_rate, spec.draw) for spec in specs] == [
        (model, size, rate, draw)
        for size, rate, draws in ((12, 1e-3, 2), (12, 2e-3, 2), (None, 1e-3, 1), (None, 2e-3, 1))
        for draw in range(1000 * (size is not None), 1000 * (size is not None) + draws)
        for model in ("ST-DNN", "SuperT", "MT-DNN", "Ticket-Share")
    ]
    run_all(specs, store, workers=2, progress=False).raise_if_failed()
    frame = store.frame(specs)
    assert len(frame) == 24
    assert list(frame["train_examples"]) == [12] * 16 + [48] * 8
    assert set(frame["of_examples"]) == {48}
    assert set(table4(frame)["seeds"]) == {1}
    assert len({store[spec.id].arrays["rows"].tobytes() for spec in specs if spec.size}) == 2  # by draw alone
    assert len(list((tmp_path / "models").iterdir())) == 4  # each source once
    assert frame["report_accuracy"].between(0, 1).all()
    assert frame.loc[frame["model"] == "SuperT", "weights_remaining"].max() < 1
    assert str(run_all(specs, store, workers=1, progress=False)) == "0 runs carried out, 24 found in the store"
    assert adaptations(profile, store.frame([]), []) == []


def test_every_seed_has_subsets_of_its_own_and_its_models_share_them():
    profile = get_profile("smoke")
    shared = multi_task(profile, pd.DataFrame())
    specs = adaptations(profile, pd.DataFrame(), shared)
    draws = {seed: {spec.draw for spec in specs if spec.seed == seed and spec.size} for seed in profile.seeds}
    assert draws == {0: {0, 1}, 1: {1000, 1001}}
    first, second = (spec for spec in specs if spec.size and spec.draw % 1000 == 0 and spec.data.name == "captions"
                     and spec.hyper.learning_rate == 1e-3)  # fmt: skip
    labels = first.data.load().train.labels
    rows = [set(nested_subset(labels, draw=spec.draw, size=spec.size)) for spec in (first, second)]
    assert rows[0] != rows[1]


def test_a_winning_source_without_its_parents_scores_is_refused(tmp_path, encoder, toy):
    source = rewound(toy_full_run(encoder, toy), "winning", 0.5)
    spec = AdaptationSpec(source, source.data, 0.5, hyper=source.hyper)
    with pytest.raises(SuperticketsError, match="needs the scores of run"):
        run_all([spec], RunStore(str(tmp_path)), workers=1, progress=False)


def test_a_damaged_source_model_is_set_aside_and_trained_anew(tmp_path):
    folder = tmp_path / "model"
    whole, _ = source_model(a_source(), "", {}, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"damaged or foreign.*moved to .*model\.broken-.* trained anew"):
        again, _ = source_model(a_source(), "", {}, folder)
    torch.testing.assert_close(head_of(again), head_of(whole), rtol=0, atol=0)
    assert len(list(tmp_path.glob("model.broken-*"))) == 1
    source_model(a_source(), "", {}, folder)  # without a warning


def test_a_ticket_is_whole_without_one():
    _, ticket = source_model(a_source(), "", {})
    assert isinstance(ticket, Ticket)
    assert ticket.heads.all()
    assert ticket.ffns.all()
