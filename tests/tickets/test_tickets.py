"""Tickets: validation, counts, protection, nesting, JSON, the authors' files."""

import itertools
import json

import numpy as np
import pytest
from scipy.stats import chisquare

from supertickets.errors import SuperticketsError
from supertickets.tickets import (
    LEVELS,
    EncoderShape,
    Scores,
    Ticket,
    full_ticket,
    load_authors_ticket,
    losing_ticket,
    pruned_counts,
    random_ticket,
    winning_ticket,
)

BERT_BASE = EncoderShape(
    n_layers=12,
    n_heads=12,
    head_parameters=4 * 64 * 768 + 3 * 64,
    ffn_parameters=2 * 768 * 3072 + 3072 + 768,
    embedding_parameters=(30522 + 512 + 2) * 768 + 2 * 768,
    other_parameters=12 * (768 + 4 * 768) + 768 * 768 + 768,
)


def some_scores(seed=0, shape=(6, 8)):
    rng = np.random.default_rng(seed)
    return Scores(rng.gamma(1.0, size=shape), rng.gamma(1.0, size=shape[0]))


def test_masks_are_validated_and_frozen():
    with pytest.raises(SuperticketsError, match="booleans"):
        Ticket(np.ones((2, 2)), np.ones(2, dtype=bool))
    with pytest.raises(SuperticketsError, match="shape"):
        Ticket(np.ones(4, dtype=bool), np.ones(2, dtype=bool))
    with pytest.raises(SuperticketsError, match="as many layers"):
        Ticket(np.ones((2, 2), dtype=bool), np.ones(3, dtype=bool))
    ticket = full_ticket((2, 2))
    with pytest.raises(ValueError, match="read-only"):
        ticket.heads[0, 0] = False


def test_the_callers_array_can_change_without_changing_the_ticket():
    heads = np.ones((2, 2), dtype=bool)
    ticket = Ticket(heads, np.ones(2, dtype=bool))
    heads[0, 0] = False
    assert ticket.kept_heads == 4


def test_counts_are_the_papers_floors():
    counts = [pruned_counts((12, 12), level) for level in LEVELS]
    assert [heads for heads, _ in counts] == [14, 28, 43, 57, 72, 86, 100, 115]
    assert [ffns for _, ffns in counts] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert pruned_counts((1, 10), 0.7) == (7, 0)  # floating point says 7.000000000000001 or 6.999999999999999
    assert pruned_counts((4, 4), 1.0) == (12, 4)  # one head per layer stays
    with pytest.raises(SuperticketsError, match="between 0 and 1"):
        pruned_counts((4, 4), 1.5)


@pytest.mark.parametrize("level", LEVELS)
def test_the_three_kinds_have_equal_counts_and_keep_a_head_in_each_layer(level):
    scores = some_scores()
    tickets = [winning_ticket(scores, level), losing_ticket(scores, level), random_ticket((6, 8), level, seed=3)]
    pruned = pruned_counts((6, 8), level)
    for ticket in tickets:
        assert (48 - ticket.kept_heads, 6 - ticket.kept_ffns) == pruned
        assert ticket.heads.any(axis=1).all()


@pytest.mark.parametrize("make", [winning_ticket, losing_ticket])
def test_lower_levels_are_supersets_of_higher_ones(make):
    tickets = [make(some_scores(seed=5), level) for level in LEVELS]
    assert all(light.union(heavy) == light for light, heavy in itertools.pairwise(tickets))


def test_winning_keeps_higher_scores_than_it_prunes():
    scores = some_scores(seed=2)
    ticket = winning_ticket(scores, 0.4)
    normalised = scores.normalised_heads()
    best = normalised == normalised.max(axis=1, keepdims=True)  # protected, whatever their score
    assert normalised[ticket.heads & ~best].min() >= normalised[~ticket.heads].max()
    assert scores.ffns[ticket.ffns].min() >= scores.ffns[~ticket.ffns].max()


def test_losing_prunes_the_highest_scores():
    scores = some_scores(seed=2)
    ticket = losing_ticket(scores, 0.3)
    normalised = scores.normalised_heads()
    worst = normalised == normalised.min(axis=1, keepdims=True)
    assert normalised[ticket.heads & ~worst].max() <= normalised[~ticket.heads].min()


def test_heads_are_normalised_by_layer_before_the_global_ranking():
    # Layer 0 is a hundred times louder; after normalisation its weak head goes first, not layer 1's.
    scores = Scores(np.array([[100.0, 10.0], [1.0, 0.9]]), np.array([1.0, 1.0]))
    assert winning_ticket(scores, 0.25).heads.tolist() == [[True, False], [True, True]]


def test_a_layer_of_zero_scores_does_not_break_the_ranking():
    ticket = winning_ticket(Scores(np.zeros((2, 4)), np.zeros(2)), 0.5)
    assert ticket.kept_heads == 4
    assert ticket.kept_ffns == 1


