"""What runs cost, and how far a sweep is: a bar in a terminal or a notebook, else a line every minute.

The seconds of runs that finished tell those of the ones to come, the more alike the better.
"""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from supertickets.runs import AdaptationSpec, RunSpec, Spec, readable

EVERY = 60.0
"""Seconds between two lines where there is no terminal to draw a bar in."""

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total} [{elapsed}{postfix}]"

Likeness = tuple[tuple[object, ...], ...]


@dataclass
class Costs:
    """Seconds of finished runs by how much a run is like them: the finest key that has any is used."""

    sums: dict[tuple[object, ...], tuple[float, int]] = field(default_factory=dict)

    def add(self, spec: Spec, seconds: float) -> None:
        """Takes account of a run that took so long on one worker; NaN says nothing."""
        for key in likeness(spec) if not math.isnan(seconds) else ():
            total, n = self.sums.get(key, (0.0, 0))
            self.sums[key] = total + seconds, n + 1

    def of(self, keys: Likeness) -> float:
        """Mean seconds of the runs most like one with these keys (:func:`likeness`), NaN if there are none."""
        total, n = next((self.sums[key] for key in keys if key in self.sums), (math.nan, 1))
        return total / n

    def total(self, runs: Iterable[tuple[Likeness, float]]) -> float:
        """Seconds of so many runs of each likeness; those of an unknown kind cost what the known ones do on average.

        NaN if nothing is known of any of them, 0 if there are none.
        """
        counted = [(self.of(keys), n) for keys, n in runs]
        known = [(cost, n) for cost, n in counted if not math.isnan(cost)]
        everything, n_known = sum(n for _, n in counted), sum(n for _, n in known)
        if not everything:
            return 0.0
        return sum(cost * n for cost, n in known) * everything / n_known if n_known else math.nan


def likeness(spec: Spec) -> Likeness:
    """Keys under which runs cost about the same, the finest first."""
    if isinstance(spec, RunSpec):
        kind, data = (spec.encoder_revision, "single"), (spec.data.name, spec.data.train_size)
        return ((*kind, *data, spec.ticket.kind, spec.ticket.level), (*kind, *data), kind)
    if isinstance(spec, AdaptationSpec):
        kind = (spec.source.encoder_revision, "adaptation", spec.data.name, spec.fraction, spec.size)
        return ((*kind, spec.model), kind)
    kind = (spec.encoder_revision, "shared", tuple(ref.name for ref in spec.data))
    return ((*kind, spec.model), kind)


@dataclass
class Progress:
    """Runs to be carried out, those under way and those over, in all stages of a sweep that are known so far.

    The time left is what the like of the runs took in this sweep, or else that of ``recorded`` runs, shared among the
    workers. Without ``shown`` nothing is written but the errors of failed runs.

    >>> str(Progress("table1", shown=False))
    'table1: 0.0 of 0 runs'
    """

    description: str
    shown: bool = True
    recorded: Costs = field(default_factory=Costs)
    measured: Costs = field(default_factory=Costs)
    left: dict[str, Likeness] = field(default_factory=dict)
    under_way: dict[str, float] = field(default_factory=dict)
    workers: int = 1
    n_over: int = 0
    n_failed: int = 0
    bar: tqdm | None = None
    cell: Any = None
    next_look: float = 0.0
    next_line: float = field(default_factory=lambda: time.monotonic() + EVERY)

    def expect(self, specs: Iterable[Spec]) -> None:
        """These runs are to be carried out, as may have been known before."""
        self.left |= {spec.id: likeness(spec) for spec in specs}
        self.show()

    def over(self, spec: Spec, kind: str, seconds: float, error: str = "") -> None:
        """A run is over: "done" after so many seconds, "found" in the store, or "failed"."""
        self.left.pop(spec.id, None)
        self.under_way.pop(spec.id, None)
        self.n_over += 1
        if kind == "done":
            self.measured.add(spec, seconds)
        if kind == "failed":
            self.n_failed += 1
            tqdm.write(f"run {spec.id} failed: {error}")
        self.show()

    def look(self, running: Iterable[str], workers: int, share: Callable[[str], float]) -> None:
        """These runs are under way, and ``share`` tells what part of each is behind it; asked about once a second."""
        now = time.monotonic()
        if self.shown and now >= self.next_look:
            self.workers = workers
            self.under_way = {run_id: share(run_id) for run_id in running if run_id in self.left}
            self.next_look = now + max(1.0, 20 * (time.monotonic() - now))  # a store far away takes its time
            self.show(look=True)

    def seconds_left(self) -> float:
        """Estimated seconds until all is over, NaN while nothing like it has finished."""
        runs = Counter(self.left.values())
        for run_id, share in self.under_way.items():
            runs[self.left[run_id]] -= share  # pyright: ignore[reportArgumentType] - a part of a run counts as such
        costs = Costs({**self.recorded.sums, **self.measured.sums})
        return costs.total(runs.items()) / max(1, min(self.workers, len(self.left)))

    def show(self, look: bool = False) -> None:
        """Draws the bar, or writes a line if the last was a minute ago."""
        if not self.shown:
            return
        if sys.stderr.isatty():
            self.bar = self.bar or tqdm(desc=self.description, bar_format=_BAR, total=1)
            self.bar.total, self.bar.n = self.n_over + len(self.left), self.n_over + sum(self.under_way.values())
            if look:  # the estimate takes longer than drawing
                self.bar.set_postfix_str(self._remarks(), refresh=False)
            self.bar.refresh()
        elif _in_notebook() and (look or not self.left):
            from IPython.display import HTML, display  # an element of the browser's own: no widgets

            done, remarks = self.n_over + sum(self.under_way.values()), self._remarks() if self.left else "done"
            html = f"<progress max='{self.n_over + len(self.left)}' value='{done:.1f}'></progress> {self}, {remarks}"
            self.cell = self.cell or display(HTML(html), display_id=True)
            self.cell.update(HTML(html))
        elif time.monotonic() >= self.next_line:
            self.next_line = time.monotonic() + EVERY
            print(f"{self}, {self._remarks()}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self.bar is not None:
            self.bar.close()

    def __str__(self) -> str:
        behind = self.n_over + sum(self.under_way.values())
        return f"{self.description}: {behind:.1f} of {self.n_over + len(self.left)} runs"

    def _remarks(self) -> str:
        seconds = self.seconds_left()
        left = "time left unknown" if math.isnan(seconds) else f"{readable(seconds)} left"
        return left + (f", {self.n_failed} failed" if self.n_failed else "")


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")
