"""A model's pass through its encoder by hand: the same numbers, and the library's own for whatever else is asked."""

import pytest
import torch
from steps import a_batch, assert_same, outputs_and_gradients
from tiny import FAMILIES, tiny_model

from supertickets.training.fast.forward import by_hand


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


def test_afterwards_the_encoder_is_its_own_again():
    model = tiny_model()
    with pytest.raises(KeyboardInterrupt), by_hand(model):
        raise KeyboardInterrupt
    assert not any("forward" in vars(module) for module in model.modules())
