"""The same claims on a CPU and on a GPU: masks are removals, runs learn, two runs share a device, steps are timed."""

import numpy as np
import pytest
import torch
from steps import a_batch
from tiny import tiny_model, toy_full_run

from supertickets.engines import Engine, run_all
from supertickets.models import compact, masked
from supertickets.runs import RunStore
from supertickets.studies import ticket_sweep
from supertickets.tickets import random_ticket
from supertickets.training import predict, step_times
from supertickets.training.fast import fast_forward
from supertickets.training.timing import peak_rate

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def device(request, monkeypatch):
    if request.param == "cpu":  # a machine with a GPU shows the CPU's way too
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    elif not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    return request.param


def test_a_mask_is_a_removal(device):
    model, batch, ticket = tiny_model().to(device), a_batch().to(device), random_ticket((3, 4), 0.5, seed=1)
    with torch.no_grad(), masked(model, ticket):
        gated = model(**batch.inputs).logits
    compacted = compact(model, ticket).to(device)
    with torch.no_grad():
        removed = compacted(**batch.inputs).logits
        with fast_forward(compacted):
            fast = compacted(**batch.inputs).logits
    torch.testing.assert_close(removed, gated, rtol=0, atol=1e-11)
    torch.testing.assert_close(fast, gated, rtol=0, atol=1e-11)


def test_runs_side_by_side_learn_and_say_where_they_ran(device, encoder, toy, tmp_path):
    full = toy_full_run(encoder, toy, epochs=12, patience=12, learning_rate=1e-2)  # devices draw other dropout
    specs, store = ticket_sweep(full, (0.4,), ["winning", "random"]), RunStore(tmp_path)
    engine = "local" if device == "cpu" else "processes"  # worker processes would see the GPU that is hidden here
    run_all(specs, store, engine=Engine(engine, runs_per_gpu=2), progress=False).raise_if_failed()
    records = list(store.records([spec.id for spec in specs]))
    assert len(records) == 3
    for record in records:
        assert record.environment["device"].startswith("CPU") == (device == "cpu")
        assert np.isfinite(record.metrics["report"]["loss"])
    whole = next(record for record in records if record.spec.ticket.kind == "full")
    losses = [epoch["train_loss"] for epoch in whole.epochs]
    assert np.mean(losses[-4:]) < losses[0]
    assert store[full.id].scores("example").heads.max() > 0  # a record of many leaves its arrays in the store


def test_steps_are_timed_beside_what_the_device_can_do(device, encoder, toy):
    spec = toy_full_run(encoder, toy)
    times = step_times(str(encoder), spec.data, spec.hyper, levels=(0.4,), n_batches=2, repeats=1)
    assert times["seconds"].to_numpy().min() > 0
    utilisation = times["utilisation"].to_numpy()
    assert 0 < utilisation.min() <= utilisation.max() < 1
    assert peak_rate("bf16") > 0 < peak_rate("fp32")


def test_predictions_do_not_depend_on_the_device(device):
    from supertickets.training import EncodedSplit

    rng, lengths = np.random.default_rng(0), np.array([5, 9, 7])
    starts = np.cumsum(lengths) - lengths
    ids = np.append(rng.integers(4, 50, lengths.sum()), 0).astype(np.int32)
    split = EncodedSplit(ids=ids, type_ids=None, starts=starts, lengths=lengths, labels=np.zeros(3, dtype=np.int64))
    model = tiny_model().float()
    expected = predict(model, split)
    np.testing.assert_allclose(predict(model.to(device), split), expected, rtol=0, atol=1e-4)
