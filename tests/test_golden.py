"""Ids of runs and bytes of records stay what they were, so that a store made earlier is found again.

``golden.json`` was written at commit d21e66c. A test that fails here says that stores of that time would be repeated or
set aside: put the code right, not the file. Other runs since, on purpose: Table 2 of the lab where training examples
occur in the test set (acceptability, paraphrase), which were replaced along with most others then; and Table 4, whose
subsets have sizes in place of fractions and are a seed's own. Runs with a target's whole training set are the same.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from supertickets.runs import AdaptationSpec, Hyper, Record, RunSpec, RunStore, SharingSpec, Spec, TicketRule
from supertickets.studies import Inputs, at_hand, get_profile
from supertickets.studies.experiments import stages
from supertickets.studies.profiles import Adaptation, Profile, Subsets, TrainingSets
from supertickets.tasks import DataRef

EXPERIMENTS = ("figure1", "table1", "table2", "table3", "table4", "figure5", "figure6")
GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
MINILM = Profile(
    "minilm",
    "minilm",
    ("RTE", "MRPC", "CoLA", "SST-2", "STS-B"),
    (0, 1, 2),
    Hyper(learning_rate=3e-4, precision="bf16", max_length=256),
    Subsets("SST-2", (2_000, 500)),
    TrainingSets("SST-2", 500, 12),
    Adaptation("MNLI", {"SNLI": (549, None), "SciTail": (23, None)}, n_seeds=3),
    (1.5e-4, 3e-4, 6e-4),
)
"""The profile as it was: what it has become since does not touch the ids of the runs it stood for."""


class Scored:
    """Stands in for a store in which every run is done, with scores made from its id: for :func:`stages`."""

    def frame(self, specs: list[RunSpec]) -> pd.DataFrame:
        return pd.DataFrame([row for spec in specs for row in record(spec, {}, score=int(spec.id, 16) / 16**20).rows()])


def record(spec: Spec, arrays: dict[str, np.ndarray], **values: float) -> Record:
    metrics = {split: {**values, "loss": 0.625} for split in ("selection", "report", "dev")}
    size = {"weights_remaining": 0.9375, "heads_kept": 0.5}
    if isinstance(spec, SharingSpec):
        stages = ("multi-task", *(f"fine-tuned@{hyper.learning_rate:g}" for hyper in spec.fine_tuning))
        metrics = {f"{stage}/{ref.name}/{x}": metrics[x] for stage in stages for ref in spec.data for x in metrics}
        size = {
            "average_compression": 0.75,
            "stored": 0.875,
            **{f"{ref.name}/weights_remaining": 0.5 for ref in spec.data},
        }
    return Record(
        spec=spec,
        epochs=({"train_loss": 0.75, "selection_score": 0.5}, {"train_loss": 0.25, "selection_score": 0.875}),
        best_epoch=2,
        metrics=metrics,
        size=size,
        arrays=arrays,
        timings={"train": 1.5, "total": 2.25},
        environment={"torch": "2.13.0", "device": "CPU (x86_64, 2 cores)", "task head": "kept: yes, no"},
        memory={"process": 512.0},
    )


def ids(profile: Profile, inputs: Inputs | None = None) -> dict[str, list[Any]]:
    """By experiment and stage: how many runs, the first one's id, and a hash of all ids in order."""
    store: Any = Scored()
    found = {}
    for name in EXPERIMENTS:
        for n, stage in enumerate(stages(name, profile, store, inputs or at_hand()), start=1):
            all_ids = [spec.id for spec in stage]
            found[f"{name}, stage {n}"] = [
                len(all_ids),
                all_ids[0],
                hashlib.sha256("".join(all_ids).encode()).hexdigest(),
            ]
    return found


def test_adaptations_to_a_whole_training_set_are_the_runs_they_were() -> None:
    store: Any = Scored()
    for name in ("smoke", "lab"):
        *_, last = stages("table4", get_profile(name), store)
        found = {spec.id for spec in last if isinstance(spec, AdaptationSpec)}
        assert set(GOLDEN["whole"][name]) <= found


