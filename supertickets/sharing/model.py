"""Ticket sharing (section 4): one encoder, a task head and a ticket per task, and no unit that no task uses.

A unit in the tickets of several tasks is shared by them, a unit in one ticket belongs to that task alone, and a unit
in no ticket is removed. Tasks go by name, never by position. How the shared model is trained is the business of
:mod:`supertickets.sharing.loop`.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, reduce
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from supertickets.models import (
    compact,
    cut,
    family_of,
    ffn_stand_ins,
    gate_heads,
    layer_parts,
    layers_of,
    load_encoder,
    mark,
    put_module,
    within,
    write_model,
)
from supertickets.tickets import Ticket, check_tickets, full_ticket
from supertickets.training import EncodedSplit, predict

ENCODER = "shared-encoder"


@dataclass(frozen=True)
class SharedModel:
    """A model per task, by name in alphabetical order, whose encoder is one and the same module.

    The encoder holds the union of the tickets. Each ticket is for the encoder the union was cut from. Run a task's
    model inside :func:`using` or with :func:`predict_task`, so that it uses its ticket only. ``gates`` are those that
    :func:`using` has made so far, kept because a captured step goes on reading them.
    """

    models: dict[str, PreTrainedModel]
    tickets: dict[str, Ticket]
    union: Ticket
    gates: dict[tuple[Any, ...], Tensor] = field(default_factory=dict, repr=False)

    @property
    def encoder(self) -> PreTrainedModel:
        """The encoder that all tasks share."""
        return next(iter(self.models.values())).base_model  # pyright: ignore[reportReturnType]

    def within(self, name: str) -> tuple[list[np.ndarray], np.ndarray]:
        """A task's ticket counted in the units that are stored: per layer its heads, and the FFNs ``(n_layers,)``."""
        return within(self.tickets[name], self.union)


