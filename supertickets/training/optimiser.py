"""Adamax on whole vectors (Kingma and Ba 2015, section 7.1), for parameters that lie together.

The operations of :class:`torch.optim.Adamax` and :func:`torch.nn.utils.clip_grad_norm_` in their order, without the
bookkeeping around them, which for a small model costs as much as they do.
"""

# torch does not export its list-wise operations (those its own optimisers are made of) to type checkers.
# pyright: reportPrivateImportUsage=false

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supertickets.runs import Hyper
from supertickets.training.fast.kernels import fused_adamax

BETAS, EPSILON = (0.9, 0.999), 1e-8  # those of torch.optim.Adamax


@torch.no_grad()
def adamax_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    infinities: list[Tensor],
    updates: Sequence[int] | Tensor,
    rate: float | Tensor,
    clip: float,
    weight_decay: float = 0.0,
    decayed: int | None = None,
) -> None:
    """One step in place; the gradients, clipped to the norm ``clip`` all together, are zero afterwards.

    Per vector: weights, gradient, momentum and infinity norm, of one shape, and how often it has been updated, this
    time included (which corrects the momentum's bias). Only the first ``decayed`` vectors decay, None: all. ``updates``
    ``(n_vectors,)`` and ``rate`` may be float64 tensors on the device, so that a step that is replayed reads them anew;
    the weights are the same to the last bit.

    >>> weights, gradient = torch.ones(2), torch.tensor([1.0, -2.0])
    >>> adamax_step([weights], [gradient], [torch.zeros(2)], [torch.zeros(2)], [1], rate=0.1, clip=10.0)
    >>> weights, gradient
    (tensor([0.9000, 1.1000]), tensor([0., 0.]))
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, torch.clamp(clip / (norm + 1e-6), max=1.0))
    if weight_decay:
        torch._foreach_add_(gradients[:decayed], weights[:decayed], alpha=weight_decay)
    torch._foreach_lerp_(averages, gradients, 1 - BETAS[0])
    torch._foreach_mul_(infinities, BETAS[1])
    torch._foreach_abs_(gradients)
    torch._foreach_add_(gradients, EPSILON)
    torch._foreach_maximum_(infinities, gradients)
    if isinstance(updates, Tensor):
        factors = (-rate / (1 - BETAS[0] ** updates)).to(weights[0].dtype).unbind()
        steps = torch._foreach_mul(averages, list(factors))
        torch._foreach_addcdiv_(weights, steps, infinities)
    else:
        factors = [-float(rate) / (1 - BETAS[0] ** times) for times in updates]
        torch._foreach_addcdiv_(weights, averages, infinities, factors)
    torch._foreach_zero_(gradients)


@contextmanager
def flat_parameters(model: nn.Module, low: torch.dtype | None = None) -> Iterator[nn.Parameter]:
    """All of a model's parameters as one vector, gradient included, while the context lasts.

    With ``low`` there is a copy of it in that precision too, ``vector.low`` and ``parameter.low``, which
    :meth:`Optimiser.step` keeps up with it.

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
        copy = None if low is None else flat.to(low)
        flat.low = copy  # pyright: ignore[reportAttributeAccessIssue]
        start = 0
        for parameter in parameters:
            stop = start + parameter.numel()
            parameter.data = flat.data[start:stop].view_as(parameter)
            parameter.grad = flat.grad[start:stop].view_as(parameter)
            if copy is not None:
                parameter.low = copy[start:stop].view_as(parameter)  # pyright: ignore[reportAttributeAccessIssue]
            start = stop
    try:
        yield flat
    finally:
        for parameter in parameters:
            parameter.grad = None
            parameter.data = parameter.data.clone()
            if low is not None:
                del parameter.low  # pyright: ignore[reportAttributeAccessIssue]


@dataclass
class Optimiser:
    """Adamax on a model's flat parameters, its learning rate rising, then falling over all steps (A.1.2).

    Of the vector, only the first ``decayed`` elements have weight decay, None: all. The first ``skipped`` steps of the
    schedule are not taken.
    """

    flat: torch.nn.Parameter
    average: torch.Tensor
    infinity: torch.Tensor
    hyper: Hyper
    factor: Callable[[int], float]
    rule: Callable[..., None] = adamax_step
    decayed: int | None = None
    steps: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, flat: torch.nn.Parameter, hyper: Hyper, n_steps: int) -> "Optimiser":
        """A fresh one for training of ``n_steps``."""
        return cls(flat, torch.zeros_like(flat), torch.zeros_like(flat), hyper, warmup_then_decay(hyper, n_steps))

    def coming(self) -> tuple[list[int], float]:
        """Counts a step, and returns what :meth:`step` is to be given for it: updates and learning rate."""
        rate = self.hyper.learning_rate * self.factor(self.skipped + self.steps)
        self.steps += 1
        return [self.steps] * (1 if self.decayed is None else 2), rate

    def step(self, updates: Sequence[int] | Tensor, rate: float | Tensor) -> None:
        """Updates the parameters, the gradient clipped and zeroed afterwards."""
        assert self.flat.grad is not None
        usual = self.rule is adamax_step and self.decayed is None and not self.hyper.weight_decay
        vectors = self.flat, self.average, self.infinity
        if usual and isinstance(updates, Tensor) and fused_adamax(*vectors, updates, rate, self.hyper.clip):
            return
        vectors = [[whole] for whole in (self.flat, self.flat.grad, self.average, self.infinity)]
        if self.decayed is not None:
            vectors = [[whole[: self.decayed], whole[self.decayed :]] for (whole,) in vectors]
        decayed = None if self.decayed is None else 1
        self.rule(*vectors, updates, rate, self.hyper.clip, self.hyper.weight_decay, decayed)
        if (low := getattr(self.flat, "low", None)) is not None:
            low.copy_(self.flat.detach())


def warmup_then_decay(hyper: Hyper, n_steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at a step (from 0): linear up over the first ``warmup`` share, then linear to zero.

    >>> factor = warmup_then_decay(Hyper(warmup=0.1), 100)
    >>> factor(0), factor(9), factor(10), factor(99)
    (0.1, 1.0, 1.0, 0.011111111111111112)
    """
    n_warmup = max(1, int(hyper.warmup * n_steps)) if hyper.warmup else 0

    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / n_warmup
        return max(0.0, (n_steps - step) / max(1, n_steps - n_warmup))

    return factor
