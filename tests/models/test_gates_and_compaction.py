"""Masking is exact, and really removing the masked units computes the same function (float64, 1e-10)."""

import copy
import dataclasses

import pytest
import torch
from tiny import TICKETS, emptied, one_layer, tiny_batch, tiny_model

from supertickets.errors import SuperticketsError
from supertickets.models import compact, load_compacted, masked, save_compacted, shape_of
from supertickets.models.gates import gated
from supertickets.sharing import using
from supertickets.sharing.model import share
from supertickets.tickets import full_ticket


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
