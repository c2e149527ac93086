"""Run ids, rewinding, early stopping, determinism, and the faults of a single run."""

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model, toy_full_run

from supertickets.errors import SuperticketsError
from supertickets.models import (
    compact,
    example_losses,
    importance_scores,
    layer_parts,
    load_compacted,
    load_encoder,
    load_tokenizer,
    masked,
)
from supertickets.runs import Hyper, RunSpec, TicketRule
from supertickets.studies import full_run
from supertickets.studies.experiments import rewound
from supertickets.tasks import data_ref
from supertickets.tickets import Scores, random_ticket
from supertickets.training import (
    EncodedSplit,
    cached_encode,
    fine_tune,
    fine_tuned,
    loop,
    predict,
    train_batches,
    warmup_then_decay,
)


@pytest.fixture(scope="module")
def full(encoder, toy):
    return toy_full_run(encoder, toy)


@pytest.fixture(scope="module")
def record(full):
    return fine_tune(full)


def other(value):
    """A different valid value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.05
    if isinstance(value, str):
        return {"fp32": "bf16", "example": "token", "winning": "losing"}.get(value, value + "x")
    if isinstance(value, tuple):
        return (*value, "x") if value else ("fixed_batches",)
    return 7 if value is None else value


def variants(spec: RunSpec):
    """Every spec that differs in one field, nested ones included, with the field's name."""
    for part in ("hyper", "ticket", "data"):
        inner = getattr(spec, part)
        for field in dataclasses.fields(inner):
            changed = dataclasses.replace(inner, **{field.name: other(getattr(inner, field.name))})
            yield f"{part}.{field.name}", dataclasses.replace(spec, **{part: changed})
    for field in dataclasses.fields(spec):
        if field.name not in ("hyper", "ticket", "data"):
            yield field.name, dataclasses.replace(spec, **{field.name: other(getattr(spec, field.name))})


def test_a_run_hands_back_its_model(full, record):
    model, again = fine_tuned(rewound(full, "winning", 0.5), record.scores("example"))
    dev = cached_encode(full.data.load(), "dev", load_tokenizer(full.encoder), full.hyper.max_length)
    np.testing.assert_array_equal(predict(model, dev), again.arrays["dev_logits"])
    assert model.config.id2label == {0: "kind", 1: "unkind"} and not model.training
    assert again.size["heads_kept"] == 0.5


def test_the_id_changes_with_every_field_but_the_places(full):
    spec = rewound(full, "winning", 0.3)
    same = {name for name, variant in variants(spec) if variant.id == spec.id}
    # Where things lie is not what they are: the encoder's revision and the data's fingerprint stand for them.
    assert same == {"encoder", "data.data_dir", "data.train", "data.dev", "data.test"}
    ids = [variant.id for name, variant in variants(spec) if name not in same]
    assert len(set(ids)) == len(ids)


def test_the_id_does_not_depend_on_the_process_or_the_order_of_keys(full):
    spec = rewound(full, "winning", 0.3)
    back = RunSpec.from_json(json.loads(json.dumps(spec.to_json(), sort_keys=True)))
    assert back == spec
    assert back.id == spec.id
    assert len(spec.id) == 20


def test_a_damaged_spec_is_refused(full):
    for key in ("seed", "hyper", "data"):
        broken = {name: value for name, value in full.to_json().items() if name != key}
        with pytest.raises(SuperticketsError, match="damaged"):
            RunSpec.from_json(broken)
    with pytest.raises(SuperticketsError, match="unknown"):
        RunSpec.from_json({**full.to_json(), "colour": 1})


def test_bad_settings_are_refused():
    wrongs: list[dict[str, Any]] = [{"precision": "fp8"}, {"learning_rate": 0.0}, {"epochs": 0}, {"warmup": 1.0}]
    for wrong in wrongs:
        with pytest.raises(SuperticketsError):
            Hyper(**wrong)
    with pytest.raises(SuperticketsError, match="Unknown kind"):
        TicketRule("lucky")
    with pytest.raises(SuperticketsError, match="needs the id"):
        TicketRule("winning", 0.1)


