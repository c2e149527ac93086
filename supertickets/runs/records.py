"""A record as JSON: what is written, and how it is read back, records of the old form included."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from supertickets.runs.run import Record
from supertickets.runs.spec import SharingSpec, data_of, spec_from_json, without_places
from supertickets.tasks import (
    LAB_TASKS,
    METRICS,
    DataRef,
    TaskFacts,
    benchmark,
    constant_score,
    split_arrays,
    task_facts,
)

TIME = "%Y-%m-%dT%H:%M:%SZ"
_FORMAT = {"format": "supertickets.record", "version": 1}
_VALUES = ("epochs", "best_epoch", "metrics", "size", "timings", "environment", "memory")


def record_json(record: Record) -> dict[str, Any]:
    """A record without its arrays as a JSON object; it says nothing of where data and encoder lay."""
    return {
        **_FORMAT,
        "id": record.id,
        "finished": record.finished or time.strftime(TIME, time.gmtime()),
        "spec": without_places(record.spec).to_json(),
        "tasks": {name: vars(facts) for name, facts in record.tasks.items()},
        **{name: getattr(record, name) for name in _VALUES},
    }


def record_from_json(run_id: str, content: Mapping[str, Any], load: Callable[[bool], dict[str, np.ndarray]]) -> Record:
    """Reads ``record_json``'s object of the run ``run_id``, or one of the old form, which does not explain itself.

    ``load`` gives the record's arrays, or none if it may: it is told whether they are needed, which they are for the
    facts of an old one. Raises ValueError, KeyError, TypeError or SuperticketsError for anything else.
    """
    if not isinstance(content, dict) or not _FORMAT.items() <= content.items():
        raise ValueError(f"not a record of version {_FORMAT['version']}")
    spec = without_places(spec_from_json(content["spec"]))
    if spec.id != run_id or content["id"] != run_id:
        raise ValueError(f"its spec belongs to run {spec.id}")
    values: dict[str, Any] = {"memory": {}, **content}  # records older than the field have none
    if not all(isinstance(values[name], dict) for name in _VALUES[2:]):
        raise ValueError(f"its {', '.join(_VALUES[2:])} are not all there")
    record = Record(
        spec=spec,
        arrays=load("tasks" not in content),
        tasks={name: TaskFacts.from_json(facts) for name, facts in content.get("tasks", {}).items()},
        finished=content["finished"],
        **{name: values[name] for name in _VALUES[1:]},
        epochs=tuple(content["epochs"]),
    )
    return record if "tasks" in content else replace(record, tasks=_old_facts(record))


def completed(record: Record, data_dir: str | Path | None) -> Record:
    """The record with all facts of its tasks, from the data below ``data_dir``, or the lab; as it is without them.

    Raises SuperticketsError if the data are not those of the run.
    """
    tasks, arrays = dict(record.tasks), dict(record.arrays)
    for ref in data_of(record.spec):
        if ref.name in tasks and tasks[ref.name].texts is None and (ref.in_lab or data_dir is not None):
            prefix = _prefix(record, ref)
            tasks[ref.name], held = _held(ref.at(data_dir or ""), arrays[f"{prefix}selection"].tobytes())
            arrays |= {f"{prefix}{name}": array for name, array in held.items()}
    return replace(record, tasks=tasks, arrays=arrays)


@lru_cache(maxsize=4096)  # many runs are on the same data, and come in no order
def _held(ref: DataRef, selection: bytes) -> tuple[TaskFacts, dict[str, np.ndarray]]:
    task, rows = ref.load(), np.frombuffer(selection, bool)
    return task_facts(task, rows), split_arrays(task, rows)


def _prefix(record: Record, ref: DataRef) -> str:
    """What the names of a task's arrays begin with."""
    return f"{ref.name}/" if isinstance(record.spec, SharingSpec) else ""


def _old_facts(record: Record) -> dict[str, TaskFacts]:
    """What the arrays of a record of the old form tell, with what is known of published and lab tasks by name.

    The classes of a task of one's own have numbers for names; groups are not told apart, so that the constant answer is
    scored on all examples together; the training set counts as large as importance, or else the spec, says.
    """
    found, arrays = {}, record.arrays
    for ref in data_of(record.spec):
        prefix = _prefix(record, ref)
        stage = prefix and f"multi-task/{prefix}"
        if not {f"{prefix}dev_labels", f"{prefix}selection"} <= arrays.keys():
            continue
        labels, selection = arrays[f"{prefix}dev_labels"], arrays[f"{prefix}selection"]
        known = LAB_TASKS[ref.name] if ref.in_lab else benchmark(ref.name)
        regression, n_outputs = labels.dtype.kind == "f", arrays[f"{stage}dev_logits"].shape[1]
        metrics = tuple(name for name in record.metrics[f"{stage}dev"] if name in METRICS)
        scored_on = [int(array[0]) for name, array in arrays.items() if name.endswith("/n_examples")]
        sizes = {
            "train": scored_on[0] if scored_on else ref.train_size or getattr(known, "train_size", None),
            "dev": len(labels),
            "selection": int(selection.sum()),
            "report": int((~selection).sum()),
            "test": len(arrays["test_labels"]) if "test_labels" in arrays else None,
        }
        found[ref.name] = TaskFacts(
            kind="regression" if regression else "classification",
            label_names=known.label_names if known else () if regression else tuple(map(str, range(n_outputs))),
            metrics=metrics,
            sizes={name: size for name, size in sizes.items() if size is not None},
            constant_score=constant_score(metrics, labels[~selection], n_outputs),
        )
    return found
