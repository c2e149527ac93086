"""Three ways to make a training step cheaper without changing what it computes.

Small models spend their time on calls as much as on arithmetic, half of a small real encoder's parameters are the
embeddings of words that never occur in the task, and a classifier reads the first token only. So the optimiser works
on one flat tensor, the embedding table is cut down to the task's own words while it trains, and the last layer is
computed for the first token alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from supertickets.batching import EncodedSplit
from supertickets.compaction import NoAttention
from supertickets.encoders import Family, family_of


@contextmanager
def flat_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """All of a model's parameters as one vector, gradient included, while the context lasts.

    The model's parameters become views of the vector, so a step of the optimiser, the norm of the gradient and a copy
    of the weights are one operation each and not one per tensor. Backward passes add to the gradient: zero it with
    ``optimiser.zero_grad(set_to_none=False)``. A parameter that gets no gradient has gradient zero and stays as it
    is under Adamax without weight decay. Afterwards every parameter is a tensor of its own again, without gradient.

    >>> layer = nn.Linear(2, 1)
    >>> with flat_parameters(layer) as flat, torch.no_grad():
    ...     _ = flat.fill_(2.0)
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[2.0, 2.0]], [2.0])
    """
    # Matrices first: so those of query, key and value are next to one another, to be read as one, and so are biases.
    parameters = sorted(model.parameters(), key=lambda parameter: -parameter.dim())
    with torch.no_grad():
        flat = nn.Parameter(torch.cat([parameter.reshape(-1) for parameter in parameters]))
        flat.grad = torch.zeros_like(flat)
        start = 0
        for parameter in parameters:
            stop = start + parameter.numel()
            parameter.data = flat.data[start:stop].view_as(parameter)
            parameter.grad = flat.grad[start:stop].view_as(parameter)
            start = stop
    try:
        yield flat
    finally:
        for parameter in parameters:
            parameter.grad = None
            parameter.data = parameter.data.clone()


@contextmanager
def first_token_only(model: PreTrainedModel) -> Iterator[None]:
    """The last layer is computed for the first token alone while the context lasts: nothing else of it is ever read.

    Keys and values still come from all tokens. Logits and gradients are the same (float64: to 1e-11) for a sixth of the
    work less in six layers, with dropout drawn for fewer elements. The model may be compacted or gated.
    """
    family = family_of(model)
    layer = list(model.get_submodule(family.layers).children())[-1]
    dropout, norm = (layer.get_submodule(f"{family.attention_sum}.{name}") for name in ("dropout", "LayerNorm"))

    def forward(
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        *_: Any,
        **__: Any,
    ) -> Any:
        added = [it[:, :, :1] for it in (attention_mask, position_bias) if it is not None]
        context = _context(layer, family, hidden_states, sum(added[1:], added[0]) if added else None)
        attended = norm(dropout(layer.get_submodule(family.attention_out)(context)) + hidden_states[:, :1])
        # Looked up anew: a ticket may have put something else in the FFN's place.
        ffn_in, ffn_output = layer.get_submodule(family.ffn_in), layer.get_submodule(family.ffn_out.rpartition(".")[0])
        states = ffn_output(ffn_in(attended), attended)
        return (states,) if family.position_bias else states

    with instead(layer, forward):
        yield


@contextmanager
def instead(layer: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """``forward`` in the place of the layer's own, or of what is there already, while the context lasts."""
    before = layer.__dict__.get("forward")
    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward
        if before is not None:
            layer.forward = before


def _context(layer: nn.Module, family: Family, hidden_states: Tensor, mask: Tensor | None) -> Tensor:
    """All heads side by side for the first token, ``(batch, 1, heads x size)``, from any backend's mask for it."""
    attention = layer.get_submodule(family.attention)
    first = hidden_states[:, :1]
    if isinstance(attention, NoAttention):
        return first[..., :0]
    size = int(attention.attention_head_size)  # pyright: ignore[reportArgumentType]

    def heads(path: str, states: Tensor) -> Tensor:
        return layer.get_submodule(path)(states).unflatten(-1, (-1, size)).transpose(1, 2)

    query, key, value = heads(family.query, first), heads(family.key, hidden_states), heads(family.value, hidden_states)
    dropout = cast(nn.Dropout, attention.get_submodule("dropout")).p if layer.training else 0.0
    return F.scaled_dot_product_attention(query, key, value, mask, dropout).transpose(1, 2).flatten(2)


@contextmanager
def own_vocabulary(model: PreTrainedModel, *splits: EncodedSplit) -> Iterator[Sequence[EncodedSplit]]:
    """The splits renumbered for an embedding table cut down to the words that occur in them, for the context's time.

    A word that never occurs gets no gradient, so without weight decay training leaves its row alone: cutting it is
    exact. Afterwards the model has its whole table back, the rows of the splits' words as trained.
    """
    embedding = model.get_input_embeddings()
    table: nn.Parameter = embedding.weight  # pyright: ignore[reportAssignmentType]
    # Ids up to the padding token's stay: RoBERTa counts positions by comparing ids with it.
    low = np.arange((model.config.pad_token_id or 0) + 1)
    used = np.unique(np.concatenate([low, *(np.unique(split.ids) for split in splits)]))
    rows = torch.from_numpy(used).to(table.device)
    embedding.weight = nn.Parameter(table.detach()[rows])
    try:
        yield [replace(split, ids=np.searchsorted(used, split.ids).astype(np.int32)) for split in splits]
    finally:
        with torch.no_grad():
            table[rows] = embedding.weight
        embedding.weight = table
