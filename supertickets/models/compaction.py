"""Compaction: really removing what a ticket masks.

The compacted model computes the same function as the masked one (section 3 defines tickets by masks; removal is ours):
a removed head loses its query, key, value rows and its output-projection columns, the output bias stays; a removed FFN
goes with its bias, so that its layer norm sees the residual alone. A layer may lose all its heads or its FFN.
"""

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from supertickets.errors import SuperticketsError
from supertickets.models.families import Family, family_of, layer_parts, layers_of, linear_in, reads_in
from supertickets.tickets import Ticket, misfit


class NoAttention(nn.Module):
    """Stands where a layer's attention was when all its heads are gone: a context of width zero.

    Its child, if it has one, is the output projection of a family that has it within the attention.
    """

    def forward(self, hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, None]:
        """A context ``(..., 0)``, projected, and no attention weights, whatever else the attention would be given."""
        context = hidden_states.new_zeros(*hidden_states.shape[:-1], 0)
        for out in self.children():
            context = out(context)
        return context, None


class NoFfn(nn.Module):
    """Stands where an FFN's output layer was: adds nothing to the residual.

    Its empty ``weight`` has the name of the one that is gone: whoever loads the weights of a compacted model into a
    full-size one is told that sizes differ, where a weight that is not there would be drawn at random.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(0))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Zeros of the input's shape, which is the hidden states' since the intermediate layer went too."""
        return torch.zeros_like(hidden_states)


def compact(model: PreTrainedModel, ticket: Ticket, copied: bool = True) -> PreTrainedModel:
    """A smaller copy of ``model`` (or, if not ``copied``, itself) without the heads and FFNs that ``ticket`` prunes.

    Logits equal those of ``masked(model, ticket)`` (float64: to 1e-10). Raises SuperticketsError if the ticket
    does not fit the encoder or the model is already compacted.
    """
    shape = (len(layer_parts(model)), model.config.num_attention_heads)
    if ticket.shape != shape:
        raise SuperticketsError(misfit(ticket.shape, shape))
    smaller = copy.deepcopy(model) if copied else model
    cut(smaller, ticket.heads, ticket.ffns)
    mark(smaller.config, ticket)
    return smaller


def mark(config: PretrainedConfig, ticket: Ticket) -> None:
    """Notes in a model's configuration what was removed of it, which so goes along wherever the model is saved."""
    if not (ticket.heads.all() and ticket.ffns.all()):
        config.supertickets = replace(ticket, scores=None, provenance={}).to_json()
    elif hasattr(config, "supertickets"):
        delattr(config, "supertickets")


def cut(model: PreTrainedModel, heads: Iterable[np.ndarray], ffns: Iterable[bool]) -> None:
    """Cuts a model, compacted or not, down to some of the units it has.

    ``heads`` are booleans per layer, one for each head that is there; ``ffns`` is a boolean per layer.
    """
    family = family_of(model)
    for layer, kept, ffn in zip(layers_of(model), heads, ffns, strict=True):
        if not kept.all():
            _narrow_heads(layer, family, kept)
        if not ffn:
            like = next(layer.parameters())
            for path, module in ffn_stand_ins(family):
                put_module(layer, path, module.to(like.device, like.dtype))


def within(ticket: Ticket, union: Ticket) -> tuple[list[np.ndarray], np.ndarray]:
    """A ticket counted in the units of a union of tickets: per layer its heads, and the FFNs ``(n_layers,)``."""
    return [row[stored] for row, stored in zip(ticket.heads, union.heads, strict=True)], ticket.ffns


def ffn_stand_ins(family: Family) -> tuple[tuple[str, nn.Module], ...]:
    """What stands where an FFN was: modules by their paths within the layer."""
    if family.ffn_out.startswith(f"{family.ffn_in}."):
        whole = NoFfn()
        put_module(whole, family.ffn_out.removeprefix(f"{family.ffn_in}."), NoFfn())
        return ((family.ffn_in, whole),)
    return (family.ffn_in, nn.Identity()), (family.ffn_out, NoFfn())


def has_ffn(layer: nn.Module, family: Family) -> bool:
    """Whether a layer still has its FFN."""
    return not isinstance(layer.get_submodule(family.ffn_in), nn.Identity | NoFfn)


def _narrow_heads(layer: nn.Module, family: Family, kept: np.ndarray) -> None:
    """Cuts a layer, compacted or not, down to the heads ``kept`` of those it has."""
    out = layer.get_submodule(family.attention_out)
    weight = out.get_parameter("weight")
    units = torch.tensor(kept, device=weight.device).repeat_interleave(weight.shape[1] // len(kept))
    if kept.any():
        for path in reads_in(layer, family):
            linear = linear_in(layer, path)
            rows = units.repeat(linear.out_features // len(units))  # below one another where one layer is several
            put_module(layer, path, _linear(linear.weight[rows], None if linear.bias is None else linear.bias[rows]))
        attention = layer.get_submodule(family.attention)
        for name, number in (("num_attention_heads", kept.sum()), ("all_head_size", units.sum())):
            if hasattr(attention, name):  # read by some attention backends
                setattr(attention, name, int(number))
    else:
        # Reads nothing of the old projections; the output projection keeps only its bias.
        put_module(layer, family.attention, NoAttention())
    put_module(layer, family.attention_out, _linear(weight[:, units], out.bias))
    if family.position_bias:
        _narrow_position_bias(layer, torch.tensor(kept))


def put_module(layer: nn.Module, path: str, module: nn.Module) -> None:
    """Puts a module in the place of the one at a dotted path within a layer."""
    parent, _, attribute = path.rpartition(".")
    setattr(layer.get_submodule(parent), attribute, module)


def _narrow_position_bias(layer: nn.Module, keep: Tensor) -> None:
    """Has a layer read the columns of some of its heads only (booleans) of the position bias that all layers share."""
    heads = keep.nonzero().flatten()
    if hasattr(layer, "bias_columns"):
        heads = layer.get_buffer("bias_columns")[heads]
    else:
        layer.register_forward_pre_hook(_own_columns)  # of the layer itself: what is put in its place reads them too
    layer.register_buffer("bias_columns", heads, persistent=False)  # known from the ticket on loading


def _own_columns(layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    states, mask, bias, *rest = arguments
    return (states, mask, bias[:, layer.bias_columns], *rest)


def _linear(weight: Tensor, bias: Any) -> nn.Linear:
    # Made small on "meta" so that no random numbers are drawn and no zero-size initialisation warns.
    linear = nn.Linear(1, 1, bias=bias is not None, device="meta")
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear
