"""A training step as a CUDA graph: launched once as a whole, where a small model spends its time launching kernels.

Forward and backward pass, clipping and Adamax are captured once for every length of batch and replayed from then on
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). What a graph reads lies in the same place each time,
so a batch is copied there. Batches come in a few lengths (:func:`padded_widths`) and all with the same number of rows
(:func:`filled`). Dropout's generator is on the device, and CUDA advances it with every replay. Nothing waits for the
device within an epoch. Evaluation and importance scoring are not captured: their batches are large and few
(:func:`supertickets.training.eval_batches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from supertickets.training.batching import Batch, EncodedSplit

WARM_UP = 3  # ordinary steps before the first capture: libraries set themselves up in them
_WIDTHS, _WORTH = 8, 20  # lengths at most; a capture costs what some steps do, and must save more
_BESIDE = ("labels", "real", "updates", "rate")  # what goes to a step beside the model's inputs
_FAULTS: list[str] = []  # why a capture of this process has failed


def padded_widths(lengths: np.ndarray, n_steps: int) -> tuple[int, ...]:
    """The lengths to which batches are padded, in rising order: those that pad least, few enough to be worth captures.

    ``lengths`` are those of the batches of an epoch, ``n_steps`` the steps of the whole training. The best few are
    found by dynamic programming.

    >>> padded_widths(np.array([5, 6, 6, 20, 21]), n_steps=40)
    (6, 21)
    """
    sizes, counts = np.unique(lengths, return_counts=True)
    n_widths = min(_WIDTHS, len(sizes), max(1, n_steps // _WORTH))
    below = np.concatenate([[0], np.cumsum(counts)])  # of batches shorter than each size
    cost = np.full((n_widths + 1, len(sizes) + 1), np.inf)  # tokens of the shortest sizes, with so many widths
    last = np.zeros(cost.shape, dtype=int)
    cost[0, 0] = 0.0
    for k in range(1, n_widths + 1):
        for stop in range(1, len(sizes) + 1):
            through = cost[k - 1, :stop] + sizes[stop - 1] * (below[stop] - below[:stop])
            last[k, stop] = np.argmin(through)
            cost[k, stop] = through[last[k, stop]]
    widths, stop = [], len(sizes)
    for k in range(n_widths, 0, -1):
        widths.append(int(sizes[stop - 1]))
        stop = last[k, stop]
    return tuple(reversed(widths))


Step = Callable[[Batch, Any, Any], Tensor]
"""A training step: the loss of a batch, given the optimiser's updates and rate, after the weights have changed."""
Capture = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
"""Makes of what is to be carried out something that does the same again."""


@dataclass
class Replayed:
    """A :data:`Step` on the batches of a split, captured at every length they have, and replayed.

    Batches are padded to ``widths`` and filled up to ``n_rows``. The first of each length is carried out as it is, on
    the stream of captures, so that libraries have set themselves up for it; then it is captured, which computes
    nothing. If a capture fails, this step and all later ones are carried out one by one, and ``fault`` says why.
    """

    step: Step
    split: EncodedSplit
    n_rows: int
    widths: tuple[int, ...]
    device: torch.device
    capture: Capture | None
    fault: str = ""
    warm: int = 0
    graphs: dict[int, tuple[dict[str, Tensor], Callable[[], Tensor]]] = field(default_factory=dict)

    def __call__(self, batch: Batch, updates: Sequence[int], rate: float) -> Tensor:
        """The step on a batch of the split."""
        batch = filled(batch, self.split, self.widths, self.n_rows)
        given = {**batch.inputs, "labels": batch.labels, "real": cast(Tensor, batch.real)}
        given |= {name: torch.tensor(of, dtype=torch.float64) for name, of in (("updates", updates), ("rate", rate))}
        if self.device.type == "cuda":  # from other memory a copy may wait for the device
            given = {name: value.pin_memory() for name, value in given.items()}
        width = batch.inputs["input_ids"].shape[1]
        if _FAULTS and self.capture is not None:  # of another task, or of an earlier run
            self._give_up(f"one of this process failed before: {_FAULTS[0]}")
        if width in self.graphs:
            places, replay = self.graphs[width]
            for name, value in given.items():
                places[name].copy_(value, non_blocking=True)
            return replay()
        places = {name: value.to(self.device, copy=True, non_blocking=True) for name, value in given.items()}
        with _aside(self.device) if self.device.type == "cuda" else nullcontext():
            loss = self._taken(places)
        self.warm += 1
        if self.capture is not None and self.warm >= WARM_UP:
            try:
                self.graphs[width] = places, self.capture(lambda: self._taken(places))
            except RuntimeError as fault:  # what CUDA or a library says of an operation that cannot be captured
                self._give_up(_why(fault))
        return loss

    def told(self) -> str:
        """How the steps were carried out, for the run's record and log."""
        if self.fault:
            return f"one by one, since a step cannot be captured: {self.fault}"
        return f"replayed, captured at {len(self.graphs)} lengths of batch"

    def _give_up(self, why: str) -> None:
        self.capture, self.fault = None, why
        self.graphs.clear()  # their dropout's generator is no longer the usual one

    def _taken(self, places: dict[str, Tensor]) -> Tensor:
        inputs = {name: value for name, value in places.items() if name not in _BESIDE}
        batch = Batch(inputs, places["labels"], np.empty(0, dtype=np.int64), places["real"])
        return self.step(batch, places["updates"], places["rate"])


