"""A Transformer layer written out by hand: forward and backward as one operation.

Small models spend much of a step between the arithmetic: in modules, in autograd's nodes, in dropout's random numbers;
on a GPU in kernels that hardly compute, and autocast adds some at every product. Here a layer is some twenty calls
forward and thirty backward, and the gradients of its weights are added where they are kept. It computes what the
model's own layer does (BERT's: layer norms after the residuals), whatever a ticket has removed of it. Under autocast
products are taken in bf16 and the rest in float32.

Shapes: ``B`` examples of ``L`` tokens, ``Q`` of which (``L`` or 1) are computed, ``H`` hidden units, ``A`` heads of
size ``D``; tokens stand below one another in matrices ``(B L, H)``. ``d_x`` is the gradient of ``x``.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supertickets.models import Family, NoAttention
from supertickets.training.fast.attention import Heads, attention, attention_backward, dropout, undropped

ONE_DNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
"""oneDNN's linear layer in float32: faster than MKL's on processors that MKL was not made for, unless it is small."""
_Norm = tuple[nn.Parameter, nn.Parameter]  # weight and bias of a layer norm


@dataclass
class _Linear:
    """Linear layers that read the same input, side by side; found without asking modules for their parameters."""

    weights: tuple[nn.Parameter, ...]
    biases: tuple[nn.Parameter, ...]
    seen: tuple[Any, ...] = ()

    def joined(self) -> tuple[Tensor | None, ...]:
        """Weights, biases, the gradients of both, and both as they are kept in bf16, each as one tensor.

        None for what does not lie so in memory. Kept: :func:`~supertickets.training.optimiser.flat_parameters`.
        """
        first = self.weights[0]
        where = [0 if tensor is None else tensor.data_ptr() for tensor in (first, first.grad, _low(first))]
        if not self.seen or self.seen[0] != where:
            each = ([of(it) for it in its] for of in (_itself, _slope, _low) for its in (self.weights, self.biases))
            self.seen = where, *map(_as_one, each)
        return self.seen[1:]


@dataclass(frozen=True)
class _Layer:
    """A layer's parameters and settings: no ``read`` where all heads are gone, no ``ffn_in`` where the FFN is.

    ``read`` is query, key and value side by side; in the layer that is computed for the ``first`` token alone, key and
    value, and ``query`` by itself.
    """

    first: bool
    heads: Heads
    epsilon: float
    query: _Linear | None
    read: _Linear | None
    attention_out: _Linear
    attention_norm: _Norm
    ffn_in: _Linear | None
    ffn_out: _Linear | None
    ffn_norm: _Norm
    hidden_dropout: float


def layer_forward(layer: nn.Module, family: Family, first: bool) -> Callable[..., Any]:
    """The layer's forward pass by hand, hidden states ``(B, L, H)`` and what is added to scores to ``(B, Q, H)``.

    It is the layer's own while something is hooked to a module in it, if gradients are wanted that do not reach its
    input, and for any other mask than that of :func:`supertickets.training.fast.forward.by_hand`.
    """
    plain = layer.forward
    inside = list(layer.modules())[1:]
    hooks = [hook for module in inside for hook in (module._forward_pre_hooks, module._forward_hooks)]
    ffn_parent, ffn_name = layer.get_submodule(family.ffn_out.rpartition(".")[0]), family.ffn_out.rpartition(".")[2]
    parts: dict[int, _Layer] = {}  # by what is in the FFN's place: tasks that share a model swap it

    def forward(hidden_states: Tensor, mask: Tensor | None = None, *rest: Any, **more: Any) -> Any:
        ours = mask is not None and mask.shape[2] == 1 and mask.is_floating_point()
        if not ours or any(hooks) or (torch.is_grad_enabled() and not hidden_states.requires_grad):
            mask = None if mask is None else mask[..., : hidden_states.shape[1]]
            return plain(hidden_states, mask, *rest, **more)
        which = id(ffn_parent._modules[ffn_name])
        if which not in parts:
            parts[which] = _parts(layer, family, first)
        if not family.position_bias:
            return _ByHand.apply(hidden_states, mask, None, parts[which], layer.training)
        bias = rest[0][:, :, :1] if first else rest[0]
        return (_ByHand.apply(hidden_states, mask, bias, parts[which], layer.training),)

    return forward


def _itself(parameter: nn.Parameter) -> Tensor:
    return parameter


def _slope(parameter: nn.Parameter) -> Tensor | None:
    return parameter.grad


def _low(parameter: nn.Parameter) -> Tensor | None:
    return getattr(parameter, "low", None)


def _parts(layer: nn.Module, family: Family, first: bool) -> _Layer:
    def found(path: str) -> Any:
        return layer.get_submodule(path)

    def linear(*paths: str) -> _Linear:
        return _Linear(tuple(found(path).weight for path in paths), tuple(found(path).bias for path in paths))

    def norm(path: str) -> _Norm:
        return found(path).weight, found(path).bias

    its, ffn = found(family.attention), isinstance(found(family.ffn_out), nn.Linear)
    some = not isinstance(its, NoAttention)
    size = its.attention_head_size if some else 1
    beside_ffn = family.ffn_out.rpartition(".")[0]
    read = (family.key, family.value) if first else (family.query, family.key, family.value)
    return _Layer(
        first=first,
        heads=Heads(size, 1 / math.sqrt(size), its.dropout.p if some else 0.0),
        epsilon=found(f"{beside_ffn}.LayerNorm").eps,
        query=linear(family.query) if some and first else None,
        read=linear(*read) if some else None,
        attention_out=linear(family.attention_out),
        attention_norm=norm(f"{family.attention_sum}.LayerNorm"),
        ffn_in=linear(family.ffn_in_linear) if ffn else None,
        ffn_out=linear(family.ffn_out) if ffn else None,
        ffn_norm=norm(f"{beside_ffn}.LayerNorm"),
        hidden_dropout=found(f"{beside_ffn}.dropout").p,
    )


class _ByHand(torch.autograd.Function):
    """The whole layer: hidden states ``(B, L, H)`` and, if any, a bias on scores ``(1, A, Q, L)`` to ``(B, Q, H)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, bias: Tensor | None, layer: _Layer, training: bool) -> Tensor:
        device = "cuda" if x.is_cuda else "cpu"
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else x.dtype
        if not training:
            layer = replace(layer, heads=replace(layer.heads, dropout=0.0), hidden_dropout=0.0)
        with torch.autocast(device, enabled=False) if autocast else nullcontext():
            attended, states = _attention_forward(x, mask, bias, layer, dtype)
            ffn, states = _ffn_forward(states, layer, dtype)
        ctx.layer, ctx.shape, ctx.saved = layer, x.shape, (attended, ffn)
        return states.view(len(x), -1, x.shape[2])

    @staticmethod
    def backward(ctx: Any, d_out: Tensor) -> Any:
        attended, ffn = ctx.saved
        d_states = _ffn_backward(d_out.reshape(-1, d_out.shape[-1]), ffn, ctx.layer)
        d_x, d_scores = _attention_backward(d_states, attended, ctx.layer, ctx.shape)
        d_bias = None
        if ctx.needs_input_grad[2] and d_scores is not None:
            by_example = d_scores[:, :, : ctx.shape[1]].unflatten(0, (len(d_out), -1))
            d_bias = by_example.sum(0, keepdim=True, dtype=d_out.dtype)
        return d_x, None, d_bias, None, None


