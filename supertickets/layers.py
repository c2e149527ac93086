"""A Transformer layer written out by hand: forward and backward as one operation, for a CPU.

Small models spend much of a step between the arithmetic: in modules, in autograd's nodes, in dropout's random numbers.
Here a layer is some twenty calls forward and thirty backward, and the gradients of its weights are added where they
are kept. It computes what the model's own layer does (BERT's: layer norms after the residuals), whatever a ticket has
removed of it. Under autocast products are taken in bf16 and the rest in float32.

Shapes: ``B`` examples of ``L`` tokens, ``Q`` of which (``L`` or 1) are computed, ``H`` hidden units, ``A`` heads of
size ``D``; tokens stand below one another in matrices ``(B L, H)``. ``d_x`` is the gradient of ``x``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from supertickets.compaction import NoAttention
from supertickets.encoders import Family, family_of
from supertickets.lean import instead


@contextmanager
def by_hand(model: PreTrainedModel) -> Iterator[None]:
    """The model's layers are computed by hand while the context lasts, the last one for the first token alone.

    That token is all that a classifier reads. Logits and gradients are the model's own (float64: to 1e-11); dropout
    draws other numbers. Backward passes add to ``parameter.grad`` themselves: ``torch.autograd.grad`` sees none of a
    layer's parameters. A layer stays as it is where that cannot be: in an encoder with another activation than BERT's
    GELU, while something is hooked to a module (a gate), or if gradients are wanted that do not reach its input.
    The model may be compacted, and its tickets may change from step to step (:func:`supertickets.sharing.using`).
    """
    family = family_of(model)
    layers = list(model.get_submodule(family.layers).children()) if model.config.hidden_act == "gelu" else []
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(instead(layer, _forward(layer, family, first=layer is layers[-1])))
        yield


class _Affine(NamedTuple):
    """The parameters of a linear layer or a layer norm, found without asking a module for them."""

    weight: nn.Parameter
    bias: nn.Parameter


@dataclass(frozen=True)
class _Layer:
    """A layer's parameters and settings: no ``query`` where all heads are gone, no ``ffn_in`` where the FFN is."""

    head_size: int
    scale: float
    epsilon: float
    query: _Affine | None
    key: _Affine | None
    value: _Affine | None
    attention_out: _Affine
    attention_norm: _Affine
    ffn_in: _Affine | None
    ffn_out: _Affine | None
    ffn_norm: _Affine
    attention_dropout: float
    hidden_dropout: float


def _forward(layer: nn.Module, family: Family, first: bool):
    plain = layer.forward
    modules = list(layer.modules())[1:]
    ffn_parent, ffn_name = layer.get_submodule(family.ffn_out.rpartition(".")[0]), family.ffn_out.rpartition(".")[2]
    parts: dict[int, _Layer] = {}  # by what is in the FFN's place: tasks that share a model swap it

    def forward(hidden_states: Tensor, attention_mask: Tensor | None = None, *rest: Any, **more: Any) -> Any:
        hooked = any(module._forward_pre_hooks or module._forward_hooks for module in modules)
        if hooked or (torch.is_grad_enabled() and not hidden_states.requires_grad):
            return plain(hidden_states, attention_mask, *rest, **more)
        which = id(ffn_parent._modules[ffn_name])
        if which not in parts:
            parts[which] = _parts(layer, family)
        mask = None if attention_mask is None else attention_mask[:, :, :1]
        return _ByHand.apply(hidden_states, mask, parts[which], first, layer.training)

    return forward


def _parts(layer: nn.Module, family: Family) -> _Layer:
    def found(path: str) -> Any:
        return layer.get_submodule(path)

    def affine(path: str, wanted: bool = True) -> Any:
        return _Affine(found(path).weight, found(path).bias) if wanted else None

    attention, ffn = found(family.attention), isinstance(found(family.ffn_out), nn.Linear)
    some = not isinstance(attention, NoAttention)
    beside_attention, beside_ffn = (path.rpartition(".")[0] for path in (family.attention_out, family.ffn_out))
    return _Layer(
        head_size=attention.attention_head_size if some else 0,
        scale=1 / math.sqrt(attention.attention_head_size) if some else 0.0,
        epsilon=found(f"{beside_ffn}.LayerNorm").eps,
        query=affine(family.query, some),
        key=affine(family.key, some),
        value=affine(family.value, some),
        attention_out=affine(family.attention_out),
        attention_norm=affine(f"{beside_attention}.LayerNorm"),
        ffn_in=affine(family.ffn_in_linear, ffn),
        ffn_out=affine(family.ffn_out, ffn),
        ffn_norm=affine(f"{beside_ffn}.LayerNorm"),
        attention_dropout=attention.dropout.p if some else 0.0,
        hidden_dropout=found(f"{beside_ffn}.dropout").p,
    )


