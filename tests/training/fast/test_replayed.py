"""Steps replayed on a GPU. Here: that padding, filling and replaying change nothing, with a replay that is a call."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from steps import a_split
from tiny import tiny_model, toy_full_run

from supertickets.models import family_of
from supertickets.runs import CHOICES, Hyper
from supertickets.runs.choices import PUBLISHED
from supertickets.studies import full_run, get_profile
from supertickets.tasks import data_ref
from supertickets.training import Batch, EncodedSplit, fine_tune, train_batches
from supertickets.training import loop as loops
from supertickets.training.fast import Capture, Replayed, graphs, padded_widths
from supertickets.training.fast import replayed as replays
from supertickets.training.fast.forward import by_hand, first_token_only
from supertickets.training.fast.replayed import WARM_UP, filled
from supertickets.training.loop import training_step
from supertickets.training.optimiser import flat_parameters
from supertickets.training.published import chosen_batches, chosen_optimiser

HYPER_OF_LAB = get_profile("lab").hyper
CUDA = torch.device("cuda")
HYPER = Hyper(batch_size=8, learning_rate=1e-2, weight_decay=0.01)


def trained(capture, split, hyper=HYPER, epochs: int = 3, dtype=torch.float64, device: str = "cpu", choices=()):
    """The weights and losses after some epochs, and the step that led there; no dropout."""
    model = tiny_model()
    model.to(device, dtype)  # pyright: ignore[reportArgumentType]  # a decorator of transformers hides its self
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    n_steps = epochs * -(-len(split) // hyper.batch_size)
    losses = []
    with flat_parameters(model) as flat:
        optimiser = chosen_optimiser(model, flat, hyper, n_steps, choices)
        step = training_step(model, split, hyper, optimiser.step, n_steps, capture)
        for epoch in range(epochs):
            for batch in chosen_batches(choices)(split, hyper.batch_size, 0, epoch):
                losses.append(float(step(batch, *optimiser.coming())))
        return flat.detach().clone(), np.array(losses), step


def captures_of_a_gpu() -> Capture:
    found = graphs(CUDA)
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def no_fault_is_remembered(monkeypatch):
    """Else no other test of this process would see a capture."""
    monkeypatch.setattr(replays, "_FAULTS", {})


def as_a_call(carry_out):
    """A capture that computes nothing now and everything at each replay, as CUDA's does."""
    return carry_out


@pytest.fixture
def every_length(monkeypatch):
    """A capture for every length, as if captures cost nothing."""
    monkeypatch.setattr(loops, "padded_widths", lambda lengths, _: tuple(np.unique(lengths).tolist()))


@pytest.mark.gpu
def test_captured_steps_are_the_ordinary_ones_on_a_gpu(every_length):
    split = a_split(160)
    plain = trained(None, split, dtype=torch.float32, device="cuda")
    captured = trained(graphs(CUDA), split, dtype=torch.float32, device="cuda")
    assert not captured[2].fault
    assert len(captured[2].graphs) > 1
    np.testing.assert_allclose(captured[1][:20], plain[1][:20], rtol=0, atol=1e-5)


@pytest.mark.gpu
def test_captured_runs_reach_the_scores_of_ordinary_ones(monkeypatch):
    """Eight pairs of the lab's entailment, where dropout draws other numbers: their mean difference is noise."""
    scores = []
    for how in (graphs, lambda _: None):
        monkeypatch.setattr(loops, "graphs", how)
        runs = (full_run("lab-base", data_ref("entailment", train_size=320), seed, HYPER_OF_LAB) for seed in range(8))
        records = [fine_tune(run) for run in runs]
        assert {"steps" in record.environment for record in records} == {how is graphs}
        scores.append([record.metrics["report"]["score"] for record in records])
    gaps = np.subtract(*scores)
    assert np.mean(scores[0]) > 0.8
    assert abs(gaps.mean()) < 0.005 + 3.5 * gaps.std(ddof=1) / 8**0.5  # 99% of a t with 7 degrees of freedom
    assert gaps.std(ddof=1) < 0.05


@pytest.mark.gpu
def test_dropout_differs_from_replay_to_replay():
    layer = torch.nn.Dropout(0.5)
    replay = captures_of_a_gpu()(lambda: layer(torch.ones(1000, device="cuda")))
    assert not torch.equal(replay().clone(), replay())


def test_a_step_that_is_replayed_is_the_ordinary_one_bit_for_bit():
    split = a_split(32, 9, 10)  # whole batches of one length: nothing is padded or filled
    plain, replayed = trained(None, split, dtype=torch.float32), trained(as_a_call, split, dtype=torch.float32)
    assert isinstance(replayed[2], Replayed)
    assert len(replayed[2].graphs) == 1
    np.testing.assert_array_equal(replayed[1], plain[1])
    assert torch.equal(replayed[0], plain[0])


