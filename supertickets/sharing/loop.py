"""Training many tasks together (sections 4 and 6, A.2.1): MT-DNN, and Ticket-Share where the model has tickets; and the
run that it is, with fine-tuning from it, task by task.

Both are the same loop over the same batches. What makes it Ticket-Share is the shared model's tickets: a minibatch of
task i runs through theta_i only (:func:`supertickets.sharing.using`) and updates theta_i only
(:class:`supertickets.sharing.isolation.Isolated`).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from supertickets import training
from supertickets.errors import SuperticketsError
from supertickets.models import load_encoder, load_tokenizer, shape_of
from supertickets.runs import Hyper, Record, SharingSpec, at_rate, setting
from supertickets.sharing.checkpoint import Progress, identity_of, read_progress, write_progress
from supertickets.sharing.isolation import Isolated, isolated
from supertickets.sharing.model import SharedModel, alone, predict_task, shared_model, task_seed, using
from supertickets.tasks import Task, shuffled, split_arrays, split_dev, task_facts
from supertickets.tickets import Scores, Ticket, check_tickets, shared_units


@dataclass(frozen=True)
class TaskData:
    """A task with its encoded splits, and which rows of dev choose the best epoch (``selection``, booleans)."""

    task: Task
    train: training.EncodedSplit
    dev: training.EncodedSplit
    selection: np.ndarray

    @property
    def name(self) -> str:
        """The task's name, by which its head, its ticket and its batches are found."""
        return self.task.name


@dataclass(frozen=True)
class Together:
    """What :func:`train_together` returns: the values of every epoch, which epoch was kept (from 1), dev outputs.

    An epoch holds ``selection_score`` and ``selection_loss`` (means over tasks), ``train_loss`` (mean over batches),
    and the three by task as ``name/selection_score`` and so on. ``dev_logits[name]`` is ``(n_dev, n_outputs)``.
    ``steps`` counts each task's minibatches, those of epochs after the best one included; ``how`` says how they were
    carried out on a GPU.
    """

    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    dev_logits: dict[str, np.ndarray]
    steps: dict[str, int]
    seconds: float
    how: str = ""


def task_data(
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int = 512,
    selection_fraction: float = 0.1,
    split_seed: int = 0,
) -> TaskData:
    """A task encoded for :func:`train_together`. Raises SuperticketsError if it has no training data."""
    if not len(task.train):
        raise SuperticketsError(f"Task {task.name} has no training data; leave it out, or give it some.")
    train, dev = (training.cached_encode(task, split, tokenizer, max_length) for split in ("train", "dev"))
    return TaskData(task, train, dev, split_dev(task, selection_fraction, split_seed))


