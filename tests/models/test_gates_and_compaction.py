"""Masking is exact, and really removing the masked units computes the same function (float64, 1e-10)."""

import copy
import dataclasses

import pytest
import torch
from safetensors.torch import load_file
from tiny import BACKENDS, FAMILIES, tiny_batch, tiny_model
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from supertickets.errors import SuperticketsError
from supertickets.models import compact, layer_parts, load_compacted, masked, save_compacted, shape_of
from supertickets.models.gates import gated
from supertickets.sharing import using
from supertickets.sharing.model import share
from supertickets.tickets import Ticket, full_ticket, random_ticket


def emptied(layer: int, heads: bool, ffn: bool) -> Ticket:
    """A random ticket that moreover keeps nothing of one layer's attention and/or FFN."""
    ticket = random_ticket((3, 4), 0.3, seed=layer)
    head_mask, ffn_mask = ticket.heads.copy(), ticket.ffns.copy()
    if heads:
        head_mask[layer] = False
    if ffn:
        ffn_mask[layer] = False
    return Ticket(head_mask, ffn_mask)


def one_layer(index: int) -> Ticket:
    """All but two heads of one layer, which are not its first."""
    heads = full_ticket((3, 4)).heads.copy()
    heads[index, :2] = False
    return Ticket(heads, full_ticket((3, 4)).ffns)


TICKETS = [
    random_ticket((3, 4), 0.4, seed=1),
    random_ticket((3, 4), 0.75, seed=2),
    emptied(0, heads=True, ffn=False),
    emptied(1, heads=False, ffn=True),
    emptied(2, heads=True, ffn=True),
    Ticket(full_ticket((3, 4)).heads & False, full_ticket((3, 4)).ffns & False),
    one_layer(1),
]
NAMES = ["0.4", "0.75", "no heads", "no ffn", "empty layer", "nothing", "heads of one layer"]


