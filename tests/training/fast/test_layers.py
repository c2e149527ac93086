"""Layers computed by hand: the model's own numbers and gradients, in float64."""

import numpy as np
import pytest
import torch
from steps import a_batch, assert_same, outputs_and_gradients
from tiny import BACKENDS, FAMILIES, tiny_model
from torch import nn

from supertickets.models import compact, example_losses, family_of, layer_parts, masked
from supertickets.runs import Hyper
from supertickets.sharing import using
from supertickets.sharing.model import share
from supertickets.tickets import Ticket, full_ticket, random_ticket
from supertickets.training.fast import layers
from supertickets.training.fast.attention import dropout
from supertickets.training.fast.forward import by_hand
from supertickets.training.optimiser import Optimiser, flat_parameters

NEEDS_ONE_DNN = pytest.mark.skipif(layers.ONE_DNN is None, reason="this torch was built without oneDNN")


def largest_error(found, exact) -> float:
    """The largest relative error of any parameter's gradient; a key's bias has none but what rounding makes of it."""
    return max(
        ((found[n] - g).norm() / g.norm()).item() for n, g in exact.items() if not n.endswith(("key.bias", "k.bias"))
    )


def tickets() -> dict[str, Ticket]:
    no_heads = np.ones((3, 4), dtype=bool)
    no_heads[1] = False
    bare = np.ones((3, 4), dtype=bool)
    bare[-1] = False
    return {
        "full": full_ticket((3, 4)),
        "some": random_ticket((3, 4), 0.5, seed=1),
        "a layer without heads": Ticket(no_heads, np.array([True, True, False])),
        "a last layer of nothing": Ticket(bare, np.array([False, True, False])),
    }


@pytest.mark.parametrize("ticket", tickets().values(), ids=tickets().keys())
@pytest.mark.parametrize(("family", "attention"), BACKENDS)
@pytest.mark.parametrize("longest", [11, 16, 21])
def test_by_hand_is_exact(family, attention, ticket, longest):
    model = compact(tiny_model(family, attention), ticket)
    for batch in (a_batch(longest), a_batch(longest, equal=True)):  # with padding and without
        plain = outputs_and_gradients(model, batch)
        with by_hand(model):
            ours = outputs_and_gradients(model, batch)
            states = model.base_model(**batch.inputs).last_hidden_state
        assert states.shape[1] == 1  # it is not simply the same computation
        assert_same(plain, ours)


def test_weights_kept_in_bf16_are_those_converted_in_every_layer():
    batch, found = a_batch(), []
    for low in (None, torch.bfloat16):
        model = tiny_model().float()
        with flat_parameters(model, low) as flat, by_hand(model):
            optimiser = Optimiser.of(flat, Hyper(), 3)
            for _ in range(3):
                with torch.autocast("cpu", torch.bfloat16):
                    logits = model(**batch.inputs).logits
                example_losses(logits, batch.labels).sum().backward()
                optimiser.step(*optimiser.coming())
            assert low is None or torch.equal(vars(flat)["low"], flat.to(low))
            found.append(flat.detach().clone())
        assert not any(hasattr(parameter, "low") for parameter in model.parameters())
    assert torch.equal(*found)


def test_gradients_are_added_to_those_that_are_there():
    model, batch = tiny_model(), a_batch()
    once = outputs_and_gradients(model, batch)[1]
    with flat_parameters(model) as flat, by_hand(model):
        for _ in range(2):
            example_losses(model(**batch.inputs).logits, batch.labels).sum().backward()
        twice = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        assert flat.grad is not None
        total = flat.grad.abs().sum()
    for name, gradient in once.items():
        torch.testing.assert_close(twice[name], 2 * gradient, rtol=0, atol=1e-11, msg=name)
    torch.testing.assert_close(total, sum((2 * g).abs().sum() for g in once.values()), rtol=1e-9, atol=0)


