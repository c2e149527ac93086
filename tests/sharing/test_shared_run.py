"""A run of many tasks: its spec, its record, and going on after a kill."""

import dataclasses
import json

import numpy as np
import pytest
from tiny import toy_full_run, write_toy_task

from supertickets.chapters.multi_task.tables import tuned
from supertickets.engines import run_all
from supertickets.errors import SuperticketsError
from supertickets.runs import Hyper, RunStore, SharingSpec, TicketRule, spec_from_json
from supertickets.runs.spec import without_places
from supertickets.sharing import train_shared
from supertickets.tasks import data_ref


@pytest.fixture(scope="module")
def two(encoder, toy, tmp_path_factory) -> SharingSpec:
    """MT-DNN on the toy task and on another draw of it, called "more"."""
    more = write_toy_task(tmp_path_factory.mktemp("more") / "more", n_train=32, n_dev=40)
    refs = [
        data_ref(name, train=folder / "train.csv", dev=folder / "dev.csv", text=("text",), label="verdict")
        for name, folder in (("toy", toy), ("more", more))
    ]
    single = toy_full_run(encoder, toy)
    return SharingSpec(
        encoder=str(encoder),
        encoder_revision=single.encoder_revision,
        data=tuple(refs),
        tickets=(TicketRule("random", 0.5), TicketRule()),
        dropouts=(0.1, 0.2),
        seed=3,
        hyper=Hyper(learning_rate=3e-3, batch_size=16, epochs=2),
        fine_tuning=tuple(Hyper(learning_rate=rate, batch_size=16, epochs=1) for rate in (3e-3, 1e-3)),
        selection_fraction=0.3,
    )


def test_tasks_go_by_name(two):
    assert [ref.name for ref in two.data] == ["more", "toy"]
    assert [rule.kind for rule in two.tickets] == ["full", "random"]
    other = dataclasses.replace(two, data=two.data[::-1], tickets=two.tickets[::-1], dropouts=two.dropouts[::-1])
    assert other == two
    assert other.id == two.id
    assert two.model == "Ticket-Share"
    assert dataclasses.replace(two, tickets=(TicketRule(), TicketRule())).model == "MT-DNN"


def test_the_id_changes_with_what_matters(two):
    changed = [
        dataclasses.replace(two, seed=4),
        dataclasses.replace(two, fine_tuning=()),
        dataclasses.replace(two, dropouts=(0.3, 0.1)),
        dataclasses.replace(two, tickets=(TicketRule(), TicketRule("random", 0.4))),
        dataclasses.replace(two, data=(dataclasses.replace(two.data[0], fingerprint="x"), two.data[1])),
        dataclasses.replace(two, hyper=Hyper()),
    ]
    assert len({spec.id for spec in [two, *changed]}) == 7
    assert dataclasses.replace(two, encoder="elsewhere").id == two.id


def test_a_spec_is_read_back_and_a_damaged_one_refused(two, encoder, toy):
    data = json.loads(json.dumps(two.to_json(), sort_keys=True))
    assert spec_from_json(data) == two
    single = toy_full_run(encoder, toy)
    assert spec_from_json(single.to_json()) == single
    for broken in ({**data, "colour": 1}, {**data, "tickets": [{"kind": "lucky"}]}):
        with pytest.raises(SuperticketsError):
            spec_from_json(broken)
    with pytest.raises(SuperticketsError, match="different names, not more, more"):
        dataclasses.replace(two, data=(two.data[0], two.data[0]))
    with pytest.raises(SuperticketsError, match="each of its tasks"):
        dataclasses.replace(two, dropouts=(0.1,))
    with pytest.raises(SuperticketsError, match="same learning rate"):
        dataclasses.replace(two, fine_tuning=two.fine_tuning * 2)


def test_a_run_leaves_a_record_with_both_stages(two, tmp_path):
    store = RunStore(str(tmp_path))
    assert str(run_all([two], store, workers=1, progress=False)) == "1 runs carried out, 0 found in the store"
    assert str(run_all([two], store, workers=1, progress=False)) == "0 runs carried out, 1 found in the store"
    record = store[two.id]
    assert record.id == two.id
    assert record.spec == without_places(two)
    frame = store.frame([two])
    stages = [("multi-task", 3e-3), ("fine-tuned", 3e-3), ("fine-tuned", 1e-3)]
    assert list(zip(frame["task"], frame["stage"], frame["learning_rate"], strict=True)) == [
        (task, *stage) for task in ("more", "toy") for stage in stages
    ]
    assert len(tuned(frame)) == 4  # of each task's fine-tunings the better one by selection
    assert frame["task_dropout"].tolist() == [dropout for dropout in two.dropouts for _ in stages]
    for row in frame.to_dict("records"):
        report = ~record.arrays[f"{row['task']}/selection"]
        stage = row["stage"] + (f"@{row['learning_rate']:g}" if row["stage"] == "fine-tuned" else "")
        logits = record.arrays[f"{stage}/{row['task']}/dev_logits"][report]
        labels = record.arrays[f"{row['task']}/dev_labels"][report]
        assert row["report_accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())
    toy_rows = frame.loc[frame["task"] == "toy"]
    assert np.all(toy_rows["weights_remaining"] < 1)
    assert np.all(frame["stored"] == 1)  # the other task's ticket is full
    np.testing.assert_allclose(frame["average_compression"], (1 + toy_rows["weights_remaining"].mean()) / 2)
    assert not list(tmp_path.glob("running/*"))  # the checkpoint is gone


def test_the_same_spec_gives_the_same_record_and_a_killed_run_goes_on(two, tmp_path):
    whole = train_shared(two, {})
    file = tmp_path / "checkpoint.safetensors"

    def stop(_values: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_shared(two, {}, file, stop)
    assert file.exists()
    resumed = train_shared(two, {}, file)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[name], array, err_msg=name)
    assert resumed.metrics == whole.metrics
