"""Domain adaptation (section 7): a trained model goes on to a target task, with little of the target's training data.

The source is a single-task run (ST-DNN, or its super ticket) or a multi-task run (MT-DNN, Ticket-Share), of which the
shared encoder is taken, that is the union of the tickets. It is trained once and kept, so that all its targets and
fractions start from the same weights.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from supertickets.batching import cached_encode
from supertickets.compaction import load_compacted, save_compacted
from supertickets.encoders import load_encoder, load_tokenizer, new_task_head, set_task_dropout, shape_of
from supertickets.errors import SuperticketsError
from supertickets.facts import split_arrays, task_facts
from supertickets.provenance import setting
from supertickets.runs import NUMERICS, Hyper, Record, RunSpec, id_of
from supertickets.shared_runs import SharingSpec, trained_together
from supertickets.sources import DataRef
from supertickets.tasks import Task, split_dev, stratified_order
from supertickets.tickets import Scores, Ticket
from supertickets.training import (
    best_device,
    fast_forward,
    fine_tune,
    fit,
    name_labels,
    predict,
    scored_splits,
    task_vocabulary,
)


@dataclass(frozen=True)
class AdaptationSpec:
    """Everything that determines one adaptation: where from, where to, and how much of the target's training set.

    ``source_task`` is the task of a multi-task source whose head goes along ("" = none does). ``fraction`` of the
    target's training examples are used, the ``draw``-th of several random subsets (:func:`nested_subset`).
    """

    source: RunSpec | SharingSpec
    data: DataRef
    fraction: float
    draw: int = 0
    source_task: str = ""
    hyper: Hyper = field(default_factory=Hyper)
    selection_fraction: float = 0.1
    split_seed: int = 0
    numerics: int = NUMERICS

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise SuperticketsError(
                f"A fraction of the training set lies above 0 and is at most 1, not {self.fraction}."
            )

    @property
    def id(self) -> str:
        """The run's id, as :attr:`supertickets.runs.RunSpec.id`."""
        return id_of({**self.to_json(), "data": self.data.identity(), "source": self.source.id})

    @property
    def seed(self) -> int:
        """The source's seed: conditions are paired by it."""
        return self.source.seed

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the runs whose importance scores the source's tickets are read off."""
        return self.source.parents

    @property
    def model(self) -> str:
        """The paper's name of the source: "ST-DNN", "SuperT", "MT-DNN" or "Ticket-Share"."""
        if isinstance(self.source, SharingSpec):
            return self.source.model
        return "ST-DNN" if self.source.ticket.kind == "full" else "SuperT"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back."""
        values = {**asdict(self), "source": self.source.to_json(), "data": self.data.to_json()}
        return {**values, "study": "adaptation"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AdaptationSpec:
        """Reads ``to_json``'s object; raises SuperticketsError if fields are missing or unknown."""
        try:
            if set(data) != {f.name for f in fields(cls)} | {"study"}:
                raise ValueError("its fields are not those of an adaptation")
            values: dict[str, Any] = {name: value for name, value in data.items() if name != "study"}
            source = SharingSpec if data["source"].get("study") == "sharing" else RunSpec
            values["source"] = source.from_json(data["source"])
            values["data"] = DataRef.from_json(data["data"])
            values["hyper"] = Hyper(**data["hyper"])
            return cls(**values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SuperticketsError(f"This run's spec is damaged or of another version ({error}).") from error

    def rows(self, record: Record) -> list[dict[str, Any]]:
        """One flat row of this spec's record, for a data frame of records."""
        row: dict[str, Any] = {
            "run": record.id,
            "encoder": self.source.encoder,
            "model": self.model,
            "task": self.data.name,
            "seed": self.seed,
            "fraction": self.fraction,
            "draw": self.draw,
            "data": self.data.fingerprint,
            **record.size,
            "head": record.environment["task head"],
            "seconds": record.timings.get("total", float("nan")),
        }
        for split, values in record.metrics.items():
            row |= {f"{split}_{metric}": value for metric, value in values.items()}
        return [row]


def nested_subset(labels: np.ndarray, fraction: float, draw: int = 0, name: str = "target") -> np.ndarray:
    """Rows of a random subset, in ascending order: ``fraction`` of them, rounded down, stratified by class.

    For one ``draw`` smaller subsets lie within larger ones. Real-valued labels have no classes. Raises
    SuperticketsError, naming the task ``name``, if there would be fewer examples than classes.

    >>> labels = np.array([0, 1] * 10)
    >>> small, large = nested_subset(labels, 0.1), nested_subset(labels, 0.5)
    >>> len(small), int(labels[small].sum()), set(small) <= set(large)
    (2, 1, True)
    """
    strata = np.zeros(len(labels), dtype=int) if labels.dtype.kind == "f" else labels
    count, classes = int(fraction * len(labels) + 1e-9), len(np.unique(strata))  # 0.29 x 100 is 29
    if count < classes:
        raise SuperticketsError(
            f"{fraction:.3%} of the training set of {name} are {count} of {len(labels)} examples, fewer than one for "
            f"each of its {classes} classes; use a larger fraction."
        )
    return np.sort(stratified_order(strata, draw, 4)[:count])


def source_model(
    source: RunSpec | SharingSpec, task: str, scores: Mapping[str, Scores], folder: str | Path | None = None
) -> tuple[PreTrainedModel, Ticket]:
    """The trained source and its ticket: from ``folder`` if it is there, else trained now and kept there, if given.

    ``scores`` are the importance scores of the source's parents, by run id; ``task`` is as in :class:`AdaptationSpec`.
    Of a multi-task source it is the whole shared encoder, and the ticket is the union. A kept model that cannot be
    loaded is moved aside with a warning and trained anew.
    """
    if folder is not None and Path(folder).is_dir():
        try:
            return load_compacted(folder), Ticket.load(Path(folder) / "ticket.json")
        except SuperticketsError as error:
            aside = f"{folder}.broken-{uuid.uuid4().hex[:8]}"
            os.replace(folder, aside)
            warnings.warn(f"{error} It was moved to {aside} and is trained anew.", stacklevel=2)
    try:
        if folder is not None:
            Path(folder).parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=None if folder is None else Path(folder).parent, prefix="."))
    except OSError as error:
        raise SuperticketsError(f"The source model cannot be kept at {folder} ({error}); free some space.") from error
    try:
        if isinstance(source, RunSpec):
            fine_tune(source, scores.get(source.ticket.parent), temporary)
        else:
            shared, data, _ = trained_together(source, scores)
            name = task or next(iter(shared.models))
            model = shared.models[name]
            name_labels(model, data[name].task)
            save_compacted(model.cpu(), shared.union, temporary)
        found = load_compacted(temporary), Ticket.load(temporary / "ticket.json")
        if folder is not None:
            _keep(temporary, Path(folder))
        return found
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _keep(temporary: Path, folder: Path) -> None:
    try:
        os.replace(temporary, folder)
    except OSError as error:
        if not folder.is_dir():  # else another worker was quicker, with the same model
            raise SuperticketsError(f"The source model cannot be kept at {folder} ({error}).") from error