def test_the_same_spec_gives_the_same_record(full, record):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    before = torch.random.get_rng_state()
    again = fine_tune(full)
    assert torch.equal(before, torch.random.get_rng_state())
    assert again.arrays.keys() == record.arrays.keys()
    for name, array in record.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array, err_msg=name)
    assert again.metrics == record.metrics
    assert again.epochs == record.epochs
    assert fine_tune(dataclasses.replace(full, seed=1)).metrics != record.metrics


def test_the_record_holds_what_it_says(full, record, toy):
    assert record.arrays["dev_logits"].shape == (60, 2)
    assert record.arrays["selection"].sum() == 18
    logits, labels, chosen = (record.arrays[name] for name in ("dev_logits", "dev_labels", "selection"))
    for name, rows in (("selection", chosen), ("report", ~chosen), ("dev", chosen | True)):
        accuracy = (logits[rows].argmax(1) == labels[rows]).mean()
        assert record.metrics[name]["accuracy"] == pytest.approx(accuracy)
        assert record.metrics[name]["score"] == pytest.approx(accuracy)
    assert record.size["weights_remaining"] == 1.0
    assert record.scores("example").heads.shape == (3, 4)
    with pytest.raises(SuperticketsError, match="no token importance"):
        record.scores("token")


def test_selection_is_the_only_data_seen_while_training(full, monkeypatch):
    # Labels of the report split changed at random: training and early stopping must not notice.
    real = loop.score
    seen = []
    monkeypatch.setattr(loop, "score", lambda m, labels, *rest: seen.append(len(labels)) or real(m, labels, *rest))
    fine_tune(full)
    n_epochs = len(seen) - 3
    assert seen == [18] * n_epochs + [18, 42, 60]


def test_rewinding_restores_the_pretrained_parameters_exactly(full, record, monkeypatch):
    spec = rewound(full, "winning", 0.5)
    start = {}
    real = loop.own_vocabulary

    def spy(model, *splits):
        start["model"] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        start["layers"] = [
            (part.reads[0].weight.clone(), part.attention_out.weight.clone(), part.attention_out.bias.clone())
            for part in layers_with_heads(model)
        ]
        return real(model, *splits)

    monkeypatch.setattr(loop, "own_vocabulary", spy)
    result = fine_tune(spec, record.scores("example"))
    ticket = result.ticket()
    pretrained = load_encoder(spec.encoder, 2, spec.seed)
    for name, tensor in pretrained.state_dict().items():
        if ".encoder.layer." not in name:
            assert torch.equal(start["model"][name], tensor), name  # embeddings, pooler, and the task head by seed
    for index, part in enumerate(layer_parts(pretrained)):
        rows = torch.from_numpy(ticket.heads[index].copy()).repeat_interleave(6)
        query, out, bias = start["layers"][index]
        assert torch.equal(query, part.reads[0].weight[rows])
        assert torch.equal(out, part.attention_out.weight[:, rows])
        assert torch.equal(bias, part.attention_out.bias)
        name = f"bert.encoder.layer.{index}.output.dense.weight"
        assert (start["model"][name].numel() > 0) == bool(ticket.ffns[index])
        if ticket.ffns[index]:
            assert torch.equal(start["model"][name], part.ffn_out.weight)
    assert result.size["weights_remaining"] < 1


def layers_with_heads(model):
    from types import SimpleNamespace

    return [
        SimpleNamespace(reads=[layer.attention.self.query], attention_out=layer.attention.output.dense)
        for layer in model.bert.encoder.layer
    ]


def test_training_the_compacted_model_is_training_the_masked_one():
    # Float64, no dropout: 12 Adamax steps with clipping, the same batches.
    ticket = random_ticket((3, 4), 0.4, seed=3)
    rng = np.random.default_rng(0)
    split = EncodedSplit(
        ids=np.append(rng.integers(4, 50, 240), 0).astype(np.int32),
        type_ids=None,
        starts=np.arange(24) * 10,
        lengths=rng.integers(5, 11, 24),
        labels=rng.integers(0, 3, 24),
    )

    def trained(model, keep):
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        parameters = list(model.parameters())
        optimiser = torch.optim.Adamax(parameters, lr=1e-2, foreach=True)
        with keep:
            for epoch in range(4):
                for batch in train_batches(split, 8, 0, epoch):
                    loss = example_losses(model(**batch.inputs).logits, batch.labels).mean()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                    optimiser.step()
                    optimiser.zero_grad()
            return predict(model.eval(), split)

    from contextlib import nullcontext

    by_mask_model = tiny_model().train()
    by_mask = trained(by_mask_model, masked(by_mask_model, ticket))
    by_removal = trained(compact(tiny_model(), ticket).train(), nullcontext())
    untrained = predict(compact(tiny_model(), ticket), split)
    np.testing.assert_allclose(by_removal, by_mask, atol=1e-6)  # outputs are float32
    assert np.abs(by_removal - untrained).max() > 0.1