def _attention_forward(
    x: Tensor, mask: Tensor, bias: Tensor | None, layer: _Layer, dtype: torch.dtype
) -> tuple[tuple[Any, ...], Tensor]:
    width = x.shape[2]
    wanted = x[:, 0] if layer.first else x.reshape(-1, width)
    parts = None
    if layer.read is None:
        out = layer.attention_out.biases[0].expand(wanted.shape)
    else:
        tokens = x.reshape(-1, width).to(dtype)
        read, w_read = _linear(layer.read, tokens)
        queries, asked, w_query = tokens, None, None
        if layer.query is not None:
            queries = tokens.view(x.shape)[:, 0]
            asked, w_query = _linear(layer.query, queries)
        context, attended = attention(read, asked, mask, bias, layer.heads, x.dtype)
        out, w_out = _linear(layer.attention_out, context)
        parts = (tokens, queries, attended, context, w_read, w_query, w_out)
    out, keep = dropout(out, layer.hidden_dropout)
    norm, normed = _norm(layer.attention_norm, wanted + out, layer.epsilon)
    return (parts, keep, norm), normed


def _attention_backward(
    d_normed: Tensor, saved: tuple[Any, ...], layer: _Layer, shape: torch.Size
) -> tuple[Tensor, Tensor | None]:
    """The gradients of the hidden states and, where they are known, of the scores ``(B A, Q, L or more)``."""
    parts, keep, norm = saved
    d_wanted = _norm_backward(layer.attention_norm, d_normed, norm)
    d_out = undropped(d_wanted, keep, layer.hidden_dropout)
    d_x = d_scores = None
    if layer.read is None:
        _add(layer.attention_out.biases[0], d_out.sum(0))
    else:
        tokens, queries, attended, context, w_read, w_query, w_out = parts
        d_context = _linear_backward(layer.attention_out, w_out, d_out.to(tokens.dtype), context)
        d_read, d_asked, d_scores = attention_backward(d_context, attended, layer.heads, shape[0])
        if layer.query is not None and d_asked is not None:
            d_wanted = _linear_backward(layer.query, w_query, d_asked, queries, d_wanted)
        rest = None if layer.first else d_wanted
        d_x = _linear_backward(layer.read, w_read, d_read, tokens, rest).to(d_wanted.dtype)
    if not layer.first:
        return (d_wanted if d_x is None else d_x).view(shape), d_scores
    d_x = d_wanted.new_zeros(shape) if d_x is None else d_x.view(shape)
    d_x[:, 0] += d_wanted
    return d_x, d_scores


