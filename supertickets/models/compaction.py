"""Compaction: really removing what a ticket masks, and keeping the smaller model on disk.

The compacted model computes the same function as the masked one (section 3 defines tickets by masks; removal is ours):
a removed head loses its query, key, value rows and its output-projection columns, the output bias stays; a removed FFN
goes with its bias, so that its layer norm sees the residual alone. A layer may lose all its heads or its FFN.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from supertickets.errors import SuperticketsError
from supertickets.models.families import Family, LayerParts, family_of, layer_parts
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
    """Stands where an FFN's output layer was: adds nothing to the residual."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Zeros of the input's shape, which is the hidden states' since the intermediate layer went too."""
        return torch.zeros_like(hidden_states)


def compact(model: PreTrainedModel, ticket: Ticket) -> PreTrainedModel:
    """A smaller copy of ``model`` without the heads and FFNs that ``ticket`` prunes; ``model`` is left as it is.

    Logits equal those of ``masked(model, ticket)`` (float64: to 1e-10). Raises SuperticketsError if the ticket
    does not fit the encoder or the model is already compacted.
    """
    parts = layer_parts(model)
    shape = (len(parts), model.config.num_attention_heads)
    if ticket.shape != shape:
        raise SuperticketsError(misfit(ticket.shape, shape))
    smaller = copy.deepcopy(model)
    family = family_of(smaller)
    for part, heads, ffn in zip(layer_parts(smaller), ticket.heads, ticket.ffns, strict=True):
        if not heads.all():
            _remove_heads(part, family, torch.from_numpy(heads.copy()))
        if not ffn:
            _replace(part.layer, family.ffn_in, nn.Identity())
            _replace(part.layer, family.ffn_out, NoFfn())
    return smaller


