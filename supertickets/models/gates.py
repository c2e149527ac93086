"""Gates: the mask variables xi (heads) and nu (FFNs) of section 3, put on a live model.

A gate multiplies a head's context just before the output projection, and an FFN's output just before the residual
sum, whatever the attention backend. A masked head therefore contributes nothing while the attention output bias
stays; a masked FFN contributes nothing at all, its output bias included (as in the authors' code, audit D42).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from supertickets.errors import SuperticketsError
from supertickets.models.families import family_of, layer_parts, layers_of, linear_in
from supertickets.tickets import Ticket, full_ticket, misfit


@contextmanager
def gated(model: PreTrainedModel, heads: Tensor, ffns: Tensor) -> Iterator[PreTrainedModel]:
    """Multiplies every head and FFN of ``model`` by a gate while the context lasts.

    ``heads`` is ``(n_layers, n_heads)`` and ``ffns`` ``(n_layers,)``; with a leading batch dimension, or batch and
    position dimensions, each example or each position has gates of its own, which is how one backward pass
    yields a gradient per example (see :mod:`supertickets.models.importance`). Gates may require gradients. Of a
    compacted model those of the units that are gone do nothing.
    """
    family, layers = family_of(model), layers_of(model)
    size = (len(layers), model.config.num_attention_heads)
    gone = getattr(model.config, "supertickets", None)
    kept = full_ticket(size) if gone is None else Ticket.from_json(gone)
    if tuple(heads.shape[-2:]) != size or ffns.shape != heads.shape[:-1] or heads.ndim > 4:
        raise SuperticketsError(
            f"Gates must end in {size} for heads and {size[:1]} for FFNs, with the same leading dimensions, "
            f"not {tuple(heads.shape)} and {tuple(ffns.shape)}."
        )
    with ExitStack() as stack:
        for index, layer in enumerate(layers):
            if (here := kept.heads[index]).any():
                # Taken apart: an index of booleans would ask the device, which a CUDA graph cannot hold.
                mine = compress(heads[..., index, :].unbind(-1), here)
                own = heads[..., index, :] if here.all() else torch.stack(list(mine), -1)
                stack.enter_context(gate_heads(linear_in(layer, family.attention_out), own))
            if kept.ffns[index]:
                out = linear_in(layer, family.ffn_out)
                stack.enter_context(_gate(out, ffns[..., index], out.register_forward_hook, _gate_ffn))
        yield model


@contextmanager
def masked(model: PreTrainedModel, ticket: Ticket) -> Iterator[PreTrainedModel]:
    """Runs ``model`` with only the ticket's heads and FFNs while the context lasts; the weights are untouched.

    The model may move to another device or dtype meanwhile: the gates go along.

    Raises SuperticketsError if the ticket is for an encoder of another shape.

    >>> import torch
    >>> from supertickets import full_ticket, load_encoder, masked
    >>> model = load_encoder("lab-base", num_labels=2, seed=0).eval()
    >>> ids = torch.tensor([[2, 10, 11, 3]])
    >>> with torch.no_grad(), masked(model, full_ticket((6, 8))):
    ...     same = torch.equal(model(ids).logits, model(ids).logits)
    >>> same
    True
    """
    shape = (len(layer_parts(model)), model.config.num_attention_heads)
    if ticket.shape != shape:
        raise SuperticketsError(misfit(ticket.shape, shape))
    parameter = next(model.parameters())
    with gated(
        model,
        torch.tensor(ticket.heads, dtype=parameter.dtype, device=parameter.device),
        torch.tensor(ticket.ffns, dtype=parameter.dtype, device=parameter.device),
    ):
        yield model


def gate_heads(attention_out: nn.Module, gate: Tensor) -> AbstractContextManager[None]:
    """Multiplies the heads whose contexts an output projection reads by ``gate``, ``(n_heads,)`` or as in gated."""
    return _gate(attention_out, gate, attention_out.register_forward_pre_hook, _gate_context)


@contextmanager
def _gate(module: nn.Module, gate: Tensor, register: Callable[..., Any], hook: Callable[..., Any]) -> Iterator[None]:
    """A gate as a buffer of the module that it is on: it goes wherever the module goes, and takes its type."""
    name = "gate"
    while hasattr(module, name):  # a gate within a gate
        name += "_"
    module.register_buffer(name, gate, persistent=False)
    handle = register(partial(hook, name))
    try:
        yield
    finally:
        handle.remove()
        delattr(module, name)


def _gate_context(name: str, module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    gate, context = module.get_buffer(name), arguments[0]  # (batch, positions, n_heads * head_size)
    split = context.unflatten(-1, (gate.shape[-1], -1))
    # (n_heads,) and (batch, positions, n_heads) broadcast as they are; (batch, n_heads) lacks the positions.
    per_head = gate.unsqueeze(1) if gate.ndim == 2 else gate
    return ((split * per_head.unsqueeze(-1).to(split.dtype)).flatten(-2), *arguments[1:])


def _gate_ffn(name: str, module: nn.Module, _arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    gate = module.get_buffer(name)
    per_token = gate[:, None] if gate.ndim == 1 else gate  # (batch, 1) or (batch, positions)
    return output * (per_token.unsqueeze(-1) if gate.ndim else gate).to(output.dtype)