OF_TRAINING = tuple(name for name, choice in CHOICES.items() if choice.acts == "training")


@pytest.mark.parametrize("choices", [*((name,) for name in OF_TRAINING), OF_TRAINING], ids="+".join)
def test_steps_with_choices_are_replayed_too(choices):
    split = a_split(32, 9, 10)
    plain, replayed = (trained(how, split, dtype=torch.float32, choices=choices) for how in (None, as_a_call))
    assert replayed[2].graphs
    np.testing.assert_array_equal(replayed[1], plain[1])
    assert torch.equal(replayed[0], plain[0])


def test_a_batch_is_built_once(monkeypatch):
    split, built, make = a_split(), [], EncodedSplit.batch
    monkeypatch.setattr(EncodedSplit, "batch", lambda self, *given: built.append(given) or make(self, *given))
    trained(as_a_call, split)
    assert len(built) == 3 * 4


def test_padding_and_filling_change_nothing(every_length):
    split = a_split()
    plain, replayed = trained(None, split, epochs=25), trained(as_a_call, split, epochs=25)
    assert 1 < len(replayed[2].graphs) <= len(replayed[2].widths) == 4
    np.testing.assert_allclose(replayed[1], plain[1], rtol=0, atol=1e-10)
    torch.testing.assert_close(replayed[0], plain[0], rtol=0, atol=1e-9)


def test_an_epoch_of_filled_batches_has_every_example_once():
    split = a_split()
    widths = padded_widths(split.lengths, 1000)
    seen = []
    for batch in train_batches(split, 8, 0, 0):
        whole = filled(batch, split, next(width for width in widths if width >= batch.inputs["input_ids"].shape[1]), 8)
        assert whole.inputs["input_ids"].shape[0] == 8
        assert whole.inputs["input_ids"].shape[1] in widths
        assert whole.real is not None
        assert int(whole.real.sum()) == len(batch.index)
        built = split.batch(np.resize(batch.index, 8), whole.inputs["input_ids"].shape[1])
        for name, values in built.inputs.items():
            assert torch.equal(whole.inputs[name], values), name
        assert torch.equal(whole.labels, built.labels)
        seen += whole.index.tolist()
    assert sorted(seen) == list(range(29))


def test_widths_pad_little_and_are_few():
    lengths = np.random.default_rng(0).lognormal(3.3, 0.5, 5000).astype(int).clip(3, 256)
    widths = padded_widths(lengths, 10_000)
    assert len(widths) == 8
    assert widths[-1] == lengths.max()
    padded = np.array(widths)[np.searchsorted(widths, lengths)]
    assert 1 <= padded.sum() / lengths.sum() < 1.17
    by_eighths = np.unique(np.quantile(lengths, np.arange(1, 9) / 8, method="higher"))
    assert padded.sum() < by_eighths[np.searchsorted(by_eighths, lengths)].sum()
    assert padded_widths(lengths, 10) == (lengths.max(),)  # so few steps pay for one capture


def test_the_fewest_padded_tokens_are_found():
    from itertools import combinations

    lengths = np.random.default_rng(3).integers(3, 15, 40)
    sizes = np.unique(lengths)

    def cost(widths, n_steps):
        padded = np.array(widths)[np.searchsorted(widths, lengths)]
        return n_steps * padded.mean() + len(widths) * replays._WORTH * lengths.mean()

    for n_steps, n_best in ((40, 1), (80, 2), (200, 3), (800, 6)):
        most = n_steps // replays._WORTH
        every = [(*some, sizes[-1]) for n in range(min(8, most)) for some in combinations(sizes[:-1], n)]
        found = padded_widths(lengths, n_steps)
        assert cost(found, n_steps) == pytest.approx(min(cost(widths, n_steps) for widths in every))
        assert len(found) == n_best


def test_what_cannot_be_captured_is_carried_out_step_by_step_and_says_why():
    def refused(carry_out):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    split = a_split()
    plain, fallen = trained(None, split), trained(refused, split)
    assert not fallen[2].graphs
    assert fallen[2].told() == (
        "one by one, since a step cannot be captured: operation not permitted when stream is capturing"
    )
    torch.testing.assert_close(fallen[0], plain[0], rtol=0, atol=1e-9)


