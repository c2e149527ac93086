"""Training and scoring as the authors' published code does them, where a run's choices say so.

Each stands beside what it replaces: :data:`supertickets.runs.CHOICES` has the paper's sentence and the code's place.
"""

# pyright: reportPrivateImportUsage=false

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from supertickets.models import importance_scores
from supertickets.runs import Hyper, RunSpec
from supertickets.tasks import shuffled
from supertickets.tickets import Scores
from supertickets.training.batching import Batch, EncodedSplit, eval_batches, train_batches
from supertickets.training.fast import Replayed, Step, fast_forward, graphs, widths_that_pay
from supertickets.training.optimiser import BETAS, Optimiser, adamax_step, warmup_then_decay

_EPSILON = 1e-6  # the default of the code's optimiser, which is not torch's


def chosen_hyper(spec: RunSpec) -> Hyper:
    """A run's hyper-parameters with what its choices change: D18 (no early stopping), D22 (dropout), D25 (decay)."""
    changed: dict[str, Any] = {}
    if "all_epochs" in spec.acting:
        changed["patience"] = spec.hyper.epochs
    if "weight_decay" in spec.acting:
        changed["weight_decay"] = 0.01
    if "mnli_dropout" in spec.acting and spec.data.name in ("MNLI", "inference"):  # and its kin in the lab
        changed["task_dropout"] = 0.2
    return replace(spec.hyper, **changed) if changed else spec.hyper


def chosen_batches(choices: Collection[str]) -> Callable[[EncodedSplit, int, int, int], Iterator[Batch]]:
    """How an epoch's batches are made: :func:`~supertickets.training.batching.train_batches`, or as published (D17)."""
    return fixed_batches if "fixed_batches" in choices else train_batches


def fixed_batches(encoded: EncodedSplit, batch_size: int, seed: int, _epoch: int = 0) -> Iterator[Batch]:
    """Contiguous parts of the file in an order that depends on the seed alone: every epoch is the same (D17)."""
    parts = list(_in_order(encoded, batch_size))
    yield from (parts[part] for part in shuffled(len(parts), seed))


def _in_order(encoded: EncodedSplit, batch_size: int) -> Iterator[Batch]:
    for start in range(0, len(encoded), batch_size):
        yield encoded.batch(np.arange(start, min(start + batch_size, len(encoded))))


def chosen_optimiser(
    model: nn.Module, flat: nn.Parameter, hyper: Hyper, n_steps: int, choices: Collection[str]
) -> Optimiser:
    """The optimiser of a model's flat parameters: Adamax as published (D23), its schedule (D24), its decay (D25)."""
    optimiser = Optimiser.of(flat, hyper, n_steps)
    optimiser.rule = bert_adamax_step if "bert_adamax" in choices else adamax_step
    optimiser.factor = (kinked_schedule if "kinked_schedule" in choices else warmup_then_decay)(hyper, n_steps)
    if "weight_decay" in choices:  # matrices come first in the vector
        optimiser.decayed = sum(parameter.numel() for parameter in model.parameters() if parameter.dim() > 1)
    return optimiser


@torch.no_grad()
def bert_adamax_step(
    weights: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    infinities: list[Tensor],
    _updates: Sequence[int] | Tensor,
    rate: float | Tensor,
    clip: float,
    weight_decay: float = 0.0,
    decayed: int | None = None,
) -> None:
    """One step of the published Adamax (D23), with :func:`~supertickets.training.optimiser.adamax_step`'s arguments.

    The momentum's bias is not corrected, epsilon is added to the gradient's size and to the norm, and decay pulls at
    the weights themselves.
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, torch.clamp(clip / (norm + 1e-6), max=1.0))
    torch._foreach_lerp_(averages, gradients, 1 - BETAS[0])
    torch._foreach_mul_(infinities, BETAS[1])
    torch._foreach_abs_(gradients)
    torch._foreach_add_(gradients, _EPSILON)
    torch._foreach_maximum_(infinities, gradients)
    if weight_decay:
        torch._foreach_mul_(weights[:decayed], 1 - rate * weight_decay)
    norms = torch._foreach_add(infinities, _EPSILON)
    if isinstance(rate, Tensor):
        steps = torch._foreach_mul(averages, (-rate).to(weights[0].dtype))
        torch._foreach_add_(weights, torch._foreach_div(steps, norms))
    else:
        torch._foreach_addcdiv_(weights, averages, norms, -rate)
    torch._foreach_zero_(gradients)


def kinked_schedule(hyper: Hyper, n_steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at a step (from 0), as published (D24): up from 0, then on a line from 1 to 0.

    >>> factor = kinked_schedule(Hyper(warmup=0.1), 100)
    >>> [round(factor(step), 2) for step in (0, 9, 10, 99)]
    [0.0, 0.9, 0.9, 0.01]
    """

    def factor(step: int) -> float:
        done = step / n_steps
        return done / hyper.warmup if done < hyper.warmup else 1 - done

    return factor


def chosen_scores(
    model: PreTrainedModel, train: EncodedSplit, estimator: str, hyper: Hyper, choices: Collection[str]
) -> Scores:
    """Importance scores of a trained model, of the first N training examples by ``NAME@N``.

    As published where chosen: D1 (batches that count again), D3 and D4 (the absolute value at every position, of heads
    and of FFNs, where the paper's is asked for).
    """
    name, _, n = estimator.partition("@")
    train = train.rows(np.arange(min(int(n), len(train)))) if n else train
    running = "triangular" in choices
    per_token = [name == "example" and f"token_{unit}" in choices for unit in ("heads", "ffns")]
    found: dict[bool, Scores] = {}
    what, n_rows = "importance scoring", hyper.batch_size if running else 0
    widths = widths_that_pay(model, train, what, n_rows=n_rows)

    def replayed(step: Step) -> Step:
        return Replayed(step, train, n_rows, widths, model.device, graphs(model.device), what=what)

    for token in set(per_token):
        by_length = eval_batches(train, widths=widths, config=model.config)
        batches = _in_order(train, hyper.batch_size) if running else by_length
        how = (fast_forward(model), replayed) if widths else (nullcontext(), None)
        with how[0]:
            found[token] = importance_scores(model, batches, "token" if token else name, running, how[1])
    heads, ffns = (found[token] for token in per_token)
    return replace(heads, ffns=ffns.ffns, estimator=estimator)
