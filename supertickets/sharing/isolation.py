"""Only theta_i is updated (Algorithm 1): an optimiser that never touches what is outside a task's ticket.

All parameters of a shared model lie in one vector, ordered so that each unit is contiguous: the task heads, what
every task uses (embeddings, layer norms, attention output biases, pooler), then per layer head by head and the FFN.
A task's parameters are then a few stretches of the vector, and a step is arithmetic on those stretches: the rest gets
no gradient, no momentum and no weight decay, and costs nothing. What belongs to a unit is what
:mod:`supertickets.models.compaction` removes with it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from supertickets.models import Family, family_of, layers_of, reads_in
from supertickets.sharing.model import SharedModel
from supertickets.training import adamax_step


@dataclass(frozen=True)
class Stretch:
    """Neighbouring elements ``start:stop`` of the vector that the same tasks use."""

    start: int
    stop: int
    owners: frozenset[str]


@dataclass(frozen=True)
class Isolated:
    """A shared model's parameters as one vector, with Adamax's state, its stretches, and the steps of each task.

    ``apart`` pairs parameters that autograd gives a gradient of their own with their places in ``gradient``.
    ``average`` and ``infinity`` are Adamax's momentum and infinity norm, of the vector's shape. An element's number
    of updates, which corrects the momentum's bias, is the number of steps of the tasks that use it.
    """

    vector: Tensor
    gradient: Tensor
    average: Tensor
    infinity: Tensor
    stretches: tuple[Stretch, ...]
    steps: dict[str, int]
    apart: tuple[tuple[nn.Parameter, Tensor], ...] = field(default=(), repr=False)
    cache: dict[str, tuple[list[Tensor], ...]] = field(default_factory=dict, repr=False)

    def owned(self, name: str) -> np.ndarray:
        """Booleans of the vector's length: the elements a task uses and updates."""
        mask = np.zeros(len(self.vector), dtype=bool)
        for stretch in self.stretches:
            mask[stretch.start : stretch.stop] = name in stretch.owners
        return mask

    def coming(self, name: str, leaky: bool = False) -> list[int]:
        """Counts a step of a task, and returns the ``updates`` that :meth:`update` is to be given for it."""
        self.steps[name] += 1
        if leaky:
            return [sum(self.steps.values())]
        return [sum(self.steps[its] for its in s.owners) for s in self.stretches if name in s.owners]

    def update(
        self,
        name: str,
        updates: Sequence[int] | Tensor,
        rate: float | Tensor,
        clip: float,
        weight_decay: float = 0.0,
        leaky: bool = False,
    ) -> None:
        """One step of :func:`~supertickets.training.adamax_step` for a task, on its stretches.

        ``leaky``: on all stretches, whose old momentum moves them on though their gradient is zero (audit D31).
        """
        self.collect()
        mine = self._of(name)
        if leaky:
            mine = [self.vector], [self.gradient], [self.average], [self.infinity]
        weights, gradients, averages, infinities = mine
        adamax_step(weights, gradients, averages, infinities, updates, rate, clip, weight_decay)

    @torch.no_grad()
    def collect(self) -> None:
        """Brings the gradients of heads into the vector, where they lie row by row, which autograd does not write."""
        for parameter, slope in self.apart:
            if parameter.grad is not None:
                slope.copy_(parameter.grad)
                parameter.grad = None

    def _of(self, name: str) -> tuple[list[Tensor], ...]:
        """The task's stretches of weights, gradient, momentum and infinity norm: views, made once."""
        if name not in self.cache:
            mine = [slice(s.start, s.stop) for s in self.stretches if name in s.owners]
            whole = (self.vector, self.gradient, self.average, self.infinity)
            self.cache[name] = tuple([tensor[part] for part in mine] for tensor in whole)
        return self.cache[name]


@dataclass(frozen=True)
class _Piece:
    """Parameters that lie together; ``views`` cuts a stretch of the vector into tensors of their shapes."""

    parameters: Sequence[nn.Parameter]
    owners: Sequence[frozenset[str]]  # of equal parts, one after the other
    views: Callable[[Tensor], Sequence[Tensor]]

    @property
    def size(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters)


