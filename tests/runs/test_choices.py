"""Choices by name: which runs they touch, and tickets made as the published code makes them."""

from dataclasses import replace

import numpy as np
import pytest

from supertickets.errors import SuperticketsError
from supertickets.runs import CHOICES, Hyper, RunSpec, SharingSpec, TicketRule, choices_of
from supertickets.runs.choices import OPEN_ENDS, PUBLISHED
from supertickets.tasks import DataRef
from supertickets.tickets import LEVELS, Scores

FULL = RunSpec("e", "1", DataRef("t", "2"), 0)
BASE, LARGE = (12, 12), (24, 16)


def of(kind: str, level: float = 0.5, **changes) -> RunSpec:
    parent = "" if kind in ("random", "full") else "p"
    return replace(FULL, ticket=TicketRule(kind, level if kind != "full" else 0.0, parent), **changes)


def drawn(shape, level, n, *choices):
    """Shares of heads and FFNs that random tickets really lose, by ticket, and in how many tickets each head goes."""
    tickets = [TicketRule("random", level).ticket(shape, seed, None, choices) for seed in range(n)]
    heads, ffns = np.array([t.heads for t in tickets]), np.array([t.ffns for t in tickets])
    return 1 - heads.mean(axis=(1, 2)), 1 - ffns.mean(axis=1), (~heads).sum(axis=0)


def test_only_choices_that_can_touch_a_run_are_in_its_id():
    touched = {
        name: {kind for kind in ("full", "winning", "losing", "random") if of(kind, choices=(name,)).id != of(kind).id}
        for name in CHOICES
    }
    by_where = {
        "training": {"full", "winning", "losing", "random"},
        "scores": {"full"},
        "tickets": {"winning", "losing", "random"},
        "random": {"random"},
        "sharing": set(),
    }
    assert touched == {name: by_where[choice.acts] for name, choice in CHOICES.items()}
    assert len({of("random", choices=(name,)).id for name in CHOICES}) == 1 + sum(
        "random" in kinds for kinds in touched.values()
    )


def test_open_ends_touch_what_they_act_on_and_are_no_part_of_the_published_code():
    kinds = ("full", "winning", "losing", "random")
    touched = {name: {kind for kind in kinds if of(kind, choices=(name,)).acting} for name in OPEN_ENDS}
    assert touched == {"late_rewind": {"winning", "losing", "random"}, "early_scores": {"full"}}
    assert not set(PUBLISHED) & set(OPEN_ENDS)
    rule = TicketRule("winning", 0.5, "p")
    shared = SharingSpec("e", "1", (DataRef("a", "1"), DataRef("b", "2")), (rule, rule), (0.1, 0.1), 0)
    assert replace(shared, choices=tuple(OPEN_ENDS)).id == shared.id


def test_a_shared_run_knows_its_own_choices():
    data = (DataRef("a", "1"), DataRef("b", "2"))
    rules = {kind: TicketRule(kind, 0.5, "" if kind == "random" else "p") for kind in ("random", "winning")}
    mt_dnn = SharingSpec("e", "1", data, (TicketRule(), TicketRule()), (0.1, 0.1), 0)
    shared = replace(mt_dnn, tickets=(rules["random"], rules["winning"]))
    assert replace(mt_dnn, choices=PUBLISHED).to_json()["choices"] == ["leaky_updates"]
    assert replace(mt_dnn, choices=("weight_decay",)).id == mt_dnn.id
    assert {"leaky_updates", "replacement", "ffn_counts"} <= set(replace(shared, choices=PUBLISHED).acting)
    assert SharingSpec.from_json(replace(mt_dnn, choices=PUBLISHED).to_json()).choices == ("leaky_updates",)


def test_a_spec_of_old_is_read_and_a_new_one_comes_back():
    assert "choices" not in FULL.to_json()
    assert RunSpec.from_json(FULL.to_json()) == FULL
    chosen = replace(FULL, choices=("published",))
    assert RunSpec.from_json(chosen.to_json()).id == chosen.id != FULL.id
    assert chosen.choices == PUBLISHED == choices_of("published")
    with pytest.raises(
        SuperticketsError, match=r"Unknown choice 'triangle'; known: triangular, token_heads.*published"
    ):
        choices_of("triangle")


