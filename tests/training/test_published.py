"""Training and scores as the published code has them, against formulas written out here."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_batch, tiny_model, toy_full_run

from supertickets.models import importance_scores, load_compacted, load_encoder, load_tokenizer
from supertickets.runs import CHOICES, Hyper, TicketRule
from supertickets.tickets import Scores
from supertickets.training import fine_tune, fit, published
from supertickets.training.batching import cached_encode
from supertickets.training.optimiser import Optimiser, flat_parameters
from supertickets.training.published import bert_adamax_step, chosen_optimiser, chosen_scores, fixed_batches


@pytest.fixture(scope="module")
def full(encoder, toy):
    return toy_full_run(encoder, toy, epochs=3)


@pytest.fixture(scope="module")
def train(full):
    return cached_encode(full.data.load(), "train", load_tokenizer(full.encoder))


def test_gradients_that_are_never_zeroed_weigh_batches_by_a_triangle():
    model, batches = tiny_model(), [tiny_batch(n_examples=n, seed=n) for n in (5, 3, 4)]
    for name in ("example", "token"):
        alone = [importance_scores(model, [batch], name) for batch in batches]  # means over a batch's examples
        found = importance_scores(model, batches, name, running=True)
        for unit in ("heads", "ffns"):
            own = [getattr(scores, unit) for scores in alone]
            expected = sum(weight * scores for weight, scores in zip((3, 2, 1), own, strict=True)) / 3
            np.testing.assert_allclose(getattr(found, unit), expected, rtol=1e-12)
            assert np.abs(expected / (sum(own) / 3) - 2).max() > 1e-3  # not merely twice the mean


def test_the_first_tenth_of_the_batches_has_a_fifth_of_the_weight():
    weights = np.arange(1000, 0, -1) / np.arange(1, 1001).sum()
    assert weights[:100].sum() == pytest.approx(0.19, abs=0.001)
    assert 1 / (1000 * (weights**2).sum()) == pytest.approx(0.75, abs=0.001)  # effective share of the data


def test_scores_take_the_absolute_value_where_chosen(full, train):
    model = load_encoder(full.encoder, 2, 0)

    def scores(*choices):
        return chosen_scores(model, train, "example", full.hyper, choices)

    paper, token = scores(), scores("token_heads", "token_ffns")
    heads, ffns = scores("token_heads"), scores("token_ffns")
    np.testing.assert_array_equal(heads.heads, token.heads)
    np.testing.assert_array_equal(heads.ffns, paper.ffns)
    np.testing.assert_array_equal(ffns.heads, paper.heads)
    np.testing.assert_array_equal(ffns.ffns, token.ffns)
    assert (token.ffns[:-1] > 1.05 * paper.ffns[:-1]).all()
    np.testing.assert_allclose(token.ffns[-1], paper.ffns[-1], rtol=1e-4)  # only [CLS] has a gradient there
    assert token.estimator == "example"  # by the name asked for


def test_scores_read_the_file_in_its_order(full, train, monkeypatch):
    seen = []
    monkeypatch.setattr(published, "importance_scores", lambda _m, batches, *_: seen.extend(batches))
    with pytest.raises(AttributeError):
        chosen_scores(load_encoder(full.encoder, 2, 0), train, "example", full.hyper, ("triangular",))
    assert [list(batch.index) for batch in seen] == [list(range(k, k + 16)) for k in (0, 16, 32)]


def test_every_epoch_has_the_same_contiguous_batches(train):
    first, second = ([list(b.index) for b in fixed_batches(train, 10, 3, epoch)] for epoch in (0, 1))
    assert first == second
    assert sorted(first) == [list(range(k, min(k + 10, 48))) for k in range(0, 48, 10)]
    assert first != [list(b.index) for b in fixed_batches(train, 10, 4, 0)]


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_the_optimiser_follows_the_published_formula(decay):
    """m = .9 m + .1 g; u = max(.999 u, |g| + eps); w -= rate (m / (u + eps) + decay w), in float64, term by term."""
    rng, eps = np.random.default_rng(0), 1e-6
    w = rng.normal(size=7)
    weights = torch.tensor(w)
    slope, average, infinity = (torch.zeros(7, dtype=torch.float64) for _ in range(3))
    m, u = np.zeros(7), np.zeros(7)
    for step in range(5):
        g, rate = rng.normal(size=7) * 1e-6, 0.1 / (step + 1)
        slope.copy_(torch.tensor(g))
        bert_adamax_step([weights], [slope], [average], [infinity], [step + 1], rate, 1.0, decay)
        m, u = 0.9 * m + 0.1 * g, np.maximum(0.999 * u, np.abs(g) + eps)
        w = w - rate * (m / (u + eps) + decay * w)
        np.testing.assert_allclose(weights.numpy(), w, rtol=1e-10)
        assert not slope.any()


def test_the_rate_starts_at_zero_and_drops_after_warm_up():
    model = torch.nn.Linear(2, 1)
    with flat_parameters(model) as flat:
        factor = chosen_optimiser(model, flat, Hyper(), 50, ("kinked_schedule",)).factor
    assert factor(0) == 0
    assert [factor(step) for step in (1, 4)] == pytest.approx([0.2, 0.8])
    assert [factor(step) for step in (5, 25, 49)] == pytest.approx([0.9, 0.5, 0.02])


@pytest.mark.parametrize("rule", [(), ("bert_adamax",)])
def test_matrices_decay_and_biases_do_not(rule):
    model = torch.nn.Linear(3, 2)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with flat_parameters(model) as flat:
        hyper = Hyper(weight_decay=0.01, learning_rate=0.1)
        optimiser = chosen_optimiser(model, flat, hyper, 100, ("weight_decay", *rule))
        optimiser.step(*optimiser.coming())
    assert torch.equal(model.bias, before["bias"])
    assert (model.weight.abs() < before["weight"].abs()).all()


def test_the_last_epoch_is_kept_where_nothing_stops(full):
    stopped, whole = (fine_tune(replace(full, choices=c, seed=1)) for c in ((), ("all_epochs",)))
    hasty = replace(full.hyper, patience=1)
    assert len(fine_tune(replace(full, hyper=hasty, choices=("all_epochs",))).epochs) == whole.best_epoch == 3
    assert stopped.epochs == whole.epochs[: len(stopped.epochs)]


def test_with_one_dev_file_all_of_it_is_watched(full, monkeypatch):
    watched = []
    real = fit
    monkeypatch.setattr(
        "supertickets.training.fine_tuning.fit", lambda *args: watched.append(args[4].sum()) or real(*args)
    )
    records = [fine_tune(replace(full, choices=choices)) for choices in ((), ("one_dev",))]
    assert watched == [18, 60]
    assert [record.arrays["selection"].sum() for record in records] == [18, 18]  # what is reported stays as it was


def test_early_scores_are_those_of_the_first_epoch_of_the_same_schedule(full):
    whole, early = fine_tune(full), fine_tune(replace(full, choices=("early_scores",)))
    assert early.epochs == whole.epochs[:1]
    one = fine_tune(replace(full, hyper=replace(full.hyper, patience=1, epochs=1)))
    assert early.epochs != one.epochs  # whose rate falls to zero within the epoch


def test_late_rewinding_goes_on_where_the_full_model_was(full, monkeypatch, tmp_path):
    fine_tune(replace(full, choices=("early_scores",)), save_to=tmp_path / "early")
    after_one = load_compacted(tmp_path / "early").state_dict()
    starts, real = [], fit

    def spied(model, *args, **named):
        starts.append({name: value.clone() for name, value in model.state_dict().items()})
        return real(model, *args, **named)

    monkeypatch.setattr("supertickets.training.fine_tuning.fit", spied)
    rule = TicketRule("winning", 0.0, full.id)  # of everything
    patient = replace(full.hyper, patience=9)
    late = fine_tune(
        replace(full, ticket=rule, estimators=(), choices=("late_rewind",), hyper=patient),
        Scores(np.ones((3, 4)), np.ones(3)),
    )
    assert len(starts) == 2 and len(late.epochs) == full.hyper.epochs - 1
    for name, value in starts[1].items():
        if "word_embeddings" not in name:  # cut to the task's own words meanwhile
            torch.testing.assert_close(value, after_one[name], rtol=0, atol=0)
    assert not torch.equal(starts[0]["classifier.weight"], starts[1]["classifier.weight"])


def test_skipped_steps_are_those_of_the_schedule():
    model = torch.nn.Linear(2, 1)
    with flat_parameters(model) as flat:
        whole, late = (Optimiser.of(flat, Hyper(learning_rate=1.0), 50) for _ in range(2))
    late.skipped = 3
    rates = [whole.coming()[1] for _ in range(10)]
    assert [late.coming() for _ in range(2)] == [([1], rates[3]), ([2], rates[4])]


def test_a_score_of_the_first_examples_reads_no_others(full, train):
    model = load_encoder(full.encoder, 2, 0)
    few = chosen_scores(model, train, "squared@8", full.hyper, ())
    by_hand = importance_scores(model, [train.batch(np.arange(8))], "squared")
    assert (few.estimator, few.n_examples) == ("squared@8", 8)
    np.testing.assert_allclose(few.heads, by_hand.heads, rtol=1e-5)
    assert chosen_scores(model, train, "example@9999", full.hyper, ()).n_examples == len(train)


def test_a_tickets_own_scores_are_of_what_it_keeps(full):
    scores = fine_tune(full).scores("example")
    spec = replace(full, ticket=TicketRule("winning", 0.5, full.id))
    record = fine_tune(spec, scores)
    found = record.scores("example")
    np.testing.assert_array_equal(found.heads > 0, record.arrays["heads"])
    np.testing.assert_array_equal(found.ffns > 0, record.arrays["ffns"])


def test_dropout_is_the_published_one_for_mnli_alone(full):
    mnli = replace(full, data=replace(full.data, name="MNLI"), hyper=replace(full.hyper, task_dropout=0.3))
    for spec, dropout in ((mnli, 0.2), (full, 0.1)):
        assert published.chosen_hyper(replace(spec, choices=("mnli_dropout",))).task_dropout == dropout
    assert published.chosen_hyper(full) is full.hyper


def test_each_choice_of_training_changes_a_run_and_no_other_does(full):
    base = fine_tune(full).arrays
    for name, choice in CHOICES.items():
        found = fine_tune(replace(full, choices=(name,))).arrays
        trained = np.array_equal(found["dev_logits"], base["dev_logits"])
        scored = np.array_equal(found["importance/example/ffns"], base["importance/example/ffns"])
        if name in ("fixed_batches", "bert_adamax", "kinked_schedule", "weight_decay"):
            assert not trained, name
        elif choice.acts != "training":
            assert trained, name
            assert scored == (name not in ("triangular", "token_ffns")), name


def test_the_choices_train_on_the_fast_path_as_on_the_ordinary_one(full, monkeypatch):
    """Choices are about batches, steps and scores: the passes by hand beneath them differ by rounding alone."""
    spec = replace(full, choices=("published",))
    fast, paper = fine_tune(spec).arrays["dev_logits"], fine_tune(full).arrays["dev_logits"]
    monkeypatch.setattr("supertickets.training.loop.fast_forward", lambda _model: nullcontext())
    away = np.abs(fine_tune(spec).arrays["dev_logits"] - fast).max()
    assert away < 0.03 < np.abs(paper - fast).max()
