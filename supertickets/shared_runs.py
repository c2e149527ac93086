"""A run of many tasks with one encoder (section 6): MT-DNN or Ticket-Share, and fine-tuning from it, task by task."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from supertickets.encoders import load_encoder, load_tokenizer, shape_of
from supertickets.errors import SuperticketsError
from supertickets.facts import split_arrays, task_facts
from supertickets.multitask import TaskData, Together, task_data, train_together
from supertickets.provenance import setting
from supertickets.runs import NUMERICS, Hyper, Record, TicketRule, id_of
from supertickets.sharing import SharedModel, alone, share, shared_model, shared_units
from supertickets.sources import DataRef
from supertickets.tickets import EncoderShape, Scores, Ticket
from supertickets.training import best_device, fast_forward, fit, predict, scored_splits, task_vocabulary


@dataclass(frozen=True)
class SharingSpec:
    """Everything that determines a multi-task run; tasks are kept in the order of their names, however given.

    ``tickets[i]`` is the rule of task i's ticket, all "full" for MT-DNN, ``dropouts[i]`` its head's dropout. With
    ``fine_tuning``, each task's model is afterwards fine-tuned alone from the shared weights ("+ ST fine-tuning"), once
    with each of these hyper-parameters (A.4 varies the learning rate).
    Raises SuperticketsError unless the tasks have different names and each its rule and dropout.
    """

    encoder: str
    encoder_revision: str
    data: tuple[DataRef, ...]
    tickets: tuple[TicketRule, ...]
    dropouts: tuple[float, ...]
    seed: int
    hyper: Hyper = field(default_factory=Hyper)
    fine_tuning: tuple[Hyper, ...] = ()
    selection_fraction: float = 0.1
    split_seed: int = 0
    numerics: int = NUMERICS

    def __post_init__(self) -> None:
        names = [ref.name for ref in self.data]
        if not names or len(set(names)) < len(names):
            given = ", ".join(names) or "none"
            raise SuperticketsError(f"A multi-task run needs tasks of different names, not {given}.")
        if not len(names) == len(self.tickets) == len(self.dropouts):
            raise SuperticketsError("A multi-task run needs a ticket rule and a dropout for each of its tasks.")
        rates = [hyper.learning_rate for hyper in self.fine_tuning]
        if len(set(rates)) < len(rates):
            raise SuperticketsError(f"Two fine-tunings have the same learning rate ({rates}); give each its own.")
        order = sorted(range(len(names)), key=names.__getitem__)
        for name in ("data", "tickets", "dropouts"):
            object.__setattr__(self, name, tuple(getattr(self, name)[i] for i in order))

    @property
    def id(self) -> str:
        """The run's id, as :attr:`supertickets.runs.RunSpec.id`."""
        values = {**self.to_json(), "data": [ref.identity() for ref in self.data]}
        del values["encoder"]
        return id_of(values)

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the single-task runs whose importance scores the tickets are read off."""
        return tuple(dict.fromkeys(rule.parent for rule in self.tickets if rule.parent))

    @property
    def model(self) -> str:
        """The paper's name for it: "MT-DNN", or "Ticket-Share" if some task has a ticket."""
        return "MT-DNN" if all(rule.kind == "full" for rule in self.tickets) else "Ticket-Share"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back."""
        return {
            **asdict(self),
            "study": "sharing",
            "data": [ref.to_json() for ref in self.data],
            "tickets": [asdict(rule) for rule in self.tickets],
            "dropouts": list(self.dropouts),
            "fine_tuning": [asdict(hyper) for hyper in self.fine_tuning],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SharingSpec:
        """Reads ``to_json``'s object; raises SuperticketsError if fields are missing or unknown."""
        try:
            if set(data) != {f.name for f in fields(cls)} | {"study"}:
                raise ValueError("its fields are not those of a multi-task run")
            values: dict[str, Any] = {name: value for name, value in data.items() if name != "study"}
            values["data"] = tuple(DataRef.from_json(ref) for ref in data["data"])
            values["tickets"] = tuple(TicketRule(**rule) for rule in data["tickets"])
            values["dropouts"] = tuple(data["dropouts"])
            values["hyper"] = Hyper(**data["hyper"])
            values["fine_tuning"] = tuple(Hyper(**hyper) for hyper in data["fine_tuning"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise SuperticketsError(f"This run's spec is damaged or of another version ({error}).") from error

    def rows(self, record: Record) -> list[dict[str, Any]]:
        """One flat row per task and stage of this spec's record, for a data frame.

        The stage is "multi-task" or "fine-tuned"; fine-tuned rows differ in their ``learning_rate``.
        """
        rows = []
        stages = [("multi-task", self.hyper, ""), *(("fine-tuned", hyper, _rate(hyper)) for hyper in self.fine_tuning)]
        for ref, rule in zip(self.data, self.tickets, strict=True):
            for stage, hyper, rate in stages:
                splits = {split: record.metrics[f"{stage}{rate}/{ref.name}/{split}"] for split in _SPLITS}
                row: dict[str, Any] = {
                    "run": record.id,
                    "encoder": self.encoder,
                    "model": self.model,
                    "stage": stage,
                    "learning_rate": hyper.learning_rate,
                    "task": ref.name,
                    "seed": self.seed,
                    "kind": rule.kind,
                    "level": rule.level,
                    "data": ref.fingerprint,
                    **record.columns(ref.name),
                    "weights_remaining": record.size[f"{ref.name}/weights_remaining"],
                    "average_compression": record.size["average_compression"],
                    "stored": record.size["stored"],
                    "seconds": record.timings.get("total", float("nan")),
                }
                for split, values in splits.items():
                    row |= {f"{split}_{metric}": value for metric, value in values.items()}
                rows.append(row)
        return rows


_SPLITS = ("selection", "report", "dev")


def _rate(hyper: Hyper) -> str:
    return f"@{hyper.learning_rate:g}"


def train_shared(
    spec: SharingSpec,
    scores: Mapping[str, Scores],
    checkpoint: str | Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Record:
    """Carries out a multi-task run and returns its record; the global random state is left as it was.

    ``scores`` are the importance scores of the parents, by run id. With ``checkpoint``, a file, a killed run goes on
    from there. In the record, ``metrics`` and the dev outputs among the ``arrays`` are named ``stage/task/...``, where
    the stage is "multi-task" or, say, "fine-tuned@0.001".

    Raises SuperticketsError as :func:`supertickets.training.fine_tune` and
    :func:`supertickets.multitask.train_together` do.
    """
    started = time.perf_counter()
    shared, data, together = trained_together(spec, scores, checkpoint, on_epoch)
    trained = time.perf_counter()
    metrics, arrays = {}, _given(data, shared.tickets)

    def keep(stage: str, name: str, logits: np.ndarray) -> None:
        arrays[f"{stage}/{name}/dev_logits"] = logits
        for split, values in scored_splits(data[name].task, logits, data[name].selection).items():
            metrics[f"{stage}/{name}/{split}"] = values

    for name, given in data.items():
        keep("multi-task", name, together.dev_logits[name])
        for hyper in spec.fine_tuning:
            keep(f"fine-tuned{_rate(hyper)}", name, _fine_tuned(alone(shared, name), given, hyper, spec.seed))
    return Record(
        spec=spec,
        epochs=together.epochs,
        best_epoch=together.best_epoch,
        metrics=metrics,
        size=_sizes(shared.tickets, shape_of(load_encoder(spec.encoder, 1, spec.seed))),
        arrays=arrays,
        timings={"train": trained - started, "total": time.perf_counter() - started},
        environment=setting(),
        tasks={name: task_facts(given.task, given.selection) for name, given in data.items()},
    )


def trained_together(
    spec: SharingSpec,
    scores: Mapping[str, Scores],
    checkpoint: str | Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> tuple[SharedModel, dict[str, TaskData], Together]:
    """The first part of :func:`train_shared`: the trained shared model, the tasks' data by name, and how it went."""
    tokenizer = load_tokenizer(spec.encoder)
    data = {
        ref.name: task_data(ref.load(), tokenizer, spec.hyper.max_length, spec.selection_fraction, spec.split_seed)
        for ref in spec.data
    }
    outputs = {name: given.task.num_labels for name, given in data.items()}
    dropouts = dict(zip(data, spec.dropouts, strict=True))
    whole = shared_model(spec.encoder, outputs, None, spec.seed, dropouts)
    shape = shape_of(next(iter(whole.models.values())))
    tickets = {
        name: rule.ticket((shape.n_layers, shape.n_heads), spec.seed, scores.get(rule.parent))
        for name, rule in zip(data, spec.tickets, strict=True)
    }
    shared = share(whole.models, tickets)
    device = best_device()
    for model in shared.models.values():
        model.to(device)  # pyright: ignore[reportArgumentType]  # a decorator of transformers hides its self
    together = train_together(shared, list(data.values()), spec.hyper, spec.seed, checkpoint, on_epoch=on_epoch)
    return shared, data, together


def _given(data: Mapping[str, TaskData], tickets: Mapping[str, Ticket]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name, given in data.items():
        arrays |= {f"{name}/{key}": array for key, array in split_arrays(given.task, given.selection).items()}
        arrays[f"{name}/heads"], arrays[f"{name}/ffns"] = tickets[name].heads, tickets[name].ffns
    return arrays


def _sizes(tickets: Mapping[str, Ticket], shape: EncoderShape) -> dict[str, float]:
    units = shared_units(tickets)
    sizes = {f"{name}/weights_remaining": ticket.weights_remaining(shape) for name, ticket in tickets.items()}
    return {**sizes, "average_compression": units.average_compression(shape), "stored": units.stored(shape)}


def _fine_tuned(model: PreTrainedModel, given: TaskData, hyper: Hyper, seed: int) -> np.ndarray:
    """Dev outputs of a task's own model after fine-tuning it from the shared weights."""
    device = model.device
    with (
        task_vocabulary(model, hyper, given.train, given.dev) as (train, dev),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        fast_forward(model),
    ):
        torch.manual_seed(seed)
        fit(model, given.task, train, dev, given.selection, hyper, seed)
        return predict(model, dev, hyper.precision)