def test_counts_are_those_of_the_published_scripts():
    scores = {shape: Scores(np.random.default_rng(0).random(shape), np.arange(shape[0])) for shape in (BASE, LARGE)}

    def pruned(kind, shape, *choices):
        given = None if kind == "random" else scores[shape]
        rule = TicketRule(kind, 0.0, "" if kind == "random" else "p")
        tickets = [replace(rule, level=level).ticket(shape, 0, given, choices) for level in LEVELS]
        return [(t.heads.size - t.kept_heads, t.ffns.size - t.kept_ffns) for t in tickets]

    # D14 and D15: rewind_*_winning.sh, heads and FFNs by hand.
    by_hand = list(zip((14, 28, 43, 57, 72, 86, 100, 115), range(1, 9), strict=True))
    for kind in ("winning", "losing", "random"):
        assert pruned(kind, BASE, "ffn_counts") == by_hand
    assert pruned("winning", LARGE, "ffn_counts")[3][1] == 8  # "40%" of 24
    assert TicketRule("winning", 0.95, "p").ticket(BASE, 0, scores[BASE]).kept_heads == 144 - 132  # so does 100%


def test_protection_is_of_all_but_random_tickets_as_published():
    scores = Scores(np.array([[1.0, 1.0], [0.0, 10.0]]), np.ones(2))
    bare = Scores(np.array([[0.1, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 10.0]]), np.ones(2))

    def least(kind, *choices, given=scores):
        return TicketRule(kind, 0.75, "p" if kind != "random" else "").ticket(given.heads.shape, 3, given, choices)

    assert least("winning").heads.any(axis=1).all()
    assert least("losing", "unprotected_random").heads.any(axis=1).all()
    assert least("losing", "unprotected", given=bare).heads.tolist() == [[False] * 4, [False, True, True, False]]
    empty = [
        not TicketRule("random", 0.5).ticket((6, 2), k, None, ("unprotected_random",)).heads.any(1).all()
        for k in range(50)
    ]
    assert np.mean(empty) > 0.5
    assert all(TicketRule("random", 0.5).ticket((6, 2), k, None, ()).heads.any(1).all() for k in range(50))


@pytest.mark.parametrize("level", [0.5, 0.8])
def test_with_replacement_fewer_units_go_than_the_level_says(level):
    heads, ffns, _ = drawn(BASE, level, 400, "replacement", "unprotected_random")
    for shares, n, count in ((heads, 144, int(level * 144)), (ffns, 12, int(level * 12))):
        expected = 1 - (1 - 1 / n) ** count  # of n units each escapes a draw with probability 1 - 1/n
        assert shares.mean() == pytest.approx(expected, abs=4 * shares.std() / 20)
    known = {0.5: (0.395, 0.41), 0.8: (0.55, 0.54)}[level]  # audit D10: of nominal 80% of heads 55% go
    assert heads.mean() == pytest.approx(known[0], abs=0.005)
    assert ffns.mean() == pytest.approx(known[1], abs=0.03)


def test_as_published_a_nominal_80_percent_is_half_of_the_ffns():
    _, ffns, _ = drawn(BASE, 0.8, 400, "replacement", "ffn_counts")
    # 8 draws of 12: each escapes all of them with probability (11/12)^8.
    assert ffns.mean() == pytest.approx(1 - (11 / 12) ** 8, abs=0.02)
    assert pytest.approx(0.5, abs=0.005) == (11 / 12) ** 8


def test_the_wrong_divisor_never_reaches_the_last_layers_of_a_deep_model():
    _, _, gone = drawn(LARGE, 0.5, 300, "divisor", "unprotected_random")
    assert not gone[16:].any()
    assert np.count_nonzero(gone) == 256  # layers 0 to 15, every head of theirs
    for shape in (BASE, (6, 8)):
        assert np.array_equal(drawn(shape, 0.5, 5, "divisor")[2], drawn(shape, 0.5, 5)[2])


def test_a_ticket_with_replacement_prunes_a_part_of_what_is_pruned_without():
    for seed in range(20):
        less, more = (TicketRule("random", 0.5).ticket(BASE, seed, None, c) for c in (("replacement",), ()))
        assert not (more.heads & ~less.heads).any()
        assert less.kept_heads > more.kept_heads


def test_choices_are_no_hyper_parameters():
    assert replace(FULL, hyper=Hyper(weight_decay=0.01)).id != replace(FULL, choices=("weight_decay",)).id
