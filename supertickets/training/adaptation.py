"""Fine-tuning a trained source model on a target task (section 7)."""

import time
from collections.abc import Callable

from transformers import PreTrainedModel

from supertickets.models import fit_head, load_encoder, load_tokenizer, set_task_dropout, shape_of
from supertickets.runs import AdaptationSpec, Record, RunSpec, setting
from supertickets.tasks import nested_subset, split_arrays, split_dev, task_facts
from supertickets.tickets import Ticket
from supertickets.training.batching import cached_encode
from supertickets.training.fast import said
from supertickets.training.loop import fit, predict, ready, scored_splits


def adapt(
    spec: AdaptationSpec,
    source: tuple[PreTrainedModel, Ticket],
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Record:
    """Fine-tunes the source model (:func:`~supertickets.engines.execution.source_model`; changed in place) on the
    target, and returns the run's record.

    The task head goes along if the target has the same labels as the source's task; else the target gets a new one,
    initialised from the seed. The record's environment says which, under "task head". Schedule and early stopping are
    those of :func:`supertickets.training.fine_tune` (A.3.2). Raises SuperticketsError as that does, and for a subset
    that is larger than the training set or leaves a class without an example.
    """
    started = time.perf_counter()
    model, ticket = source
    task, tokenizer = spec.data.load(), load_tokenizer(spec.source.encoder)
    selection = split_dev(task, spec.selection_fraction, spec.split_seed)
    rows = nested_subset(task.train.labels, spec.fraction, spec.draw, task.name, spec.size)
    train = cached_encode(task, "train", tokenizer, spec.hyper.max_length).rows(rows)
    dev = cached_encode(task, "dev", tokenizer, spec.hyper.max_length)
    head = fit_head(model, task, spec.seed, bool(spec.source_task) or isinstance(spec.source, RunSpec))
    set_task_dropout(model, spec.hyper.task_dropout)
    with ready(model, spec.hyper, spec.seed, train, dev) as (train, dev):
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
        environment={**setting(said(fitted.steps)), "task head": head},
        tasks={task.name: task_facts(task, selection)},
    )
