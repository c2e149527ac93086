"""Evaluation and importance scoring replayed on a GPU; here with a replay that is a call."""

from functools import partial

import numpy as np
import pytest
import torch
from steps import a_split
from tiny import FAMILIES, OTHERS, tiny_model

from supertickets.models import compact, importance_scores
from supertickets.runs import Hyper
from supertickets.sharing.model import share, using
from supertickets.tickets import Ticket
from supertickets.training import EncodedSplit, batching, eval_batches, evaluation, predict, published
from supertickets.training import loop as loops
from supertickets.training.fast import Replayed, fast_forward, said, widths_that_pay
from supertickets.training.fast import replayed as replays
from supertickets.training.published import chosen_scores

UNEVEN = Ticket(np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=bool), np.array([1, 0, 1], dtype=bool))
OTHER = Ticket(np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=bool), np.array([0, 1, 1], dtype=bool))
TOKENS = 64
EVEN = partial(a_split, 168, 9, 10)  # 24 whole batches of one length: nothing is padded or filled
HYPER = Hyper(batch_size=8)


def as_a_call(carry_out):
    """A capture that computes nothing now and everything at each replay, as CUDA's does."""
    captured.append(carry_out)
    return carry_out


captured: list = []


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    for module in (batching, replays):
        monkeypatch.setattr(module, "tokens_at_once", lambda *_: TOKENS)
    monkeypatch.setattr(replays, "_FAULTS", {})
    captured.clear()


@pytest.fixture
def captures(monkeypatch):
    """A function that says how captures are made from now on."""

    def made(how):
        for module in (replays, loops, published):
            monkeypatch.setattr(module, "graphs", lambda _: how)

    return made


def a_model(family="bert", ticket=None, dtype=torch.float64):
    model = tiny_model(family)
    model = model if ticket is None else compact(model, ticket)
    return model.to(dtype=dtype)  # pyright: ignore[reportCallIssue]  # a decorator of transformers hides its self


@pytest.mark.parametrize("ticket", [None, UNEVEN], ids=["full", "compacted"])
def test_predictions_that_are_replayed_are_the_ordinary_ones_bit_for_bit(captures, ticket):
    model, split = a_model(ticket=ticket, dtype=torch.float32), EVEN()
    plain = predict(model, split)
    captures(as_a_call)
    np.testing.assert_array_equal(predict(model, split), plain)
    assert len(captured) == 1


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS])
def test_padded_and_filled_batches_have_the_outputs_of_single_examples(family):
    """Every example once, in the order of the batches."""
    model, split = a_model(family), a_split(300)
    widths = tuple(map(int, np.quantile(split.lengths, (0.25, 0.5, 0.75, 1.0), method="higher")))
    step = Replayed(lambda batch: model(**batch.inputs).logits, split, 0, widths, model.device, as_a_call)
    seen, shapes = [], set()
    with torch.no_grad(), fast_forward(model):
        for batch in eval_batches(split, widths=widths):
            logits = step(batch)[: len(batch.index)]
            seen += batch.index.tolist()
            shapes |= {(place["real"].shape[0], width) for width, (place, _) in step.graphs.items()}
            alone = torch.cat([model(**split.batch(np.array([row])).inputs).logits for row in batch.index[:5]])
            torch.testing.assert_close(logits[:5], alone, rtol=0, atol=1e-10)
    assert seen == np.argsort(-split.lengths, kind="stable").tolist()
    assert len(captured) == len(shapes) == len(widths) == 4  # of a length all have as many rows
    assert all(rows * width <= TOKENS for rows, width in shapes)


def test_an_evaluation_is_replayed_from_pass_to_pass_and_sees_new_weights(captures):
    model, split = a_model(), a_split(60, 8, 11)
    captures(as_a_call)
    evaluate = evaluation(model, split, n_passes=12)
    for _ in range(3):
        with torch.no_grad():
            next(model.parameters()).mul_(1.1)
        found = evaluate()
        np.testing.assert_allclose(found, predict(model, split), rtol=0, atol=1e-7)  # one pass, which is not captured
    assert 1 <= len(captured) <= 8


