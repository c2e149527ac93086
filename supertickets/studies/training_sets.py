"""Which training sets an experiment uses: of Figure 1, its powered test, the map, the audit, Figure 5 and Table 4.

And on which grid settings are tuned, and what texts of lists say.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from supertickets.errors import SuperticketsError
from supertickets.runs import CHOICES, Hyper

MAP_SIZES, MAP_NOISES = (50, 100, 200, 400, 800, 1600), (0.0, 0.1, 0.2, 0.3, 0.4)
"""Training-set sizes and rates of wrong labels of the map."""
MAP_DEV_SIZE = 400
"""Its dev examples: a cell has many training sets, and the records of all must fit into the book."""
CASES = ("paper", *(name for name in CHOICES if name != "divisor"), "published")
"""What the audit compares: the paper's text, each choice alone, and all. The lab's encoders have too few layers for
"divisor", which is of the paper's large model."""


@dataclass(frozen=True)
class TrainingSets:
    """Figure 1: ``n`` training sets of ``size`` examples of one task, numbered from ``first``.

    In the lab they are drawn afresh, with labels wrong at rate ``noise`` (None: the task's own); from real data they
    are disjoint. ``hyper`` are the hyper-parameters where they are not the profile's for the task.
    """

    task: str
    size: int
    n: int
    first: int = 0
    noise: float | None = None
    hyper: Hyper | None = None


@dataclass(frozen=True)
class Subsets:
    """Training sizes of one task that Figure 5 sets beside the whole training set."""

    task: str
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Adaptation:
    """Table 4: from the task ``source`` to each target, with so many of its training examples (None: all of them).

    Of every size but the whole, each seed has ``draws`` random subsets of its own. The first ``n_seeds`` of the
    profile's seeds are run, at each of the learning ``rates``, of which one is chosen on the selection split (A.3.2;
    none: the profile's). ``data`` holds further arguments of :func:`supertickets.tasks.load_task` for source and
    targets.
    """

    source: str
    sizes: Mapping[str, tuple[int | None, ...]]
    draws: int = 3
    n_seeds: int = 5
    rates: tuple[float, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """The paper's tuning beyond learning rates (5.2, A.2.2): ``batch_sizes``, each with every rate, then ``dropouts``.

    ``fresh``: on so many seeds that chose nothing the choice is set beside the profile's own settings.
    """

    batch_sizes: tuple[int, ...] = (8, 16, 32)
    dropouts: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
    fresh: int = 10


def map_cells(
    task: str, sizes: Sequence[int], noises: Sequence[float], n: int, hyper: Hyper | None = None
) -> tuple[TrainingSets, ...]:
    """The cells of the map (chapter 10): ``n`` training sets of every size and rate of wrong labels, all independent.

    >>> [(cell.size, cell.noise, cell.first) for cell in map_cells("paraphrase", (50, 100), (0.0, 0.1), 12)]
    [(50, 0.0, 50000), (50, 0.1, 50100), (100, 0.0, 100000), (100, 0.1, 100100)]
    """
    # Sets of its own for every cell, of numbers that nothing else uses: no two cells share their luck.
    return tuple(
        TrainingSets(task, size, n, 1000 * size + round(1000 * noise), noise, hyper)
        for size in sizes
        for noise in noises
    )


def some_cells(
    cells: Sequence[TrainingSets], sizes: str = "", noises: str = "", n: int = 0
) -> tuple[TrainingSets, ...]:
    """The cells of these sizes and rates (texts with commas), at most ``n`` training sets of each, where given.

    >>> cells = map_cells("paraphrase", MAP_SIZES, MAP_NOISES, 12)
    >>> [(cell.size, cell.noise, cell.n) for cell in some_cells(cells, "50", "0, 0.4", 2)]
    [(50, 0.0, 2), (50, 0.4, 2)]
    """
    wanted = [set(listed(text, float, "Sizes and rates of the map are numbers")) for text in (sizes, noises)]
    chosen = [cell for cell in cells if cell.size in (wanted[0] or {cell.size})]
    chosen = [cell for cell in chosen if cell.noise in (wanted[1] or {cell.noise})]
    return tuple(replace(cell, n=min(n or cell.n, cell.n)) for cell in chosen)


def listed(values: str | Sequence[Any], read: Callable[[Any], Any] = str, what: str = "") -> tuple[Any, ...]:
    """What a sequence, or a text with commas, names, each as ``read``; raises SuperticketsError: ``what`` they are.

    >>> listed("0.1, 0.4", float)
    (0.1, 0.4)
    """
    parts = [part.strip() for part in values.split(",") if part.strip()] if isinstance(values, str) else values
    try:
        return tuple(map(read, parts))
    except ValueError as error:
        raise SuperticketsError(f"{what}, separated by commas ({error}).") from error


def seed_numbers(seeds: str | Sequence[int]) -> tuple[int, ...]:
    """Seeds, whole numbers from 0, from a text with commas or a sequence; raises SuperticketsError for others.

    >>> seed_numbers("0, 1, 4")
    (0, 1, 4)
    """
    found = listed(seeds)
    if not found or len(set(found)) < len(found) or not all(seed.isdecimal() for seed in found):
        raise SuperticketsError(f"Seeds are different whole numbers from 0, such as 0,1,2 (--seeds), not {seeds!r}.")
    return tuple(map(int, found))


def sparsity_levels(text: str) -> tuple[float, ...]:
    """Sparsity levels from a text with commas; raises SuperticketsError unless they are different shares in (0, 1].

    >>> sparsity_levels("0.1, 0.4")
    (0.1, 0.4)
    """
    try:
        levels = tuple(float(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or len(set(levels)) < len(levels) or not all(0 < level <= 1 for level in levels):
        raise SuperticketsError(f"--levels {text!r} is not a list of different shares in (0, 1] such as 0.1,0.2,0.4.")
    return levels