def _as_one(tensors: Sequence[Tensor | None]) -> Tensor | None:
    first = tensors[0]
    if first is None or len(tensors) == 1:
        return first
    end, storage = first.data_ptr(), first.untyped_storage().data_ptr()
    for tensor in tensors:
        if tensor is None or tensor.data_ptr() != end or tensor.untyped_storage().data_ptr() != storage:
            return None
        end += tensor.nbytes
    n_rows = sum(len(tensor) for tensor in tensors if tensor is not None)
    return first.detach().as_strided((n_rows, *first.shape[1:]), first.stride())


def _ffn_forward(x: Tensor, layer: _Layer, dtype: torch.dtype) -> tuple[tuple[Any, ...], Tensor]:
    if layer.ffn_in is None or layer.ffn_out is None:
        norm, normed = _norm(layer.ffn_norm, x, layer.epsilon)
        return (None, None, norm), normed
    low = x.to(dtype)
    inner, w_in = _linear(layer.ffn_in, low)
    active = F.gelu(inner)
    out, w_out = _linear(layer.ffn_out, active)
    out, keep = dropout(out, layer.hidden_dropout)
    norm, normed = _norm(layer.ffn_norm, x + out, layer.epsilon)
    return ((low, inner, active, w_in, w_out), keep, norm), normed


def _ffn_backward(d_normed: Tensor, saved: tuple[Any, ...], layer: _Layer) -> Tensor:
    parts, keep, norm = saved
    d_x = _norm_backward(layer.ffn_norm, d_normed, norm)
    if layer.ffn_in is None or layer.ffn_out is None:
        return d_x
    low, inner, active, w_in, w_out = parts
    d_out = undropped(d_x, keep, layer.hidden_dropout).to(low.dtype)
    d_inner = torch.ops.aten.gelu_backward(_linear_backward(layer.ffn_out, w_out, d_out, active), inner)
    return _linear_backward(layer.ffn_in, w_in, d_inner, low, d_x)


