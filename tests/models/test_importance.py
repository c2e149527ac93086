"""Importance from one batched backward pass = a loop over single examples written here independently (float64)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import FAMILIES, TinyBatch, tiny_batch, tiny_model
from torch.utils.data import DataLoader
from transformers import BatchEncoding

from supertickets.errors import SuperticketsError
from supertickets.models import compact, importance_scores, layer_parts, masked
from supertickets.tickets import ESTIMATORS, Ticket, full_ticket, winning_ticket


def loop(model, batch: TinyBatch, per_position: bool, reduce) -> tuple[np.ndarray, np.ndarray]:
    """One example at a time, unpadded, with its own hooks: gradients with respect to mask variables equal to one."""
    heads, ffns = np.zeros((3, 4)), np.zeros(3)
    for row, label in enumerate(batch.labels):
        length = int(batch.inputs["attention_mask"][row].sum())
        ids = batch.inputs["input_ids"][row : row + 1, :length]
        n_masks = length if per_position else 1
        xi = torch.ones(3, n_masks, 4, dtype=torch.float64, requires_grad=True)
        nu = torch.ones(3, n_masks, 1, dtype=torch.float64, requires_grad=True)
        handles = []
        for index, part in enumerate(layer_parts(model)):
            handles.append(
                part.attention_out.register_forward_pre_hook(
                    lambda _m, args, xi=xi[index]: (args[0] * xi.repeat_interleave(6, dim=-1),)
                )
            )
            handles.append(part.ffn_out.register_forward_hook(lambda _m, _i, out, nu=nu[index]: out * nu))
        logits = model(ids).logits
        real = label.dtype.is_floating_point
        loss = (logits[0, 0] - label) ** 2 if real else F.cross_entropy(logits, label[None])
        head_gradient, ffn_gradient = torch.autograd.grad(loss, (xi, nu))
        for handle in handles:
            handle.remove()
        heads += reduce(head_gradient.numpy()).sum(1)
        ffns += reduce(ffn_gradient.numpy()).sum((1, 2))
    return heads / len(batch.labels), ffns / len(batch.labels)


CASES = {
    "example": (False, np.abs),
    "token": (True, np.abs),
    "signed": (False, np.negative),
    "squared": (False, np.square),
}


@pytest.mark.parametrize("estimator", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_batched_equals_a_loop_over_examples(family, estimator):
    model, batch = tiny_model(family), tiny_batch(n_examples=7)
    heads, ffns = loop(model, batch, *CASES[estimator])
    scores = importance_scores(model, [batch], estimator)
    np.testing.assert_allclose(scores.heads, heads, rtol=0, atol=1e-12)
    np.testing.assert_allclose(scores.ffns, ffns, rtol=0, atol=1e-12)
    assert scores.n_examples == 7
    assert scores.estimator == estimator


def test_token_and_example_differ(tiny_bert):
    batch = tiny_batch(n_examples=7)
    example, token = (importance_scores(tiny_bert, [batch], name) for name in ("example", "token"))
    assert (token.heads >= example.heads - 1e-12).all()
    assert (token.heads - example.heads).max() > 1e-3
    # In the last layer only [CLS] gets a gradient, so there the two agree (audit D4).
    np.testing.assert_allclose(token.ffns[-1], example.ffns[-1], atol=1e-12)


def test_regression_uses_the_squared_error():
    model, batch = tiny_model(num_labels=1), tiny_batch()
    batch = TinyBatch(batch.inputs, torch.linspace(0, 5, 5, dtype=torch.float64))
    heads, ffns = loop(model, batch, False, np.abs)
    scores = importance_scores(model, [batch])
    np.testing.assert_allclose(scores.heads, heads, atol=1e-12)
    np.testing.assert_allclose(scores.ffns, ffns, atol=1e-12)


def test_the_mean_is_over_examples_whatever_the_batches(tiny_bert):
    batch = tiny_batch(n_examples=6)

    def part(rows: slice) -> TinyBatch:
        return TinyBatch({name: tensor[rows] for name, tensor in batch.inputs.items()}, batch.labels[rows])

    whole = importance_scores(tiny_bert, [batch])
    uneven = importance_scores(tiny_bert, [part(slice(0, 5)), part(slice(5, 6))])
    np.testing.assert_allclose(whole.heads, uneven.heads, rtol=1e-12)


def test_leave_one_out_is_masking_one_unit_at_a_time(tiny_bert):
    batch = tiny_batch(n_examples=6)
    scores = importance_scores(tiny_bert, [batch], "leave_one_out")

    def loss(ticket: Ticket) -> float:
        with torch.no_grad(), masked(tiny_bert, ticket):
            return float(F.cross_entropy(tiny_bert(**batch.inputs).logits, batch.labels))

    full = loss(full_ticket((3, 4)))
    for layer in range(3):
        ffns = np.ones(3, dtype=bool)
        ffns[layer] = False
        assert scores.ffns[layer] == pytest.approx(loss(Ticket(np.ones((3, 4), dtype=bool), ffns)) - full, abs=1e-12)
        for head in range(4):
            heads = np.ones((3, 4), dtype=bool)
            heads[layer, head] = False
            expected = loss(Ticket(heads, np.ones(3, dtype=bool))) - full
            assert scores.heads[layer, head] == pytest.approx(expected, abs=1e-12)


def test_signed_is_the_slope_of_leave_one_out(tiny_bert):
    # d/d(gate) by central differences at the full model, through the public gates.
    from supertickets.models.gates import gated

    batch = tiny_batch(n_examples=6)
    signed = importance_scores(tiny_bert, [batch], "signed")
    for sign_of, index in ((signed.ffns, 1), (signed.ffns, 2)):
        losses = []
        for step in (1e-5, -1e-5):
            ffns = torch.ones(3, dtype=torch.float64)
            ffns[index] += step
            with torch.no_grad(), gated(tiny_bert, torch.ones(3, 4, dtype=torch.float64), ffns):
                losses.append(float(F.cross_entropy(tiny_bert(**batch.inputs).logits, batch.labels)))
        assert sign_of[index] == pytest.approx(-(losses[0] - losses[1]) / 2e-5, rel=1e-5)


def test_the_model_is_left_as_it_was():
    model = tiny_model().train()
    importance_scores(model, [tiny_batch()])
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_errors(tiny_bert):
    with pytest.raises(SuperticketsError, match=f"Unknown importance estimator.*{', '.join(ESTIMATORS)}"):
        importance_scores(tiny_bert, [tiny_batch()], "taylor")
    with pytest.raises(SuperticketsError, match="at least one example"):
        importance_scores(tiny_bert, [])
    broken = tiny_model()
    with torch.no_grad():
        broken.get_parameter("classifier.weight").fill_(float("nan"))
    with pytest.raises(SuperticketsError, match="NaN or infinity"):
        importance_scores(broken, [tiny_batch()])


def test_batches_are_taken_as_people_have_them(tiny_bert):
    ours = tiny_batch(n_examples=7)
    wanted = importance_scores(tiny_bert, [ours])
    mapping = {**ours.inputs, "labels": ours.labels}
    rows = [{name: values[i] for name, values in mapping.items()} for i in range(7)]
    as_lists = BatchEncoding({name: values.tolist() for name, values in mapping.items()})
    for batches in ([mapping], [as_lists], DataLoader(rows, batch_size=7)):  # pyright: ignore[reportArgumentType]
        found = importance_scores(tiny_bert, batches)
        np.testing.assert_array_equal(found.heads, wanted.heads)
        np.testing.assert_array_equal(found.ffns, wanted.ffns)
    left_out = importance_scores(tiny_bert, [mapping], "leave_one_out")
    np.testing.assert_array_equal(left_out.heads, importance_scores(tiny_bert, [ours], "leave_one_out").heads)
    with pytest.raises(SuperticketsError, match="a batch has input_ids, attention_mask"):
        importance_scores(tiny_bert, [ours.inputs])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_compacted_model_is_scored_as_the_masked_one(family):
    model, batch = tiny_model(family), tiny_batch(n_examples=7)
    heads = np.array([[True, True, False, True], [False, True, False, False], [True] * 4])
    ticket = Ticket(heads, np.array([True, False, True]))
    small = importance_scores(compact(model, ticket), [batch])
    with masked(model, ticket):  # gates within gates: what is masked has a gradient, what is gone has none
        whole = importance_scores(model, [batch])
    np.testing.assert_allclose(small.heads, np.where(heads, whole.heads, 0), atol=1e-12)
    np.testing.assert_allclose(small.ffns, np.where(ticket.ffns, whole.ffns, 0), atol=1e-12)
    assert small.heads[heads].min() > 1e-6
    deeper = winning_ticket(small, 0.75)
    assert not (deeper.heads & ~heads).any() and not (deeper.ffns & ~ticket.ffns).any()  # what is gone goes first


@pytest.mark.parametrize("family", [*FAMILIES, "modernbert"])
def test_the_magnitude_of_a_unit_is_the_norm_of_what_pruning_it_removes(family):
    model = tiny_model(family)
    scores = importance_scores(model, [], "magnitude")
    assert scores.heads.shape == (3, 4) and scores.n_examples == 0
    part, rows = layer_parts(model)[1], range(6, 12)  # head 1 of layer 1
    reads = [linear.weight.detach().numpy() for linear in part.reads]
    weights = [read[[k + 24 * block for block in range(len(read) // 24) for k in rows]] for read in reads]
    weights.append(part.attention_out.weight.detach().numpy()[:, rows])
    assert scores.heads[1, 1] == pytest.approx(np.sqrt(sum((x**2).sum() for x in weights)), rel=1e-12)
    ffn = [linear.weight.detach().numpy() for linear in (part.ffn_in_linear, part.ffn_out)]
    assert scores.ffns[1] == pytest.approx(np.sqrt(sum((x**2).sum() for x in ffn)), rel=1e-12)
