"""A model's pass through its encoder by hand: the same numbers, and the library's own for whatever else is asked."""

import pytest
import torch
from steps import a_batch, assert_same, outputs_and_gradients
from tiny import FAMILIES, tiny_model

from supertickets.training.fast.forward import by_hand
from supertickets.training.fast.vocabulary import own_vocabulary


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_tokens_among_the_words_get_no_gradient(family):
    model, batch = tiny_model(family), a_batch()
    pad = model.config.pad_token_id
    batch.inputs["input_ids"][:, 2] = pad
    batch.inputs["attention_mask"][:] = 1  # so that they are read
    plain = outputs_and_gradients(model, batch)
    words = next(name for name in plain[1] if name.endswith("word_embeddings.weight"))
    with by_hand(model):
        ours = outputs_and_gradients(model, batch)
    assert_same(plain, ours)
    assert ours[1][words][pad].abs().max() == 0 < ours[1][words].abs().max()


@pytest.mark.parametrize("asked", [{"output_hidden_states": True}, {"position_ids": torch.arange(11)[None].flip(1)}])
@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_what_else_is_asked_of_an_encoder_it_answers_itself(family, asked):
    model, batch = tiny_model(family), a_batch(equal=True)
    with torch.no_grad():
        plain = model.base_model(**batch.inputs, **asked)
        with by_hand(model):
            ours = model.base_model(**batch.inputs, **asked)
    torch.testing.assert_close(ours.last_hidden_state, plain.last_hidden_state, rtol=0, atol=1e-11)
    assert (ours.hidden_states is None) == (plain.hidden_states is None)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pass_without_mask_or_types_is_that_of_the_model(family):
    model, batch = tiny_model(family), a_batch(equal=True)
    ids = batch.inputs["input_ids"]
    with torch.no_grad():
        plain = model(ids).logits
        with by_hand(model):
            ours = model(ids).logits
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-11)


def test_a_mask_of_truth_values_is_a_mask():
    model, batch = tiny_model(), a_batch()
    numbers = outputs_and_gradients(model, batch)
    batch.inputs["attention_mask"] = batch.inputs["attention_mask"].bool()
    with by_hand(model):
        assert_same(numbers, outputs_and_gradients(model, batch))


def test_frozen_words_get_no_gradient():
    model, batch = tiny_model(), a_batch()
    words = model.get_input_embeddings().get_parameter("weight")
    words.requires_grad_(False)
    plain = outputs_and_gradients(model, batch)
    with by_hand(model):
        assert_same(plain, outputs_and_gradients(model, batch))
    assert words.grad is None


def test_words_of_a_tasks_own_vocabulary_get_their_gradient():
    from supertickets.training import EncodedSplit

    model, whole = tiny_model(), a_batch()
    expected = outputs_and_gradients(model, whole)[1]["bert.embeddings.word_embeddings.weight"]
    ids = whole.inputs["input_ids"]
    lengths = whole.inputs["attention_mask"].sum(1).numpy()
    flat = ids.flatten().to(torch.int32).numpy()
    starts = torch.arange(len(ids)).numpy() * ids.shape[1]
    split = EncodedSplit(ids=flat, type_ids=None, starts=starts, lengths=lengths, labels=whole.labels.numpy())
    with own_vocabulary(model, split) as (own,), by_hand(model):
        batch = own.batch(torch.arange(len(ids)).numpy())
        found = outputs_and_gradients(model, batch)[1]["bert.embeddings.word_embeddings.weight"]
    used = torch.cat([torch.arange(1), ids.flatten()]).unique()
    assert found.shape[0] == len(used) < len(expected)
    torch.testing.assert_close(found, expected[used], rtol=0, atol=1e-11)


def test_afterwards_encoder_and_words_are_their_own_again():
    model = tiny_model()
    with pytest.raises(KeyboardInterrupt), by_hand(model):
        raise KeyboardInterrupt
    assert not any("forward" in vars(module) for module in model.modules())