@contextmanager
def isolated(shared: SharedModel) -> Iterator[Isolated]:
    """All parameters of a shared model as one vector that updates by task, while the context lasts.

    The model's parameters become views of the vector; afterwards each is a tensor of its own again, without gradient.

    >>> from supertickets.sharing.model import shared_model
    >>> with isolated(shared_model("lab-base", {"a": 2, "b": 1})) as whole:
    ...     [sorted(stretch.owners) for stretch in whole.stretches]
    [['a'], ['b'], ['a', 'b']]
    """
    pieces = _pieces(shared)
    parameters = [parameter for piece in pieces for parameter in piece.parameters]
    with torch.no_grad():
        vector = torch.empty(
            sum(piece.size for piece in pieces), dtype=parameters[0].dtype, device=parameters[0].device
        )
        gradient = torch.zeros_like(vector)
        stretches: list[Stretch] = []
        apart: list[tuple[nn.Parameter, Tensor]] = []
        start = 0
        for piece in pieces:
            stop = start + piece.size
            places, slopes = piece.views(vector[start:stop]), piece.views(gradient[start:stop])
            for parameter, place, slope in zip(piece.parameters, places, slopes, strict=True):
                place.copy_(parameter)
                parameter.data = place
                if place.is_contiguous():
                    parameter.grad = slope
                else:
                    apart.append((parameter, slope))
            each = piece.size // len(piece.owners)
            for index, owners in enumerate(piece.owners):
                if not stretches or stretches[-1].owners != owners:
                    stretches.append(Stretch(start + index * each, start + index * each, owners))
                stretches[-1] = replace(stretches[-1], stop=start + (index + 1) * each)
            start = stop
    momentum, norm, steps = torch.zeros_like(vector), torch.zeros_like(vector), dict.fromkeys(shared.models, 0)
    try:
        yield Isolated(vector, gradient, momentum, norm, tuple(stretches), steps, tuple(apart))
    finally:
        for parameter in parameters:
            parameter.grad = None
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)


def _pieces(shared: SharedModel) -> list[_Piece]:
    """Every parameter once: task heads, what all tasks use, then layer by layer the heads and the FFN."""
    everyone = frozenset(shared.models)
    within = {name: shared.within(name) for name in shared.models}
    units: list[_Piece] = []
    model = next(iter(shared.models.values()))
    family = family_of(model)
    for index, layer in enumerate(layers_of(model)):
        if shared.union.heads[index].any():
            owners = [
                frozenset(name for name, (heads, _) in within.items() if heads[index][head])
                for head in range(int(shared.union.heads[index].sum()))
            ]
            units += _attention_pieces(layer, family, owners)
        if shared.union.ffns[index]:
            owners = [frozenset(name for name, (_, ffns) in within.items() if ffns[index])]
            modules = [layer.get_submodule(path) for path in (family.ffn_in, family.ffn_out)]
            # Once each: in some families the one lies within the other.
            parameters = list(dict.fromkeys(p for module in modules for p in module.parameters()))
            units.append(_plain(parameters, owners[0]))
    in_encoder = {id(parameter) for parameter in shared.encoder.parameters()}
    in_units = {id(parameter) for piece in units for parameter in piece.parameters}
    heads = [
        _plain([p for p in model.parameters() if id(p) not in in_encoder], frozenset([name]))
        for name, model in shared.models.items()
    ]
    rest = [p for p in shared.encoder.parameters() if id(p) not in in_units]
    return [*heads, _plain(rest, everyone), *units]


def _attention_pieces(layer: nn.Module, family: Family, owners: list[frozenset[str]]) -> list[_Piece]:
    """The weights and biases of a layer's heads, of which there are as many as ``owners``."""
    reads = [layer.get_submodule(path) for path in reads_in(layer, family)]
    out = layer.get_submodule(family.attention_out).get_parameter("weight")
    weights = [linear.get_parameter("weight") for linear in reads]
    biases = [linear.get_parameter("bias") for linear in reads if linear.bias is not None]
    if family.query != family.value:

        def views(part: Tensor) -> list[Tensor]:
            """Row r of the weights that read, then column r of the output weight: a head is a run of rows."""
            *rows, columns = part.view(len(weights[0]), len(reads) + 1, -1).unbind(1)
            return [*rows, columns.T]

        pieces = [_Piece([*weights, out], owners, views)]
        if biases:
            pieces.append(_Piece(biases, owners, lambda part: list(part.view(-1, len(biases)).unbind(1))))
        return pieces
    # The rows of queries, keys and values below one another cannot lie head by head.
    pieces = [replace(_plain([p], owners[0]), owners=owners * (len(p) // out.shape[1])) for p in weights + biases]
    return [*pieces, _Piece([out], owners, lambda part: [part.view(out.shape[::-1]).T])]


def _plain(parameters: list[nn.Parameter], owners: frozenset[str]) -> _Piece:
    shapes, sizes = [p.shape for p in parameters], [p.numel() for p in parameters]

    def views(part: Tensor) -> list[Tensor]:
        return [piece.view(shape) for piece, shape in zip(part.split(sizes), shapes, strict=True)]

    return _Piece(parameters, [owners], views)
