"""A step as a CUDA graph: launched once as a whole, where a small model spends its time launching kernels.

A training step (forward and backward pass, clipping, Adamax), a batch's evaluation and its importance are captured once
for every length of batch and replayed from then on
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). What a graph reads lies in the same place each time,
so a batch is copied there. Batches come in a few lengths (:func:`padded_widths`) and those of a length with the same
number of rows (:func:`filled`). Dropout's generator is on the device, and CUDA advances it with every replay. Nothing
waits for the device within an epoch. Passes over large splits only are worth captures (:func:`widths_that_pay`): their
batches are large and few (:func:`supertickets.training.eval_batches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from supertickets.models import family_of, layers_of
from supertickets.training.batching import Batch, EncodedSplit, tokens_at_once

WARM_UP = 3  # ordinary steps before the first capture: libraries set themselves up in them
_WIDTHS, _WORTH = 8, 20  # lengths at most; a capture costs what some steps do, and must save more
# Of passes: so many times the tokens at most, and so many tokens times weights of a layer. With more of these a layer's
# arithmetic takes longer than its launches (estimated at 250 TFLOP/s and 18 launches of 10 us; no card has timed it).
_PADDED, _WORK = 1.4, 2e10
_NUMBERS = ("updates", "rate")  # what a training step is given beside its batch
_STEP = "a step"
_FAULTS: dict[str, str] = {}  # what could not be captured in this process, and why


def padded_widths(lengths: np.ndarray, n_steps: int) -> tuple[int, ...]:
    """The lengths to which batches are padded, in rising order: those that cost least, padding and captures together.

    ``lengths`` are those of the batches of an epoch, ``n_steps`` the steps of the whole training. The best few are
    found by dynamic programming.

    >>> padded_widths(np.array([5, 6, 6, 90, 91]), n_steps=80)
    (6, 91)
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
    padding = n_steps * cost[1:, -1] / len(lengths)
    captures = _WORTH * lengths.mean() * np.arange(1, n_widths + 1)
    widths, stop = [], len(sizes)
    for k in range(1 + int(np.argmin(padding + captures)), 0, -1):
        widths.append(int(sizes[stop - 1]))
        stop = last[k, stop]
    return tuple(reversed(widths))


def widths_that_pay(
    model: PreTrainedModel, split: EncodedSplit, what: str, n_passes: int = 1, n_rows: int = 0
) -> tuple[int, ...]:
    """The lengths for captures of ``what`` is done in passes over a split; none where they cannot be or do not pay.

    They pay if each is replayed often enough, if padding adds little, and if launches are what takes the time.

    Of batches of ``n_rows`` in the split's order, 0: of :func:`supertickets.training.eval_batches`.
    """
    if graphs(model.device) is None or family_of(model).more_reads or what in _FAULTS:
        return ()
    lengths, tokens = split.lengths, tokens_at_once(model.config)
    if n_rows:
        lengths = np.maximum.reduceat(lengths, np.arange(0, len(lengths), n_rows))
        tokens = n_rows * lengths.mean()
    n_steps, layers = int(n_passes * (n_rows or 1) * lengths.sum() / tokens), layers_of(model)
    weights = sum(parameter.numel() for layer in layers for parameter in layer.parameters()) / len(layers)
    if n_steps < _WORTH or weights * tokens > _WORK:
        return ()
    widths = padded_widths(lengths, n_steps)
    padded = np.array(widths)[np.searchsorted(widths, lengths)]
    return widths if padded.sum() <= _PADDED * lengths.sum() else ()


def said(steps: str) -> str:
    """How a run's steps were carried out, and what of it was not captured although it is worth it."""
    others = {what: why for what, why in _FAULTS.items() if what != _STEP}
    told = (f"{what} batch by batch, since it cannot be captured: {why}" for what, why in others.items())
    return "; ".join(filter(None, [steps, *told]))


Step = Callable[..., Tensor]
"""A training step: the loss of a batch, given the optimiser's updates and rate, after the weights have changed."""
Capture = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]
"""Makes of what is to be carried out something that does the same again."""