def task_seed(seed: int, name: str) -> int:
    """The seed of a task's own head and batches: it depends on the run's seed and the task's name.

    >>> task_seed(0, "rte") == task_seed(0, "rte") != task_seed(0, "cola")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]) >> 2


def shared_model(
    encoder: str,
    num_labels: Mapping[str, int],
    tickets: Mapping[str, Ticket] | None = None,
    seed: int = 0,
    dropout: float | Mapping[str, float] | None = None,
) -> SharedModel:
    """The pre-trained encoder with a fresh head for every task (MT-DNN), cut to the union of the tickets if given.

    ``num_labels`` says how many outputs each task has (1 for regression). A head is initialised by
    :func:`task_seed`, so it is the same whatever other tasks there are. ``dropout`` is that of the task heads, for all
    or by name; None = as the encoder's config says.

    Raises SuperticketsError for an unknown encoder, no task, or tickets that do not fit the encoder or the tasks.

    >>> shared = shared_model("lab-base", {"mood": 2, "score": 1})
    >>> shared.models["mood"].base_model is shared.models["score"].base_model
    True
    """
    rates = dropout if isinstance(dropout, Mapping) else dict.fromkeys(num_labels, dropout)
    models: dict[str, PreTrainedModel] = {}
    for name in sorted(num_labels):
        model = load_encoder(encoder, num_labels[name], task_seed(seed, name), rates.get(name))
        models[name] = _with_encoder(model, next(iter(models.values())).base_model) if models else model
    return share(models, tickets)


def share(models: Mapping[str, PreTrainedModel], tickets: Mapping[str, Ticket] | None = None) -> SharedModel:
    """A shared model from one full-size model per task: its heads, and the encoder of the first by name.

    The encoder is copied and loses what is in no ticket; the models given are left as they are. Without tickets every
    task uses everything (MT-DNN). Raises SuperticketsError as :func:`shared_model` does.
    """
    names = sorted(models)
    check_tickets(names, None)
    first = models[names[0]]
    shape = (len(layer_parts(first)), int(first.config.num_attention_heads))
    tickets = dict.fromkeys(names, full_ticket(shape)) if tickets is None else {name: tickets[name] for name in tickets}
    check_tickets(names, tickets, shape)
    union = reduce(Ticket.union, tickets.values())
    owner = compact(first, union)
    made = {names[0]: owner}
    for name in names[1:]:
        made[name] = _with_encoder(models[name], owner.base_model)
    return SharedModel(made, {name: tickets[name] for name in names}, union)


@contextmanager
def using(shared: SharedModel, name: str) -> Iterator[PreTrainedModel]:
    """A task's model, running with its ticket only while the context lasts: theta_i = M(theta, Omega_i).

    Heads outside the ticket are gated to zero, FFNs outside it are not computed at all; weights are neither copied
    nor masked. Nothing is hooked where the ticket keeps all that is stored.

    >>> import torch
    >>> from supertickets.tickets import random_ticket
    >>> ticket = random_ticket((6, 8), 0.5, seed=1)
    >>> shared = shared_model("lab-base", {"a": 2, "b": 2}, {"a": ticket, "b": full_ticket((6, 8))})
    >>> ids = torch.tensor([[2, 10, 11, 3]])
    >>> with torch.no_grad(), using(shared, "a") as model:
    ...     model.eval()(ids).logits.shape
    torch.Size([1, 2])
    """
    model = shared.models[name]
    family = family_of(model)
    heads, ffns = shared.within(name)
    swapped = []
    with ExitStack() as gates:
        try:
            layers = zip(layers_of(model), heads, ffns, shared.union.ffns, strict=True)
            for index, (layer, kept, ffn, stored) in enumerate(layers):
                if not kept.all():
                    out = layer.get_submodule(family.attention_out)
                    weight = out.get_parameter("weight")
                    key = (name, index, weight.device, weight.dtype)
                    gate = shared.gates.get(key)
                    shared.gates[key] = gate = weight.new_tensor(kept) if gate is None else gate
                    gates.enter_context(gate_heads(out, gate))
                if stored and not ffn:
                    for path, stand_in in _stand_ins(family):
                        swapped.append((layer, path, layer.get_submodule(path)))
                        put_module(layer, path, stand_in)
            yield model
        finally:
            for layer, path, module in swapped:
                put_module(layer, path, module)


def predict_task(shared: SharedModel, name: str, split: EncodedSplit, precision: str = "fp32") -> np.ndarray:
    """Outputs of a task's head for a split, with its ticket only: see :func:`supertickets.training.predict`."""
    with using(shared, name) as model:
        return predict(model, split, precision)


def alone(shared: SharedModel, name: str) -> PreTrainedModel:
    """A task's own model, compacted to its ticket, sharing nothing: for further fine-tuning ("+ ST"), or to keep.

    It computes what the shared model does for the task (float64: to 1e-10), and
    :func:`supertickets.models.save_compacted` writes it with ``shared.tickets[name]``.
    """
    model = copy.deepcopy(shared.models[name])
    cut(model, *shared.within(name))
    mark(model.config, shared.tickets[name])
    return model


def save_shared(shared: SharedModel, path: str | Path, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
    """Writes a shared model: its encoder once, in a folder ``shared-encoder``, and a folder per task with its head.

    :func:`supertickets.models.load_compacted` reads a task's folder, which needs the encoder's beside it, and gives
    what :func:`alone` does. Raises SuperticketsError if something cannot be written.
    """
    encoder = shared.encoder.state_dict()
    write_model(shared.encoder, shared.union, Path(path) / ENCODER, encoder, tokenizer)
    for name, model in shared.models.items():
        theirs = {f"{model.base_model_prefix}.{key}" for key in encoder}
        head = {key: tensor for key, tensor in model.state_dict().items() if key not in theirs}
        write_model(model, shared.tickets[name], Path(path) / name, head, tokenizer, ENCODER)


_stand_ins = cache(ffn_stand_ins)  # none has parameters or state, so all models can use the same ones


def _with_encoder(model: PreTrainedModel, encoder: nn.Module) -> PreTrainedModel:
    """The model's head on another's encoder, which is not copied."""
    prefix = model.base_model_prefix
    # deepcopy takes what its memo holds for the original: so the old encoder is never copied.
    return copy.deepcopy(model, {id(getattr(model, prefix)): encoder})