def test_importance_is_taken_from_the_finished_model(full, record, tmp_path):
    fine_tune(full, save_to=tmp_path / "model")
    model = load_compacted(tmp_path / "model")
    task = full.data.load()
    from supertickets.training import cached_encode, eval_batches

    train = cached_encode(task, "train", load_tokenizer(full.encoder), full.hyper.max_length)
    scores = importance_scores(model, eval_batches(train))
    np.testing.assert_allclose(scores.heads, record.scores("example").heads, rtol=1e-5)
    assert scores.n_examples == 48
    assert model.config.id2label == {0: "kind", 1: "unkind"}
    # The reloaded model gives the record's predictions.
    dev = cached_encode(task, "dev", load_tokenizer(full.encoder), full.hyper.max_length)
    np.testing.assert_array_equal(predict(model, dev), record.arrays["dev_logits"])


def test_early_stopping_keeps_the_best_epoch(encoder, toy):
    spec = toy_full_run(encoder, toy, epochs=6, learning_rate=2e-2, patience=1)
    result = fine_tune(spec)
    reached = [(epoch["selection_score"], -epoch["selection_loss"]) for epoch in result.epochs]
    assert result.best_epoch == 1 + reached.index(max(reached))
    assert result.metrics["selection"]["score"] == max(score for score, _ in reached)
    assert len(result.epochs) == 6 or len(result.epochs) == result.best_epoch + 1


def test_the_schedule():
    factor = warmup_then_decay(Hyper(warmup=0.1), 50)
    values = [factor(step) for step in range(50)]
    assert max(values) == 1.0
    assert all(b > a for a, b in itertools.pairwise(values[:5]))
    assert all(b < a for a, b in itertools.pairwise(values[5:]))
    assert 0 < values[-1] < 0.05
    assert warmup_then_decay(Hyper(warmup=0.0), 10)(0) == 1.0


def test_a_loss_that_is_not_finite_is_a_sentence(encoder, toy):
    spec = toy_full_run(encoder, toy, learning_rate=1e30)
    with pytest.raises(SuperticketsError, match=r"training has diverged; lower the learning rate"):
        fine_tune(spec)


def test_a_winning_ticket_needs_its_parents_scores(full):
    with pytest.raises(SuperticketsError, match=r"scores of run .* are missing"):
        fine_tune(rewound(full, "winning", 0.5))
    with pytest.raises(SuperticketsError, match="takes no token scores"):
        rewound(full, "winning", 0.5, estimator="token")


def test_scores_of_another_encoder_do_not_fit(full):
    wrong = Scores(np.ones((6, 8)), np.ones(6))
    with pytest.raises(SuperticketsError, match="does not fit"):
        fine_tune(rewound(full, "winning", 0.5), wrong)


def test_a_test_split_is_predicted_and_scored_where_its_labels_are_known():
    ref = data_ref("entailment", train_size=32, dev_size=40)
    spec = full_run("lab-base", ref, 0, Hyper(learning_rate=1e-3, batch_size=16, epochs=1), estimators=())
    plain, tested = (
        fine_tune(spec),
        fine_tune(dataclasses.replace(spec, data=data_ref(**ref.request(), with_test=True))),
    )
    assert "test" not in plain.metrics
    logits, labels = tested.arrays["test_logits"], tested.arrays["test_labels"]
    assert logits.shape == (2000, 2)
    assert tested.metrics["test"]["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())
    # Here no training example occurs in the test set, so the training is the same bit for bit.
    np.testing.assert_array_equal(plain.arrays["dev_logits"], tested.arrays["dev_logits"])