@pytest.mark.parametrize("estimator", ["example", "token", "signed", "squared"])
@pytest.mark.parametrize("ticket", [None, UNEVEN], ids=["full", "compacted"])
@pytest.mark.parametrize("choices", [(), ("triangular",)], ids=["paper", "triangular"])
def test_importance_that_is_replayed_is_the_ordinary_one(captures, estimator, ticket, choices):
    model, split = a_model(ticket=ticket), a_split(171, 8, 11)
    plain = chosen_scores(model, split, estimator, HYPER, choices)
    captures(as_a_call)
    replayed = chosen_scores(model, split, estimator, HYPER, choices)
    assert captured
    assert replayed.n_examples == plain.n_examples == 171
    np.testing.assert_allclose(replayed.heads, plain.heads, rtol=0, atol=1e-10)
    np.testing.assert_allclose(replayed.ffns, plain.ffns, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", [name for name in (*FAMILIES, *OTHERS) if "deberta" not in name])
def test_so_it_is_in_all_families_that_can_be_captured(captures, family):
    model, split = a_model(family), a_split(171, 8, 11)
    plain = chosen_scores(model, split, "example", HYPER, ())
    captures(as_a_call)
    replayed = chosen_scores(model, split, "example", HYPER, ())
    assert captured
    np.testing.assert_allclose(replayed.heads, plain.heads, rtol=0, atol=1e-10)
    np.testing.assert_allclose(replayed.ffns, plain.ffns, rtol=0, atol=1e-10)


def test_importance_that_is_replayed_is_the_ordinary_one_bit_for_bit(captures):
    model, split = a_model(dtype=torch.float32), EVEN()
    with fast_forward(model):
        plain = importance_scores(model, eval_batches(split))
    captures(as_a_call)
    replayed = chosen_scores(model, split, "example", HYPER, ())
    assert captured
    np.testing.assert_array_equal(replayed.heads, plain.heads)
    np.testing.assert_array_equal(replayed.ffns, plain.ffns)


def test_a_task_of_ticket_share_is_evaluated_with_its_own_ticket(captures):
    tickets, split = {"a": UNEVEN, "b": OTHER}, a_split(171, 8, 11)
    shared = share({name: tiny_model() for name in tickets}, tickets)
    found = {}
    for how in (None, as_a_call):
        captures(how)
        evaluations = {name: evaluation(model, split) for name, model in shared.models.items()}
        for name in ("a", "b", "a"):
            with using(shared, name):
                found.setdefault((name, how is None), evaluations[name]())
    assert len(captured) > 1
    for name in tickets:
        np.testing.assert_allclose(found[name, False], found[name, True], rtol=0, atol=1e-7)
    assert np.abs(found["a", True] - found["b", True]).max() > 1e-3


def test_captures_are_made_where_they_pay(captures, monkeypatch):
    model = tiny_model()
    even, spread, few = EVEN(), a_split(200, 2, 60), a_split(60)
    pays = partial(widths_that_pay, model, what="evaluation")
    assert pays(even) == ()  # no GPU
    captures(as_a_call)
    assert pays(even) == (9,)
    assert pays(few) == ()
    assert len(pays(few, n_passes=10_000)) == 8  # as many as there are lengths
    assert pays(spread, n_passes=1) != pays(spread, n_passes=10) != ()
    for split in (spread, few, even):
        for passes in (1, 3, 10, 100):
            widths = np.array(pays(split, n_passes=passes))
            padded = widths[np.searchsorted(widths, split.lengths)].sum() if len(widths) else 0
            assert padded <= 1.4 * split.lengths.sum()
    assert widths_that_pay(tiny_model("deberta-v3"), even, "evaluation") == ()
    monkeypatch.setattr(replays, "_WORK", 2e5)  # a tiny model's layer has some 5,000 weights
    assert pays(even) == ()
    assert widths_that_pay(model, even, "importance scoring", n_rows=4) == (9,)  # smaller batches
    monkeypatch.setattr(replays, "_WORK", 2e10)
    replays._FAULTS["evaluation"] = "refused"
    assert pays(even) == ()


def test_what_cannot_be_captured_is_done_batch_by_batch_and_said_once(captures):
    """And leaves other captures alone, but for those that were made before, whose generator it took away."""
    model, split = a_model(dtype=torch.float32), EVEN()
    plain, scores = predict(model, split), chosen_scores(model, split, "example", HYPER, ())

    def refused(carry_out):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    widths = (9,)
    other = Replayed(
        lambda batch: model(**batch.inputs).logits, split, 0, widths, model.device, as_a_call, what="other"
    )
    for batch in list(eval_batches(split))[:4]:
        other(batch)
    captures(refused)
    for _ in range(2):
        np.testing.assert_array_equal(predict(model, split), plain)
        found = chosen_scores(model, split, "example", HYPER, ())
        np.testing.assert_allclose(found.heads, scores.heads, rtol=0, atol=1e-6)
    why = "it cannot be captured: operation not permitted when stream is capturing"
    both = f"evaluation batch by batch, since {why}; importance scoring batch by batch, since {why}"
    assert said("") == both
    assert said("replayed, captured at 3 lengths of batch") == f"replayed, captured at 3 lengths of batch; {both}"
    n_before = len(captured)
    for batch in list(eval_batches(split))[:4]:
        other(batch)
    assert not other.fault
    assert len(captured) == n_before + 1


def test_a_split_without_examples_has_no_outputs():
    nothing: EncodedSplit = a_split().rows(np.array([], dtype=int))
    assert predict(tiny_model(), nothing).shape == (0, 3)
