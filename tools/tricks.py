"""What each speed trick gives: one run with it and without it, in turn.

A trick is taken away here and nowhere else: the package has no switches. Processor time is what counts, since a
machine may do other things beside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from supertickets.runs import Hyper
from supertickets.training import batching, fine_tune, run_conditions, warmup_then_decay
from supertickets.training.fast import layers
from supertickets.training.optimiser import flat_parameters

HOME = "supertickets.training"


def layers_of_the_library(layer: nn.Module, family: Any, first: bool) -> Callable[..., Any]:
    """A layer's own forward pass, with the mask that a pass by hand gives it."""
    plain = layer.forward

    def forward(states: Tensor, mask: Tensor | None, *rest: Any, **more: Any) -> Any:
        return plain(states, None if mask is None else mask[..., : states.shape[1]], *rest, **more)

    return forward


def layers_in_a_library_pass(layer: nn.Module, family: Any, first: bool) -> Callable[..., Any]:
    """A layer by hand, with the mask that the library's pass gives it."""
    ours = layers.layer_forward(layer, family, first)

    def forward(states: Tensor, mask: Tensor | None, *rest: Any, **_: Any) -> Any:
        return ours(states, states.new_zeros(1, 1, 1, states.shape[1]) if mask is None else mask[:, :, :1], *rest)

    return forward


def masks_as_long_as_texts(attention_mask: Tensor, states: Tensor, whole: int) -> Tensor:
    """What is added to scores, without columns that fill it up."""
    return states.new_zeros(attention_mask.shape).masked_fill_(attention_mask == 0, torch.finfo(states.dtype).min)[
        :, None, None
    ]


def dropout_of_torch(x: Tensor, rate: float) -> tuple[Tensor, Tensor | None]:
    """Dropout with a random number of torch's own for each element."""
    if rate == 0.0:
        return x, None
    factors = torch.empty_like(x).bernoulli_(1 - rate).div_(1 - rate)
    return x * factors, factors


class OneByOne:
    """Torch's Adamax, clipping and schedule on parameters that are tensors of their own."""

    def __init__(self, parameters: list[nn.Parameter], hyper: Hyper, n_steps: int) -> None:
        self.parameters, self.hyper = parameters, hyper
        self.adamax = torch.optim.Adamax(parameters, hyper.learning_rate, weight_decay=hyper.weight_decay)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.adamax, warmup_then_decay(hyper, n_steps))

    def coming(self) -> tuple[list[int], float]:
        """Nothing that :meth:`step` needs: the schedule counts by itself."""
        return [], 0.0

    def step(self, *_: Any) -> None:
        """Updates the parameters; gradients are zero afterwards."""
        nn.utils.clip_grad_norm_(self.parameters, self.hyper.clip)
        self.adamax.step()
        self.schedule.step()
        self.adamax.zero_grad(set_to_none=False)


@contextmanager
def one_by_one() -> Iterator[None]:
    """The optimiser steps through all parameters; they lie together still, so that epochs can keep their weights."""
    parameters: list[nn.Parameter] = []

    @contextmanager
    def remembered(model: nn.Module, _low: torch.dtype | None = None) -> Iterator[nn.Parameter]:
        with flat_parameters(model) as flat:
            parameters[:] = model.parameters()
            yield flat

    made = SimpleNamespace(of=lambda _flat, hyper, n_steps: OneByOne(parameters, hyper, n_steps))
    with patch(f"{HOME}.loop.flat_parameters", remembered), patch(f"{HOME}.loop.Optimiser", made):
        yield


def without(**instead: Any) -> Callable[[], AbstractContextManager[Any]]:
    """Other things in the place of what stands at ``file__name`` in the room, while the context lasts."""

    def context() -> AbstractContextManager[Any]:
        stack = ExitStack()
        for where, other in instead.items():
            stack.enter_context(patch(f"{HOME}.{where.replace('__', '.')}", other))
        return stack

    return context


TRICKS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "layers by hand": without(fast__forward__layer_forward=layers_of_the_library),
    "the pass around them": without(
        fast__forward___forward=lambda encoder, *_: encoder.forward,
        fast__forward__layer_forward=layers_in_a_library_pass,
    ),
    "first token only": without(
        fast__forward__first_token_only=nullcontext,
        fast__forward__layer_forward=lambda layer, family, first: layers.layer_forward(layer, family, False),
    ),
    "query, key and value as one": without(
        fast__layers___as_one=lambda tensors: tensors[0] if len(tensors) == 1 else None
    ),
    "products by oneDNN": without(fast__layers___is_large=lambda *_: False),
    "rows of scores filled up": without(fast__forward___added=masks_as_long_as_texts),
    "dropout of 16 bits": without(fast__layers__dropout=dropout_of_torch, fast__attention__dropout=dropout_of_torch),
    "own vocabulary": without(loop__own_vocabulary=lambda _model, *splits: nullcontext(splits)),
    "flat Adamax": one_by_one,
    "batches of like length": without(batching__POOL=1),
    "texts tokenised once": without(
        fine_tuning__cached_encode=lambda task, split, *how: batching.encode(getattr(task, split), *how)
    ),
}


def priced(spec: Any, rounds: int = 5) -> Iterator[dict[str, Any]]:
    """Per trick, how many times as long the run takes without it: median over rounds, and quartiles.

    In every round the run is carried out with all tricks and without each of them, in turn, forwards in one round and
    backwards in the next; a first one does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ("", *TRICKS)}
    for number in range(rounds + 1):
        for name in list(seconds)[:: 1 if number % 2 else -1]:
            with TRICKS.get(name, nullcontext)(), run_conditions():
                started = time.process_time()
                fine_tune(spec)
                seconds[name] += [time.process_time() - started] if number else []
    whole = np.array(seconds[""])
    for name in TRICKS:
        low, ratio, high = np.quantile(np.array(seconds[name]) / whole, [0.25, 0.5, 0.75])
        row = {"trick": name, "seconds": float(np.median(whole)), "ratio": float(ratio)}
        yield row | {"low": float(low), "high": float(high)}