def test_afterwards_the_model_is_its_own_again():
    model, batch = tiny_model(), a_batch()
    before = outputs_and_gradients(model, batch)
    with pytest.raises(KeyboardInterrupt), by_hand(model), by_hand(model):
        raise KeyboardInterrupt
    assert not any("forward" in vars(part.layer) for part in layer_parts(model))
    assert_same(before, outputs_and_gradients(model, batch), atol=0)


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_gated_layers_stay_as_they_are(family):
    model, batch, ticket = tiny_model(family), a_batch(), random_ticket((3, 4), 0.5, seed=3)
    with masked(model, ticket):
        plain = outputs_and_gradients(model, batch)
        with by_hand(model):
            ours = outputs_and_gradients(model, batch)
    assert_same(plain, ours)
    assert (outputs_and_gradients(model, batch)[0] - plain[0]).abs().max() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_tasks_that_share_a_model_keep_their_tickets(family):
    a, b = random_ticket((3, 4), 0.5, seed=3), random_ticket((3, 4), 0.5, seed=4)
    assert (a.ffns != b.ffns).any()
    shared, batch = share({"a": tiny_model(family), "b": tiny_model(family)}, {"a": a, "b": b}), a_batch()

    def by_task(name):
        with using(shared, name) as model:
            return outputs_and_gradients(model, batch)

    plain = {name: by_task(name) for name in "ab"}
    with by_hand(shared.models["a"]):
        for name in "abab":
            ours = by_task(name)
            assert_same(plain[name], ours)


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_frozen_embeddings_still_train_the_layers(family):
    model, batch = tiny_model(family), a_batch()
    for parameter in model.base_model.get_submodule("embeddings").parameters():
        parameter.requires_grad = False
    plain = outputs_and_gradients(model, batch)
    with by_hand(model):
        assert_same(plain, outputs_and_gradients(model, batch))
    assert any("layer.0" in name for name in plain[1])


def test_another_activation_is_left_alone():
    model, batch = tiny_model(), a_batch()
    model.config.hidden_act = "gelu_new"
    with by_hand(model):
        assert model.base_model(**batch.inputs).last_hidden_state.shape[1] > 1


def with_dropout(rate: float, family: str = "bert"):
    model = tiny_model(family).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
    return model


@pytest.mark.parametrize("name", ["bert", "mpnet"])
def test_gradients_with_dropout_are_those_of_finite_differences(name):
    model, batch = with_dropout(0.3, name), a_batch()
    family = family_of(model)
    paths = ((0, family.query), (1, family.value), (1, family.ffn_in_linear), (2, family.ffn_out))
    weights = [layer_parts(model)[index].layer.get_submodule(path).get_parameter("weight") for index, path in paths]
    weights += [p for key, p in model.named_parameters() if "relative_attention_bias" in key]

    def loss():
        torch.manual_seed(5)
        return example_losses(model(**batch.inputs).logits, batch.labels).sum()

    with by_hand(model):
        model.zero_grad()
        loss().backward()
        for weight in weights:
            direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1), dtype=weight.dtype)
            assert weight.grad is not None
            slope = (weight.grad * direction).sum().item()
            values = []
            for step in (1e-6, -2e-6):
                weight.data.add_(direction, alpha=step)
                values.append(loss().item())
            weight.data.add_(direction, alpha=1e-6)
            assert abs(slope) > 1e-3
            assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_dropout_is_off_outside_training_and_on_in_it():
    model, batch = with_dropout(0.3), a_batch()
    with torch.no_grad(), by_hand(model):
        drawn = [model(**batch.inputs).logits for _ in range(2)]
        assert not torch.equal(*drawn)
        model.eval()
        sure = [model(**batch.inputs).logits for _ in range(2)]
    assert torch.equal(*sure)
    torch.testing.assert_close(sure[0], model(**batch.inputs).logits, rtol=0, atol=1e-11)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_dropout_drops_as_many_as_it_should(rate):
    torch.manual_seed(0)
    x = torch.ones(1000, 1001)
    dropped, factors = dropout(x, rate)
    assert factors is not None and torch.equal(dropped, factors)
    n = x.numel()
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=5 * (rate * (1 - rate) / n) ** 0.5)
    assert dropped.mean().item() == pytest.approx(1.0, abs=5 * (rate / (1 - rate) / n) ** 0.5)
    # Independent from element to element: neighbours share a random number of 64 bits.
    zero = (dropped == 0).double()
    for lag in (1, 2, 3, 4):
        pairs = (zero.view(-1)[lag:] * zero.view(-1)[:-lag]).mean().item()
        assert pairs == pytest.approx(rate**2, abs=6 * rate / n**0.5)
    assert dropout(x, 0.0) == (x, None)


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_bf16_is_as_near_to_float32_as_its_roundings_allow(family):
    model, batch = tiny_model(family).float(), a_batch()
    exact = outputs_and_gradients(model, batch)

    def in_bf16():
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(**batch.inputs).logits
        example_losses(logits, batch.labels).sum().backward()
        return logits.detach().float(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    with by_hand(model):
        ours = in_bf16()
    assert all(gradient.dtype == torch.float32 for gradient in ours[1].values())
    # bf16 rounds by up to 2^-9, some ten times a layer, both ways: not float32, and no worse than that.
    assert 1e-4 < largest_error(ours[1], exact[1]) < 3 * 2 * 10 * 2**-9


def within_float32(
    found: torch.Tensor, left: torch.Tensor, right: torch.Tensor, plus: torch.Tensor | float = 0.0
) -> bool:
    """Whether ``found`` is ``left @ right + plus`` as exactly as float32 allows, in whatever order it is summed.

    Higham, Accuracy and Stability of Numerical Algorithms, (3.12): n terms err by at most n u / (1 - n u) times the sum
    of their absolute values, u = 2^-24.
    """
    left, right = left.double(), right.double()
    plus = plus.double() if isinstance(plus, torch.Tensor) else torch.tensor(plus).double()
    n_u = (left.shape[1] + 1) * 2.0**-24
    bound = n_u / (1 - n_u) * (left.abs() @ right.abs() + plus.abs())
    return bool(((found.double() - left @ right - plus).abs() <= bound).all())


@pytest.mark.parametrize("large", [pytest.param(True, marks=NEEDS_ONE_DNN), False])
@pytest.mark.parametrize(("n_tokens", "width", "out"), [(342, 64, 128), (512, 384, 96), (130, 768, 64)])
def test_products_in_float32_are_as_exact_as_float32_allows(monkeypatch, large, n_tokens, width, out):
    monkeypatch.setattr(layers, "_is_large", lambda _x, _weight: large)
    torch.manual_seed(0)
    plain = nn.Linear(width, out)
    x, d_y, more = torch.randn(n_tokens, width), torch.randn(n_tokens, out), torch.randn(n_tokens, width)
    weight, bias = nn.Parameter(plain.weight.detach()), nn.Parameter(plain.bias.detach())
    weight.grad, bias.grad = torch.randn(out, width), torch.randn(out)
    slopes = weight.grad.clone(), bias.grad.clone()
    linear = layers._Linear((weight,), (bias,))
    with torch.no_grad():
        y, used = layers._linear(linear, x)
        d_x = layers._linear_backward(linear, used, d_y, x)
        assert within_float32(y, x, weight.t(), bias)
        assert within_float32(d_x, d_y, weight)
        assert within_float32(weight.grad, d_y.t(), x, slopes[0])
        assert within_float32(bias.grad[:, None], d_y.t(), torch.ones(n_tokens, 1), slopes[1][:, None])
        assert within_float32(layers._linear_backward(linear, used, d_y, x, more), d_y, weight, more)
        # The check can tell: operands cut to 11 bits, as fast modes of some processors and GPUs do, are not within it.
        coarse = (x.view(torch.int32) & ~0x1FFF).view(torch.float32)
        assert not within_float32(coarse @ weight.t() + bias, x, weight.t(), bias)


@NEEDS_ONE_DNN
def test_a_model_of_large_products_in_float32_is_near_to_float64(monkeypatch):
    batch, called = a_batch(), []
    exact = outputs_and_gradients(tiny_model(), batch)
    model = tiny_model().float()

    def large(x, weight):
        called.append(x.shape)
        return x.dtype is torch.float32

    monkeypatch.setattr(layers, "_is_large", large)
    with flat_parameters(model), by_hand(model):
        example_losses(model(**batch.inputs).logits, batch.labels).sum().backward()
        ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None and p.numel()}
    assert len(called) == 3 * 8 + 2  # four linear layers in three layers, both ways; the last layer asks by itself
    assert largest_error(ours, exact[1]) < 1e-4  # some ten roundings on the way, and gradients that nearly cancel


