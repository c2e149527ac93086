"""Importance scores of heads and FFNs (section 3): how much the loss reacts to their mask variables.

Every example gets mask variables of its own, all equal to one. The loss summed over a batch then has, with respect to
them, exactly one gradient per example, so one batched backward pass gives what a loop over single examples would.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from supertickets.errors import SuperticketsError
from supertickets.models.encoders import example_losses
from supertickets.models.families import layer_parts, layers_of
from supertickets.models.gates import gated, masked
from supertickets.tickets import ESTIMATORS, Scores, Ticket


def importance_scores(
    model: PreTrainedModel,
    batches: Iterable[Any],
    estimator: str = "example",
    running: bool = False,
    captured: Callable[[Callable[..., Tensor]], Callable[..., Tensor]] | None = None,
) -> Scores:
    """Importance of each head and FFN, averaged over the examples in ``batches`` (the training set, in the paper).

    A batch is a mapping of the model's inputs, ``(n_examples, length)`` each, and ``labels`` ``(n_examples,)``, as a
    ``BatchEncoding`` or what a ``DataLoader`` yields; or one of ours (:class:`supertickets.training.Batch`). The model
    may be compacted (but for ``leave_one_out`` and ``magnitude``): what is gone scores 0, below all else. It is put in
    eval mode meanwhile (dropout off, audit D6); its parameters get no gradients. The mean is over examples, so the
    batch size does not matter (unlike audit D5). ``estimator`` is one of ``ESTIMATORS``; ``leave_one_out`` costs one
    pass over the data per unit; ``magnitude`` reads no batch. With ``running`` the sum of the batches' means so far is
    added up after every batch, since the published code never zeroes gradients (audit D1, D5): of T batches, batch t
    counts T - t + 1 times. Not with ``leave_one_out``, which has no gradients. ``captured`` makes of a function of a
    batch one that does the same by replays (:class:`supertickets.training.Replayed`).

    Raises SuperticketsError for an unknown estimator, no examples, a batch without labels, or scores that are not
    finite.
    """
    if estimator not in ESTIMATORS:
        raise SuperticketsError(f"Unknown importance estimator {estimator!r}; known: {', '.join(ESTIMATORS)}.")
    was_training = model.training
    requires_grad = [parameter.requires_grad for parameter in model.parameters()]
    model.eval().requires_grad_(False)  # only the gates need gradients: the weights' part of the backward is saved
    try:
        if estimator == "leave_one_out":
            return _leave_one_out(model, list(batches))
        if estimator == "magnitude":
            return _magnitude(model)
        return _from_gradients(model, batches, estimator, running, captured)
    finally:
        model.train(was_training)
        for parameter, flag in zip(model.parameters(), requires_grad, strict=True):
            parameter.requires_grad_(flag)


def _from_gradients(
    model: PreTrainedModel, batches: Iterable[Any], estimator: str, running: bool, captured: Callable[..., Any] | None
) -> Scores:
    n_layers, n_heads = len(layers_of(model)), model.config.num_attention_heads
    device, dtype = model.device, next(model.parameters()).dtype

    def summed(batch: Any) -> Tensor:
        """The importance of heads and, in the last column, FFNs, summed over the examples that count."""
        inputs, labels = _given(batch, device)
        real = inputs.pop("real", None)
        size, length = inputs["input_ids"].shape
        lead = (size, length) if estimator == "token" else (size,)
        heads = torch.ones(*lead, n_layers, n_heads, device=device, dtype=dtype, requires_grad=True)
        ffns = torch.ones(*lead, n_layers, device=device, dtype=dtype, requires_grad=True)
        with torch.enable_grad(), gated(model, heads, ffns):
            losses = example_losses(model(**inputs).logits, labels)
            loss = losses.sum() if real is None else (losses * real).sum()
        of_heads, of_ffns = (_reduce(g.double(), estimator) for g in torch.autograd.grad(loss, (heads, ffns)))
        return torch.cat([of_heads.flatten(0, -3).sum(0), of_ffns.flatten(0, -2).sum(0)[:, None]], 1)

    step = summed if captured is None else captured(summed)
    # Sums stay on the device, in double precision, until the end: no synchronisation per batch.
    total = torch.zeros(n_layers, n_heads + 1, dtype=torch.float64, device=device)
    totals = torch.zeros_like(total)
    n_examples = n_batches = 0
    for batch in batches:
        found = step(batch)
        size = len(batch["labels"] if isinstance(batch, Mapping) else batch.labels)
        total += found / (size if running else 1)
        n_examples, n_batches = n_examples + size, n_batches + 1
        totals += total
    _require_examples(n_examples)
    mean = (totals / n_batches if running else total / n_examples).cpu().numpy()
    return Scores(mean[:, :-1].copy(), mean[:, -1].copy(), estimator, n_examples)


def _reduce(gradient: Tensor, estimator: str) -> Tensor:
    if estimator == "signed":
        return -gradient
    return gradient.square() if estimator == "squared" else gradient.abs()


@torch.no_grad()
def _leave_one_out(model: PreTrainedModel, batches: list[Any]) -> Scores:
    shape = (len(layer_parts(model)), model.config.num_attention_heads)
    given = [_given(batch, model.device) for batch in batches]
    n_examples = sum(len(labels) for _, labels in given)
    _require_examples(n_examples)

    def mean_loss(head: Any = None, ffn: int | None = None) -> float:
        """Without a head (layer, head), or an FFN."""
        heads, ffns = np.ones(shape, dtype=bool), np.ones(shape[0], dtype=bool)
        if head is not None:
            heads[head] = False
        if ffn is not None:
            ffns[ffn] = False
        with masked(model, Ticket(heads, ffns)):
            losses = (example_losses(model(**inputs).logits, labels).double().sum() for inputs, labels in given)
            return sum(map(float, losses)) / n_examples

    full = mean_loss()
    heads = [mean_loss(unit) - full for unit in np.ndindex(shape)]
    ffns = [mean_loss(ffn=layer) - full for layer in range(shape[0])]
    return Scores(np.reshape(heads, shape), np.array(ffns), "leave_one_out", n_examples)


@torch.no_grad()
def _magnitude(model: PreTrainedModel) -> Scores:
    n_heads, heads, ffns = model.config.num_attention_heads, [], []
    for part in layer_parts(model):
        rows = [linear.weight.double().square().sum(1) for linear in part.reads]
        columns = part.attention_out.weight.double().square().sum(0)
        size = len(columns) // n_heads
        units = [x.unflatten(0, (-1, n_heads, size)).sum((0, 2)) for x in (*rows, columns)]
        heads.append(torch.stack(units).sum(0).sqrt())
        both = [linear.weight.double().square().sum() for linear in (part.ffn_in_linear, part.ffn_out)]
        ffns.append(torch.stack(both).sum().sqrt())
    return Scores(torch.stack(heads).cpu().numpy(), torch.stack(ffns).cpu().numpy(), "magnitude")


def _given(batch: Any, device: torch.device) -> tuple[dict[str, Tensor], Tensor]:
    """The model's inputs and the labels of a batch, on the device."""
    if not isinstance(batch, Mapping):
        real = getattr(batch, "real", None)
        batch = {**batch.inputs, "labels": batch.labels} | ({} if real is None else {"real": real})
    if "labels" not in batch or "input_ids" not in batch:
        raise SuperticketsError(f"Importance needs input_ids and labels; a batch has {', '.join(batch) or 'nothing'}.")
    tensors = {name: torch.as_tensor(values).to(device) for name, values in batch.items()}
    return tensors, tensors.pop("labels")


def _require_examples(n_examples: int) -> None:
    if n_examples == 0:
        raise SuperticketsError("Importance needs at least one example; the batches are empty.")
