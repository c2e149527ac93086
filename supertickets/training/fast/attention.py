"""What heads do with queries, keys and values that lie side by side, and its gradients; dropout.

On a GPU it is one kernel each way where that can be, torch's memory-efficient attention, and products else: a small
model's time goes into the number of kernels there.

Shapes as in :mod:`supertickets.training.fast.layers`: ``B`` examples of ``L`` tokens, ``Q`` of which ask (``L`` or 1),
``A`` heads of size ``D``, tokens below one another.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_ATTEND = torch.ops.aten._scaled_dot_product_efficient_attention
_ATTEND_BACKWARD = torch.ops.aten._scaled_dot_product_efficient_attention_backward


@dataclass(frozen=True)
class Heads:
    """The heads' settings: size of each, the factor of scores, dropout of shares (0 outside training)."""

    size: int
    scale: float
    dropout: float


@dataclass(frozen=True)
class _Fused:
    """What one kernel leaves for its gradients: its arguments and results."""

    given: tuple[Tensor, ...]
    found: tuple[Tensor, ...]
    n_parts: int


@dataclass(frozen=True)
class _Products:
    """What products leave for their gradients."""

    q: Tensor
    k: Tensor
    v: Tensor
    shares: Tensor
    dropped: Tensor
    keep: Tensor | None
    n_tokens: int
    n_parts: int


Attended = _Fused | _Products
"""What :func:`attention_backward` is to be given."""


