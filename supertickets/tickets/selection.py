"""Winning, losing and random tickets: which units go at a sparsity level."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tickets.ticket import Scores, Ticket

LEVELS: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""The paper's eight sparsity levels (section 5.2): the share of heads and of FFNs that is pruned."""

KINDS: tuple[str, ...] = ("winning", "random", "losing")


def pruned_counts(
    shape: tuple[int, int], level: float, protect: int = 1, ffn_share: Fraction = Fraction(1)
) -> tuple[int, int]:
    """(heads, FFNs) pruned at a sparsity level: floor(level x heads), floor(ffn_share x level x FFNs).

    ``protect`` heads per layer are never pruned, which caps the first number (design, audit D9).

    >>> [pruned_counts((12, 12), level)[0] for level in (0.1, 0.5, 0.8)]
    [14, 72, 115]
    """
    # Fraction of the printed decimal, so that 0.7 x 10 is 7 and not 6.999...
    share = Fraction(str(level))
    if not 0 <= share <= 1:
        raise SuperticketsError(f"A sparsity level lies between 0 and 1, not {level}.")
    n_layers, n_heads = shape
    heads = min(int(share * n_layers * n_heads), n_layers * max(n_heads - protect, 0))
    return heads, int(ffn_share * share * n_layers)


def winning_ticket(scores: Scores, level: float, protect: int = 1, ffn_share: Fraction = Fraction(1)) -> Ticket:
    """Prunes the units with the lowest importance (section 3): heads after layer-wise l2 normalisation, FFNs as is.

    Heads are ranked over all layers together; the best ``protect`` heads of each layer stay (audit D9).

    >>> scores = Scores(heads=[[3.0, 4.0], [5.0, 12.0]], ffns=[2.0, 1.0])
    >>> ticket = winning_ticket(scores, 0.5)
    >>> ticket.heads.tolist(), ticket.ffns.tolist()
    ([[False, True], [False, True]], [True, False])
    """
    return _ranked_ticket("winning", scores, level, protect, ffn_share)


def losing_ticket(scores: Scores, level: float, protect: int = 1, ffn_share: Fraction = Fraction(1)) -> Ticket:
    """Prunes the units with the highest importance; the counts equal the winning ticket's (section 5.4)."""
    return _ranked_ticket("losing", scores, level, protect, ffn_share)


def random_ticket(
    shape: tuple[int, int],
    level: float,
    seed: int,
    protect: int = 1,
    ffn_share: Fraction = Fraction(1),
    replacement: bool = False,
    divisor: bool = False,
) -> Ticket:
    """Prunes units drawn uniformly without replacement; the counts equal the winning ticket's (section 5.4).

    Each (seed, level) is an independent draw. With ``replacement`` as many units are drawn, some twice, so that fewer
    go (audit D10): the first units of the same order, as many as are drawn at least once. With ``divisor`` head n is
    one of layer n // n_layers (audit D11), where layers outnumber heads; elsewhere there are no such layers, or it is
    the same.

    >>> random_ticket((6, 8), 0.5, seed=1).kept_heads
    24
    """
    # The level enters in units of 1e-6 so that neighbouring levels get unrelated streams.
    rng = np.random.default_rng([seed, round(level * 1_000_000)])
    n_layers, n_heads = shape
    heads, ffns = rng.permutation(n_layers * n_heads), rng.permutation(n_layers)
    counts = pruned_counts(shape, level, protect, ffn_share)
    if replacement:
        drawn = (rng.integers(n, size=count) for n, count in zip((heads.size, n_layers), counts, strict=True))
        counts = tuple(len(np.unique(units)) for units in drawn)
    if divisor and n_layers > n_heads:
        heads = heads // n_layers * n_heads + heads % n_heads
    return replace(_prune_in_order(shape, heads, ffns, counts, protect), kind="random", level=level, seed=seed)


def _ranked_ticket(kind: str, scores: Scores, level: float, protect: int, ffn_share: Fraction) -> Ticket:
    sign = 1.0 if kind == "winning" else -1.0
    heads, ffns = sign * scores.normalised_heads(), sign * scores.ffns
    shape = (heads.shape[0], heads.shape[1])
    # Stable sorts: ties are broken by position, the same on every machine.
    head_order, ffn_order = np.argsort(heads, axis=None, kind="stable"), np.argsort(ffns, kind="stable")
    ticket = _prune_in_order(shape, head_order, ffn_order, pruned_counts(shape, level, protect, ffn_share), protect)
    return replace(ticket, kind=kind, level=level, scores=scores)


def _prune_in_order(
    shape: tuple[int, int], head_order: np.ndarray, ffn_order: np.ndarray, counts: tuple[int, ...], protect: int
) -> Ticket:
    """Walks down ``head_order`` (flat indices, first = pruned first), skipping a layer's last ``protect`` heads.

    ``counts`` are (heads, FFNs) to go; a head that is named again counts again.
    """
    n_heads_pruned, n_ffns_pruned = counts
    heads, ffns = np.ones(shape, dtype=bool), np.ones(shape[0], dtype=bool)
    for unit in head_order:
        if n_heads_pruned == 0:
            break
        layer, head = divmod(int(unit), shape[1])
        if not heads[layer, head] or heads[layer].sum() > protect:
            heads[layer, head] = False
            n_heads_pruned -= 1
    ffns[ffn_order[:n_ffns_pruned]] = False
    return Ticket(heads, ffns)
