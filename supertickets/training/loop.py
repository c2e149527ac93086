"""The training loop of one task (sections 5.2, A.1.2): epochs, early stopping, predictions, scores."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from supertickets.errors import SuperticketsError
from supertickets.models import example_losses, family_of
from supertickets.runs import Hyper
from supertickets.tasks import Examples, Task, score
from supertickets.training.batching import Batch, EncodedSplit, eval_batches
from supertickets.training.fast import (
    Capture,
    Replayed,
    Step,
    fast_forward,
    graphs,
    own_vocabulary,
    padded_widths,
    widths_that_pay,
)
from supertickets.training.optimiser import Optimiser, flat_parameters
from supertickets.training.published import chosen_batches, chosen_optimiser


@dataclass(frozen=True)
class Fitted:
    """What :func:`fit` returns: the score of every epoch and which epoch's weights the model holds (from 1).

    ``steps`` says how steps were carried out on a GPU; empty on a CPU.
    """

    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    steps: str = ""


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU: where runs are carried out."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def ready(model: PreTrainedModel, hyper: Hyper, seed: int, *splits: EncodedSplit) -> Iterator[Sequence[EncodedSplit]]:
    """The model made ready for training while the context lasts: on :func:`best_device`, fast, its embedding table cut.

    Yields the splits, all that it will read, numbered for that table. Dropout draws from torch's global generator,
    which starts from ``seed`` and is put back afterwards.
    """
    device = best_device()
    model.to(device)  # pyright: ignore[reportArgumentType]  # a decorator of transformers hides its self
    cut = hyper.weight_decay == 0  # else words that do not occur change too
    vocabulary = own_vocabulary(model, *splits) if cut else nullcontext(splits)
    cuda = [device] if device.type == "cuda" else []
    with vocabulary as own, torch.random.fork_rng(cuda), fast_forward(model):
        torch.manual_seed(seed)
        yield own


def fit(
    model: PreTrainedModel,
    task: Task,
    train: EncodedSplit,
    dev: EncodedSplit,
    selection: np.ndarray,
    hyper: Hyper,
    seed: int,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    choices: Collection[str] = (),
    start: int = 0,
    stop: int | None = None,
) -> Fitted:
    """Trains a :func:`ready` model: Adamax, linear warm-up and decay, clipping, early stopping on the selection split.

    Batches depend on ``seed``. Afterwards the model holds the weights of the epoch with the best selection score (ties:
    the lower selection loss). ``choices``: where it does as the published code (:data:`supertickets.runs.CHOICES`).
    Of the schedule's epochs those from ``start`` (the first is 0) to before ``stop`` are trained, the optimiser fresh.
    Raises SuperticketsError if a loss is not finite.
    """
    steps_per_epoch = -(-len(train) // hyper.batch_size)
    chosen = dev.rows(np.flatnonzero(selection))
    best: tuple[float, float] | None = None
    epochs: list[dict[str, float]] = []
    with flat_parameters(model, low_precision(model.device, hyper.precision)) as flat:
        n_steps = steps_per_epoch * hyper.epochs
        optimiser = chosen_optimiser(model, flat, hyper, n_steps, choices)
        optimiser.skipped = start * steps_per_epoch
        step = training_step(model, train, hyper, optimiser.step, n_steps, graphs(model.device))
        evaluate = evaluation(model, chosen, hyper.precision, hyper.epochs)
        best_epoch, best_weights = 0, flat.detach()
        last = (hyper.epochs if stop is None else stop) - start
        while len(epochs) < last and len(epochs) - best_epoch < hyper.patience:
            batches = chosen_batches(choices)(train, hyper.batch_size, seed, start + len(epochs))
            train_loss = train_epoch(model, batches, optimiser, step) / steps_per_epoch
            values = epoch_values(task, evaluate(), selection, train_loss, len(epochs) + 1, hyper)
            epochs.append(values)
            if on_epoch is not None:
                on_epoch(values)
            reached = (values["selection_score"], -values["selection_loss"])
            if best is None or reached > best or "all_epochs" in choices:
                best, best_epoch, best_weights = reached, len(epochs), flat.detach().clone()
        with torch.no_grad():
            flat.copy_(best_weights)
    return Fitted(tuple(epochs), best_epoch, step.told() if isinstance(step, Replayed) else "")


def training_step(
    model: PreTrainedModel,
    split: EncodedSplit,
    hyper: Hyper,
    update: Callable[[Any, Any], None],
    n_steps: int,
    capture: Capture | None,
) -> Step:
    """Forward and backward pass on a batch of the split, then the optimiser's ``update(updates, rate)``; the loss.

    Replayed (:class:`~supertickets.training.fast.replayed.Replayed`) where there is a way to ``capture`` it, if
    ``n_steps`` of training are to come.
    """
    anew = [parameter for parameter in model.parameters() if parameter.grad is None]  # their gradient, in every step

    def step(batch: Batch, updates: Any, rate: Any) -> Tensor:
        for parameter in anew:
            parameter.grad = None  # a capture that failed leaves memory that nothing was written to
        batch = batch.to(model.device)
        with autocast(model.device, hyper.precision):
            logits = model(**batch.inputs).logits
        losses = example_losses(logits, batch.labels)
        loss = losses.mean() if batch.real is None else (losses * batch.real).sum() / batch.real.sum()
        loss.backward()
        update(updates, rate)
        return loss.detach()

    if capture is None:
        return step
    longest = np.sort(split.lengths)[:: -hyper.batch_size]  # of every batch, were all sorted by length
    fault = "its positions are made on the host" if family_of(model).more_reads else ""  # DeBERTa's
    widths, capture = padded_widths(longest, n_steps), None if fault else capture
    return Replayed(step, split, hyper.batch_size, widths, model.device, capture, fault)


def train_epoch(model: PreTrainedModel, batches: Iterator[Batch], optimiser: Optimiser, step: Step) -> float:
    """One pass over the training batches; the sum of their losses."""
    model.train()
    total = torch.zeros((), device=model.device)
    for batch in batches:
        total += step(batch, *optimiser.coming())
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


def predict(model: PreTrainedModel, split: EncodedSplit, precision: str = "fp32") -> np.ndarray:
    """Outputs of the task head ``(n_examples, n_outputs)``, float32, in the split's own order; eval mode."""
    return evaluation(model, split, precision)()


