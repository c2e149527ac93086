"""A run of many tasks with one encoder (section 6): MT-DNN or Ticket-Share, and fine-tuning from it, task by task."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from supertickets.models import load_encoder, load_tokenizer, shape_of
from supertickets.runs import Record, SharingSpec, at_rate, setting
from supertickets.sharing.loop import TaskData, Together, task_data, train_together
from supertickets.sharing.model import SharedModel, alone, shared_model
from supertickets.tasks import split_arrays, task_facts
from supertickets.tickets import Scores, Ticket, shared_units
from supertickets.training import fit, predict, ready, said, scored_splits


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
    :func:`supertickets.sharing.train_together` do.
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
            model = alone(shared, name)
            with ready(model, hyper, spec.seed, given.train, given.dev) as (train, dev):
                fit(model, given.task, train, dev, given.selection, hyper, spec.seed)
                keep(f"fine-tuned{at_rate(hyper)}", name, predict(model, dev, hyper.precision))
    units, shape = shared_units(shared.tickets), shape_of(load_encoder(spec.encoder, 1, spec.seed))
    size = {f"{name}/weights_remaining": ticket.weights_remaining(shape) for name, ticket in shared.tickets.items()}
    return Record(
        spec=spec,
        epochs=together.epochs,
        best_epoch=together.best_epoch,
        metrics=metrics,
        size=size | {"average_compression": units.average_compression(shape), "stored": units.stored(shape)},
        arrays=arrays,
        timings={"train": trained - started, "total": time.perf_counter() - started},
        environment=setting(said(together.how)),
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
    shape = shape_of(load_encoder(spec.encoder, 1, spec.seed))
    tickets = {
        name: rule.ticket((shape.n_layers, shape.n_heads), spec.seed, scores.get(rule.parent), spec.acting)
        for name, rule in zip(data, spec.tickets, strict=True)
    }
    shared = shared_model(spec.encoder, outputs, tickets, spec.seed, dropouts)
    leaky = "leaky_updates" in spec.acting
    together = train_together(
        shared, list(data.values()), spec.hyper, spec.seed, checkpoint, on_epoch=on_epoch, leaky=leaky
    )
    return shared, data, together


def _given(data: Mapping[str, TaskData], tickets: Mapping[str, Ticket]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name, given in data.items():
        arrays |= {f"{name}/{key}": array for key, array in split_arrays(given.task, given.selection).items()}
        arrays[f"{name}/heads"], arrays[f"{name}/ffns"] = tickets[name].heads, tickets[name].ffns
    return arrays