def adapt(
    spec: AdaptationSpec,
    source: tuple[PreTrainedModel, Ticket],
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Record:
    """Fine-tunes the source model (:func:`source_model`; changed in place) on the target, and returns the run's record.

    The task head goes along if the target has the same labels as the source's task; else the target gets a new one,
    initialised from the seed. The record's environment says which, under "task head". Schedule and early stopping are
    those of :func:`supertickets.training.fine_tune` (A.3.2). Raises SuperticketsError as that does, and for a fraction
    that leaves a class without an example.
    """
    started = time.perf_counter()
    model, ticket = source
    task, tokenizer = spec.data.load(), load_tokenizer(spec.source.encoder)
    selection = split_dev(task, spec.selection_fraction, spec.split_seed)
    rows = nested_subset(task.train.labels, spec.fraction, spec.draw, task.name)
    train = cached_encode(task, "train", tokenizer, spec.hyper.max_length).rows(rows)
    dev = cached_encode(task, "dev", tokenizer, spec.hyper.max_length)
    head = _fit_head(model, task, spec.seed, bool(spec.source_task) or isinstance(spec.source, RunSpec))
    set_task_dropout(model, spec.hyper.task_dropout)
    device = best_device()
    model.to(device)  # pyright: ignore[reportArgumentType]  # a decorator of transformers hides its self
    with (
        task_vocabulary(model, spec.hyper, train, dev) as (train, dev),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        fast_forward(model),
    ):
        torch.manual_seed(spec.seed)
        fitted = fit(model, task, train, dev, selection, spec.hyper, spec.seed, on_epoch)
        logits = predict(model, dev, spec.hyper.precision)
    shape = shape_of(load_encoder(spec.source.encoder, 1, spec.seed))
    return Record(
        spec=spec,
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        metrics=scored_splits(task, logits, selection),
        size={"weights_remaining": ticket.weights_remaining(shape), "train_examples": float(len(rows))},
        arrays={"dev_logits": logits, "rows": rows, **split_arrays(task, selection)},
        timings={"total": time.perf_counter() - started},
        environment={**setting(), "task head": head},
        tasks={task.name: task_facts(task, selection)},
    )


def _fit_head(model: PreTrainedModel, task: Task, seed: int, along: bool) -> str:
    """Gives the model a task head for the task unless the one it has fits, and says which."""
    names = [name for _, name in sorted((model.config.id2label or {}).items())]
    theirs = "a score" if model.config.problem_type == "regression" else ", ".join(names)
    ours = "a score" if task.kind == "regression" else ", ".join(task.label_names)
    if along and theirs == ours:
        return f"kept: the labels of the source are those of {task.name} ({ours})"
    new_task_head(model, task.num_labels, seed)
    name_labels(model, task)
    why = f"the source's labels are {theirs}" if along else "none of the source's tasks goes along"
    return f"new: {task.name} has the labels {ours}; {why}"