def _linear(linear: _Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs side by side, and the weights below one another as they were used."""
    weight, bias, *_, low, low_bias = linear.joined()
    if weight is None or bias is None:
        weight, bias = torch.cat(linear.weights), torch.cat(linear.biases)
    if low is not None and low_bias is not None and low.dtype is x.dtype:
        weight, bias = low, low_bias
    elif x.dtype != weight.dtype:
        weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    if _is_large(x, weight):
        return ONE_DNN(x, weight, bias, "none", [], ""), weight
    return F.linear(x, weight, bias), weight


def _linear_backward(linear: _Linear, weight: Tensor, d_y: Tensor, x: Tensor, more: Tensor | None = None) -> Tensor:
    """The gradient of the input, plus ``more``; those of weights and biases are added to what they have."""
    _, _, slope, bias_slope, *_ = linear.joined()
    if slope is None or bias_slope is None:
        size = linear.biases[0].shape[0]
        for parameters, slopes in ((linear.weights, d_y.t() @ x), (linear.biases, d_y.sum(0))):
            for parameter, part in zip(parameters, slopes.split(size), strict=True):
                _add(parameter, part)
    else:
        if slope.dtype is d_y.dtype:
            slope.addmm_(d_y.t(), x)
        elif d_y.is_cuda:  # added up in float32 as it is computed
            torch.ops.aten.addmm.dtype_out(slope, d_y.t(), x, slope.dtype, out=slope)
        else:
            slope.add_(d_y.t() @ x)
        if d_y.is_cuda and slope.dtype is not d_y.dtype:  # a product with ones is quicker than a sum, then added
            row = bias_slope[None]
            torch.ops.aten.addmm.dtype_out(row, _ones(len(d_y), d_y.dtype, d_y.device), d_y, row.dtype, out=row)
        else:
            bias_slope.add_(d_y.sum(0))
    # A column of a weight as wide as BERT-base's FFN (3072) lies in few lines of the cache: oneDNN takes twice as long.
    if _is_large(d_y, weight) and (weight.shape[1] <= 2048 or weight.shape[1] % 1024):
        if more is None:
            return ONE_DNN(d_y, weight.t(), None, "none", [], "")
        return ONE_DNN.binary(d_y, more, weight.t(), None, "add")
    if more is None:
        return torch.mm(d_y, weight)
    if more.dtype is d_y.dtype:
        return torch.addmm(more, d_y, weight)
    return torch.addmm(more, d_y, weight, out_dtype=more.dtype) if d_y.is_cuda else more + torch.mm(d_y, weight)


@cache
def _ones(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A row of ones, filled once. A step is carried out before it is captured, so no capture fills it."""
    return torch.ones(1, n, dtype=dtype, device=device)


def _is_large(x: Tensor, weight: Tensor) -> bool:
    """Whether a product is better left to oneDNN, which starts later but does not depend on who made the processor.

    For weights that lie in memory with gaps (those of :mod:`supertickets.sharing.isolation`) it has slow reference code
    only.
    """
    large = x.dtype is torch.float32 and not x.is_cuda and x.shape[0] * weight.numel() >= 2**21
    return large and ONE_DNN is not None and weight.is_contiguous()


def _norm(norm: _Norm, x: Tensor, epsilon: float) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    y, mean, scale = torch.native_layer_norm(x, x.shape[-1:], *norm, epsilon)
    return (x, mean, scale), y


def _norm_backward(norm: _Norm, d_y: Tensor, saved: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The gradient of the norm's input; those of its weight and bias are added to what they have, in one call."""
    x, mean, scale = saved
    found = torch.ops.aten.native_layer_norm_backward(d_y, x, x.shape[-1:], mean, scale, *norm, (True, True, True))
    slopes = [parameter.grad for parameter in norm if parameter.grad is not None]
    if len(slopes) == 2:
        torch._foreach_add_(slopes, found[1:])  # pyright: ignore[reportPrivateImportUsage]
    else:
        for parameter, slope in zip(norm, found[1:], strict=True):
            _add(parameter, slope)
    return found[0]


def _add(parameter: Tensor, gradient: Tensor) -> None:
    if (slope := parameter.grad) is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        slope.add_(gradient)
