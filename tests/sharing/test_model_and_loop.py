"""Ticket sharing: only theta_i is used and only theta_i is updated; against plain training and plain rewinding."""

import copy
from collections import Counter
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from tiny import FAMILIES, tiny_batch, tiny_model

from supertickets.errors import SuperticketsError
from supertickets.models import (
    compact,
    example_losses,
    layer_parts,
    layers_of,
    load_compacted,
    load_encoder,
    masked,
    save_compacted,
    shape_of,
)
from supertickets.runs import Hyper
from supertickets.sharing import isolated, shared_model, task_data, train_together, using
from supertickets.sharing.loop import TaskData, multi_task_batches
from supertickets.sharing.model import alone, predict_task, share, task_seed
from supertickets.tasks import Examples, Task
from supertickets.tickets import Ticket, check_tickets, full_ticket, random_ticket, shared_units
from supertickets.training import EncodedSplit, fit, warmup_then_decay
from supertickets.training.fast import fast_forward

SHAPE = (3, 4)
FULL = full_ticket(SHAPE)


def ticket_of(heads: list[list[bool]], ffns: list[bool]) -> Ticket:
    return Ticket(np.array(heads), np.array(ffns))


# The union lacks head 3 of the first layer and the second FFN; the third layer of "b" has no head at all.
A = ticket_of([[True, True, False, False], [True, False, True, True], [True] * 4], [True, False, False])
B = ticket_of([[False, True, True, False], [True] * 4, [False] * 4], [True, False, True])
C = ticket_of([[True, False, False, False], [False, False, True, True], [True, True, False, False]], [False] * 3)
TICKETS = {"a": A, "b": B, "c": C}
OUTPUTS = {"a": 3, "b": 2, "c": 1}  # c is a regression
HYPER = Hyper(learning_rate=1e-2, batch_size=8, epochs=3, patience=3, clip=0.5)


def a_split(n: int, outputs: int, seed: int) -> EncodedSplit:
    rng = np.random.default_rng(seed)
    return EncodedSplit(
        ids=np.append(rng.integers(4, 20, 10 * n), 0).astype(np.int32),
        type_ids=None,
        starts=np.arange(n) * 10,
        lengths=rng.integers(5, 11, n),
        labels=rng.integers(0, outputs, n) if outputs > 1 else rng.normal(size=n).astype(np.float32),
    )


def a_task(name: str, outputs: int, n: int = 24, seed: int = 0) -> TaskData:
    train, dev = a_split(n, outputs, seed), a_split(20, outputs, seed + 100)

    def examples(split: EncodedSplit) -> Examples:
        return Examples((("text",),) * len(split), split.labels)

    kind, metrics = ("classification", ("accuracy",)) if outputs > 1 else ("regression", ("pearson", "spearman"))
    names = tuple("xyz"[:outputs]) if outputs > 1 else ()
    task = Task(name, kind, names, metrics, examples(train), examples(dev))
    return TaskData(task, train, dev, np.arange(20) < 12)


def three_tasks() -> list[TaskData]:
    return [a_task(name, OUTPUTS[name], n=20 + 10 * index, seed=index) for index, name in enumerate("abc")]


def three_models(family: str = "bert", dropout: bool = False):
    """Float64 models of three tasks, with one encoder's weights and heads that differ."""
    models: dict[str, Any] = {}
    for index, name in enumerate("abc"):
        model = models[name] = tiny_model(family, num_labels=OUTPUTS[name])
        model.base_model.load_state_dict(models["a"].base_model.state_dict())
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if not key.startswith(model.base_model_prefix):
                    parameter.mul_(1 + index)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout) and not dropout:
                module.p = 0.0
    return models


def weights_of(shared) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": tensor.clone()
        for name, model in shared.models.items()
        for key, tensor in model.state_dict().items()
    }


def assert_same_weights(one, other, atol: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        if atol and name.endswith(
            "key.bias"
        ):  # no effect on attention: its gradient is rounding, which Adamax blows up
            continue
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=atol, msg=name)


# What the tickets share


def test_the_report_says_who_uses_what():
    found = shared_units({"c": C, "a": A, "b": B})
    assert list(found.tickets) == ["a", "b", "c"]
    heads, ffns = A.heads.astype(int) + B.heads + C.heads, A.ffns.astype(int) + B.ffns + C.ffns
    np.testing.assert_array_equal(found.union.heads, heads > 0)
    np.testing.assert_array_equal(found.intersection.heads, heads == 3)
    np.testing.assert_array_equal(found.union.ffns, ffns > 0)
    assert found.intersection.kept_ffns == 0
    for name, ticket in found.tickets.items():
        np.testing.assert_array_equal(found.exclusive[name].heads, ticket.heads & (heads == 1))
        np.testing.assert_array_equal(found.exclusive[name].ffns, ticket.ffns & (ffns == 1))
    assert found.exclusive["b"].ffns.tolist() == [False, False, True]


def test_the_size_is_that_of_the_stored_model_and_not_the_average():
    models = three_models()
    found, shape = shared_units(TICKETS), shape_of(models["a"])
    stored = sum(p.numel() for p in share(models, TICKETS).encoder.parameters())
    assert found.stored(shape) == stored / sum(p.numel() for p in models["a"].base_model.parameters())
    assert found.average_compression(shape) == pytest.approx(
        sum(ticket.weights_remaining(shape) for ticket in TICKETS.values()) / 3, abs=1e-15
    )
    assert found.stored(shape) > found.average_compression(shape) + 0.1


# The model


@pytest.mark.parametrize("family", FAMILIES)
def test_each_task_sees_its_own_ticket_and_the_union_changes_nothing(family):
    models, batch = three_models(family), tiny_batch()
    shared = share(models, TICKETS)
    assert len({id(model.base_model) for model in shared.models.values()}) == 1
    before = weights_of(shared)
    for name, ticket in TICKETS.items():
        with torch.no_grad(), masked(models[name], ticket):
            wanted = models[name](**batch.inputs).logits
        with torch.no_grad():
            assert (wanted - models[name](**batch.inputs).logits).abs().max() > 0.01
        with torch.no_grad(), using(shared, name) as model:
            np.testing.assert_allclose(model(**batch.inputs).logits, wanted, rtol=0, atol=1e-10)
        own = alone(shared, name)
        with torch.no_grad():
            np.testing.assert_allclose(own(**batch.inputs).logits, wanted, rtol=0, atol=1e-10)
        assert not {id(p) for p in own.parameters()} & {id(p) for p in shared.models[name].parameters()}
        assert {key: value.shape for key, value in own.state_dict().items()} == {
            key: value.shape for key, value in compact(models[name], ticket).state_dict().items()
        }
    assert_same_weights(weights_of(shared), before)


def test_columns_of_the_position_bias_stay_with_their_heads(tmp_path):
    models, batch = three_models("mpnet"), tiny_batch()
    tickets = {
        "a": ticket_of([[False, True, False, True]] * 3, [True] * 3),
        "b": ticket_of([[False, False, True, True]] * 3, [True] * 3),
    }
    shared = share({name: models[name] for name in "ab"}, tickets)
    assert shared.union.heads.tolist() == [[False, True, True, True]] * 3
    for name, columns in (("a", [1, 3]), ("b", [2, 3])):
        with torch.no_grad(), masked(models[name], tickets[name]):
            wanted = models[name](**batch.inputs).logits
        own = alone(shared, name)
        assert [layer.get_buffer("bias_columns").tolist() for layer in layers_of(own)] == [columns] * 3
        save_compacted(own, tickets[name], tmp_path / name)
        again = load_compacted(tmp_path / name).double()
        again.load_state_dict(own.state_dict())  # the file's numbers, but in float64
        with torch.no_grad():
            for model in (own, again):
                torch.testing.assert_close(model(**batch.inputs).logits, wanted, rtol=0, atol=1e-10)


def test_a_model_without_tickets_is_like_any_other():
    models, batch = three_models(), tiny_batch()
    shared = share(models)
    for name, model in shared.models.items():
        assert len(layer_parts(model)) == 3
        with torch.no_grad(), masked(model, A), masked(models[name], A):
            assert torch.equal(model(**batch.inputs).logits, models[name](**batch.inputs).logits)
            assert model(**batch.inputs).logits.shape == (5, OUTPUTS[name])


def test_an_ffn_outside_the_ticket_is_not_computed():
    shared: Any = share(three_models(), TICKETS)
    called: list[int] = []
    for index in (0, 2):
        for module in (
            shared.encoder.encoder.layer[index].intermediate,
            shared.encoder.encoder.layer[index].output.dense,
        ):
            module.register_forward_hook(lambda *_, index=index: called.append(index))
    for name, wanted in (("a", [0, 0]), ("b", [0, 0, 2, 2]), ("c", [])):
        called.clear()
        with using(shared, name) as model:
            model(**tiny_batch().inputs)
        assert called == wanted
    called.clear()
    shared.models["c"](**tiny_batch().inputs)  # outside the context all is as it was
    assert called == [0, 0, 2, 2]


def test_a_task_s_own_model_can_be_kept(tmp_path):
    shared, batch = share(three_models(), TICKETS), tiny_batch()
    save_compacted(alone(shared, "b"), B, tmp_path)
    with torch.no_grad(), using(shared, "b") as model:
        wanted = model(**batch.inputs).logits
        again = load_compacted(tmp_path)(**batch.inputs).logits  # float32
    np.testing.assert_allclose(again, wanted, rtol=0, atol=1e-5)


def test_a_head_depends_on_the_seed_and_the_name_only(encoder):
    two: Any = shared_model(str(encoder), {"a": 3, "b": 3}, seed=1)
    other: Any = shared_model(str(encoder), {"b": 3, "x": 2, "a": 3}, seed=1)
    again: Any = shared_model(str(encoder), {"a": 3, "b": 3}, seed=2, dropout={"a": 0.3})
    for name in "ab":
        assert torch.equal(two.models[name].classifier.weight, other.models[name].classifier.weight)
        assert not torch.equal(two.models[name].classifier.weight, again.models[name].classifier.weight)
    assert not torch.equal(two.models["a"].classifier.weight, two.models["b"].classifier.weight)
    assert (again.models["a"].dropout.p, again.models["b"].dropout.p) == (0.3, 0.1)


# Batches


def test_batches_are_of_one_task_in_proportion_and_each_example_comes_once():
    splits = {name: a_split(n, 2, n) for name, n in (("long", 95), ("short", 20), ("other", 40))}
    orders = []
    for epoch in range(3):
        found = list(multi_task_batches(splits, 8, 5, epoch))
        for name, split in splits.items():
            rows = np.concatenate([batch.index for its, batch in found if its == name])
            np.testing.assert_array_equal(np.sort(rows), np.arange(len(split)))
        assert Counter(name for name, _ in found) == {"long": 12, "short": 3, "other": 5}
        orders.append([(name, *batch.index) for name, batch in found])
    assert orders[0] != orders[1] != orders[2]
    assert [name for name, *_ in orders[0]] != [name for name, *_ in orders[1]]
    turned = dict(reversed(splits.items()))
    assert [(name, *batch.index) for name, batch in multi_task_batches(turned, 8, 5, 1)] == orders[1]
    assert [(name, *batch.index) for name, batch in multi_task_batches(turned, 8, 6, 1)] != orders[1]


# Isolation


def outside(shared: Any, name: str):
    """The tensors that a step of a task must leave alone, cut from the model by hand, and those it must move."""
    ticket, union, encoder = shared.tickets[name], shared.union, shared.encoder
    mpnet = encoder.config.model_type == "mpnet"
    still, moving = [], []
    for index, layer in enumerate(encoder.encoder.layer):
        stored = np.flatnonzero(union.heads[index])
        attention = layer.attention
        out = attention.attn.o if mpnet else attention.output.dense
        for place, head in enumerate(stored):
            rows = slice(6 * place, 6 * place + 6)
            where = moving if ticket.heads[index, head] else still
            for linear in [getattr(attention.attn, letter) for letter in "qkv"] if mpnet else attention.self.children():
                if isinstance(linear, torch.nn.Linear):
                    where += [linear.weight[rows], linear.bias[rows]]
            where.append(out.weight[:, rows])
        if union.ffns[index]:
            where = moving if ticket.ffns[index] else still
            where += [*layer.intermediate.parameters(), *layer.output.dense.parameters()]
        moving += [out.bias, *(attention if mpnet else attention.output).LayerNorm.parameters()]
        moving += layer.output.LayerNorm.parameters()
    for other, model in shared.models.items():
        (moving if other == name else still).extend(model.classifier.parameters())
    moving += encoder.embeddings.parameters()
    # One table for the heads of all layers: shared by the tasks as the embeddings are.
    moving += (encoder.encoder.relative_attention_bias if mpnet else encoder.pooler).parameters()
    return still, moving


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_step_of_a_task_leaves_what_is_outside_its_ticket_bit_for_bit(family):
    shared, data = share(three_models(family), TICKETS), {given.name: given for given in three_tasks()}
    batches = {name: list(multi_task_batches({name: given.train}, 8, 0, 0)) for name, given in data.items()}
    for model in shared.models.values():
        model.train()
    with isolated(shared) as whole:
        for step in range(51):
            name = "abc"[step % 3]
            _, batch = batches[name][step % len(batches[name])]
            with using(shared, name) as model:
                example_losses(model(**batch.inputs).logits, batch.labels).mean().backward()
            still, moving = outside(shared, name)
            assert sum(p.numel() for p in still + moving) == len(whole.vector)
            mine = torch.from_numpy(whole.owned(name))
            assert int(mine.sum()) == sum(p.numel() for p in moving)
            whole.collect()  # heads' gradients into the vector, as update does
            assert not whole.gradient[~mine].any()
            assert whole.gradient[mine].any()
            before = [[p.detach().clone() for p in tensors] for tensors in (still, moving)]
            state = whole.average.clone(), whole.infinity.clone()
            whole.update(name, whole.coming(name), 1e-2, clip=1.0, weight_decay=0.1)
            assert all(torch.equal(one, other) for one, other in zip(before[0], still, strict=True))
            assert all((one != other).any() for one, other in zip(before[1], moving, strict=True))
            for old, new in zip(state, (whole.average, whole.infinity), strict=True):
                assert torch.equal(old[~mine], new[~mine])
                assert (old[mine] != new[mine]).double().mean() > 0.9  # not where a weight and its gradient are 0
        assert whole.steps == {"a": 17, "b": 17, "c": 17}


def test_what_a_task_owns_is_what_compaction_leaves_it():
    for family in FAMILIES:
        models = three_models(family)
        shared = share(models, TICKETS)
        with isolated(shared) as whole:
            owned = {name: int(whole.owned(name).sum()) for name in "abc"}
            assert np.stack([whole.owned(name) for name in "abc"]).any(axis=0).all()
        assert owned == {
            name: sum(p.numel() for p in compact(models[name], ticket).parameters()) for name, ticket in TICKETS.items()
        }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_update_is_torch_s_own_adamax_bit_for_bit(dtype):
    shared = share(three_models(), TICKETS)
    for model in shared.models.values():
        model.to(dtype)
    generator = torch.Generator().manual_seed(0)
    with isolated(shared) as whole:
        parts = [torch.nn.Parameter(whole.vector[s.start : s.stop].clone()) for s in whole.stretches]
        optimiser = torch.optim.Adamax(parts, lr=3e-3, weight_decay=0.01, foreach=True)
        for step in range(12):
            name = "aabcb"[step % 5]
            for part, stretch in zip(parts, whole.stretches, strict=True):
                part.grad = None
                if name in stretch.owners:
                    part.grad = torch.randn(len(part), generator=generator, dtype=dtype)
                    whole.gradient[stretch.start : stretch.stop] = part.grad
            torch.nn.utils.clip_grad_norm_(parts, 2.0)
            optimiser.step()
            whole.update(name, whole.coming(name), 3e-3, clip=2.0, weight_decay=0.01)
            assert not whole.gradient.any()
            assert torch.equal(torch.cat([*parts]), whole.vector)


def test_afterwards_every_parameter_is_a_whole_tensor_again():
    shared = share(three_models(), TICKETS)
    before = weights_of(shared)
    with pytest.raises(KeyboardInterrupt), isolated(shared):
        raise KeyboardInterrupt
    assert_same_weights(weights_of(shared), before)
    for model in shared.models.values():
        assert all(p.grad is None and p.is_contiguous() for p in model.parameters())
    storages = [p.untyped_storage().data_ptr() for p in shared.encoder.parameters() if p.numel()]
    assert len(storages) == len(set(storages))


# Training