def multi_task_batches(
    splits: Mapping[str, training.EncodedSplit], batch_size: int, seed: int, epoch: int
) -> Iterator[tuple[str, training.Batch]]:
    """One epoch of minibatches, each of one task, with the task's name: every example of every task once.

    Tasks are mixed in proportion to size, the order is shuffled anew every epoch and depends on the seed, the epoch
    and the tasks' names, never on the order in which the tasks are given.
    """
    names = sorted(splits)
    counts = [-(-len(splits[name]) // batch_size) for name in names]
    order = np.repeat(np.arange(len(names)), counts)[shuffled(sum(counts), seed, epoch, 3)]
    batches = [training.train_batches(splits[name], batch_size, task_seed(seed, name), epoch) for name in names]
    for index in order:
        yield names[index], next(batches[index])


def train_together(
    shared: SharedModel,
    tasks: Sequence[TaskData],
    hyper: Hyper,
    seed: int,
    checkpoint: str | Path | None = None,
    every: int = 500,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    on_step: Callable[[int], None] | None = None,
    leaky: bool = False,
) -> Together:
    """Trains a shared model in place on all its tasks: Adamax, warm-up and decay over all steps, clipping (A.2.1).

    The epoch with the best mean selection score over tasks is kept (ties: the lower mean loss), and training stops
    after ``hyper.patience`` epochs without a better one. Task heads keep the dropout the model was made with; batches
    and the rest of the dropout come from ``seed``. The global random state is left as it was.

    With ``checkpoint``, a file, all there is to know is written there every ``every`` steps and after every epoch, and
    a run that finds its own file goes on from there to the same result; the file goes when training is done.

    ``leaky``: every batch moves all parameters, not its task's alone, as in the published code (audit D31).

    Raises SuperticketsError if tasks and model do not match, a task has no training data, a loss is not finite, or the
    checkpoint is damaged or another run's.
    """
    started = time.perf_counter()
    data = {given.name: given for given in sorted(tasks, key=lambda given: given.name)}
    _check(shared, tasks)
    splits = [split for given in data.values() for split in (given.train, given.dev)]
    for model in shared.models.values():
        model.to(training.best_device())  # pyright: ignore[reportArgumentType]  # a decorator of transformers hides its self
    with training.ready(next(iter(shared.models.values())), hyper, seed, *splits) as splits:
        for index, (name, given) in enumerate(data.items()):
            data[name] = replace(given, train=splits[2 * index], dev=splits[2 * index + 1])
        with isolated(shared) as whole:
            run = _Run(shared, whole, data, hyper, seed, leaky, checkpoint)
            progress, how = _train(run, every, on_epoch, on_step)
        logits = {name: predict_task(shared, name, given.dev, hyper.precision) for name, given in data.items()}
    seconds, steps = time.perf_counter() - started, dict(whole.steps)
    return Together(tuple(progress.epochs), progress.best_epoch, logits, steps, seconds, how)


@dataclass(frozen=True)
class _Run:
    """What is trained how: a model and its parameters as one vector, tasks by name, settings, the checkpoint's file."""

    shared: SharedModel
    whole: Isolated
    data: Mapping[str, TaskData]
    hyper: Hyper
    seed: int
    leaky: bool
    checkpoint: str | Path | None

    @property
    def counts(self) -> dict[str, int]:
        """Minibatches of an epoch by task."""
        return {name: -(-len(given.train) // self.hyper.batch_size) for name, given in self.data.items()}


def _train(
    run: _Run,
    every: int,
    on_epoch: Callable[[dict[str, float]], None] | None,
    on_step: Callable[[int], None] | None,
) -> tuple[Progress, str]:
    """Trains up to the last epoch; how far it came, with the best weights put back, and how steps were carried out."""
    shared, whole, hyper, counts = run.shared, run.whole, run.hyper, run.counts
    train = {name: given.train for name, given in run.data.items()}
    per_epoch = sum(counts.values())
    factor = training.warmup_then_decay(hyper, per_epoch * hyper.epochs)
    splits = {name: (given.train, given.dev) for name, given in run.data.items()}
    identity = "" if run.checkpoint is None else identity_of(whole, splits, hyper, run.seed)
    losses = torch.zeros(len(train), device=whole.vector.device)
    progress = read_progress(run.checkpoint, identity, whole) or Progress(whole.vector.clone(), losses)
    row = {name: index for index, name in enumerate(train)}
    capture, options = training.graphs(whole.vector.device), {"clip": hyper.clip, "weight_decay": hyper.weight_decay}
    steps = {}
    for name, split in train.items():
        update = partial(whole.update, name, **options, leaky=run.leaky)
        steps[name] = training.training_step(
            shared.models[name], split, hyper, update, counts[name] * hyper.epochs, capture
        )
    evaluations = {}
    for name, given in run.data.items():
        chosen = given.dev.rows(np.flatnonzero(given.selection))
        evaluations[name] = training.evaluation(shared.models[name], chosen, hyper.precision, hyper.epochs)
    while progress.epoch < hyper.epochs and progress.epoch - progress.best_epoch < hyper.patience:
        for model in shared.models.values():
            model.train()
        done = progress.step - progress.epoch * per_epoch
        for index, (name, batch) in enumerate(multi_task_batches(train, hyper.batch_size, run.seed, progress.epoch)):
            if index < done:  # before the checkpoint that this run goes on from
                continue
            with using(shared, name):
                rate = hyper.learning_rate * factor(progress.step)
                progress.losses[row[name]] += steps[name](batch, whole.coming(name, run.leaky), rate)
            progress.step += 1
            if progress.step % every == 0 and progress.step % per_epoch:
                write_progress(run.checkpoint, identity, progress, whole)
            if on_step is not None:
                on_step(progress.step)
        _end_epoch(run, progress, evaluations)
        write_progress(run.checkpoint, identity, progress, whole)
        if on_epoch is not None:
            on_epoch(progress.epochs[-1])
    with torch.no_grad():
        whole.vector.copy_(progress.best_weights)
    if run.checkpoint is not None:
        Path(run.checkpoint).unlink(missing_ok=True)
    return progress, "; ".join(
        dict.fromkeys(step.told() for step in steps.values() if isinstance(step, training.Replayed))
    )


def _end_epoch(run: _Run, progress: Progress, evaluations: Mapping[str, Callable[[], np.ndarray]]) -> None:
    """Scores every task on its selection rows, and keeps the weights if their mean score is the best so far."""
    hyper, counts = run.hyper, run.counts
    totals = dict(zip(run.data, progress.losses.tolist(), strict=True))
    found: dict[str, dict[str, float]] = {}
    for name, given in run.data.items():
        with using(run.shared, name):
            logits = evaluations[name]()
        train_loss = totals[name] / counts[name]
        found[name] = training.epoch_values(given.task, logits, given.selection, train_loss, progress.epoch + 1, hyper)
    epoch = {
        "train_loss": sum(totals.values()) / sum(counts.values()),
        "selection_score": float(np.mean([values["selection_score"] for values in found.values()])),
        "selection_loss": float(np.mean([values["selection_loss"] for values in found.values()])),
    }
    reached = (epoch["selection_score"], -epoch["selection_loss"])
    by_task = {f"{name}/{key}": values[key] for name, values in found.items() for key in epoch}
    progress.epochs.append({**epoch, **by_task})
    progress.epoch += 1
    progress.losses.zero_()
    if progress.best is None or reached > progress.best:
        progress.best, progress.best_epoch = reached, progress.epoch
        progress.best_weights = run.whole.vector.clone()


def _check(shared: SharedModel, tasks: Sequence[TaskData]) -> None:
    names = [given.name for given in tasks]
    check_tickets(names, None)
    for name in sorted(set(names) ^ set(shared.models)):
        modelled = "a head and a ticket in the shared model but no data"
        what = f"has {modelled if name in shared.models else 'data but no head in the shared model'}"
        raise SuperticketsError(f"Task {name} {what}; train the tasks the model was made for.")
    for given in tasks:
        if not len(given.train):
            raise SuperticketsError(f"Task {given.name} has no training data; leave it out, or give it some.")
        outputs = shared.models[given.name].config.num_labels
        if outputs != given.task.num_labels:
            raise SuperticketsError(
                f"Task {given.name} needs {given.task.num_labels} outputs and its head in the shared model has "
                f"{outputs}; make the shared model with num_labels={given.task.num_labels} for it."
            )


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
        for split, values in training.scored_splits(data[name].task, logits, data[name].selection).items():
            metrics[f"{stage}/{name}/{split}"] = values

    for name, given in data.items():
        keep("multi-task", name, together.dev_logits[name])
        for hyper in spec.fine_tuning:
            model = alone(shared, name)
            with training.ready(model, hyper, spec.seed, given.train, given.dev) as (train, dev):
                training.fit(model, given.task, train, dev, given.selection, hyper, spec.seed)
                keep(f"fine-tuned{at_rate(hyper)}", name, training.predict(model, dev, hyper.precision))
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
        environment=setting(training.said(together.how)),
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