class _ByHand(torch.autograd.Function):
    """The whole layer: hidden states ``(B, L, H)`` to ``(B, Q, H)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor | None, layer: _Layer, first: bool, training: bool) -> Tensor:
        autocast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if autocast else x.dtype
        with torch.autocast("cpu", enabled=False) if autocast else nullcontext():
            attention, states = _attention_forward(x, mask, layer, first, dtype, training)
            ffn, states = _ffn_forward(states, layer, dtype, training)
        ctx.layer, ctx.shape, ctx.saved = layer, x.shape, (attention, ffn)
        return states.view(len(x), -1, x.shape[2])

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> Any:
        attention, ffn = ctx.saved
        d_states = _ffn_backward(d_out.reshape(-1, d_out.shape[-1]), ffn, ctx.layer)
        return _attention_backward(d_states, attention, ctx.layer, ctx.shape), None, None, None, None


def _attention_forward(
    x: Tensor, mask: Tensor | None, layer: _Layer, first: bool, dtype: torch.dtype, training: bool
) -> tuple[tuple[Any, ...], Tensor]:
    n_examples, n_tokens, width = x.shape
    wanted = x[:, 0] if first else x.reshape(-1, width)
    parts = None
    if layer.query is None:
        out = layer.attention_out.bias.expand(wanted.shape)
    else:
        assert layer.key is not None and layer.value is not None
        tokens = x.reshape(-1, width).to(dtype)
        queries = tokens.view(x.shape)[:, 0] if first else tokens
        padded = _padded(n_tokens)
        q = _columns(_linear(layer.query, queries), n_examples, layer.head_size).mul_(layer.scale)
        k = _columns(_linear(layer.key, tokens), n_examples, layer.head_size, padded)
        v = _columns(_linear(layer.value, tokens), n_examples, layer.head_size, padded)
        scores = torch.bmm(q.transpose(1, 2), k).to(x.dtype)
        if (added := _added(mask, n_tokens, padded, scores)) is not None:
            scores.view(n_examples, -1, *scores.shape[1:]).add_(added)
        shares = torch.softmax(scores, -1)
        dropped, keep = _dropout(shares, layer.attention_dropout, training)
        dropped = dropped.to(dtype)
        context = _rows(torch.bmm(v, dropped.transpose(1, 2)), n_examples)
        out = _linear(layer.attention_out, context)
        parts = (tokens, queries, q, k, v, shares, dropped, keep, context)
    out, keep = _dropout(out, layer.hidden_dropout, training)
    norm, normed = _norm(layer.attention_norm, wanted + out, layer.epsilon)
    return (parts, keep, norm), normed


def _attention_backward(d_normed: Tensor, saved: tuple[Any, ...], layer: _Layer, shape: torch.Size) -> Tensor:
    parts, keep, norm = saved
    n_examples, n_tokens, _ = shape
    d_wanted = _norm_backward(layer.attention_norm, d_normed, norm)
    d_out = d_wanted if keep is None else d_wanted * keep
    first = len(d_wanted) < n_examples * n_tokens
    d_x = None
    if layer.query is None:
        _add(layer.attention_out.bias, d_out.sum(0))
    else:
        assert layer.key is not None and layer.value is not None
        tokens, queries, q, k, v, shares, dropped, keep, context = parts
        d_context = _linear_backward(layer.attention_out, d_out.to(tokens.dtype), context)
        d_context = _columns(d_context, n_examples, layer.head_size)
        d_v = _rows(torch.bmm(d_context, dropped), n_examples, n_tokens)
        d_shares = torch.bmm(d_context.transpose(1, 2), v).to(shares.dtype)
        if keep is not None:
            d_shares.mul_(keep)
        d_scores = torch.ops.aten._softmax_backward_data(d_shares, shares, -1, shares.dtype).to(tokens.dtype)
        d_q = _rows(torch.bmm(k, d_scores.transpose(1, 2)), n_examples).mul_(layer.scale)
        d_k = _rows(torch.bmm(q, d_scores), n_examples, n_tokens)
        d_wanted = _linear_backward(layer.query, d_q, queries, d_wanted)
        d_x = _linear_backward(layer.value, d_v, tokens, _linear_backward(layer.key, d_k, tokens)).to(d_wanted.dtype)
    if not first:
        return (d_wanted if d_x is None else d_x.add_(d_wanted)).view(shape)
    d_x = d_wanted.new_zeros(shape) if d_x is None else d_x.view(shape)
    d_x[:, 0] += d_wanted
    return d_x


def _padded(n_tokens: int) -> int:
    """The number of columns of short rows of scores: softmax is ten times slower on rows of 15 than on rows of 16."""
    return -(-n_tokens // 16) * 16 if n_tokens < 64 else n_tokens


def _added(mask: Tensor | None, n_tokens: int, padded: int, scores: Tensor) -> Tensor | None:
    """What to add to scores ``(B, A, Q, padded)`` so that masked and padding columns get no share; None for nothing."""
    low = torch.finfo(scores.dtype).min
    if mask is None:
        if padded == n_tokens:
            return None
        mask = scores.new_zeros(1, 1, 1, n_tokens)
    elif mask.dtype == torch.bool:
        mask = scores.new_zeros(mask.shape).masked_fill_(~mask, low)
    return F.pad(mask, (0, padded - n_tokens), value=low)


def _columns(rows: Tensor, n_examples: int, head_size: int, padded: int = 0) -> Tensor:
    """Tokens below one another ``(B n, A D)`` to side by side ``(B A, D, n)``, zeros added up to ``padded`` of them."""
    by_example = rows.view(n_examples, -1, rows.shape[1]).transpose(1, 2)
    more = padded - by_example.shape[2]
    by_example = F.pad(by_example, (0, more)) if more > 0 else by_example
    return by_example.reshape(-1, head_size, by_example.shape[2])


def _rows(columns: Tensor, n_examples: int, n_tokens: int | None = None) -> Tensor:
    """``(B A, D, n)`` to ``(B n, A D)``, of the first ``n_tokens`` tokens."""
    by_example = columns.view(n_examples, -1, columns.shape[2])[:, :, :n_tokens]
    return by_example.transpose(1, 2).reshape(-1, by_example.shape[1])


def _ffn_forward(x: Tensor, layer: _Layer, dtype: torch.dtype, training: bool) -> tuple[tuple[Any, ...], Tensor]:
    if layer.ffn_in is None or layer.ffn_out is None:
        norm, normed = _norm(layer.ffn_norm, x, layer.epsilon)
        return (None, None, norm), normed
    low = x.to(dtype)
    inner = _linear(layer.ffn_in, low)
    active = F.gelu(inner)
    out, keep = _dropout(_linear(layer.ffn_out, active), layer.hidden_dropout, training)
    norm, normed = _norm(layer.ffn_norm, x + out, layer.epsilon)
    return ((low, inner, active), keep, norm), normed


def _ffn_backward(d_normed: Tensor, saved: tuple[Any, ...], layer: _Layer) -> Tensor:
    parts, keep, norm = saved
    d_x = _norm_backward(layer.ffn_norm, d_normed, norm)
    if layer.ffn_in is None or layer.ffn_out is None:
        return d_x
    low, inner, active = parts
    d_out = (d_x if keep is None else d_x * keep).to(low.dtype)
    d_inner = torch.ops.aten.gelu_backward(_linear_backward(layer.ffn_out, d_out, active), inner)
    return _linear_backward(layer.ffn_in, d_inner, low, d_x)


def _linear(linear: _Affine, x: Tensor) -> Tensor:
    weight, bias = linear
    if x.dtype != weight.dtype:
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    return F.linear(x, weight, bias)


def _linear_backward(linear: _Affine, d_y: Tensor, x: Tensor, more: Tensor | None = None) -> Tensor:
    """The gradient of the input, plus ``more``; those of weight and bias are added to what they have."""
    weight, bias = linear
    slope = weight.grad
    if slope is not None and slope.dtype == d_y.dtype:
        slope.addmm_(d_y.t(), x)
    else:
        _add(weight, d_y.t() @ x)
    _add(bias, d_y.sum(0))
    low = weight.to(d_y.dtype)
    if more is None:
        return torch.mm(d_y, low)
    return torch.addmm(more, d_y, low) if more.dtype == d_y.dtype else more + torch.mm(d_y, low)


def _norm(norm: _Affine, x: Tensor, epsilon: float) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    y, mean, scale = torch.native_layer_norm(x, x.shape[-1:], *norm, epsilon)
    return (x, mean, scale), y


def _norm_backward(norm: _Affine, d_y: Tensor, saved: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    x, mean, scale = saved
    found = torch.ops.aten.native_layer_norm_backward(d_y, x, x.shape[-1:], mean, scale, *norm, (True, True, True))
    _add(norm.weight, found[1])
    _add(norm.bias, found[2])
    return found[0]


def _add(parameter: Tensor, gradient: Tensor) -> None:
    if (slope := parameter.grad) is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        slope.add_(gradient)


def _dropout(x: Tensor, rate: float, training: bool) -> tuple[Tensor, Tensor | None]:
    """``x`` after dropout, and the factors (0, or 1 / the share kept) it was multiplied by.

    Torch draws a random number of 64 bits per element; 16 bits of it will do, with the rate rounded to 1/65536 and
    the factor made for the rounded rate, so that the expectation is exact.
    """
    if not training or rate == 0.0:
        return x, None
    threshold = round(rate * 65536)
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    factors = (bits[: x.numel()] >= threshold - 32768).to(x.dtype).mul_(65536 / (65536 - threshold)).view(x.shape)
    return x * factors, factors
