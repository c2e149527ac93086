"""A record as JSON: what is written, and how it is read back, records of the old form included."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from supertickets.benchmarks import benchmark
from supertickets.facts import TaskFacts, constant_score, split_arrays, task_facts
from supertickets.lab.tasks import LAB_TASKS
from supertickets.runs import Record
from supertickets.shared_runs import SharingSpec
from supertickets.sources import DataRef
from supertickets.specs import data_of, spec_from_json, without_places
from supertickets.tasks import METRICS

TIME = "%Y-%m-%dT%H:%M:%SZ"
_FORMAT, _VERSION = "supertickets.record", 1
_MAPPINGS = ("metrics", "size", "timings", "environment")


def record_json(record: Record) -> dict[str, Any]:
    """A record without its arrays as a JSON object; it says nothing of where data and encoder lay."""
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "id": record.id,
        "finished": record.finished or time.strftime(TIME, time.gmtime()),
        "spec": without_places(record.spec).to_json(),
        "tasks": {name: facts.to_json() for name, facts in record.tasks.items()},
        "epochs": list(record.epochs),
        "best_epoch": record.best_epoch,
        "metrics": record.metrics,
        "size": record.size,
        "timings": record.timings,
        "environment": record.environment,
        "memory": dict(record.memory),
    }


def record_from_json(run_id: str, content: Mapping[str, Any], load: Callable[[bool], dict[str, np.ndarray]]) -> Record:
    """Reads ``record_json``'s object of the run ``run_id``, or one of the old form, which does not explain itself.

    ``load`` gives the record's arrays, or none if it may: it is told whether they are needed, which they are for the
    facts of an old one. Raises ValueError, KeyError, TypeError or SuperticketsError for anything else.
    """
    if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
        raise ValueError(f"not a record of version {_VERSION}")
    spec = without_places(spec_from_json(content["spec"]))
    if spec.id != run_id or content["id"] != run_id:
        raise ValueError(f"its spec belongs to run {spec.id}")
    if not all(isinstance(content[name], dict) for name in _MAPPINGS):
        raise ValueError(f"its {', '.join(_MAPPINGS)} are not all there")
    old = "tasks" not in content
    record = Record(
        spec=spec,
        epochs=tuple(content["epochs"]),
        best_epoch=content["best_epoch"],
        metrics=content["metrics"],
        size=content["size"],
        arrays=load(old),
        timings=content["timings"],
        environment=content["environment"],
        memory=content.get("memory", {}),  # records older than the field have none
        tasks={name: TaskFacts.from_json(facts) for name, facts in content.get("tasks", {}).items()},
        finished=content["finished"],
    )
    return replace(record, tasks=old_facts(record)) if old else record


def completed(record: Record, data_dir: str | Path | None) -> Record:
    """The record with everything that it should say of its tasks, from the data below ``data_dir``, or from the lab.

    It is the record itself if nothing is missing, or the data are not at hand. Raises SuperticketsError if they are not
    those of the run.
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


def old_facts(record: Record) -> dict[str, TaskFacts]:
    """The facts that a record of the old form lacks, from its arrays and what is known of published and lab tasks.

    What nobody can tell is left out: the classes of a task of one's own have numbers for names, the parts of a dev
    split are not told apart (so that the constant answer is scored on all examples together), and the training set is
    as large as the spec asked for, or as importance was taken on.
    """
    there = (ref for ref in data_of(record.spec) if f"{_prefix(record, ref)}dev_labels" in record.arrays)
    return {ref.name: _facts_from(record, ref, _prefix(record, ref)) for ref in there}


def _facts_from(record: Record, ref: DataRef, prefix: str) -> TaskFacts:
    arrays, stage = record.arrays, prefix and f"multi-task/{prefix}"
    labels, report = arrays[f"{prefix}dev_labels"], ~arrays[f"{prefix}selection"]
    known = LAB_TASKS[ref.name] if ref.in_lab else benchmark(ref.name)
    regression, n_outputs = labels.dtype.kind == "f", arrays[f"{stage}dev_logits"].shape[1]
    names = known.label_names if known else () if regression else tuple(map(str, range(n_outputs)))
    metrics = tuple(name for name in record.metrics[f"{stage}dev"] if name in METRICS)
    scored_on = [int(array[0]) for name, array in arrays.items() if name.endswith("/n_examples")]
    asked = ref.train_size or (LAB_TASKS[ref.name].train_size if ref.in_lab else None)
    sizes = {
        "train": scored_on[0] if scored_on else asked,
        "dev": len(labels),
        "selection": int((~report).sum()),
        "report": int(report.sum()),
        "test": len(arrays["test_labels"]) if "test_labels" in arrays else None,
    }
    return TaskFacts(
        kind="regression" if regression else "classification",
        label_names=names,
        metrics=metrics,
        sizes={name: size for name, size in sizes.items() if size is not None},
        constant_score=constant_score(metrics, labels[report], n_outputs),
    )