@pytest.mark.parametrize(("n_tokens", "width", "large"), [(16, 64, False), (342, 64, False), (512, 64, True)])
def test_which_products_are_large(n_tokens, width, large):
    x, weight = torch.zeros(n_tokens, width), torch.zeros(width, width)
    assert layers._is_large(x, weight) == (large and layers.ONE_DNN is not None)
    assert not layers._is_large(x.double(), weight.double())
    gaps = torch.zeros(width, 2 * width)[:, :width]
    assert not layers._is_large(x, gaps)  # oneDNN has no fast way for it


def test_query_key_and_value_are_read_in_place_where_parameters_are_flat():
    model, family = tiny_model(), family_of(tiny_model())
    layer = layer_parts(model)[0].layer
    read = layers._parts(layer, family, first=False).read
    assert read is not None and read.joined() == (None,) * 6
    with flat_parameters(model) as flat:
        weight, bias, slope, bias_slope, *low = read.joined()
        assert low == [None, None]
        assert weight is not None and bias is not None and slope is not None and bias_slope is not None
        assert (weight.shape, bias.shape, slope.shape, bias_slope.shape) == ((72, 24), (72,)) * 2
        torch.testing.assert_close(weight, torch.cat([p.detach() for p in read.weights]), rtol=0, atol=0)
        assert flat.grad is not None
        slope[-1] = bias_slope[:] = 1.0
        assert flat.grad.sum() == 24 + 72
        value = layer.get_submodule(family.value).get_parameter("weight")
        assert value.grad is not None and value.grad[-1].tolist() == [1.0] * 24
    assert read.joined() == (None,) * 6  # every parameter is a tensor of its own again