def evaluation(
    model: PreTrainedModel, split: EncodedSplit, precision: str = "fp32", n_passes: int = 1
) -> Callable[[], np.ndarray]:
    """What does :func:`predict` of one split again and again; replayed where ``n_passes`` are worth captures.

    A replay reads the weights where they were: it lasts as long as they stay there, as in :func:`fit` they do.
    """

    def step(batch: Batch) -> Tensor:
        with autocast(model.device, precision):
            return model(**batch.to(model.device).inputs).logits

    what = "evaluation"
    widths = widths_that_pay(model, split, what, n_passes)
    carried_out = Replayed(step, split, 0, widths, model.device, graphs(model.device), what=what) if widths else step

    @torch.no_grad()
    def outputs() -> np.ndarray:
        was_training = model.training
        model.eval()
        # Gathered on the device, so that no batch waits for the one before.
        found, rows = torch.empty(len(split), model.config.num_labels or 0, device=model.device), [np.empty(0, int)]
        start = 0
        with fast_forward(model):
            for batch in eval_batches(split, widths=widths, config=model.config):
                rows.append(batch.index)
                stop = start + len(batch.index)
                found[start:stop] = carried_out(batch)[: len(batch.index)]
                start = stop
        model.train(was_training)
        in_order = np.empty(found.shape, dtype=np.float32)
        in_order[np.concatenate(rows)] = found.cpu().numpy()
        return in_order

    return outputs


def low_precision(device: torch.device, precision: str) -> torch.dtype | None:
    """In what weights are kept beside float32: bf16 on a GPU, where their conversion in every layer is felt."""
    return torch.bfloat16 if device.type == "cuda" and precision == "bf16" else None


def autocast(device: torch.device, precision: str):
    """bf16 autocast on the device, or nothing for fp32."""
    kept = device.type != "cuda"  # a captured step must make its bf16 weights itself; each is read once anyway
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=kept) if precision == "bf16" else nullcontext()


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
