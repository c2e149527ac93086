"""The contract of a model family, on small random models in float64; README's table of families is made from it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny import FAMILIES, NAMES, OTHERS, TICKETS, tiny_batch, tiny_model, toy_full_run
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModel,
    AutoModelForSequenceClassification,
    BertForMaskedLM,
)

from supertickets.errors import SuperticketsError
from supertickets.models import (
    compact,
    example_losses,
    importance_scores,
    layer_parts,
    layers_of,
    load_compacted,
    load_encoder,
    load_tokenizer,
    masked,
    save_compacted,
    shape_of,
)
from supertickets.models.families import FAMILIES as KNOWN
from supertickets.models.families import REFUSED, known_family
from supertickets.sharing import isolated, save_shared, using
from supertickets.sharing.model import alone, share
from supertickets.studies import ticket_sweep
from supertickets.tickets import Ticket, full_ticket
from supertickets.training import cached_encode, fine_tune, predict
from supertickets.training.fast import fast_forward

ALL = (*FAMILIES, *OTHERS)
ONE_BACKEND = ("mpnet", "deberta-v2", "deberta-v3")  # their attention is their own, or depends on positions
BACKENDS = [(name, kind) for name in ALL for kind in ("eager", "sdpa") if kind == "eager" or name not in ONE_BACKEND]
BY_HAND = (*FAMILIES, "xlm-roberta")
ticketed = pytest.mark.parametrize("ticket", TICKETS, ids=NAMES)
in_all = pytest.mark.parametrize("family", ALL)
FULL = full_ticket((3, 4))


def inputs_for(family: str, attention: str | None = None) -> dict[str, torch.Tensor]:
    """A padded batch, or without padding where transformers itself gives NaN for it.

    ModernBERT's eager attention takes a float64 mask to float32, where a token that sees padding only sees nothing.
    """
    inputs = tiny_batch().inputs
    return {"input_ids": inputs["input_ids"]} if (family, attention) == ("modernbert", "eager") else inputs


@pytest.mark.parametrize(("family", "attention"), BACKENDS)
@ticketed
def test_gates_are_removal(family, attention, ticket):
    model, inputs = tiny_model(family, attention), inputs_for(family, attention)
    with torch.no_grad():
        plain = model(**inputs).logits
        with masked(model, ticket):
            by_mask = model(**inputs).logits
        by_removal = compact(model, ticket)(**inputs).logits
        torch.testing.assert_close(by_removal, by_mask, rtol=0, atol=1e-10)
        assert (by_mask - plain).abs().max() > 1e-3  # the ticket does something, so the comparison means something
        with masked(model, FULL):
            assert torch.equal(model(**inputs).logits, plain)
        assert torch.equal(compact(model, FULL)(**inputs).logits, plain)
        assert torch.equal(model(**inputs).logits, plain)  # and the gates are gone


@in_all
@ticketed
def test_removal_is_a_model_whose_output_weights_are_zero(family, ticket):
    # Independent of gates: the same function by the weights alone; and of what is removed, nothing is left.
    model, inputs, shape = tiny_model(family), tiny_batch().inputs, shape_of(tiny_model(family))
    smaller, full = compact(model, ticket), sum(p.numel() for p in model.base_model.parameters())
    left = sum(p.numel() for p in smaller.base_model.parameters())
    assert left / full == pytest.approx(ticket.weights_remaining(shape), abs=1e-12)
    with torch.no_grad():
        for part, heads, ffn in zip(layer_parts(model), ticket.heads, ticket.ffns, strict=True):
            part.attention_out.weight[:, torch.from_numpy(~heads).repeat_interleave(6)] = 0
            for parameter in () if ffn else part.ffn_out.parameters():
                parameter.zero_()
        torch.testing.assert_close(smaller(**inputs).logits, model(**inputs).logits, rtol=0, atol=1e-10)


@in_all
def test_gradients_of_kept_parameters_agree_too(family):
    model, batch = tiny_model(family), tiny_batch()
    ticket = Ticket(TICKETS[0].heads, FULL.ffns)
    with masked(model, ticket):
        model(**batch.inputs).logits.square().sum().backward()
    smaller = compact(model, ticket)
    smaller.zero_grad()
    smaller(**batch.inputs).logits.square().sum().backward()
    rows = torch.from_numpy(ticket.heads[0].copy()).repeat_interleave(6)
    assert not rows.all()
    for before, after in zip(layer_parts(model)[0].reads, layer_parts(smaller)[0].reads, strict=True):
        gradient, kept = before.weight.grad, rows.repeat(before.out_features // len(rows))
        assert gradient is not None
        torch.testing.assert_close(
            after.weight.grad, gradient[kept], rtol=0, atol=1e-6 if family == "modernbert" else 1e-10
        )
        assert gradient[~kept].abs().sum() == 0  # pruned heads get no gradient


@in_all
@pytest.mark.parametrize("ticket", [FULL, TICKETS[1]], ids=["full", "0.75"])
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
            alone_in_batch = model(ids[row : row + 1, :length]).logits[0]
            torch.testing.assert_close(together[row], alone_in_batch, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", [family for family, kind in BACKENDS if kind == "sdpa"])
def test_the_attention_backend_changes_nothing(family):
    inputs, ticket = inputs_for(family, "eager"), TICKETS[2]
    eager, sdpa = (compact(tiny_model(family, kind), ticket) for kind in ("eager", "sdpa"))
    assert (eager.config._attn_implementation, sdpa.config._attn_implementation) == ("eager", "sdpa")
    with torch.no_grad():  # ModernBERT's eager attention has a softmax in float32
        torch.testing.assert_close(
            eager(**inputs).logits, sdpa(**inputs).logits, rtol=0, atol=1e-5 if family == "modernbert" else 1e-10
        )


@in_all
def test_importance_is_that_of_a_loop_over_examples(family):
    # One example at a time, unpadded, with hooks of its own: gradients with respect to mask variables equal to one.
    model, batch = tiny_model(family), tiny_batch()
    heads, ffns = np.zeros((3, 4)), np.zeros(3)
    for row, label in enumerate(batch.labels):
        ids = batch.inputs["input_ids"][row : row + 1, : int(batch.inputs["attention_mask"][row].sum())]
        xi = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
        nu = torch.ones(3, dtype=torch.float64, requires_grad=True)
        handles = []
        for index, part in enumerate(layer_parts(model)):
            of_heads = xi[index].repeat_interleave(6)
            handles.append(part.attention_out.register_forward_pre_hook(lambda _m, args, xi=of_heads: (args[0] * xi,)))
            handles.append(part.ffn_out.register_forward_hook(lambda _m, _i, out, nu=nu[index]: out * nu))
        gradients = torch.autograd.grad(F.cross_entropy(model(ids).logits, label[None]), (xi, nu))
        for handle in handles:
            handle.remove()
        heads, ffns = heads + gradients[0].abs().numpy(), ffns + gradients[1].abs().numpy()
    scores = importance_scores(model, [batch])
    atol = 1e-7 if family == "modernbert" else 1e-12  # which turns queries and keys in float32
    np.testing.assert_allclose(scores.heads, heads / 5, rtol=0, atol=atol)
    np.testing.assert_allclose(scores.ffns, ffns / 5, rtol=0, atol=atol)
    assert scores.heads.min() > 1e-4


@in_all
@pytest.mark.parametrize("ticket", [*TICKETS[:2], TICKETS[3], TICKETS[5]], ids=[*NAMES[:2], NAMES[3], NAMES[5]])
def test_a_saved_model_loads_right_or_not_at_all(tmp_path, family, ticket):
    smaller, inputs = compact(tiny_model(family), ticket).bfloat16(), inputs_for(family, "eager")
    save_compacted(smaller, ticket, tmp_path / "ours")
    smaller.save_pretrained(tmp_path / "theirs")  # what a Trainer calls, too
    with torch.no_grad():
        wanted = smaller(**inputs).logits
        for name in ("ours", "theirs"):
            again = load_compacted(tmp_path / name)
            assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
            atol = 0.1 if family == "modernbert" else 0  # whose angles are float32 when loaded
            torch.testing.assert_close(again(**inputs).logits, wanted, rtol=0, atol=atol)
            for loader in (AutoModel, AutoModelForSequenceClassification, type(smaller)):
                with pytest.raises(
                    (ValueError, RuntimeError), match="load_compacted" if name == "ours" else "mismatch"
                ):
                    loader.from_pretrained(tmp_path / name)
    again.save_pretrained(tmp_path / "later")
    later, first = (load_file(tmp_path / name / "model.safetensors") for name in ("later", "ours"))
    assert later.keys() == first.keys()
    assert all(torch.equal(later[key], first[key]) for key in first)
    with pytest.raises(SuperticketsError, match="is a compacted model, which cannot be an encoder"):
        load_encoder(str(tmp_path / "theirs"), 2, 0)


@in_all
def test_a_full_ticket_is_an_ordinary_model(tmp_path, family):
    model, inputs = tiny_model(family).float(), inputs_for(family, "eager")
    save_compacted(model, FULL, tmp_path)
    with torch.no_grad():
        for back in (load_compacted(tmp_path), AutoModelForSequenceClassification.from_pretrained(tmp_path)):
            assert type(back) is type(model)
            torch.testing.assert_close(back(**inputs).logits, model(**inputs).logits, rtol=0, atol=1e-6)


@in_all
def test_usual_starting_checkpoints_are_taken(tmp_path, family):
    """A fine-tuned model of another task, and the encoder alone: the same weights with a head from the seed."""
    model = tiny_model(family).float()
    model.save_pretrained(tmp_path / "tuned")
    model.base_model.save_pretrained(tmp_path / "alone")  # pyright: ignore[reportCallIssue]
    heads = []
    for name in ("tuned", "alone"):
        if family == "modernbert" and name == "alone":
            with pytest.warns(UserWarning, match="has no pooler .*it is drawn from the seed"):
                loaded = load_encoder(str(tmp_path / name), 2, seed=4)
        else:
            loaded = load_encoder(str(tmp_path / name), 2, seed=4)
        for key, tensor in model.base_model.state_dict().items():
            assert torch.equal(loaded.base_model.state_dict()[key], tensor), key
        heads.append(loaded.get_submodule(KNOWN[loaded.config.model_type].task_head[-1]).get_parameter("weight"))
    assert heads[0].shape == (2, 24)
    assert torch.equal(heads[0], heads[1])


@in_all
def test_tasks_share_it(tmp_path, family):
    """Each task computes by its ticket alone, moves nothing else, and is kept with the encoder stored once."""
    tickets = {"a": TICKETS[2], "b": TICKETS[4], "c": TICKETS[1]}
    models = {name: tiny_model(family) for name in tickets}
    shared, batch = share(models, tickets), tiny_batch()
    wanted = {}
    for name, ticket in tickets.items():
        with torch.no_grad(), masked(models[name], ticket):
            wanted[name] = models[name](**batch.inputs).logits
        with torch.no_grad(), using(shared, name) as model:
            torch.testing.assert_close(model(**batch.inputs).logits, wanted[name], rtol=0, atol=1e-10)
        with torch.no_grad():
            torch.testing.assert_close(alone(shared, name)(**batch.inputs).logits, wanted[name], rtol=0, atol=1e-10)
    save_shared(shared, tmp_path)
    for name, ticket in tickets.items():
        back = load_compacted(tmp_path / name)
        assert back.state_dict().keys() == compact(models[name], ticket).state_dict().keys()
        with torch.no_grad():
            torch.testing.assert_close(
                back(**batch.inputs).logits, wanted[name], rtol=0, atol=1e-6 if family == "modernbert" else 1e-10
            )
        with pytest.raises(ValueError, match="load_compacted"):
            AutoModelForSequenceClassification.from_pretrained(tmp_path / name)
    with isolated(shared) as whole:
        for name, ticket in tickets.items():
            mine = torch.from_numpy(whole.owned(name))
            assert int(mine.sum()) == sum(p.numel() for p in compact(models[name], ticket).parameters())
            before = whole.vector.clone()
            with using(shared, name) as model:
                example_losses(model(**batch.inputs).logits, batch.labels).mean().backward()
            whole.collect()
            assert not whole.gradient[~mine].any()
            assert whole.gradient[mine].count_nonzero() > 0.5 * int(mine.sum())
            whole.update(name, whole.coming(name), 1e-2, clip=1.0)
            assert torch.equal(whole.vector[~mine], before[~mine])
            assert (whole.vector[mine] != before[mine]).double().mean() > 0.5
    for name in tickets:
        with torch.no_grad(), using(shared, name) as model:
            moved = model(**batch.inputs).logits
            torch.testing.assert_close(alone(shared, name)(**batch.inputs).logits, moved, rtol=0, atol=1e-10)
            assert (moved - wanted[name]).abs().max() > 1e-3


@in_all
@pytest.mark.filterwarnings("ignore:The checkpoint .* has no pooler")
def test_a_run_and_its_ticket_s_run(tmp_path, encoder, toy, family):
    """Fine-tuned, scored, pruned, rewound, fine-tuned again and kept: the kept model answers as its record says."""
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    model = tiny_model(family).float()
    model.resize_token_embeddings(20)
    model.base_model.save_pretrained(folder)  # pyright: ignore[reportCallIssue]
    full = toy_full_run(folder, toy, epochs=1)
    winning = next(spec for spec in ticket_sweep(full, (0.5,), ["winning"]) if spec.ticket.kind == "winning")
    record = fine_tune(winning, fine_tune(full).scores("example"), tmp_path / "kept")
    dev = cached_encode(full.data.load(), "dev", load_tokenizer(str(folder)))
    np.testing.assert_allclose(predict(load_compacted(tmp_path / "kept"), dev), record.arrays["dev_logits"], atol=1e-5)
    assert record.size["heads_kept"] == 0.5
    config = json.loads((tmp_path / "kept" / "config.json").read_text())
    assert config["architectures"] == [type(model).__name__]
    assert "| answers | kind, unkind |" in (tmp_path / "kept" / "README.md").read_text()


@pytest.mark.parametrize("family", BY_HAND)
def test_its_layers_are_computed_by_hand(family):
    model, batch = compact(tiny_model(family), TICKETS[0]), tiny_batch()
    plain = model(**batch.inputs).logits
    with fast_forward(model):
        assert all("forward" in vars(layer) for layer in layers_of(model))
        torch.testing.assert_close(model(**batch.inputs).logits, plain, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", sorted(set(ALL) - set(BY_HAND)))
def test_other_layers_are_left_to_the_library(family):
    model, batch = compact(tiny_model(family), TICKETS[0]), tiny_batch()
    plain = model(**batch.inputs).logits
    with fast_forward(model):
        assert not any("forward" in vars(module) for module in model.modules())
        assert torch.equal(model(**batch.inputs).logits, plain)


def test_a_pooler_that_a_checkpoint_lacks_is_drawn_and_said(tmp_path):
    BertForMaskedLM(tiny_model().config).save_pretrained(tmp_path)  # pyright: ignore[reportArgumentType]
    with pytest.warns(UserWarning, match=r"has no pooler \(bert.pooler.dense\): it is drawn from the seed"):
        first = load_encoder(str(tmp_path), 2, 0)
    again, other = load_encoder(str(tmp_path), 2, 0), load_encoder(str(tmp_path), 2, 1)
    weights = [model.get_parameter("bert.pooler.dense.weight") for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_families_that_cannot_be_are_refused_with_the_reason(tmp_path):
    config = AlbertConfig(vocab_size=50, embedding_size=8, hidden_size=24, num_attention_heads=4, intermediate_size=32)
    AlbertForSequenceClassification(config).save_pretrained(tmp_path)
    known = f"supported families: {', '.join(KNOWN)}"
    with pytest.raises(SuperticketsError, match=rf"albert model, which is not supported \(its layers are one.*{known}"):
        load_encoder(str(tmp_path), 2, 0)
    with pytest.raises(SuperticketsError, match=f"a t5 model, which is not supported; {known}"):
        known_family("t5", "it")
    assert not set(REFUSED) & set(KNOWN)


WHAT = {
    "gates equal removal": test_gates_are_removal,
    "importance": test_importance_is_that_of_a_loop_over_examples,
    "padding": test_an_example_does_not_see_the_padding_beside_it,
    "checkpoints": test_usual_starting_checkpoints_are_taken,
    "saved models": test_a_saved_model_loads_right_or_not_at_all,
    "runs": test_a_run_and_its_ticket_s_run,
    "sharing": test_tasks_share_it,
    "by hand": test_its_layers_are_computed_by_hand,
}


def test_readme_says_which_family_can_what():
    """A cell says yes where the test of the column is carried out for the row."""

    def tried(test) -> set[str]:
        values = next(mark.args[1] for mark in test.pytestmark if "family" in mark.args[0])
        return {value if isinstance(value, str) else value[0] for value in values}

    lines = [f"| family | attention | {' | '.join(WHAT)} |", "|---" * (len(WHAT) + 2) + "|"]
    for family in ALL:
        kinds = ", ".join(kind for name, kind in BACKENDS if name == family)
        cells = ["yes" if family in tried(test) else "no" for test in WHAT.values()]
        lines.append(f"| {family} | {kinds} | {' | '.join(cells)} |")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert "\n".join(lines) in readme, "\n".join(lines)
    assert {"deberta-v2" if family == "deberta-v3" else family for family in ALL} == set(KNOWN)
