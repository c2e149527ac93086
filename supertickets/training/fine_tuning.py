"""One fine-tuning or rewinding run: a pure function from a spec to a record (sections 3 and 5.2, A.1.2).

Rewinding (Renda et al. 2020) is starting again: the pre-trained encoder is loaded anew, cut down to the ticket, given
a fresh task head from the same seed, and trained with the original schedule. The smaller model really is smaller
(:func:`supertickets.models.compact`), so a light ticket also costs less to train.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from transformers import PreTrainedModel

from supertickets import models
from supertickets.runs import AdaptationSpec, Record, RunSpec, setting
from supertickets.tasks import nested_subset, split_arrays, split_dev, task_facts
from supertickets.tickets import Scores, Ticket
from supertickets.training.batching import cached_encode
from supertickets.training.fast import said
from supertickets.training.loop import fit, predict, ready, scored, scored_splits
from supertickets.training.published import chosen_hyper, chosen_scores


def fine_tuned(spec: RunSpec, scores: Scores | None = None) -> tuple[PreTrainedModel, Record]:
    """A run's trained model, compacted, in eval mode on the CPU, and its record: :func:`fine_tune` has the rest."""
    with TemporaryDirectory() as folder:
        record = fine_tune(spec, scores, folder)
        return models.load_compacted(folder), record


def fine_tune(
    spec: RunSpec,
    scores: Scores | None = None,
    save_to: str | Path | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Record:
    """Carries out one run and returns its record; the global random state is left as it was.

    ``scores`` are the parent run's importance scores (winning and losing tickets only). With ``save_to`` the trained,
    compacted model is written there, tokenizer included. The same spec on the same machine with the same number of
    threads gives the same record, timings aside.

    Raises SuperticketsError for bad data, an unknown encoder, missing scores, or a loss that is not finite.
    """
    started = time.perf_counter()
    task = spec.data.load()
    tokenizer = models.load_tokenizer(spec.encoder)
    selection = split_dev(task, spec.selection_fraction, spec.split_seed)
    choices, hyper = spec.acting, chosen_hyper(spec)
    watched = np.ones_like(selection) if "one_dev" in choices else selection
    train = cached_encode(task, "train", tokenizer, spec.hyper.max_length)
    dev = cached_encode(task, "dev", tokenizer, spec.hyper.max_length)
    test = None if task.test is None else cached_encode(task, "test", tokenizer, spec.hyper.max_length)

    model = models.load_encoder(spec.encoder, task.num_labels, spec.seed, hyper.task_dropout)
    shape = models.shape_of(model)
    ticket = spec.ticket.ticket((shape.n_layers, shape.n_heads), spec.seed, scores, choices)
    ticket = replace(
        ticket,
        seed=spec.seed,
        encoder=spec.encoder,
        revision=spec.encoder_revision,
        provenance={"run": spec.id, "parent": spec.ticket.parent, "task": spec.data.name},
    )
    given = (train, dev) if test is None else (train, dev, test)
    late = "late_rewind" in choices
    if late:  # the full model's first epoch again
        with ready(model, hyper, spec.seed, *given) as splits:
            fit(model, task, splits[0], splits[1], watched, hyper, spec.seed, None, choices, stop=1)
    model = model if spec.ticket.kind == "full" else models.compact(model, ticket, copied=False)

    loaded = time.perf_counter()
    arrays = {**split_arrays(task, selection), "heads": ticket.heads, "ffns": ticket.ffns}
    with ready(model, hyper, spec.seed, *given) as splits:
        stop = 1 if "early_scores" in choices else None
        fitted = fit(model, task, splits[0], splits[1], watched, hyper, spec.seed, on_epoch, choices, int(late), stop)
        trained = time.perf_counter()
        arrays["dev_logits"] = logits = predict(model, splits[1], spec.hyper.precision)
        if test is not None:
            arrays["test_logits"] = predict(model, splits[2], spec.hyper.precision)
    metrics = scored_splits(task, logits, selection)
    if task.test is not None and task.test.labelled:  # benchmarks keep the labels of their test sets to themselves
        metrics["test"] = scored(task, task.test, arrays["test_logits"], np.ones(len(task.test), dtype=bool))
    evaluated = time.perf_counter()
    for estimator in spec.estimators:
        found = chosen_scores(model, train, estimator, hyper, choices)
        arrays[f"importance/{estimator}/heads"] = found.heads
        arrays[f"importance/{estimator}/ffns"] = found.ffns
        arrays[f"importance/{estimator}/n_examples"] = np.array([found.n_examples])
    rated = time.perf_counter()
    if save_to is not None:
        models.name_labels(model, task)
        models.save_compacted(model.cpu(), ticket, save_to, tokenizer)
    return Record(
        spec=spec,
        epochs=fitted.epochs,
        best_epoch=fitted.best_epoch,
        metrics=metrics,
        size={
            "weights_remaining": ticket.weights_remaining(shape),
            "weights_remaining_without_embeddings": ticket.weights_remaining(shape, embeddings=False),
            "heads_kept": float(ticket.heads.mean()),
            "ffns_kept": float(ticket.ffns.mean()),
        },
        arrays=arrays,
        timings={
            "load": loaded - started,
            "train": trained - loaded,
            "evaluate": evaluated - trained,
            "importance": rated - evaluated,
            "total": time.perf_counter() - started,
        },
        environment=setting(said(fitted.steps)),
        tasks={task.name: task_facts(task, selection)},
    )


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
    task, tokenizer = spec.data.load(), models.load_tokenizer(spec.source.encoder)
    selection = split_dev(task, spec.selection_fraction, spec.split_seed)
    rows = nested_subset(task.train.labels, spec.fraction, spec.draw, task.name, spec.size)
    train = cached_encode(task, "train", tokenizer, spec.hyper.max_length).rows(rows)
    dev = cached_encode(task, "dev", tokenizer, spec.hyper.max_length)
    head = models.fit_head(model, task, spec.seed, bool(spec.source_task) or isinstance(spec.source, RunSpec))
    models.set_task_dropout(model, spec.hyper.task_dropout)
    with ready(model, spec.hyper, spec.seed, train, dev) as (train, dev):
        fitted = fit(model, task, train, dev, selection, spec.hyper, spec.seed, on_epoch)
        logits = predict(model, dev, spec.hyper.precision)
    shape = models.shape_of(models.load_encoder(spec.source.encoder, 1, spec.seed))
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
