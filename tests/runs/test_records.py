"""Records explain themselves: everything without the data, nothing about the place, the old form included."""

import dataclasses
import getpass
import json
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import toy_full_run, write_toy_task

from supertickets.chapters.bias_variance.tables import trade_off
from supertickets.chapters.single_task.tables import table1, table9
from supertickets.engines import run_all
from supertickets.errors import SuperticketsError
from supertickets.runs import AdaptationSpec, Hyper, RunStore, SharingSpec, placed
from supertickets.runs.records import completed
from supertickets.runs.spec import without_places
from supertickets.studies import full_run
from supertickets.studies.experiments import rewound
from supertickets.tasks import TaskFacts, constant_score, data_ref, score, split_arrays, split_dev, task_facts

OLD = Path(__file__).parents[1] / "old_records"
HYPER = Hyper(learning_rate=3e-3, batch_size=16, epochs=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory, encoder):
    """Runs of all three kinds whose data and encoder have paths, and what was seen while the data were there."""
    folder = tmp_path_factory.mktemp("secretplace")
    write_toy_task(folder / "data" / "toy")
    store, specs = RunStore(folder / "store"), []
    for seed in (0, 1):
        ref = data_ref("toy", data_dir=folder / "data", train_size=24, train_seed=seed, label="verdict")
        full = full_run(str(encoder), ref, seed, HYPER, selection_fraction=0.3)
        specs += [full, rewound(full, "winning", 0.5)]
    whole = specs[0]
    common = {"encoder_revision": whole.encoder_revision, "seed": 0, "hyper": HYPER, "selection_fraction": 0.3}
    specs += [
        AdaptationSpec(whole, whole.data, 0.5, hyper=HYPER, selection_fraction=0.3),
        SharingSpec(str(encoder), data=(whole.data,), tickets=(whole.ticket,), dropouts=(0.1,), **common),
    ]
    run_all(specs, store, workers=1, progress=False).raise_if_failed()
    seen = everything(store, specs[:4])
    (folder / "data").rename(folder / "elsewhere")
    return store, specs, seen, folder / "elsewhere"


def everything(store, specs) -> list[pd.DataFrame]:
    frame, records = store.frame(specs), list(store.records([spec.id for spec in specs], arrays=True))
    return [frame, table1(frame), table9(records), trade_off(records, n_resamples=20)]


def test_without_the_data_every_table_is_the_same(made):
    store, specs, seen, _ = made
    for before, now in zip(seen, everything(RunStore(store.path), specs[:4]), strict=True):
        pd.testing.assert_frame_equal(before, now)
    assert seen[0]["train_examples"].tolist() == [24] * 4
    labels = store[specs[0].id].arrays["dev_labels"][~store[specs[0].id].arrays["selection"]]
    assert seen[0]["constant_score"].iloc[0] == pytest.approx(np.bincount(labels).max() / len(labels))
    assert store[specs[-1].id].tasks["toy"].sizes == {"train": 24, "dev": 60, "selection": 18, "report": 42}
    assert len(store.frame([specs[-2]])) == len(store.frame([specs[-1]])) == 1


def test_a_record_names_no_place_user_or_machine(made):
    store, specs, *_ = made
    files = [path for path in Path(store.path, "runs").rglob("*") if path.is_file()]
    assert len(files) == 2 * len(specs)
    for path in files:
        for secret in ("secretplace", str(specs[0].encoder), '"/', socket.gethostname(), getpass.getuser()):
            assert secret.encode() not in path.read_bytes(), (path, secret)


def test_the_ids_do_not_depend_on_places(made):
    _, specs, _, folder = made
    for spec in specs:
        assert without_places(spec).id == spec.id == placed(without_places(spec), folder).id
    bare = without_places(specs[0])
    assert (bare.data.data_dir, without_places(bare)) == ("toy", bare)
    assert Path(placed(bare, folder).data.data_dir) == folder / "toy"
    lab = full_run("lab-base", data_ref("entailment", train_size=8, dev_size=8), 0, HYPER)
    assert placed(lab, "/nowhere") == lab == without_places(lab)