def test_the_reason_is_what_broke_a_capture_not_what_its_end_said():
    def refused(carry_out):
        try:
            raise RuntimeError("this cannot be captured")
        finally:
            raise RuntimeError("the capture was broken before")  # as torch.cuda.graph does

    assert trained(refused, a_split())[2].fault == "this cannot be captured"


def test_gradients_that_a_failed_capture_left_are_none():
    """Of a parameter whose gradient is made anew in every step, as those of heads are in Ticket-Share."""
    split, model = a_split(), tiny_model()
    weight = model.get_parameter("bert.encoder.layer.0.attention.self.query.weight")
    seen = []

    def leaves_rubbish(_carry_out):
        weight.grad = torch.full_like(weight, torch.nan)
        raise RuntimeError("refused")

    def update(_updates, _rate):
        assert weight.grad is not None
        seen.append(bool(weight.grad.isfinite().all()))
        model.zero_grad()

    step = training_step(model, split, HYPER, update, 40, leaves_rubbish)
    for batch in train_batches(split, 8, 0, 0):
        step(batch, [1], 0.1)
    assert seen == [True] * 4


def test_after_a_capture_elsewhere_in_the_process_has_failed_no_step_is_replayed(monkeypatch):
    done = []

    def fails_elsewhere(carry_out):
        def replay():
            done.append(carry_out)
            if len(done) == 2:
                replays._FAULTS["a step"] = "refused"
            return carry_out()

        return replay

    split = a_split()
    plain, fallen = trained(None, split), trained(fails_elsewhere, split)
    assert len(done) == 2
    assert (len(fallen[2].graphs), fallen[2].fault) == (0, "one of this process failed before: refused")
    again = trained(lambda _: pytest.fail("captured"), split)
    assert "refused" in again[2].told()
    torch.testing.assert_close(fallen[0], plain[0], rtol=0, atol=1e-9)


def test_if_a_later_length_cannot_be_captured_no_step_is_replayed(every_length):
    tried = []

    def once(carry_out):
        tried.append(carry_out)
        if len(tried) > 1:
            raise RuntimeError("no memory for a second")
        return carry_out

    split = a_split()
    plain, fallen = trained(None, split, epochs=25), trained(once, split, epochs=25)
    assert (len(tried), len(fallen[2].graphs), fallen[2].fault) == (2, 0, "no memory for a second")
    torch.testing.assert_close(fallen[0], plain[0], rtol=0, atol=1e-9)


def test_a_replay_reads_what_was_copied_to_its_place():
    split, n_steps = a_split(), 3 * 4
    _, _, step = trained(as_a_call, split)
    last = max(float(places["updates"][0]) for places, _ in step.graphs.values())
    assert last == n_steps > WARM_UP
    ids = {places["input_ids"].data_ptr() for places, _ in step.graphs.values()}
    assert len(ids) == len(step.graphs)  # each length has a place of its own


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "mpnet"])
def test_the_pass_around_layers_of_the_library_is_the_models_own(family):
    """On a GPU layers are the library's, and what surrounds them is ours."""
    model = tiny_model(family)
    batch: Batch = a_split().batch(np.arange(9))
    with torch.no_grad():
        plain = model(**batch.inputs).logits
        with first_token_only(model), by_hand(model, layers=False):
            ours = model(**batch.inputs).logits
    assert family_of(model).attention_sum
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-11)


@pytest.mark.parametrize("choices", [(), PUBLISHED], ids=["paper", "published"])
def test_a_runs_record_says_how_its_steps_were_carried_out(encoder, toy, monkeypatch, choices):
    spec = replace(toy_full_run(encoder, toy), choices=choices)
    plain = fine_tune(spec)
    monkeypatch.setattr(loops, "graphs", lambda _: as_a_call)
    replayed = fine_tune(spec)
    assert "steps" not in plain.environment
    assert replayed.environment["steps"].startswith("replayed, captured at ")


@pytest.mark.gpu
def test_after_a_capture_that_fails_a_gpu_goes_on_step_by_step():
    def asks(carry_out):
        def and_waits():
            loss = carry_out()
            loss.item()  # which a capture refuses
            return loss

        return captures_of_a_gpu()(and_waits)

    split = a_split(160)
    plain = trained(None, split, dtype=torch.float32, device="cuda")
    fallen = trained(asks, split, dtype=torch.float32, device="cuda")
    assert "captur" in fallen[2].fault
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    np.testing.assert_allclose(fallen[1][:20], plain[1][:20], rtol=0, atol=1e-5)
    assert torch.isfinite(torch.nn.functional.dropout(torch.ones(9, device="cuda"))).all()  # its generator goes on
    torch.cuda.empty_cache()  # which torch refuses while it believes that a capture is under way
