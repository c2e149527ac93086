"""Adamax on whole vectors (Kingma and Ba 2015, section 7.1), for parameters that lie together.

The operations of :class:`torch.optim.Adamax` and :func:`torch.nn.utils.clip_grad_norm_` in their order, without the
bookkeeping around them, which for a small model costs as much as they do.
"""

# torch does not export its list-wise operations (those its own optimisers are made of) to type checkers.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8  # those of torch.optim.Adamax


@torch.no_grad()
def adamax_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    infinities: list[Tensor],
    updates: Sequence[int],
    rate: float,
    clip: float,
    weight_decay: float = 0.0,
) -> None:
    """One step in place; the gradients, clipped to the norm ``clip`` all together, are zero afterwards.

    Per vector: weights, gradient, momentum and infinity norm, of one shape, and how often it has been updated, this
    time included (which corrects the momentum's bias).

    >>> weights, gradient = torch.ones(2), torch.tensor([1.0, -2.0])
    >>> adamax_step([weights], [gradient], [torch.zeros(2)], [torch.zeros(2)], [1], rate=0.1, clip=10.0)
    >>> weights, gradient
    (tensor([0.9000, 1.1000]), tensor([0., 0.]))
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, torch.clamp(clip / (norm + 1e-6), max=1.0))
    if weight_decay:
        torch._foreach_add_(gradients, weights, alpha=weight_decay)
    torch._foreach_lerp_(averages, gradients, 1 - BETAS[0])
    torch._foreach_mul_(infinities, BETAS[1])
    torch._foreach_abs_(gradients)
    torch._foreach_add_(gradients, EPSILON)
    torch._foreach_maximum_(infinities, gradients)
    torch._foreach_addcdiv_(weights, averages, infinities, [-rate / (1 - BETAS[0] ** times) for times in updates])
    torch._foreach_zero_(gradients)