@pytest.mark.parametrize(("family", "attention"), BACKENDS)
@pytest.mark.parametrize("ticket", TICKETS, ids=NAMES)
def test_masked_equals_compacted(family, attention, ticket):
    model, inputs = tiny_model(family, attention), tiny_batch().inputs
    with torch.no_grad():
        plain = model(**inputs).logits
        with masked(model, ticket):
            by_mask = model(**inputs).logits
        by_removal = compact(model, ticket)(**inputs).logits
    torch.testing.assert_close(by_removal, by_mask, rtol=0, atol=1e-10)
    assert (by_mask - plain).abs().max() > 1e-3  # the ticket does something, so the comparison means something


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ticket", TICKETS, ids=NAMES)
def test_removal_is_a_model_whose_output_weights_are_zero(family, ticket):
    # Independent of gates: the same function by the weights alone.
    model, inputs = tiny_model(family), tiny_batch().inputs
    smaller = compact(model, ticket)
    with torch.no_grad():
        for part, heads, ffn in zip(layer_parts(model), ticket.heads, ticket.ffns, strict=True):
            part.attention_out.weight[:, torch.from_numpy(~heads).repeat_interleave(6)] = 0
            for parameter in () if ffn else part.ffn_out.parameters():
                parameter.zero_()
        torch.testing.assert_close(smaller(**inputs).logits, model(**inputs).logits, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ticket", [full_ticket((3, 4)), TICKETS[1]], ids=["full", "0.75"])
def test_an_example_does_not_see_the_padding_beside_it(family, ticket):
    model, batch = compact(tiny_model(family), ticket), tiny_batch()
    pad = int(model.config.pad_token_id or 0)
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    ids = ids.masked_fill(mask == 0, pad)
    lengths = mask.sum(1).tolist()
    assert len(set(lengths)) > 2
    with torch.no_grad():
        together = model(ids, attention_mask=mask).logits
        for row, length in enumerate(lengths):
            alone = model(ids[row : row + 1, :length]).logits[0]
            torch.testing.assert_close(together[row], alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_kept_parameters_agree_too(family):
    model, batch = tiny_model(family), tiny_batch()
    ticket = Ticket(TICKETS[0].heads, full_ticket((3, 4)).ffns)
    with masked(model, ticket):
        model(**batch.inputs).logits.square().sum().backward()
    smaller = compact(model, ticket)
    smaller.zero_grad()
    smaller(**batch.inputs).logits.square().sum().backward()
    before, after = layer_parts(model)[0], layer_parts(smaller)[0]
    rows = torch.from_numpy(ticket.heads[0].copy()).repeat_interleave(6)
    assert not rows.all()
    gradient = before.reads[0].weight.grad
    assert gradient is not None
    torch.testing.assert_close(after.reads[0].weight.grad, gradient[rows], rtol=0, atol=1e-10)
    assert gradient[~rows].abs().sum() == 0  # pruned heads get no gradient


@pytest.mark.parametrize("family", FAMILIES)
def test_a_full_ticket_is_the_plain_model_exactly(family):
    model, inputs = tiny_model(family), tiny_batch().inputs
    with torch.no_grad():
        plain = model(**inputs).logits
        with masked(model, full_ticket((3, 4))):
            assert torch.equal(model(**inputs).logits, plain)
        assert torch.equal(compact(model, full_ticket((3, 4)))(**inputs).logits, plain)
        assert torch.equal(model(**inputs).logits, plain)  # and the gates are gone


def test_gates_are_gone_after_an_error_inside(tiny_bert):
    inputs = tiny_batch().inputs
    plain = tiny_bert(**inputs).logits
    with pytest.raises(RuntimeError, match="inside"), masked(tiny_bert, TICKETS[-1]):
        raise RuntimeError("inside")
    assert torch.equal(tiny_bert(**inputs).logits, plain)


MOVES = ["double", "half", "bfloat16", "meta", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("way", ["masked", "using"])
def test_gates_go_where_the_model_goes(move, way):
    """The gates are there first, then the model moves; against a model that moved before."""

    def moved(model):
        return getattr(model, move)() if hasattr(model, move) else model.to(move)

    if move == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    model, ticket = tiny_model().float(), TICKETS[2]
    inputs = dict(tiny_batch().inputs)
    if move in ("meta", "cuda"):
        inputs = {name: tensor.to(move) for name, tensor in inputs.items()}
    if move == "meta":  # whether a mask masks anything cannot be asked there
        del inputs["attention_mask"]
    shared = share({"a": model, "b": model}, {"a": ticket, "b": full_ticket((3, 4))})
    inside = masked(copy.deepcopy(model), ticket) if way == "masked" else using(shared, "a")
    with torch.no_grad(), inside as gated_model:
        plain_device = gated_model.device
        logits = moved(gated_model)(**inputs).logits
        with masked(moved(model), ticket):
            expected = model(**inputs).logits
        gates = [buffer for name, buffer in gated_model.named_buffers() if name.endswith("gate")]
        assert {(gate.device, gate.dtype) for gate in gates} == {(logits.device, logits.dtype)}
        if move != "meta":
            torch.testing.assert_close(logits, expected, rtol=0, atol=0)
    assert plain_device == torch.device("cpu")
    assert not [name for name, _ in gated_model.named_buffers() if name.endswith("gate")]


def test_a_gate_within_a_gate_and_a_copy_of_a_gated_model(tiny_bert):
    inputs = tiny_batch().inputs
    with torch.no_grad(), masked(tiny_bert, one_layer(1)), masked(tiny_bert, one_layer(2)):
        both, copied = tiny_bert(**inputs).logits, copy.deepcopy(tiny_bert)
    with torch.no_grad():
        assert torch.equal(copied(**inputs).logits, both)
        with masked(tiny_bert, one_layer(1).intersection(one_layer(2))):
            assert torch.equal(tiny_bert(**inputs).logits, both)
    assert not [name for name in tiny_bert.state_dict() if "gate" in name]


def test_gates_per_example_and_per_position_equal_shared_ones(tiny_bert):
    inputs = tiny_batch().inputs
    generator = torch.Generator().manual_seed(3)
    heads = torch.rand(3, 4, dtype=torch.float64, generator=generator)
    ffns = torch.rand(3, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        with gated(tiny_bert, heads, ffns):
            shared = tiny_bert(**inputs).logits
        for lead in ((5,), (5, 9)):
            with gated(tiny_bert, heads.expand(*lead, 3, 4), ffns.expand(*lead, 3)):
                torch.testing.assert_close(tiny_bert(**inputs).logits, shared, rtol=0, atol=1e-12)


def test_a_masked_head_keeps_the_output_bias_and_a_masked_ffn_loses_it(tiny_bert):
    # Independent of our hooks: recompute layer 0 by hand from the modules of transformers.
    ticket = emptied(0, heads=True, ffn=True)
    seen = {}
    layer = tiny_bert.bert.encoder.layer[0]
    handles = [
        tiny_bert.bert.embeddings.register_forward_hook(lambda _m, _i, out: seen.update(embedded=out)),
        layer.register_forward_hook(lambda _m, _i, out: seen.update(out=out)),
    ]
    with torch.no_grad(), masked(tiny_bert, ticket):
        tiny_bert(**tiny_batch().inputs)
        attended = layer.attention.output.LayerNorm(layer.attention.output.dense.bias + seen["embedded"])
        by_hand = layer.output.LayerNorm(attended)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(seen["out"], by_hand, rtol=0, atol=1e-10)


def test_compaction_counts_match_the_formula(tiny_bert):
    shape = shape_of(tiny_bert)
    full = sum(p.numel() for p in tiny_bert.bert.parameters())
    for ticket in TICKETS:
        smaller = compact(tiny_bert, ticket)
        counted = sum(p.numel() for p in smaller.get_submodule("bert").parameters()) / full
        assert counted == pytest.approx(ticket.weights_remaining(shape), abs=1e-12)


def test_compaction_leaves_the_original_alone(tiny_bert):
    before = {name: tensor.clone() for name, tensor in tiny_bert.state_dict().items()}
    compact(tiny_bert, TICKETS[1])
    assert all(torch.equal(before[name], tensor) for name, tensor in tiny_bert.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ticket", [*TICKETS, full_ticket((3, 4))], ids=[*NAMES, "full"])
def test_save_and_load(tmp_path, family, ticket):
    model = tiny_model(family).float()
    smaller = compact(model, ticket)
    save_compacted(smaller, ticket, tmp_path / "m")
    back = load_compacted(tmp_path / "m")
    inputs = tiny_batch().inputs
    with torch.no_grad():
        assert torch.equal(back(**inputs).logits, smaller(**inputs).logits)
    # Saving the full-size model with a ticket gives the same files.
    save_compacted(model, ticket, tmp_path / "again")
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("m", "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_loading_does_not_touch_the_random_state(tmp_path, tiny_bert):
    save_compacted(tiny_bert, TICKETS[1], tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_compacted(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_errors_are_sentences(tmp_path, tiny_bert):
    wrong = full_ticket((6, 8))
    with pytest.raises(SuperticketsError, match="does not fit one of 3 layers x 4 heads"):
        compact(tiny_bert, wrong)
    with pytest.raises(SuperticketsError, match="does not fit"), masked(tiny_bert, wrong):
        pass
    with pytest.raises(SuperticketsError, match="Gates must end in"), gated(tiny_bert, torch.ones(2, 2), torch.ones(2)):
        pass
    with pytest.raises(SuperticketsError, match="another ticket"):
        save_compacted(compact(tiny_bert, TICKETS[0]), TICKETS[1], tmp_path)
    with pytest.raises(SuperticketsError, match=r"has no config\.json"):
        load_compacted(tmp_path)
    distilbert = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=10, dim=8, n_layers=1, n_heads=2))
    with pytest.raises(SuperticketsError, match=r"distilbert.*supported families: bert, roberta, electra"):
        compact(distilbert, full_ticket((1, 2)))


def test_compacting_twice_is_refused(tiny_bert):
    with pytest.raises(SuperticketsError, match="compacted already"):
        compact(compact(tiny_bert, TICKETS[4]), TICKETS[4])


def test_a_truncated_model_is_named(tmp_path, tiny_bert):
    save_compacted(tiny_bert, TICKETS[1], tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SuperticketsError, match="damaged"):
        load_compacted(tmp_path)


def test_a_model_with_another_ticket_is_refused_on_loading(tmp_path, tiny_bert):
    save_compacted(tiny_bert, TICKETS[1], tmp_path)
    dataclasses.replace(TICKETS[0], encoder="x").save(tmp_path / "ticket.json")
    with pytest.raises(SuperticketsError, match="damaged"):
        load_compacted(tmp_path)