def attention(
    read: Tensor, asked: Tensor | None, mask: Tensor, bias: Tensor | None, heads: Heads, dtype: torch.dtype
) -> tuple[Tensor, Attended]:
    """The heads' outputs ``(B Q, A D)`` for ``read``, ``(B L, 3 A D)``: query, key and value of every token.

    Where only the first token asks, ``read`` has no queries and ``asked`` ``(B, A D)`` has. ``mask`` ``(B, 1, 1, n)``,
    n at least L, and ``bias`` ``(1, A, Q, L)`` are added to scores, whose softmax is taken in ``dtype``.
    """
    n_examples, n_parts = len(mask), 3 if asked is None else 2
    n_tokens = len(read) // n_examples
    if bias is None and _can_be_fused(read, heads.size):
        by_head = read.view(n_examples, n_tokens, n_parts, -1, heads.size).permute(2, 0, 3, 1, 4)
        *q, k, v = by_head.unbind()
        q = q[0] if asked is None else asked.view(n_examples, 1, -1, heads.size).transpose(1, 2)
        added = mask[..., :n_tokens].to(read.dtype).expand(*q.shape[:3], -1)
        found = _ATTEND(q, k, v, added, True, heads.dropout, scale=heads.scale)
        return found[0].transpose(1, 2).reshape(-1, q.shape[1] * heads.size), _Fused((q, k, v, added), found, n_parts)
    *q, k, v = _columns(read, n_parts, n_examples, heads.size, mask.shape[-1]).unbind()
    q = q[0][:, :, :n_tokens] if asked is None else _columns(asked, 1, n_examples, heads.size)[0]
    added = mask if bias is None else mask + F.pad(bias, (0, mask.shape[-1] - n_tokens))
    added = added.to(read.dtype).expand(-1, q.shape[0] // n_examples, -1, -1).flatten(0, 1)
    scores = torch.baddbmm(added, q.transpose(1, 2), k, alpha=heads.scale).to(dtype)
    shares = torch.softmax(scores, -1)
    dropped, keep = dropout(shares, heads.dropout)
    dropped = dropped.to(read.dtype)
    context = _rows(torch.bmm(v, dropped.transpose(1, 2))[None], n_examples)
    return context, _Products(q, k, v, shares, dropped, keep, n_tokens, n_parts)


def attention_backward(
    d_context: Tensor, saved: Attended, heads: Heads, n_examples: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The gradients of what was read, of what was asked (if that was given) and, from products, of scores.

    Those of scores are ``(B A, Q, n)``.
    """
    if isinstance(saved, _Fused):
        d_out = d_context.view(n_examples, -1, d_context.shape[1] // heads.size, heads.size).transpose(1, 2)
        wanted = (True, True, True, False)
        found = _ATTEND_BACKWARD(d_out, *saved.given, *saved.found, heads.dropout, wanted, scale=heads.scale)
        of_q, *others = (slope.transpose(1, 2) for slope in found[:3])
        if saved.n_parts == 3:
            return torch.stack((of_q, *others), 2).reshape(-1, 3 * d_context.shape[1]), None, None
        return torch.stack(others, 2).reshape(-1, 2 * d_context.shape[1]), of_q.reshape(n_examples, -1), None
    q, k, v, shares, dropped, n_tokens = saved.q, saved.k, saved.v, saved.shares, saved.dropped, saved.n_tokens
    d_context = _columns(d_context, 1, n_examples, heads.size)[0]
    d_shares = torch.bmm(d_context.transpose(1, 2), v).to(shares.dtype)
    d_shares = undropped(d_shares, saved.keep, heads.dropout, out=d_shares)
    d_scores = torch.ops.aten._softmax_backward_data(d_shares, shares, -1, shares.dtype).to(q.dtype)
    d_read = q.new_empty(saved.n_parts, *k.shape[:2], n_tokens)
    d_q = d_read[0] if saved.n_parts == 3 else torch.empty_like(q)
    d_q.baddbmm_(k, d_scores.transpose(1, 2), beta=0, alpha=heads.scale)
    d_read[-2].baddbmm_(q, d_scores[:, :, :n_tokens], beta=0, alpha=heads.scale)
    torch.bmm(d_context, dropped[:, :, :n_tokens], out=d_read[-1])
    d_asked = None if saved.n_parts == 3 else _rows(d_q[None], n_examples)
    return _rows(d_read, n_examples), d_asked, d_scores


def dropout(x: Tensor, rate: float) -> tuple[Tensor, Tensor | None]:
    """``x`` after dropout, and the factors (0, or 1 / the share kept) it was multiplied by; on a GPU: what was kept.

    On a CPU torch draws a random number of 64 bits per element; 16 bits of it will do, with the rate rounded to 1/65536
    and the factor made for the rounded rate, so that the expectation is exact.
    """
    if rate == 0.0:
        return x, None
    if x.is_cuda:
        return torch.native_dropout(x, rate, True)
    threshold = round(rate * 65536)
    bits = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
    bits = bits.random_(-(2**63), None).view(torch.int16)
    factors = (bits[: x.numel()] >= threshold - 32768).to(x.dtype).mul_(65536 / (65536 - threshold)).view(x.shape)
    return x * factors, factors


def undropped(d_dropped: Tensor, keep: Tensor | None, rate: float, out: Tensor | None = None) -> Tensor:
    """The gradient of what :func:`dropout` was given, from that of what it made; in ``out`` where factors are known."""
    if keep is None:
        return d_dropped
    if keep.dtype is torch.bool:
        return torch.ops.aten.native_dropout_backward(d_dropped, keep, 1 / (1 - rate))
    return torch.mul(d_dropped, keep, out=out)


def _can_be_fused(read: Tensor, head_size: int) -> bool:
    """Whether the kernel takes it: rows of a head in whole steps of 16 bytes, and no float64."""
    return read.is_cuda and head_size % 8 == 0 and read.dtype is not torch.float64


def _columns(rows: Tensor, n_parts: int, n_examples: int, head_size: int, padded: int = 0) -> Tensor:
    """Tokens below one another ``(B n, parts A D)`` to side by side ``(parts, B A, D, n)``, n at least ``padded``."""
    by_part = rows.view(n_examples, -1, n_parts, rows.shape[1] // n_parts).permute(2, 0, 3, 1)
    more = padded - by_part.shape[3]
    by_part = F.pad(by_part, (0, more)) if more > 0 else by_part
    return by_part.reshape(n_parts, -1, head_size, by_part.shape[3])


def _rows(columns: Tensor, n_examples: int) -> Tensor:
    """``(parts, B A, D, n)`` to ``(B n, parts A D)``."""
    n_parts, n_tokens = columns.shape[0], columns.shape[3]
    by_part = columns.view(n_parts, n_examples, -1, n_tokens).permute(1, 3, 0, 2)
    return by_part.reshape(n_examples * n_tokens, -1)