@dataclass
class Replayed:
    """A :data:`Step`, or what else is done with batches of a split, captured at every length they have, and replayed.

    Batches are padded to ``widths`` and filled up to ``n_rows``, 0: as many as the first of that length has. The first
    is carried out as it is, on the stream of captures, so that libraries have set themselves up for it; then it is
    captured, which computes nothing. If a capture of ``what`` is done fails, ``fault`` says why, and this batch and all
    later ones are carried out as if there were no captures, in this process for good. What is returned is to be read
    before the next call overwrites it.
    """

    step: Step
    split: EncodedSplit
    n_rows: int
    widths: tuple[int, ...]
    device: torch.device
    capture: Capture | None
    fault: str = ""
    what: str = _STEP
    warm: int = 0
    graphs: dict[int, tuple[dict[str, Tensor], Callable[[], Tensor]]] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    n_faults: int = field(default_factory=lambda: len(_FAULTS))

    def __call__(self, batch: Batch, *numbers: Any) -> Tensor:
        """The step on a batch of the split, with the numbers it is given beside."""
        if self.capture is not None and self.what in _FAULTS:  # of another task, or of an earlier run
            self._give_up(f"one of this process failed before: {_FAULTS[self.what]}")
        if self.capture is None:
            return self.step(batch, *numbers)
        if self.n_faults < len(_FAULTS):  # of something else: dropout's generator is no longer that of these graphs
            self.graphs.clear()
            self.n_faults = len(_FAULTS)
        n_real, length = batch.inputs["input_ids"].shape
        width = next(width for width in self.widths if width >= length)
        batch = filled(batch, self.split, width, self.rows.setdefault(width, self.n_rows or n_real))
        given = {**batch.inputs, "labels": batch.labels, "real": cast(Tensor, batch.real)}
        beside = zip(_NUMBERS, numbers, strict=False)
        given |= {name: torch.tensor(of, dtype=torch.float64) for name, of in beside}
        if self.device.type == "cuda":  # from other memory a copy may wait for the device
            given = {name: value.pin_memory() for name, value in given.items()}
        if width in self.graphs:
            places, replay = self.graphs[width]
            for name, value in given.items():
                places[name].copy_(value, non_blocking=True)
            return replay()
        places = {name: value.to(self.device, copy=True, non_blocking=True) for name, value in given.items()}
        with _aside(self.device) if self.device.type == "cuda" else nullcontext():
            found = self._taken(places)
        self.warm += 1
        if self.warm >= WARM_UP:
            try:
                self.graphs[width] = places, self.capture(lambda: self._taken(places))
            except RuntimeError as fault:  # what CUDA or a library says of an operation that cannot be captured
                _FAULTS[self.what] = _why(fault)
                self._give_up(_why(fault))
        return found

    def told(self) -> str:
        """How the steps were carried out, for the run's record and log."""
        if self.fault:
            return f"one by one, since {self.what} cannot be captured: {self.fault}"
        return f"replayed, captured at {len(self.graphs)} lengths of batch"

    def _give_up(self, why: str) -> None:
        self.capture, self.fault = None, why
        self.graphs.clear()  # their dropout's generator is no longer the usual one

    def _taken(self, places: dict[str, Tensor]) -> Tensor:
        inputs = {name: value for name, value in places.items() if name not in ("labels", "real", *_NUMBERS)}
        batch = Batch(inputs, places["labels"], np.empty(0, dtype=np.int64), places["real"])
        return self.step(batch, *(places[name] for name in _NUMBERS if name in places))


def filled(batch: Batch, split: EncodedSplit, width: int, n_rows: int) -> Batch:
    """The batch of a split padded to a width and filled up to so many rows, of which ``real`` says which count.

    Rows that do not count repeat those that do.
    """
    n_real, length = batch.inputs["input_ids"].shape
    rows, padding = torch.arange(n_rows) % n_real, {"input_ids": split.ids, "token_type_ids": split.type_ids}
    inputs = {}
    for name, values in batch.inputs.items():
        ends = padding.get(name)
        inputs[name] = F.pad(values[rows], (0, width - length), value=0 if ends is None else int(ends[-1]))
    return Batch(inputs, batch.labels[rows], batch.index, torch.arange(n_rows) < n_real)


def graphs(device: torch.device) -> Capture | None:
    """On a GPU captures as CUDA graphs, which share memory: what one returns another overwrites.

    That is safe as long as none reads what another left, and all are replayed on one stream. Torch does not give back
    all that a capture took that fails, by a RuntimeError: evaluation has captures, and so memory, apart from training.
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
        except RuntimeError:
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