def test_a_record_is_carried_out_again_where_its_data_are(made, encoder, toy):
    store, specs, _, folder = made
    record = store[specs[0].id]
    with pytest.raises(SuperticketsError, match=r"does not say where its data \(toy\) lie: give .*--data-dir"):
        record.spec.data.load()
    with pytest.raises(SuperticketsError, match="has no task 'toy'"):
        placed(record.spec, toy.parent)
    assert placed(record.spec, folder).data.load().name == "toy"
    named = without_places(toy_full_run(encoder, toy)).data  # files that were named one by one
    assert (named.train, named.dev) == ("train.csv", ("dev.csv",))
    assert named.at(toy).load().fingerprint == named.fingerprint


def test_scores_follow_from_the_arrays_and_facts_of_a_task_with_groups(tmp_path):
    ref = data_ref("inference", train_size=30, dev_size=60, with_test=True)
    spec, store = full_run("lab-base", ref, 0, HYPER), RunStore(tmp_path)
    run_all([spec], store, workers=1, progress=False).raise_if_failed()
    record = store[spec.id]
    facts, arrays = record.tasks["inference"], record.arrays
    assert facts.groups == ("matched", "mismatched")
    for name, split, rows in (("report", "dev", ~arrays["selection"]), ("test", "test", np.ones(2000, dtype=bool))):
        parts = np.array(facts.groups)[arrays[f"{split}_groups"][rows]]
        values = score(facts.metrics, arrays[f"{split}_labels"][rows], arrays[f"{split}_logits"][rows], parts)
        assert values == pytest.approx({key: record.metrics[name][key] for key in values}, abs=1e-12)
    task = ref.load()
    report = ~split_dev(task)
    wanted = constant_score(task.metrics, task.dev.labels[report], 3, np.asarray(task.dev.groups)[report])
    assert facts.constant_score == pytest.approx(wanted, abs=1e-12)


def test_records_of_the_old_form_are_read_and_explain_what_is_known(tmp_path):
    store = RunStore(OLD)
    frame = store.frame().set_index("run")
    assert sorted(frame["task"]) == ["MRPC", "MRPC", "STS-B"]
    for record in store.records(arrays=True):
        facts = record.tasks[record.spec.data.name]
        assert json.loads(Path(OLD, "runs", record.id[:2], f"{record.id}.json").read_text())["id"] == record.id
        assert record.spec.data.data_dir == record.spec.data.name
        assert facts.texts is None
        report = ~record.arrays["selection"]
        values = score(facts.metrics, record.arrays["dev_labels"][report], record.arrays["dev_logits"][report])
        assert values == pytest.approx({key: record.metrics["report"][key] for key in values}, abs=1e-9)
        assert frame.loc[record.id, "constant_score"] == facts.constant_score
    known = {name: facts for record in store.records() for name, facts in record.tasks.items()}
    assert (known["MRPC"].label_names, known["MRPC"].metrics) == (("not_equivalent", "equivalent"), ("accuracy", "f1"))
    assert (known["STS-B"].kind, known["STS-B"].num_labels, known["STS-B"].constant_score) == ("regression", 1, 0.0)
    assert table1(frame.reset_index().query("task == 'MRPC'"))["seeds"].iloc[0] == 1
    assert set(table9(store.records())["label noise"]) == {"unknown"}
    copy = RunStore(tmp_path)  # saved again they are of the new form, and the same
    for record in store.records(arrays=True):
        copy.save(record)
    pd.testing.assert_frame_equal(copy.frame(), store.frame())
    assert not any(b"/data/" in path.read_bytes() for path in tmp_path.rglob("*.json"))


def test_what_an_old_record_lacks_is_completed_from_its_data(made):
    store, specs, _, folder = made
    whole = store[specs[0].id]
    old = {"toy": TaskFacts("classification", ("0", "1"), ("accuracy",), {}, 0.5)}
    lacking = dataclasses.replace(whole, tasks=old)
    assert completed(lacking, None).tasks == old
    assert completed(lacking, folder).tasks == whole.tasks
    lab = full_run("lab-base", data_ref("inference", train_size=30, dev_size=20), 0, HYPER)  # whose data are at hand
    task = lab.data.load()
    lacking = dataclasses.replace(
        lacking, spec=lab, tasks={"inference": old["toy"]}, arrays=split_arrays(task, split_dev(task))
    )
    assert completed(lacking, None).tasks["inference"] == task_facts(task, split_dev(task))