def runs() -> dict[str, Record]:
    """A record of each kind of run, of fixed values."""
    ref = DataRef("RTE", "ab" * 32, ("premise", "hypothesis"), "label", train_size=48, data_dir="/data/RTE")
    full = RunSpec("lab-base", "0123456789abcdef", ref, 3, Hyper(learning_rate=1e-3, epochs=2))
    ticket = replace(full, ticket=TicketRule("winning", 0.2, full.id), estimators=())
    other = DataRef("CoLA", "cd" * 32, noise=0.3, with_test=True)
    rules = (ticket.ticket, TicketRule("random", 0.5))
    shared = SharingSpec("lab-base", "0123456789abcdef", (ref, other), rules, (0.1, 0.05), 3, fine_tuning=(Hyper(),))
    heads, ffns = np.arange(6).reshape(2, 3) % 2 == 0, np.array([True, False])
    logits = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    arrays = {"heads": heads, "ffns": ffns, "dev_labels": np.array([0, 1, 1, 0]), "dev_logits": logits}
    rated = {"importance/example/heads": np.linspace(0, 1, 6).reshape(2, 3), "importance/example/ffns": np.ones(2)}
    return {
        "full": record(full, {**arrays, **rated}, accuracy=0.75, score=0.75),
        "winning": record(ticket, arrays, accuracy=0.5, score=0.5),
        "sharing": record(shared, {"multi-task/RTE/dev_logits": logits}, score=0.5),
        "adaptation": record(AdaptationSpec(ticket, other, 0.1, 1), {"dev_logits": logits}, score=0.5),
    }


@pytest.mark.parametrize("name", ["smoke", "lab"])
def test_runs_of_a_profile_have_the_ids_they_had(name: str) -> None:
    assert ids(get_profile(name)) == GOLDEN["ids"][name]


def test_runs_of_the_first_real_encoder_have_the_ids_they_had() -> None:
    """With the fingerprints its data and encoder had: neither is needed here."""

    def known(name: str, with_test: bool = False, **arguments: Any) -> DataRef:
        given = {key: value for key, value in arguments.items() if value is not None}
        key = f"{name} with test" if with_test else " ".join(map(str, (name, *given.values())))
        return DataRef(name, GOLDEN["fingerprints"][key], with_test=with_test, **given)

    assert ids(MINILM, Inputs(known, {"minilm": GOLDEN["revision"]}.__getitem__)) == GOLDEN["ids"]["minilm"]


def stored(kind: str) -> tuple[str, dict[str, Any]]:
    """The name of a record's file, and what it held then."""
    ((name, text),) = GOLDEN["records"][kind]["json"].items()
    return name, json.loads(text)


def shortened(content: Any) -> Any:
    """The folders of data as records keep them since: by name."""
    if isinstance(content, dict):
        return {key: Path(x).name if key == "data_dir" and x else shortened(x) for key, x in content.items()}
    return [shortened(each) for each in content] if isinstance(content, list) else content


@pytest.mark.parametrize("kind", GOLDEN["records"])
def test_a_stored_record_is_the_same_byte_by_byte(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what it says of its tasks since, and for the paths that it does not say any more."""
    monkeypatch.setattr(time, "gmtime", lambda *_: time.struct_time((2026, 11, 21, 22, 26, 31, 5, 325, 0)))
    RunStore(tmp_path).save(runs()[kind])
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    found = {name: hashlib.sha256(data).hexdigest() for name, data in files.items() if not name.endswith(".json")}
    assert found == GOLDEN["records"][kind]["arrays"]
    name, content = stored(kind)
    place = list(content).index("spec") + 1
    items = list(shortened(content).items())
    wanted = dict([*items[:place], ("tasks", {}), *items[place:]])
    assert files[name].decode() == json.dumps(wanted, indent=1)


@pytest.mark.parametrize("kind", GOLDEN["records"])
def test_a_record_stored_then_is_read_and_makes_the_same_rows(kind: str, tmp_path: Path) -> None:
    RunStore(tmp_path).save(made := runs()[kind])  # for the arrays
    name, content = stored(kind)
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    found = RunStore(tmp_path)[made.id]
    assert found.spec.id == made.spec.id
    assert {name: array.tolist() for name, array in found.arrays.items()} == {
        name: array.tolist() for name, array in made.arrays.items()
    }
    rows = [{key: str(value) for key, value in row.items()} for row in found.rows()]
    for row, then in zip(rows, GOLDEN["records"][kind]["rows"], strict=True):
        assert {key: row[key] for key in then} == then
