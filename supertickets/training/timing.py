"""What a ticket saves: the time of a step, compacted or masked, beside its share of the arithmetic.

The paper counts parameters. What a user feels is time, and a mask saves none of it: so each sparsity level is timed
both ways, against the full model and against what its floating-point operations predict.
"""

import os
import re
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import PretrainedConfig, PreTrainedModel

from supertickets.errors import SuperticketsError
from supertickets.models import compact, known_family, layers_of, load_encoder, load_tokenizer, masked, shape_of
from supertickets.runs import Hyper
from supertickets.tasks import DataRef
from supertickets.tickets import LEVELS, Ticket, full_ticket, random_ticket
from supertickets.training.batching import EncodedSplit, cached_encode, train_batches
from supertickets.training.conditions import run_conditions
from supertickets.training.fast import ONE_DNN, graphs
from supertickets.training.loop import best_device, evaluation, low_precision, ready, train_epoch, training_step
from supertickets.training.optimiser import Optimiser, flat_parameters

_PRODUCTS = {f"aten::{name}" for name in ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_")}
_PRODUCTS |= {"mkldnn::_linear_pointwise"}
_VIEWS = {f"aten::{name}" for name in ("view", "t", "transpose", "as_strided", "reshape", "expand", "slice", "select")}
_VIEWS |= {f"aten::{name}" for name in ("unsqueeze", "_unsafe_view", "_reshape_alias", "narrow")}
_VIEWS |= {f"aten::{name}" for name in ("empty", "empty_strided", "empty_like")}
_KERNELS = re.compile("gemm|gemv|cutlass|xmma|nvjet|splitk|fmha|flash|sdpa", re.IGNORECASE)
"""Names of a GPU's matrix products, attention's among them."""
WAYS = ("compacted", "masked")
K = TypeVar("K", bound=Hashable)


def operations(config: PretrainedConfig, ticket: Ticket, n_tokens: float) -> float:
    """Floating-point operations of the matrix products of one example's forward pass with a ticket.

    A product of an ``(a, b)`` with a ``(b, c)`` matrix takes ``2 a b c``. The last layer is computed for the first
    token alone where layers are computed by hand; a backward pass takes twice as many, whatever the ticket, so shares
    are the same in training. Raises SuperticketsError for DeBERTa, which has products of positions too.

    >>> config = load_encoder("lab-base", 2, seed=0).config
    >>> whole = operations(config, full_ticket((6, 8)), 25)
    >>> operations(config, Ticket(np.eye(6, 8, dtype=bool), np.zeros(6, dtype=bool)), 25) < 0.1 * whole
    True
    """
    family = known_family(config.model_type, f"The encoder of a {type(config).__name__}")
    if family.more_reads:
        raise SuperticketsError(f"The operations of a {config.model_type} are not counted: it has products of its own.")
    width, inner = config.hidden_size, getattr(config, "intermediate_size", None) or config.hidden_dim
    size = width // config.num_attention_heads
    gated = config.model_type == "modernbert"  # its FFN reads twice
    total = 2.0 * width * width  # the pooler
    for index, (heads, ffn) in enumerate(zip(ticket.heads.sum(axis=1), ticket.ffns, strict=True)):
        queries = 1 if family.attention_sum and index == len(ticket.heads) - 1 else n_tokens
        total += 4 * heads * size * (width * (n_tokens + queries) + queries * n_tokens)
        total += (6 if gated else 4) * queries * width * inner * bool(ffn)
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
    split, whole, tickets = _prepared(encoder, data, hyper, (0.0, *levels), n_batches, seed)
    timed: dict[tuple[float, str, str], Callable[[], object]] = {}
    with run_conditions(), ExitStack() as stack:
        for level, ticket in tickets.items():
            for way in ways if level else ways[:1]:
                model = compact(whole, tickets[0.0] if way == "masked" else ticket)
                passes = stack.enter_context(_passes(model, split, hyper, seed))
                if way == "masked":
                    stack.enter_context(masked(model, ticket))
                timed |= {(level, way, mode): function for mode, function in passes.items()}
        taken = _in_turn(timed, repeats)
    shape, peak, n_steps = shape_of(whole), peak_rate(hyper.precision), -(-len(split) // hyper.batch_size)
    counts = {level: operations(whole.config, its, float(np.mean(split.lengths))) for level, its in tickets.items()}
    rows = []
    for (level, way, mode), seconds in taken.items():
        low, ratio, high = np.quantile(seconds / taken[0.0, ways[0], mode], [0.25, 0.5, 0.75])
        row = {"level": level, "way": way, "mode": mode, "seconds": float(np.median(seconds)) / n_steps}
        row |= {"ratio": float(ratio), "low": float(low), "high": float(high)}
        row |= {"operations": counts[level] / counts[0.0], "weights_remaining": tickets[level].weights_remaining(shape)}
        done = counts[level] * len(split) * (3 if mode == "training" else 1)
        rows.append(row | {"utilisation": done / float(np.median(seconds)) / peak})
    return pd.DataFrame(rows)


def peak_rate(precision: str = "fp32") -> float:
    """Floating-point operations a second of a large matrix product, on a GPU or else on one thread: as fast as it gets.

    ``precision`` is "fp32" or "bf16".
    """
    device = best_device()
    size = 8192 if device.type == "cuda" else 1024
    factor = torch.randn(size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    products: dict[str, Callable[[], object]] = {"own": lambda: factor @ factor}
    if device.type == "cpu" and precision == "fp32" and ONE_DNN is not None:
        products["oneDNN"] = lambda: ONE_DNN(factor, factor, None, "none", [], "")
    with run_conditions(), torch.inference_mode():
        return 2.0 * size**3 / min(seconds.min() for seconds in _in_turn(products, 5).values())


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
    split, whole, tickets = _prepared(encoder, data, hyper, levels, n_batches, seed)
    n_steps, peak, rows = -(-len(split) // hyper.batch_size), peak_rate(hyper.precision), []
    for level, ticket in tickets.items():
        model = compact(whole, ticket)
        with run_conditions(), _passes(model, split, hyper, seed) as passes:
            seconds = float(_in_turn(passes, 5)["training"].min()) / n_steps
            watched = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if model.device.type == "cuda" else [])]
            with _without_stderr(), profile(activities=watched) as seen:
                passes["training"]()
        products, computed = (found / 1e6 / n_steps for found in _arithmetic(seen.key_averages(), model.device.type))
        count = operations(whole.config, ticket, float(np.mean(split.lengths)))
        rate = 3 * count * len(split) / n_steps / seconds
        row = {"level": level, "seconds": seconds, "products": products / seconds}
        row |= {"elementwise": (computed - products) / seconds, "between": max(0.0, 1 - computed / seconds)}
        rows.append(row | {"rate": rate / 1e9, "utilisation": rate / peak})
    return pd.DataFrame(rows)


def _arithmetic(events: Iterable[Any], device: str) -> tuple[float, float]:
    """Microseconds that the profiler saw in matrix products, and in all arithmetic and copying, those included.

    Of a replayed step it sees kernels on a GPU, but not the operations they belong to: there, kernels are counted.
    """
    if device == "cuda":
        kernels = [it for it in events if it.device_type.name == "CUDA" and not it.is_user_annotation]
        taken = {it.key: it.self_device_time_total for it in kernels}
        return sum(spent for name, spent in taken.items() if _KERNELS.search(name)), sum(taken.values())
    taken = {it.key: it.self_cpu_time_total for it in events if it.key.startswith(("aten::", "mkldnn::"))}
    return sum(taken.get(name, 0.0) for name in _PRODUCTS), sum(taken[name] for name in taken.keys() - _VIEWS)


def _prepared(
    encoder: str, data: DataRef, hyper: Hyper, levels: Sequence[float], n_batches: int, seed: int
) -> tuple[EncodedSplit, PreTrainedModel, dict[float, Ticket]]:
    """The examples that are timed, the full model, and the ticket of every level."""
    task = data.load()
    split = cached_encode(task, "train", load_tokenizer(encoder), hyper.max_length)
    split = split.rows(np.arange(min(len(split), n_batches * hyper.batch_size)))
    whole = load_encoder(encoder, task.num_labels, seed, hyper.task_dropout)
    full = full_ticket((len(layers_of(whole)), whole.config.num_attention_heads))
    return split, whole, {level: random_ticket(full.shape, level, seed) if level else full for level in levels}


@contextmanager
def _passes(
    model: PreTrainedModel, split: EncodedSplit, hyper: Hyper, seed: int
) -> Iterator[dict[str, Callable[[], object]]]:
    """A pass of training over the split and one of inference, by mode, with a model that is ready for both."""
    low = low_precision(best_device(), hyper.precision)
    with ready(model, hyper, seed, split) as (own,), flat_parameters(model, low) as flat:
        optimiser = Optimiser.of(flat, hyper, n_steps := 1_000_000)
        step = training_step(model, own, hyper, optimiser.step, n_steps, graphs(model.device))
        yield {
            "training": lambda: train_epoch(model, train_batches(own, hyper.batch_size, seed, 0), optimiser, step),
            "inference": evaluation(model, own, hyper.precision, n_steps),
        }


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


def _in_turn(timed: Mapping[K, Callable[[], object]], repeats: int) -> dict[K, np.ndarray]:
    """Seconds of every function, once in each of ``repeats`` rounds, after a round that does not count."""
    seconds: dict[K, list[float]] = {key: [] for key in timed}
    for number in range(repeats + 1):
        for key, function in timed.items():
            started = time.perf_counter()
            function()
            if torch.cuda.is_available():  # what was asked of a GPU is done later
                torch.cuda.synchronize()
            if number:
                seconds[key].append(time.perf_counter() - started)
    return {key: np.array(found) for key, found in seconds.items()}
