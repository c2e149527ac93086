"""Attention by one kernel, and layers by hand on a GPU: the model's own numbers and gradients."""

import copy
from contextlib import nullcontext

import pytest
import torch
from steps import a_batch, assert_same, outputs_and_gradients
from tiny import NAMES, SMALL, TICKETS, tiny_model
from transformers import BertConfig, BertForSequenceClassification, MPNetConfig, MPNetForSequenceClassification

from supertickets.models import compact, example_losses
from supertickets.tickets import Ticket
from supertickets.training.fast import attention, fast_forward
from supertickets.training.fast.forward import by_hand
from supertickets.training.loop import autocast, low_precision
from supertickets.training.optimiser import flat_parameters

CUDA = torch.device("cuda")


def kernel_of_a_gpu(q, k, v, added, _, rate, *, scale):
    """What torch's memory-efficient attention computes on a GPU, its result laid out as there."""
    assert [step % 16 for step in added.stride()] == [0, 0, 0, 1]  # what it reads at a time begins every 16 bytes
    assert q.stride(3) == k.stride(3) == v.stride(3) == 1 and rate == 0.0
    out = torch.softmax(q @ k.transpose(2, 3) * scale + added, -1) @ v
    return out.transpose(1, 2).contiguous().transpose(1, 2), *torch.zeros(3)


def its_gradients(d_out, q, k, v, added, _out, _sums, _seed, _offset, rate, wanted, *, scale):
    with torch.enable_grad():
        q, k, v = (tensor.detach().requires_grad_() for tensor in (q, k, v))
        found = kernel_of_a_gpu(q, k, v, added, True, rate, scale=scale)[0]
        slopes = torch.autograd.grad(found, (q, k, v), d_out)
    assert wanted == (True, True, True, False)
    return *(slope.transpose(1, 2).contiguous().transpose(1, 2) for slope in slopes), None


@pytest.mark.parametrize("ticket", TICKETS, ids=NAMES)
@pytest.mark.parametrize("longest", [11, 16, 21])
def test_by_hand_is_exact_with_a_kernel_for_attention(monkeypatch, ticket, longest):
    called = []
    monkeypatch.setattr(attention, "_can_be_fused", lambda *_: not called.append(1))
    monkeypatch.setattr(attention, "_ATTEND", kernel_of_a_gpu)
    monkeypatch.setattr(attention, "_ATTEND_BACKWARD", its_gradients)
    model = compact(tiny_model(), ticket)
    for batch in (a_batch(longest), a_batch(longest, equal=True)):
        plain = outputs_and_gradients(model, batch)
        with by_hand(model):
            assert_same(plain, outputs_and_gradients(model, batch))
    assert len(called) == 2 * ticket.heads.any(axis=1).sum()


def of_a_gpus_sizes(ticket: Ticket, rate: float = 0.0, family: str = "bert"):
    """A model whose heads the kernel takes, compacted, in float32, with dropout in training."""
    made = {"bert": (BertConfig, BertForSequenceClassification), "mpnet": (MPNetConfig, MPNetForSequenceClassification)}
    config, model = made[family]
    sizes = {"hidden_size": 64, "intermediate_size": 96, "max_position_embeddings": 96, "initializer_range": 0.2}
    dropped = {"hidden_dropout_prob": rate, "attention_probs_dropout_prob": rate}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return compact(model(config(**{**SMALL, **sizes, **dropped, "num_labels": 3})).train(rate > 0), ticket)


@pytest.mark.gpu
@pytest.mark.parametrize("ticket", TICKETS, ids=NAMES)
@pytest.mark.parametrize(("family", "longest"), [("bert", 11), ("bert", 16), ("bert", 77), ("mpnet", 21)])
def test_on_a_gpu_too(ticket, family, longest):
    model, batch = of_a_gpus_sizes(ticket, family=family), a_batch(longest)
    exact = outputs_and_gradients(copy.deepcopy(model).double(), batch)[1]
    model, batch = model.to(CUDA), batch.to(CUDA)  # pyright: ignore[reportArgumentType]  # as in the loop

    def error(precision, by_hand):
        """Of all gradients together."""
        low = low_precision(model.device, precision)
        with flat_parameters(model, low), fast_forward(model) if by_hand else nullcontext():
            with autocast(model.device, precision):
                logits = model(**batch.inputs).logits
            example_losses(logits, batch.labels).sum().backward()
            found = {name: p.grad.double().cpu() for name, p in model.named_parameters() if p.grad is not None}
        ours, theirs = (torch.cat([its[name].flatten() for name in exact]) for its in (found, exact))
        return ((ours - theirs).norm() / theirs.norm()).item()

    assert error("fp32", True) < 1e-4
    assert error("bf16", True) < 2 * error("bf16", False)  # the library's own, in the same precision


@pytest.mark.gpu
def test_on_a_gpu_dropout_is_that_of_the_forward_pass():
    """Gradients of a pass with dropout are those of finite differences of the pass that draws the same numbers."""
    model, batch = of_a_gpus_sizes(TICKETS[0], 0.3), a_batch(16).to(CUDA)
    model.to(CUDA)  # pyright: ignore[reportArgumentType]
    with flat_parameters(model) as flat, fast_forward(model):

        def loss():
            torch.manual_seed(5)
            return example_losses(model(**batch.inputs).logits, batch.labels).double().sum()

        loss().backward()
        assert flat.grad is not None
        for seed in range(4):
            direction = torch.randn(len(flat), generator=torch.Generator().manual_seed(seed)).to(CUDA)
            slope, values = (flat.grad * direction).double().sum().item(), []
            for step in (1e-4, -2e-4):
                flat.data.add_(direction, alpha=step)
                values.append(loss().item())
            flat.data.add_(direction, alpha=1e-4)
            assert (values[0] - values[1]) / 2e-4 == pytest.approx(slope, rel=0.02, abs=0.05)