def plain_multi_task(models, tasks, hyper, seed):
    """MT-DNN with nothing of ours but the batches: per-tensor Adamax, which passes over tensors without gradient."""
    encoder = models["a"].base_model
    for model in models.values():
        setattr(model, model.base_model_prefix, encoder)
    parameters = list({id(p): p for model in models.values() for p in model.parameters()}.values())
    optimiser = torch.optim.Adamax(parameters, lr=hyper.learning_rate, weight_decay=hyper.weight_decay)
    splits = {given.name: given.train for given in tasks}
    n_steps = hyper.epochs * sum(-(-len(split) // hyper.batch_size) for split in splits.values())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warmup_then_decay(hyper, n_steps))
    for epoch in range(hyper.epochs):
        for name, batch in multi_task_batches(splits, hyper.batch_size, seed, epoch):
            example_losses(models[name].train()(**batch.inputs).logits, batch.labels).mean().backward()
            torch.nn.utils.clip_grad_norm_(parameters, hyper.clip)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
    return models


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_full_tickets_are_mt_dnn(weight_decay):
    # One epoch, so that the last weights are the best ones.
    hyper = replace(HYPER, epochs=1, weight_decay=weight_decay)
    start, tasks = three_models(), three_tasks()
    without, full = share(start), share(start, dict.fromkeys("abc", FULL))
    results = [train_together(shared, tasks, hyper, 3) for shared in (without, full)]
    assert results[0].epochs == results[1].epochs
    assert_same_weights(weights_of(without), weights_of(full))
    plain = plain_multi_task(copy.deepcopy(start), tasks, hyper, 3)
    reference = {f"{name}/{key}": tensor for name, model in plain.items() for key, tensor in model.state_dict().items()}
    assert_same_weights(reference, weights_of(full), atol=1e-11)
    moved = max(
        (start["a"].state_dict()[key] - full.models["a"].state_dict()[key]).abs().max()
        for key in plain["a"].state_dict()
    )
    assert moved > 0.01


def test_one_task_with_a_ticket_is_rewinding(encoder):
    name, ticket, seed = "a", random_ticket(SHAPE, 0.4, seed=2), 4
    shared = shared_model(str(encoder), {name: 3}, {name: ticket}, seed, dropout=0.2)
    shared.models[name].double()
    rewound = compact(load_encoder(str(encoder), 3, task_seed(seed, name), 0.2).double(), ticket)
    given = a_task(name, 3, n=40)
    result = train_together(shared, [given], HYPER, seed)
    with torch.random.fork_rng(), fast_forward(rewound):
        torch.manual_seed(seed)
        fitted = fit(rewound, given.task, given.train, given.dev, given.selection, HYPER, task_seed(seed, name))
    assert result.best_epoch == fitted.best_epoch
    for ours, theirs in zip(result.epochs, fitted.epochs, strict=True):
        for key in ("train_loss", "selection_score", "selection_loss"):
            assert ours[key] == pytest.approx(theirs[key], abs=1e-6)  # predictions are float32
    final = {f"{name}/{key}": tensor for key, tensor in rewound.state_dict().items()}
    assert_same_weights(weights_of(shared), final, atol=1e-10)
    assert result.epochs[0]["train_loss"] != result.epochs[-1]["train_loss"]


def test_the_order_of_tasks_does_not_matter():
    results, weights = [], []
    for order in ("abc", "cab"):
        models, tasks = three_models(dropout=True), {given.name: given for given in three_tasks()}
        shared = share({name: models[name] for name in order}, {name: TICKETS[name] for name in reversed(order)})
        results.append(train_together(shared, [tasks[name] for name in order], HYPER, 0))
        weights.append(weights_of(shared))
    assert results[0].epochs == results[1].epochs
    assert_same_weights(weights[0], weights[1])
    for name in "abc":
        np.testing.assert_array_equal(results[0].dev_logits[name], results[1].dev_logits[name])


@pytest.mark.parametrize("n_tasks", [2, 8])
def test_classification_and_regression_train_together(encoder, n_tasks):
    tasks = [a_task(f"t{index}", (3, 1, 2)[index % 3], n=16 + index, seed=index) for index in range(n_tasks)]
    tickets = {given.name: random_ticket(SHAPE, 0.5, seed=index) for index, given in enumerate(tasks)}
    shared = shared_model(str(encoder), {given.name: given.task.num_labels for given in tasks}, tickets, dropout=0.0)
    before = torch.random.get_rng_state()
    result = train_together(shared, tasks, replace(HYPER, epochs=6, patience=6), 0)
    assert torch.equal(before, torch.random.get_rng_state())
    for given in tasks:
        name = given.name
        assert result.steps[name] == 6 * -(-len(given.train) // 8)
        assert result.dev_logits[name].shape == (20, given.task.num_labels)
        np.testing.assert_array_equal(result.dev_logits[name], predict_task(shared, name, given.dev))
        assert min(epoch[f"{name}/train_loss"] for epoch in result.epochs) < result.epochs[0][f"{name}/train_loss"]
    best = result.epochs[result.best_epoch - 1]
    assert best["selection_score"] == max(epoch["selection_score"] for epoch in result.epochs)
    assert best["selection_score"] == pytest.approx(np.mean([best[f"{given.name}/selection_score"] for given in tasks]))


def test_training_stops_after_patience_epochs_without_a_better_one():
    shared = share(three_models(), TICKETS)
    hyper = replace(HYPER, epochs=30, patience=2, learning_rate=1e-9)  # too small a rate to change any answer
    hyper = replace(hyper, weight_decay=0.0)
    result = train_together(shared, three_tasks(), hyper, 0)
    assert len(result.epochs) < 30
    assert len(result.epochs) == result.best_epoch + 2


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kill_at", [[5], [7, 17], [14, 28]])
def test_a_killed_run_goes_on_to_the_same_result(tmp_path, kill_at):
    file = tmp_path / "folder" / "run.safetensors"

    def run(stop: int | None):
        def on_step(step: int) -> None:
            if step == stop:
                raise Killed

        shared = share(three_models(dropout=True), TICKETS)
        result = train_together(shared, three_tasks(), HYPER, 1, file if stop != 0 else None, 3, on_step=on_step)
        return result, weights_of(shared)

    wanted, weights = run(0)
    assert sum(wanted.steps.values()) == 36
    for stop in kill_at:
        with pytest.raises(Killed):
            run(stop)
        assert file.is_file()
    result, found = run(None)
    assert not file.exists()
    assert list(file.parent.iterdir()) == []
    assert (result.epochs, result.best_epoch, result.steps) == (wanted.epochs, wanted.best_epoch, wanted.steps)
    assert_same_weights(found, weights)
    for name in "abc":
        np.testing.assert_array_equal(result.dev_logits[name], wanted.dev_logits[name])


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(tmp_path):
    file = tmp_path / "run.safetensors"

    def stop(step: int) -> None:
        if step == 2:
            raise Killed

    with pytest.raises(Killed):
        train_together(share(three_models(), TICKETS), three_tasks(), HYPER, 1, file, 1, on_step=stop)
    for shared, tasks, hyper, seed in (
        (share(three_models()), three_tasks(), HYPER, 1),
        (share(three_models(), TICKETS), three_tasks(), HYPER, 2),
        (share(three_models(), TICKETS), three_tasks(), replace(HYPER, clip=0.4), 1),
        (share(three_models(), TICKETS), [*three_tasks()[:2], a_task("c", 1, n=40, seed=7)], HYPER, 1),
    ):
        with pytest.raises(SuperticketsError, match="belongs to another run"):
            train_together(shared, tasks, hyper, seed, file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SuperticketsError, match="is damaged"):
        train_together(share(three_models(), TICKETS), three_tasks(), HYPER, 1, file)


def test_fine_tuning_on_alone_leaves_the_shared_model_as_it_was():
    shared, given = share(three_models(), TICKETS), three_tasks()[1]
    before, own = weights_of(shared), cast(Any, alone(shared, "b"))
    fit(own, given.task, given.train, given.dev, given.selection, HYPER, 0)
    assert_same_weights(weights_of(shared), before)
    assert not torch.equal(own.classifier.weight, cast(Any, shared.models["b"]).classifier.weight)
    with pytest.raises(AssertionError):
        assert_same_weights(own.state_dict(), alone(shared, "b").state_dict())


def test_bf16_trains_close_to_fp32(encoder):
    weights = []
    for precision in ("fp32", "bf16"):
        shared = shared_model(str(encoder), OUTPUTS, TICKETS, dropout=0.0)
        train_together(shared, three_tasks(), replace(HYPER, epochs=1, precision=precision), 0)
        weights.append(weights_of(shared))
    gaps = torch.cat([(weights[0][name] - weights[1][name]).abs().reshape(-1) for name in weights[0]])
    start = weights_of(shared_model(str(encoder), OUTPUTS, TICKETS, dropout=0.0))
    moves = torch.cat([(weights[0][name] - start[name]).abs().reshape(-1) for name in start])
    assert 0 < gaps.mean() < 0.2 * moves.mean()


# Mistakes


def test_mistakes_are_named():
    models, empty = three_models(), Ticket(np.zeros(SHAPE, dtype=bool), np.zeros(3, dtype=bool))
    for tickets, message in (
        ({**TICKETS, "b": full_ticket((3, 5))}, "Task b: The ticket is for an encoder of 3 layers x 5 heads"),
        ({"a": A, "b": B}, "Task c has no ticket"),
        ({**TICKETS, "d": A}, "ticket for d, which is none of the tasks"),
        ({**TICKETS, "b": empty}, "ticket of task b is empty"),
    ):
        with pytest.raises(SuperticketsError, match=message):
            share(models, tickets)
    for call in (lambda: share({}), lambda: shared_units({}), lambda: shared_model("lab-base", {})):
        with pytest.raises(SuperticketsError, match="no task"):
            call()
    with pytest.raises(SuperticketsError, match="Two tasks are called a"):
        check_tickets(["a", "b", "a"], TICKETS)
    with pytest.raises(SuperticketsError, match="does not fit"):
        shared_units({"a": A, "b": full_ticket((4, 4))})


def test_tasks_that_do_not_fit_the_model_are_named():
    shared, (a, b, c) = share(three_models(), TICKETS), three_tasks()
    nothing = replace(b, train=b.train.rows(np.arange(0)))
    for tasks, message in (
        ([a, b], "Task c has a head and a ticket in the shared model but no data"),
        ([a, b, c, a_task("d", 2)], "Task d has data but no head"),
        ([a, b, c, a], "Two tasks are called a"),
        ([a, nothing, c], "Task b has no training data"),
        ([a, a_task("b", 3), c], "Task b needs 3 outputs"),
        ([], "no task"),
    ):
        with pytest.raises(SuperticketsError, match=message):
            train_together(shared, tasks, HYPER, 0)
    with pytest.raises(SuperticketsError, match="Task a has no training data"):
        task_data(replace(a.task, train=Examples((), np.zeros(0))), None)  # pyright: ignore[reportArgumentType]


def test_a_diverged_loss_is_named():
    shared, (a, b, c) = share(three_models(), TICKETS), three_tasks()
    bad = replace(c, train=replace(c.train, labels=np.full_like(c.train.labels, np.inf)))
    with pytest.raises(SuperticketsError, match=r"task \w is (nan|inf).*diverged"):
        train_together(shared, [a, b, bad], HYPER, 0)


def test_leaky_updates_are_adamax_with_zero_gradients_outside_the_ticket():
    """As the published code (audit D31): a gradient of zero, not none, so that old momentum goes on."""
    shared = share(three_models(), TICKETS)
    generator = torch.Generator().manual_seed(0)
    with isolated(shared) as whole:
        weights = torch.nn.Parameter(whole.vector.clone())
        optimiser = torch.optim.Adamax([weights], lr=3e-3, foreach=True)
        for step in range(6):
            name = "aabcb"[step % 5]
            mine = torch.from_numpy(whole.owned(name))
            slope = torch.randn(len(weights), generator=generator, dtype=weights.dtype) * mine
            weights.grad, before = slope.clone(), whole.vector.clone()
            whole.gradient.copy_(slope)
            torch.nn.utils.clip_grad_norm_([weights], 2.0)
            optimiser.step()
            whole.update(name, whole.coming(name, True), 3e-3, clip=2.0, leaky=True)
            torch.testing.assert_close(whole.vector, weights.detach(), rtol=0, atol=1e-12)
            assert bool((whole.vector[~mine] != before[~mine]).any()) == (step > 1)  # from the second task's step on


def test_leaky_training_is_another_and_full_tickets_of_one_task_have_nothing_to_leak():
    def trained(models: dict, tickets: dict, leaky: bool):
        shared = share(models, tickets)
        train_together(shared, [a_task(name, OUTPUTS[name]) for name in tickets], HYPER, 0, leaky=leaky)
        return weights_of(shared)

    for tickets, differs in ((TICKETS, True), ({"a": FULL}, False)):
        models = {name: model for name, model in three_models().items() if name in tickets}
        one, other = (trained(copy.deepcopy(models), tickets, leaky) for leaky in (False, True))
        assert any(not torch.allclose(one[name], other[name], atol=1e-9) for name in one) == differs