def test_random_tickets_are_uniform_without_replacement():
    # Each head should be pruned equally often: 24 of 48 in every draw, chi-square over 2,000 draws at a fixed seed.
    draws = [random_ticket((6, 8), 0.5, seed=seed) for seed in range(2000)]
    assert all(48 - ticket.kept_heads == 24 for ticket in draws)
    pruned = np.sum([~ticket.heads for ticket in draws], axis=0).ravel()
    # Within a draw the counts are negatively correlated, which shrinks the statistic by 1 - 24/48; undo that.
    statistic = chisquare(pruned).statistic / 0.5
    assert 20 < statistic < 85  # 47 degrees of freedom: the central 99.9%
    ffns = np.sum([~ticket.ffns for ticket in draws], axis=0)
    assert chisquare(ffns).statistic / 0.5 < 22  # 5 degrees of freedom: 99.95%


def test_random_tickets_repeat_by_seed_and_differ_by_level():
    assert random_ticket((6, 8), 0.5, seed=1) == random_ticket((6, 8), 0.5, seed=1)
    assert random_ticket((6, 8), 0.5, seed=1) != random_ticket((6, 8), 0.5, seed=2)
    light, heavy = random_ticket((6, 8), 0.1, seed=1), random_ticket((6, 8), 0.8, seed=1)
    assert light.union(heavy) != light


def test_weights_remaining_matches_bert_base():
    # transformers' BertModel for bert-base-uncased has 109,482,240 parameters.
    total = 144 * BERT_BASE.head_parameters + 12 * BERT_BASE.ffn_parameters
    assert total + BERT_BASE.embedding_parameters + BERT_BASE.other_parameters == 109_482_240
    scores = some_scores(shape=(12, 12))
    remaining = [round(winning_ticket(scores, level).weights_remaining(BERT_BASE), 2) for level in LEVELS[:2]]
    assert remaining == [0.93, 0.86]  # the two commonest values of Figure 3
    assert full_ticket((12, 12)).weights_remaining(BERT_BASE, embeddings=False) == 1.0
    with pytest.raises(SuperticketsError, match="does not fit"):
        full_ticket((6, 8)).weights_remaining(BERT_BASE)


def test_union_intersection_difference():
    a = Ticket(np.array([[True, True], [False, False]]), np.array([True, False]))
    b = Ticket(np.array([[True, False], [True, False]]), np.array([True, True]))
    assert a.union(b) == Ticket(np.array([[True, True], [True, False]]), np.array([True, True]))
    assert a.intersection(b) == Ticket(np.array([[True, False], [False, False]]), np.array([True, False]))
    assert a.difference(b) == Ticket(np.array([[False, True], [False, False]]), np.array([False, False]))
    with pytest.raises(SuperticketsError, match="does not fit"):
        a.union(full_ticket((3, 2)))


def test_json_round_trip(tmp_path):
    ticket = winning_ticket(some_scores(), 0.3)
    path = tmp_path / "ticket.json"
    ticket.save(path)
    back = Ticket.load(path)
    assert back == ticket
    assert hash(back) == hash(ticket)
    assert back.kind == "winning"
    assert back.level == 0.3
    assert back.scores is not None
    assert np.array_equal(back.scores.heads, some_scores().heads)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read as JSON"),
        (lambda text: text.replace("supertickets.ticket", "something else"), "is not a ticket"),
        (lambda text: text.replace('"version": 1', '"version": 99'), "version 99"),
        (lambda text: text.replace('"n_layers": 6', '"n_layers": 5'), "damaged"),
        (lambda text: text.replace('"n_heads": 8', '"n_heads": 3'), "damaged"),
        (lambda text: "[]", "is not a ticket"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage, message):
    path = tmp_path / "ticket.json"
    winning_ticket(some_scores(), 0.3).save(path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(SuperticketsError, match=message) as error:
        Ticket.load(path)
    assert "ticket.json" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SuperticketsError, match="no file"):
        Ticket.load(tmp_path / "none.json")


def test_the_authors_files(tmp_path):
    (tmp_path / "heads_to_mask.json").write_text(json.dumps({"0": {"1": [0, 2], "3": [1]}}))
    (tmp_path / "ffn_to_mask.json").write_text(json.dumps({"0": [2]}))
    paths = (tmp_path / "heads_to_mask.json", tmp_path / "ffn_to_mask.json")
    ticket = load_authors_ticket(*paths, shape=(4, 3))
    assert np.argwhere(~ticket.heads).tolist() == [[1, 0], [1, 2], [3, 1]]
    assert np.flatnonzero(~ticket.ffns).tolist() == [2]
    with pytest.raises(SuperticketsError, match="has no task 7"):
        load_authors_ticket(*paths, shape=(4, 3), task=7)
    with pytest.raises(SuperticketsError, match="do not fit"):
        load_authors_ticket(*paths, shape=(2, 3))


def test_scores_must_be_finite_and_of_one_shape():
    with pytest.raises(SuperticketsError, match="NaN"):
        Scores(np.array([[np.nan]]), np.array([1.0]))
    with pytest.raises(SuperticketsError, match="shapes"):
        Scores(np.array([[1.0]]), np.array([1.0, 2.0]))