def save_compacted(
    model: PreTrainedModel,
    ticket: Ticket,
    path: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Path:
    """Writes the compacted model as a folder: config.json, model.safetensors, ticket.json, and the tokenizer if given.

    ``model`` may be full-size (it is compacted first) or already compacted with this ticket.
    :func:`load_compacted` reads the folder back. Raises SuperticketsError if model and ticket do not fit, or the
    folder cannot be written.
    """
    folder = Path(path)
    if _is_full_size(model) and not (ticket.heads.all() and ticket.ffns.all()):
        model = compact(model, ticket)
    _check_widths(model, ticket)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model.config.save_pretrained(folder)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        ticket.save(folder / "ticket.json")
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise SuperticketsError(
            f"The compacted model cannot be written to {folder} ({error}); free some space."
        ) from error
    return folder


def load_compacted(path: str | Path) -> PreTrainedModel:
    """The compacted, fine-tuned model that :func:`save_compacted` wrote, in eval mode, on the CPU.

    Raises SuperticketsError if the folder is not one, or its weights are truncated or do not fit its ticket.
    """
    folder = Path(path)
    for file in ("config.json", "model.safetensors", "ticket.json"):
        if not (folder / file).is_file():
            raise SuperticketsError(f"{folder} is not a compacted model: it has no {file}.")
    ticket = Ticket.load(folder / "ticket.json")
    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.random.fork_rng(devices=[]):  # building draws random weights, which are then overwritten
            model = compact(AutoModelForSequenceClassification.from_config(config), ticket)
        model.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    except (OSError, ValueError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        first_line = str(error).splitlines()[0]
        raise SuperticketsError(
            f"The model in {folder} is damaged or foreign ({first_line}); save it again."
        ) from error
    return model.eval()


def narrow_position_bias(layer: nn.Module, keep: Tensor) -> None:
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


def _remove_heads(part: LayerParts, family: Family, keep: Tensor) -> None:
    if family.position_bias:
        narrow_position_bias(part.layer, keep)
    if not keep.any():
        # The replacement reads nothing of the old projections; the output projection keeps only its bias.
        _replace(part.layer, family.attention, NoAttention())
    head_size = part.attention_out.in_features // len(keep)
    units = keep.repeat_interleave(head_size).to(part.attention_out.weight.device)
    for name, linear in ((family.query, part.query), (family.key, part.key), (family.value, part.value)):
        if keep.any():
            bias = None if linear.bias is None else linear.bias[units]
            _replace(part.layer, name, _linear(linear.weight[units], bias))
    _replace(part.layer, family.attention_out, _linear(part.attention_out.weight[:, units], part.attention_out.bias))
    if keep.any() and hasattr(part.attention, "num_attention_heads"):
        # Read by some attention backends.
        for name, number in (("num_attention_heads", keep.sum()), ("all_head_size", units.sum())):
            setattr(part.attention, name, int(number))


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    # Made small on "meta" so that no random numbers are drawn and no zero-size initialisation warns.
    linear = nn.Linear(1, 1, bias=bias is not None, device="meta")
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone())
    return linear


def _replace(layer: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(layer.get_submodule(parent), attribute, module)


def _widths(model: PreTrainedModel) -> tuple[list[int], list[bool]]:
    """Context width of every layer, and whether it still has its FFN; works for compacted models too."""
    family = family_of(model)
    layers = list(model.get_submodule(family.layers).children())
    contexts = [layer.get_submodule(family.attention_out).get_parameter("weight").shape[1] for layer in layers]
    return contexts, [not isinstance(layer.get_submodule(family.ffn_out), NoFfn) for layer in layers]


def _is_full_size(model: PreTrainedModel) -> bool:
    contexts, ffns = _widths(model)
    return all(width == model.config.hidden_size for width in contexts) and all(ffns)


def _check_widths(model: PreTrainedModel, ticket: Ticket) -> None:
    contexts, ffns = _widths(model)
    head_size = model.config.hidden_size // model.config.num_attention_heads
    wanted = [int(row.sum()) * head_size for row in ticket.heads]
    if contexts != wanted or ffns != ticket.ffns.tolist():
        raise SuperticketsError(
            "The model was compacted with another ticket than the one given; pass the ticket it was compacted with."
        )


def units_of(kept: np.ndarray, out: nn.Module) -> Tensor:
    """Booleans of the context's length: the units of the heads ``kept``."""
    weight = out.get_parameter("weight")
    return torch.from_numpy(np.repeat(kept, weight.shape[1] // len(kept))).to(weight.device)


def put_module(layer: nn.Module, path: str, module: nn.Module) -> None:
    """Puts a module in the place of the one at a dotted path within a layer."""
    parent, _, attribute = path.rpartition(".")
    setattr(layer.get_submodule(parent), attribute, module)


def narrow_heads(layer: nn.Module, family: Family, kept: np.ndarray) -> None:
    """Cuts a layer, compacted or not, down to the heads ``kept`` of those it has."""
    attention, out = layer.get_submodule(family.attention), layer.get_submodule(family.attention_out)
    units = units_of(kept, out)
    if kept.any():
        for path in (family.query, family.key, family.value):
            linear = layer.get_submodule(path)
            linear.weight = nn.Parameter(linear.get_parameter("weight").detach()[units])
            linear.bias = nn.Parameter(linear.get_parameter("bias").detach()[units])
            _note(linear, out_features=int(units.sum()))
        _note(attention, num_attention_heads=int(kept.sum()), all_head_size=int(units.sum()))
    else:
        put_module(layer, family.attention, NoAttention())
        put_module(layer, family.attention_out, out)  # for families that have it within the attention
    if family.position_bias:
        narrow_position_bias(layer, torch.from_numpy(kept))
    out.weight = nn.Parameter(out.get_parameter("weight").detach()[:, units])
    _note(out, in_features=int(units.sum()))


def _note(module: nn.Module, **sizes: int) -> None:
    """Corrects the sizes that a module says it has, where it does."""
    for name, size in sizes.items():
        if hasattr(module, name):
            setattr(module, name, size)
