"""One fine-tuning or rewinding run: a pure function from a spec to a record (sections 3 and 5.2, A.1.2).

Rewinding (Renda et al. 2020) is starting again: the pre-trained encoder is loaded anew, cut down to the ticket, given
a fresh task head from the same seed, and trained with the original schedule. The smaller model really is smaller
(:func:`supertickets.compaction.compact`), so a light ticket also costs less to train.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from transformers import PreTrainedModel

from supertickets.adamax import adamax_step
from supertickets.batching import Batch, EncodedSplit, cached_encode, eval_batches, train_batches
from supertickets.compaction import compact, save_compacted
from supertickets.encoders import example_losses, load_encoder, load_tokenizer, shape_of
from supertickets.errors import SuperticketsError
from supertickets.facts import split_arrays, task_facts
from supertickets.importance import importance_scores
from supertickets.lean import first_token_only, flat_parameters, own_vocabulary
from supertickets.passes import by_hand
from supertickets.provenance import setting
from supertickets.runs import Hyper, Record, RunSpec
from supertickets.tasks import Examples, Task, score, split_dev
from supertickets.tickets import Scores


@dataclass(frozen=True)
class Fitted:
    """What :func:`fit` returns: the score of every epoch and which epoch's weights the model holds (from 1)."""

    epochs: tuple[dict[str, float], ...]
    best_epoch: int


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
    tokenizer = load_tokenizer(spec.encoder)
    selection = split_dev(task, spec.selection_fraction, spec.split_seed)
    train = cached_encode(task, "train", tokenizer, spec.hyper.max_length)
    dev = cached_encode(task, "dev", tokenizer, spec.hyper.max_length)
    test = None if task.test is None else cached_encode(task, "test", tokenizer, spec.hyper.max_length)

    device = best_device()
    model = load_encoder(spec.encoder, task.num_labels, spec.seed, spec.hyper.task_dropout)
    shape = shape_of(model)
    ticket = spec.ticket.ticket((shape.n_layers, shape.n_heads), spec.seed, scores)
    ticket = replace(
        ticket,
        seed=spec.seed,
        encoder=spec.encoder,
        revision=spec.encoder_revision,
        provenance={"run": spec.id, "parent": spec.ticket.parent, "task": spec.data.name},
    )
    full = spec.ticket.kind == "full"
    model = model if full else compact(model, ticket)
    model.to(device)  # pyright: ignore[reportArgumentType]  # a decorator of transformers hides its self

    loaded = time.perf_counter()
    arrays = {**split_arrays(task, selection), "heads": ticket.heads, "ffns": ticket.ffns}
    splits = [train, dev] if test is None else [train, dev, test]
    with task_vocabulary(model, spec.hyper, *splits) as splits:
        train, dev, *rest = splits
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), fast_forward(model):
            torch.manual_seed(spec.seed)
            fitted = fit(model, task, train, dev, selection, spec.hyper, spec.seed, on_epoch)
        trained = time.perf_counter()
        arrays["dev_logits"] = logits = predict(model, dev, spec.hyper.precision)
        metrics = scored_splits(task, logits, selection)
        if task.test is not None:
            arrays["test_logits"] = predict(model, rest[0], spec.hyper.precision)
            if task.test.labelled:  # benchmarks keep the labels of their test sets to themselves
                everything = np.ones(len(task.test), dtype=bool)
                metrics["test"] = scored(task, task.test, arrays["test_logits"], everything)
        evaluated = time.perf_counter()
        for estimator in spec.estimators if full else ():
            found = importance_scores(model, eval_batches(train), estimator)
            arrays[f"importance/{estimator}/heads"] = found.heads
            arrays[f"importance/{estimator}/ffns"] = found.ffns
            arrays[f"importance/{estimator}/n_examples"] = np.array([found.n_examples])
    rated = time.perf_counter()
    if save_to is not None:
        name_labels(model, task)
        save_compacted(model.cpu(), ticket, save_to, tokenizer)
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
        environment=setting(),
        tasks={task.name: task_facts(task, selection)},
    )


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU: where runs are carried out."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    model: PreTrainedModel,
    task: Task,
    train: EncodedSplit,
    dev: EncodedSplit,
    selection: np.ndarray,
    hyper: Hyper,
    seed: int,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Fitted:
    """Trains ``model`` in place: Adamax, linear warm-up and decay, clipping, early stopping on the selection split.

    Dropout draws from torch's global generator, batches from ``seed``. Afterwards the model holds the weights of the
    epoch with the best selection score (ties: the lower selection loss). Raises SuperticketsError if a loss is not
    finite.
    """
    steps_per_epoch = -(-len(train) // hyper.batch_size)
    chosen = dev.rows(np.flatnonzero(selection))
    best: tuple[float, float] | None = None
    epochs: list[dict[str, float]] = []
    with flat_parameters(model) as flat:
        optimiser = Optimiser.of(flat, hyper, steps_per_epoch * hyper.epochs)
        best_epoch, best_weights = 0, flat.detach()
        while len(epochs) < hyper.epochs and len(epochs) - best_epoch < hyper.patience:
            batches = train_batches(train, hyper.batch_size, seed, len(epochs))
            train_loss = train_epoch(model, batches, optimiser) / steps_per_epoch
            logits = predict(model, chosen, hyper.precision)
            values = epoch_values(task, logits, selection, train_loss, len(epochs) + 1, hyper)
            epochs.append(values)
            if on_epoch is not None:
                on_epoch(values)
            reached = (values["selection_score"], -values["selection_loss"])
            if best is None or reached > best:
                best, best_epoch, best_weights = reached, len(epochs), flat.detach().clone()
        with torch.no_grad():
            flat.copy_(best_weights)
    return Fitted(tuple(epochs), best_epoch)


@dataclass
class Optimiser:
    """Adamax on a model's flat parameters, its learning rate rising, then falling over all steps (A.1.2)."""

    flat: torch.nn.Parameter
    average: torch.Tensor
    infinity: torch.Tensor
    hyper: Hyper
    factor: Callable[[int], float]
    steps: int = 0

    @classmethod
    def of(cls, flat: torch.nn.Parameter, hyper: Hyper, n_steps: int) -> Optimiser:
        """A fresh one for training of ``n_steps``."""
        return cls(flat, torch.zeros_like(flat), torch.zeros_like(flat), hyper, warmup_then_decay(hyper, n_steps))

    def step(self) -> None:
        """Updates the parameters, the gradient clipped and zeroed afterwards."""
        assert self.flat.grad is not None
        rate, state = self.hyper.learning_rate * self.factor(self.steps), ([self.average], [self.infinity])
        self.steps += 1
        adamax_step([self.flat], [self.flat.grad], *state, [self.steps], rate, self.hyper.clip, self.hyper.weight_decay)


def train_epoch(model: PreTrainedModel, batches: Iterator[Batch], optimiser: Optimiser) -> float:
    """One pass over the training batches; the sum of their losses."""
    model.train()
    total = torch.zeros((), device=model.device)
    for batch in batches:
        batch = batch.to(model.device)
        with autocast(model.device, optimiser.hyper.precision):
            logits = model(**batch.inputs).logits
        loss = example_losses(logits, batch.labels).mean()
        loss.backward()
        optimiser.step()
        total += loss.detach()
    return total.item()


def epoch_values(
    task: Task, logits: np.ndarray, selection: np.ndarray, train_loss: float, epoch: int, hyper: Hyper
) -> dict[str, float]:
    """What an epoch (from 1) leaves: ``train_loss``, and metrics and loss of the selection rows as ``selection_...``.

    Raises SuperticketsError if a loss is not finite.
    """
    loss = mean_loss(logits, task.dev.labels[selection])
    if not (np.isfinite(train_loss) and np.isfinite(loss)):
        raise SuperticketsError(
            f"The loss of task {task.name} is {train_loss} (selection: {loss}) in epoch {epoch} at learning rate "
            f"{hyper.learning_rate}: training has diverged; lower the learning rate or check the data."
        )
    values = scored(task, task.dev, logits, selection)
    return {"train_loss": train_loss, **{f"selection_{name}": value for name, value in values.items()}}


@contextmanager
def fast_forward(model: PreTrainedModel) -> Iterator[None]:
    """The forward pass that is fastest on the model's device, while the context lasts; it computes the same.

    The last layer is computed for the first token alone (:func:`supertickets.lean.first_token_only`). On a CPU layers
    are computed by hand (:func:`supertickets.passes.by_hand`), and where they are not, with the plain attention
    backend: with dropout the fused kernel falls back to a slow path there.
    """
    encoder = cast(PreTrainedModel, model.base_model)  # shared models have a config of their own
    before = encoder.config._attn_implementation or "sdpa"
    if changes := model.device.type == "cpu" and before != "eager":  # not every model can be told
        encoder.set_attn_implementation("eager")
    try:
        with first_token_only(model), by_hand(model) if model.device.type == "cpu" else nullcontext():
            yield
    finally:
        if changes:
            encoder.set_attn_implementation(before)


def warmup_then_decay(hyper: Hyper, n_steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at a step (from 0): linear up over the first ``warmup`` share, then linear to zero.

    >>> factor = warmup_then_decay(Hyper(warmup=0.1), 100)
    >>> factor(0), factor(9), factor(10), factor(99)
    (0.1, 1.0, 1.0, 0.011111111111111112)
    """
    n_warmup = max(1, int(hyper.warmup * n_steps)) if hyper.warmup else 0

    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / n_warmup
        return max(0.0, (n_steps - step) / max(1, n_steps - n_warmup))

    return factor


@torch.no_grad()
def predict(model: PreTrainedModel, split: EncodedSplit, precision: str = "fp32") -> np.ndarray:
    """Outputs of the task head ``(n_examples, n_outputs)``, float32, in the split's own order; eval mode."""
    was_training = model.training
    model.eval()
    outputs = np.empty((len(split), model.config.num_labels or 0), dtype=np.float32)
    with fast_forward(model), autocast(model.device, precision):
        for batch in eval_batches(split):
            logits = model(**batch.to(model.device).inputs).logits
            outputs[batch.index] = logits.float().cpu().numpy()
    model.train(was_training)
    return outputs


def autocast(device: torch.device, precision: str):
    """bf16 autocast on the device, or nothing for fp32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def task_vocabulary(model: PreTrainedModel, hyper: Hyper, *splits: EncodedSplit):
    """:func:`supertickets.lean.own_vocabulary` where it is exact, that is without weight decay; else the splits."""
    return own_vocabulary(model, *splits) if hyper.weight_decay == 0 else nullcontext(splits)


def name_labels(model: PreTrainedModel, task: Task) -> None:
    """Writes the task's label names and kind into the model's config, so that a reloaded model can name its answers."""
    if task.kind == "classification":
        model.config.id2label = dict(enumerate(task.label_names))
        model.config.label2id = {name: index for index, name in enumerate(task.label_names)}
        model.config.problem_type = "single_label_classification"
    else:
        model.config.problem_type = "regression"


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean loss of outputs ``(n, n_outputs)`` against labels: cross-entropy, or squared error for float labels."""
    return float(example_losses(torch.from_numpy(logits).double(), torch.from_numpy(labels)).mean())


def scored_splits(task: Task, logits: np.ndarray, selection: np.ndarray) -> dict[str, dict[str, float]]:
    """Metrics and loss of dev outputs on the selection split, the report split and the whole of dev, by name."""
    splits = (("selection", selection), ("report", ~selection), ("dev", np.ones_like(selection)))
    return {name: scored(task, task.dev, logits[rows], rows) for name, rows in splits}


def scored(task: Task, examples: Examples, logits: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Metrics and mean loss of the ``rows`` of a split, for which ``logits`` are given."""
    labels = examples.labels[rows]
    groups = None if examples.groups is None else examples.groups[rows]
    return {**score(task.metrics, labels, logits, groups), "loss": mean_loss(logits, labels)}