def filled(batch: Batch, split: EncodedSplit, widths: Sequence[int], n_rows: int) -> Batch:
    """The batch of a split padded to the next of the widths and to so many rows, of which ``real`` says which count.

    Rows that do not count repeat those that do.
    """
    n_real, length = batch.inputs["input_ids"].shape
    more = next(width for width in widths if width >= length) - length
    rows, padding = torch.arange(n_rows) % n_real, {"input_ids": split.ids, "token_type_ids": split.type_ids}
    inputs = {}
    for name, values in batch.inputs.items():
        ends = padding.get(name)
        inputs[name] = F.pad(values[rows], (0, more), value=0 if ends is None else int(ends[-1]))
    return Batch(inputs, batch.labels[rows], batch.index, torch.arange(n_rows) < n_real)


def graphs(device: torch.device) -> Capture | None:
    """On a GPU captures as CUDA graphs, which share memory: a loss is to be read before the next step overwrites it.

    One that fails, by a RuntimeError, is the last of this process: torch does not give back all that it took.
    """
    if device.type != "cuda":
        return None
    number = torch.cuda.current_device()  # asked first: before CUDA is set up there are no generators
    generator, pool = torch.cuda.default_generators[number], torch.cuda.graph_pool_handle()

    def capture(carry_out: Callable[[], Tensor]) -> Callable[[], Tensor]:
        graph, state, usual = torch.cuda.CUDAGraph(), generator.clone_state(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=pool, stream=_side(number)):
                loss = carry_out()
        except RuntimeError as fault:
            _FAULTS.append(_why(fault))
            torch.cuda.set_stream(usual)  # torch leaves its own only after a capture that ends well
            generator.graphsafe_set_state(state)  # the failed capture's would refuse all further numbers
            # Before 2.13 memory is still asked for as in a capture, and what lies unused is never given back.
            with suppress(AttributeError, RuntimeError):
                torch._C._cuda_endAllocateToPool(number, pool)
            raise

        def replay() -> Tensor:
            graph.replay()
            return loss

        return replay

    return capture


def _why(fault: RuntimeError) -> str:
    return str(fault.__context__ or fault).strip().splitlines()[0]  # a capture's end complains of what broke it


@cache
def _side(device: int) -> torch.cuda.Stream:
    """The stream of captures, one for all runs: for each that it has seen cuBLAS keeps memory for good."""
    return torch.cuda.Stream(device)


@contextmanager
def _aside(device: torch.device) -> Iterator[None]:
    """The stream of captures, so that nothing set up here is tied to the usual one."""
    usual, own = torch.cuda.current_stream(device), _side(torch.cuda.current_device())
    own.wait_stream(usual)
    with torch.cuda.stream(own):
        yield
    usual.wait_stream(own)
