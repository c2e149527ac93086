"""A batch, and a model's outputs and gradients on it, for tests of what must not change them."""

import numpy as np
import torch

from supertickets.models import example_losses
from supertickets.training import Batch, EncodedSplit


def a_batch(longest: int = 11, equal: bool = False) -> Batch:
    rng = np.random.default_rng(0)
    lengths = np.full(6, longest) if equal else rng.integers(4, longest + 1, 6)
    split = EncodedSplit(
        ids=rng.integers(4, 50, 6 * longest).astype(np.int32),
        type_ids=None,
        starts=np.arange(6) * longest,
        lengths=lengths,
        labels=rng.integers(0, 3, 6),
    )
    return split.batch(np.arange(6))


def outputs_and_gradients(model, batch):
    model.zero_grad()
    logits = model(**batch.inputs).logits
    example_losses(logits, batch.labels).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and p.numel()}
    return logits.detach(), {name: gradient.clone() for name, gradient in gradients.items()}


def assert_same(first, second, atol=1e-11):
    torch.testing.assert_close(second[0], first[0], rtol=0, atol=atol)
    assert first[1].keys() == second[1].keys()
    for name, gradient in first[1].items():
        torch.testing.assert_close(second[1][name], gradient, rtol=0, atol=atol, msg=name)


def a_split(n: int = 29, low: int = 4, high: int = 12) -> EncodedSplit:
    """An encoded split of short examples in three classes."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(low, high, n)
    ids = np.append(rng.integers(4, 50, lengths.sum()), 0).astype(np.int32)
    return EncodedSplit(ids, None, np.cumsum(lengths) - lengths, lengths, rng.integers(0, 3, n))
