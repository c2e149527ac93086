"""Cheaper steps that compute the same: against plain training, in float64."""

import numpy as np
import pytest
import torch
from tiny import BACKENDS, FAMILIES, tiny_model

from supertickets.models import compact, example_losses, layer_parts
from supertickets.tickets import Ticket
from supertickets.training import EncodedSplit, train_batches
from supertickets.training.fast.forward import by_hand, first_token_only
from supertickets.training.fast.vocabulary import own_vocabulary
from supertickets.training.optimiser import flat_parameters


def a_split(words: np.ndarray, seed: int = 0) -> EncodedSplit:
    rng = np.random.default_rng(seed)
    return EncodedSplit(
        ids=np.append(rng.choice(words, 240), 0).astype(np.int32),
        type_ids=None,
        starts=np.arange(24) * 10,
        lengths=rng.integers(5, 11, 24),
        labels=rng.integers(0, 3, 24),
    )


def table_of(model) -> torch.Tensor:
    """The word embeddings, one row per word."""
    return model.get_input_embeddings().weight.detach()


def trained(model, parameters, split, set_to_none):
    """12 steps of Adamax with clipping; no dropout."""
    optimiser = torch.optim.Adamax(parameters, lr=1e-2, foreach=True)
    for epoch in range(4):
        for batch in train_batches(split, 8, 0, epoch):
            example_losses(model(**batch.inputs).logits, batch.labels).mean().backward()
            torch.nn.utils.clip_grad_norm_(parameters, 0.5)
            optimiser.step()
            optimiser.zero_grad(set_to_none=set_to_none)


@pytest.mark.parametrize("way", [first_token_only, by_hand])
@pytest.mark.parametrize("family", FAMILIES)
def test_lean_training_is_plain_training(family, way):
    train, dev = a_split(np.arange(4, 30, 3)), a_split(np.arange(4, 30, 2), seed=1)
    plain, lean = tiny_model(family), tiny_model(family)
    start = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    trained(plain, list(plain.parameters()), train, True)
    table = lean.get_input_embeddings().weight
    with own_vocabulary(lean, train, dev) as (narrow, narrow_dev):
        assert len(table_of(lean)) < 20
        with flat_parameters(lean) as flat, way(lean):
            trained(lean, [flat], narrow, False)
        batch, its_narrow = dev.batch(np.arange(5)), narrow_dev.batch(np.arange(5))
        np.testing.assert_allclose(
            lean(**its_narrow.inputs).logits.detach(), plain(**batch.inputs).logits.detach(), atol=1e-11
        )
    assert lean.get_input_embeddings().weight is table
    for name, tensor in plain.state_dict().items():
        # Without effect on attention: its gradient is rounding, which Adamax blows up.
        if name.endswith(("key.bias", "attn.k.bias")):
            continue
        torch.testing.assert_close(lean.state_dict()[name], tensor, rtol=0, atol=1e-11, msg=name)
    moved = max((plain.state_dict()[name] - start[name]).abs().max().item() for name in start)
    assert moved > 0.01
    assert all(parameter.grad is None for parameter in lean.parameters())
    assert len({parameter.untyped_storage().data_ptr() for parameter in lean.parameters()}) == len(
        list(lean.parameters())
    )


def test_words_of_no_split_keep_their_rows_bit_for_bit():
    model, split = tiny_model(), a_split(np.arange(4, 20))
    before = table_of(model).clone()
    with own_vocabulary(model, split) as (narrow,), flat_parameters(model) as flat:
        trained(model, [flat], narrow, False)
    after = table_of(model)
    assert torch.equal(after[20:], before[20:])
    assert not torch.equal(after[4:20], before[4:20])


def test_a_failure_inside_leaves_a_whole_model():
    model, split = tiny_model(), a_split(np.arange(4, 20))
    with pytest.raises(KeyboardInterrupt), own_vocabulary(model, split), flat_parameters(model):
        raise KeyboardInterrupt
    assert len(table_of(model)) == 50
    assert model(**split.batch(np.arange(3)).inputs).logits.shape == (3, 3)


@pytest.mark.parametrize("last_heads", [2, 1, 0])
@pytest.mark.parametrize(("family", "attention"), BACKENDS)
def test_the_last_layer_for_the_first_token_alone_is_exact(family, attention, last_heads):
    whole = tiny_model(family, attention)
    shape = (len(layer_parts(whole)), whole.config.num_attention_heads)
    heads = np.ones(shape, dtype=bool)
    heads[-1, last_heads:] = False
    model = compact(whole, Ticket(heads, np.array([True] * (shape[0] - 1) + [last_heads > 0])))
    batch = a_split(np.arange(4, 30)).batch(np.arange(6))  # of unequal lengths

    def outputs_and_gradients():
        model.zero_grad()
        logits = model(**batch.inputs).logits
        example_losses(logits, batch.labels).sum().backward()
        return logits.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    logits, gradients = outputs_and_gradients()
    with first_token_only(model):
        lean_logits, lean_gradients = outputs_and_gradients()
        states = model.base_model(**batch.inputs).last_hidden_state
    assert states.shape[1] == 1  # it is not simply the same computation
    assert model.base_model(**batch.inputs).last_hidden_state.shape[1] > 1
    torch.testing.assert_close(lean_logits, logits, rtol=0, atol=1e-11)
    assert gradients.keys() == lean_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(lean_gradients[name], gradient, rtol=0, atol=1e-11, msg=name)
