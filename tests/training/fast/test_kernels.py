"""Adamax as one kernel: on a GPU the operations of the optimiser to the last bit; elsewhere nothing."""

import math

import pytest
import torch
from torch import nn

from supertickets.runs import Hyper
from supertickets.training import optimiser as optimisers
from supertickets.training.fast.kernels import fused_adamax
from supertickets.training.optimiser import Optimiser, flat_parameters

HYPER = Hyper(learning_rate=1e-2, clip=1.0)


def trained(device: str, low: torch.dtype | None, size: float = 1.0, n_steps: int = 5) -> list[torch.Tensor]:
    """Weights, both averages and the copy after some steps with drawn gradients, updates and rate on the device."""
    torch.manual_seed(0)
    layer = nn.Linear(300, 7)
    layer.to(device)
    with flat_parameters(layer, low) as flat:
        assert flat.grad is not None
        optimiser = Optimiser.of(flat, HYPER, n_steps)
        for _ in range(n_steps):
            flat.grad.copy_(size * torch.randn(flat.shape))
            numbers = [torch.tensor(each, dtype=torch.float64, device=device) for each in optimiser.coming()]
            optimiser.step(*numbers)
            assert not flat.grad.any()
        kept = [] if low is None else [vars(flat)["low"]]
        return [each.detach().clone().cpu() for each in (flat, optimiser.average, optimiser.infinity, *kept)]


def test_on_a_cpu_there_is_no_kernel():
    flat = nn.Parameter(torch.ones(3))
    assert not fused_adamax(flat, flat, flat, torch.ones(1), torch.ones(()), 1.0)


@pytest.mark.gpu
@pytest.mark.parametrize("low", [None, torch.bfloat16])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4], ids=["small", "middle", "clipped"])
def test_on_a_gpu_the_kernel_is_the_optimiser_to_the_last_bit(monkeypatch, low, size):
    used = []
    monkeypatch.setattr(optimisers, "fused_adamax", lambda *given: used.append(fused_adamax(*given)) or used[-1])
    found = trained("cuda", low, size)
    assert used == [True] * 5
    monkeypatch.setattr(optimisers, "fused_adamax", lambda *_: False)
    for ours, plain in zip(found, trained("cuda", low, size), strict=True):
        assert torch.equal(ours, plain)


@pytest.mark.gpu
def test_on_a_gpu_what_is_no_number_stays_none():
    assert all(each.isnan().all() for each in trained("cuda", torch.bfloat16, math.nan))
