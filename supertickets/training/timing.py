"""What a ticket saves: the time of a step, compacted or masked, beside its share of the arithmetic.

The paper counts parameters. What a user feels is time, and a mask saves none of it: so each sparsity level is timed
both ways, against the full model and against what its floating-point operations predict.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from transformers import PretrainedConfig, PreTrainedModel

from supertickets.models import compact, load_encoder, load_tokenizer, masked, shape_of
from supertickets.runs import Hyper
from supertickets.tasks import DataRef
from supertickets.tickets import LEVELS, Ticket, full_ticket, random_ticket
from supertickets.training.batching import EncodedSplit, cached_encode, eval_batches, train_batches
from supertickets.training.conditions import run_conditions
from supertickets.training.fast import ONE_DNN, fast_forward, task_vocabulary
from supertickets.training.loop import autocast, best_device, train_epoch
from supertickets.training.optimiser import Optimiser, flat_parameters

_PRODUCTS = (
    *(f"aten::{name}" for name in ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_")),
    "mkldnn::_linear_pointwise",
)
_VIEWS = {
    f"aten::{name}"
    for name in ("view", "t", "transpose", "as_strided", "reshape", "expand", "slice", "select", "empty", "unsqueeze")
} | {"aten::empty_strided", "aten::empty_like", "aten::_unsafe_view", "aten::_reshape_alias", "aten::narrow"}
WAYS = ("compacted", "masked")


def operations(config: PretrainedConfig, ticket: Ticket, n_tokens: float) -> float:
    """Floating-point operations of the matrix products of one example's forward pass with a ticket.

    A product of an ``(a, b)`` with a ``(b, c)`` matrix takes ``2 a b c``. The last layer is computed for the first
    token alone; a backward pass takes twice as many, whatever the ticket, so shares are the same in training.

    >>> config = load_encoder("lab-base", 2, seed=0).config
    >>> whole = operations(config, full_ticket((6, 8)), 25)
    >>> operations(config, Ticket(np.eye(6, 8, dtype=bool), np.zeros(6, dtype=bool)), 25) < 0.1 * whole
    True
    """
    width, inner = config.hidden_size, config.intermediate_size
    size = width // config.num_attention_heads
    total = 2.0 * width * width  # the pooler
    for index, (heads, ffn) in enumerate(zip(ticket.heads.sum(axis=1), ticket.ffns, strict=True)):
        queries = 1 if index == len(ticket.heads) - 1 else n_tokens
        total += 4 * heads * size * (width * (n_tokens + queries) + queries * n_tokens)
        total += 4 * queries * width * inner * bool(ffn)
    return float(total)


def step_times(
    encoder: str,
    data: DataRef,
    hyper: Hyper,
    levels: Sequence[float] = LEVELS,
    ways: Sequence[str] = WAYS,
    n_batches: int = 8,
    repeats: int = 7,
    seed: int = 0,
) -> pd.DataFrame:
    """Times of training steps and of inference with random tickets at every level, on a GPU or else on one thread.

    ``n_batches`` minibatches of ``hyper.batch_size`` training examples are trained on, then predicted, by every model
    in turn, ``repeats`` times over, so that whatever else the machine does hits all of them. One row per level (0: the
    full model), way and mode: ``seconds`` a step (median), and, against the full model in the same round, ``ratio``
    (median) with ``low`` and ``high`` (quartiles), beside ``operations``, its share of the full model's operations.
    ``utilisation`` is the step's operations a second over :func:`peak_rate` ("model-FLOPs utilisation").

    Raises SuperticketsError for an unknown encoder or bad data.
    """
    task = data.load()
    split = cached_encode(task, "train", load_tokenizer(encoder), hyper.max_length)
    split = split.rows(np.arange(min(len(split), n_batches * hyper.batch_size)))
    whole = load_encoder(encoder, task.num_labels, seed, hyper.task_dropout)
    shape = shape_of(whole)
    full = full_ticket((shape.n_layers, shape.n_heads))
    tickets = {0.0: full} | {level: random_ticket(full.shape, level, seed) for level in levels}
    length, peak = float(np.mean(split.lengths)), peak_rate(hyper.precision)
    with ExitStack() as stack:
        stack.enter_context(run_conditions())
        timed: dict[tuple[float, str, str], Callable[[], object]] = {}
        for level, ticket in tickets.items():
            for way in ways if level else ways[:1]:
                model = load_encoder(encoder, task.num_labels, seed, hyper.task_dropout)
                if way == "masked":
                    stack.enter_context(masked(model, ticket))
                else:
                    model = compact(model, ticket)
                model.to(best_device())  # pyright: ignore[reportArgumentType]  # a decorator of transformers hides its self
                train, predict = stack.enter_context(_ready(model, split, hyper, seed))
                timed[level, way, "training"], timed[level, way, "inference"] = train, predict
        seconds = _in_turn(timed, repeats)
    n_steps = -(-len(split) // hyper.batch_size)
    rows = []
    for (level, way, mode), found in seconds.items():
        low, ratio, high = np.quantile(found / seconds[0.0, ways[0], mode], [0.25, 0.5, 0.75])
        done = operations(whole.config, tickets[level], length) * len(split) * (3 if mode == "training" else 1)
        rows.append(
            {
                "level": level,
                "way": way,
                "mode": mode,
                "seconds": float(np.median(found)) / n_steps,
                "ratio": float(ratio),
                "low": float(low),
                "high": float(high),
                "operations": operations(whole.config, tickets[level], length) / operations(whole.config, full, length),
                "weights_remaining": tickets[level].weights_remaining(shape),
                "utilisation": done / float(np.median(found)) / peak,
            }
        )
    return pd.DataFrame(rows)


def peak_rate(precision: str = "fp32") -> float:
    """Floating-point operations a second of a large matrix product, on a GPU or else on one thread: as fast as it gets.

    ``precision`` is "fp32" or "bf16".
    """
    device = best_device()
    size = 8192 if device.type == "cuda" else 1024
    factor = torch.randn(size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    products: list[Callable[[], Tensor]] = [lambda: factor @ factor]
    if device.type == "cpu" and precision == "fp32" and ONE_DNN is not None:
        products.append(lambda: ONE_DNN(factor, factor, None, "none", [], ""))
    with run_conditions(), torch.inference_mode():
        seconds = _in_turn({(float(n), "", ""): product for n, product in enumerate(products)}, 5)
    return 2.0 * size**3 / min(found.min() for found in seconds.values())


def step_profile(
    encoder: str, data: DataRef, hyper: Hyper, levels: Sequence[float] = (0.0, 0.8), n_batches: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Where the time of a training step goes: one row per level (0: the full model) of random tickets.

    On a GPU, or else on one thread. ``seconds`` a step, measured without a profiler; ``products``, the share of it in
    matrix products, and ``elementwise``, that in all other arithmetic and copying, as torch's profiler sees them;
    ``between`` is the rest: calls, views, allocation, Python. ``rate`` is the step's operations per second, in GFLOP/s,
    ``utilisation`` the share of :func:`peak_rate` that this is. Products alone, at the speed they have, would take the
    share ``products``: below that no step can get without fewer or faster ones.

    Raises SuperticketsError for an unknown encoder or bad data.
    """
    task = data.load()
    split = cached_encode(task, "train", load_tokenizer(encoder), hyper.max_length)
    split = split.rows(np.arange(min(len(split), n_batches * hyper.batch_size)))
    n_steps, length = -(-len(split) // hyper.batch_size), float(np.mean(split.lengths))
    whole = load_encoder(encoder, task.num_labels, seed, hyper.task_dropout)
    shape, peak, rows = shape_of(whole), peak_rate(hyper.precision), []
    device = best_device()
    watched = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    for level in levels:
        full = full_ticket((shape.n_layers, shape.n_heads))
        ticket = random_ticket(full.shape, level, seed) if level else full
        model = compact(whole, ticket)
        model.to(device)  # pyright: ignore[reportArgumentType]  # a decorator of transformers hides its self
        with run_conditions(), _ready(model, split, hyper, seed) as (train, _):
            seconds = min(_in_turn({(level, "compacted", "training"): train}, 5).popitem()[1]) / n_steps
            with _without_stderr(), profile(activities=watched) as seen:
                train()
        attribute = f"self_{'device' if device.type == 'cuda' else 'cpu'}_time_total"
        by_name = {event.key: getattr(event, attribute) / 1e6 / n_steps for event in seen.key_averages()}
        products = sum(by_name.get(name, 0.0) for name in _PRODUCTS)
        ours = {name for name in by_name if name.startswith(("aten::", "mkldnn::"))}
        computed = sum(by_name[name] for name in ours - _VIEWS)
        rate = 3 * operations(whole.config, ticket, length) * len(split) / n_steps / seconds
        rows.append(
            {
                "level": level,
                "seconds": float(seconds),
                "products": products / seconds,
                "elementwise": (computed - products) / seconds,
                "between": max(0.0, 1 - computed / seconds),
                "rate": rate / 1e9,
                "utilisation": rate / peak,
            }
        )
    return pd.DataFrame(rows)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Nothing of this process reaches stderr for the context's time: torch's profiler writes lines of its own there."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _ready(
    model: PreTrainedModel, split: EncodedSplit, hyper: Hyper, seed: int
) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """One pass of training over the split, and one of inference, as functions; the model is ready for both."""
    with task_vocabulary(model, hyper, split) as (split,), fast_forward(model), flat_parameters(model) as flat:
        optimiser = Optimiser.of(flat, hyper, n_steps=1_000_000)

        def train() -> None:
            train_epoch(model, train_batches(split, hyper.batch_size, seed, 0), optimiser)

        def predict() -> None:
            model.eval()
            with torch.no_grad(), autocast(model.device, hyper.precision):
                for batch in eval_batches(split):
                    model(**batch.to(model.device).inputs)

        yield train, predict


def _in_turn(
    timed: Mapping[tuple[float, str, str], Callable[[], object]], repeats: int
) -> dict[tuple[float, str, str], np.ndarray]:
    """Seconds of every function, once in each of ``repeats`` rounds, after a round that does not count."""
    seconds: dict[tuple[float, str, str], list[float]] = {key: [] for key in timed}
    for number in range(repeats + 1):
        for key, function in timed.items():
            started = time.perf_counter()
            function()
            if torch.cuda.is_available():  # what was asked of a GPU is done later
                torch.cuda.synchronize()
            if number:
                seconds[key].append(time.perf_counter() - started)
    return {key: np.array(found) for key, found in seconds.items()}
