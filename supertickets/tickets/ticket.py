"""Tickets: which attention heads and which FFNs of an encoder are kept (section 3 of the paper).

A :class:`Ticket` is a pair of boolean masks, ``heads (n_layers, n_heads)`` and ``ffns (n_layers,)``, True = kept
(the paper's mask variables xi and nu equal to 1). They are chosen by importance scores
(:class:`Scores`). NumPy only: nothing here needs a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from supertickets.errors import SuperticketsError


@dataclass(frozen=True)
class EncoderShape:
    """How many units an encoder has and how many parameters each holds (biases included).

    A head owns its rows of the query, key and value projections and its columns of the attention output projection;
    an FFN owns both of its layers, its output bias too. Everything else (layer norms, attention output biases,
    pooler) is ``other_parameters``. The task head is not counted.
    """

    n_layers: int
    n_heads: int
    head_parameters: int
    ffn_parameters: int
    embedding_parameters: int
    other_parameters: int


ESTIMATORS: dict[str, str] = {
    "example": "E |dL/dxi|, absolute value per example (the paper's definition)",
    "token": "E sum over positions of |dL/dxi at that position| (the authors' code, audit D3)",
    "signed": "E[-dL/dxi], the first-order estimate of the rise in loss on removal",
    "squared": "E (dL/dxi)^2, the empirical Fisher information of the mask variable",
    "leave_one_out": "L(without the unit) - L, the rise in loss on removal itself",
    "magnitude": "the l2 norm of the unit's own weights, which needs no example",
}
"""Every estimator by name. ``NAME@N``, as in ``example@32``, is that of the first N training examples."""


@dataclass(frozen=True)
class Scores:
    """Importance of every head ``(n_layers, n_heads)`` and FFN ``(n_layers,)``, before any normalisation."""

    heads: np.ndarray
    ffns: np.ndarray
    estimator: str = "example"
    n_examples: int = 0

    def __post_init__(self) -> None:
        heads, ffns = np.asarray(self.heads, dtype=np.float64), np.asarray(self.ffns, dtype=np.float64)
        if heads.ndim != 2 or ffns.shape != heads.shape[:1]:
            raise SuperticketsError(
                f"Importance scores must have shapes (n_layers, n_heads) and (n_layers,), not {heads.shape} and "
                f"{ffns.shape}."
            )
        if not (np.isfinite(heads).all() and np.isfinite(ffns).all()):
            raise SuperticketsError(
                f"The {self.estimator} importance scores contain NaN or infinity: the model they came from has "
                "diverged; fine-tune it again with a lower learning rate."
            )
        object.__setattr__(self, "heads", heads)
        object.__setattr__(self, "ffns", ffns)

    def normalised_heads(self) -> np.ndarray:
        """Head scores after layer-wise l2 normalisation (section 3), shape (n_layers, n_heads)."""
        norms = np.linalg.norm(self.heads, axis=1, keepdims=True)
        return self.heads / np.where(norms > 0, norms, 1.0)


@dataclass(frozen=True, eq=False)
class Ticket:
    """A set of kept heads and FFNs; immutable. Equality compares the masks only.

    ``kind`` is one of "winning", "random", "losing" or "" (given by hand), ``level`` the sparsity level it was made
    for, ``scores`` the importance scores it was chosen by, ``provenance`` anything JSON can hold.

    >>> ticket = Ticket(heads=[[True, False], [True, True]], ffns=[True, False])
    >>> ticket.kept_heads, ticket.kept_ffns, ticket.shape
    (3, 1, (2, 2))
    """

    heads: np.ndarray
    ffns: np.ndarray
    kind: str = ""
    level: float | None = None
    seed: int | None = None
    encoder: str = ""
    revision: str = ""
    scores: Scores | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, n_dims in (("heads", 2), ("ffns", 1)):
            mask = np.array(getattr(self, name))
            if mask.dtype != np.bool_:
                raise SuperticketsError(
                    f"A ticket's {name} must be booleans (True = kept), not {mask.dtype}; write scores > threshold."
                )
            if mask.ndim != n_dims or mask.size == 0:
                wanted = "(n_layers, n_heads)" if n_dims == 2 else "(n_layers,)"
                raise SuperticketsError(f"A ticket's {name} must have shape {wanted}, not {mask.shape}.")
            mask.flags.writeable = False
            object.__setattr__(self, name, mask)
        if len(self.heads) != len(self.ffns):
            raise SuperticketsError(
                f"A ticket needs as many layers of heads as of FFNs, not {len(self.heads)} and {len(self.ffns)}."
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ticket):
            return NotImplemented
        return np.array_equal(self.heads, other.heads) and np.array_equal(self.ffns, other.ffns)

    def __hash__(self) -> int:
        return hash((self.shape, self.heads.tobytes(), self.ffns.tobytes()))

    @property
    def shape(self) -> tuple[int, int]:
        """(n_layers, n_heads) of the encoder it is for."""
        return (self.heads.shape[0], self.heads.shape[1])

    @property
    def kept_heads(self) -> int:
        """Number of heads kept, over all layers."""
        return int(self.heads.sum())

    @property
    def kept_ffns(self) -> int:
        """Number of FFNs kept."""
        return int(self.ffns.sum())

    def union(self, other: Ticket) -> Ticket:
        """Units kept by either ticket."""
        return self._with(other, np.logical_or)

    def intersection(self, other: Ticket) -> Ticket:
        """Units kept by both tickets."""
        return self._with(other, np.logical_and)

    def difference(self, other: Ticket) -> Ticket:
        """Units kept by this ticket and not by the other."""
        return self._with(other, np.greater)

    def _with(self, other: Ticket, how: np.ufunc) -> Ticket:
        if self.shape != other.shape:
            raise SuperticketsError(misfit(self.shape, other.shape))
        heads, ffns = how(self.heads, other.heads), how(self.ffns, other.ffns)
        return Ticket(heads, ffns, encoder=self.encoder, revision=self.revision)

    def weights_remaining(self, shape: EncoderShape, embeddings: bool = True) -> float:
        """Share of the encoder's parameters kept (the x axis of Figures 3-5), biases included, in [0, 1].

        The paper's figures count the embeddings (BERT-base at 10%: 0.93); ``embeddings=False`` leaves them out.
        Raises if the ticket is for another shape.
        """
        if self.shape != (shape.n_layers, shape.n_heads):
            raise SuperticketsError(misfit(self.shape, (shape.n_layers, shape.n_heads)))
        fixed = shape.other_parameters + (shape.embedding_parameters if embeddings else 0)
        kept = self.kept_heads * shape.head_parameters + self.kept_ffns * shape.ffn_parameters
        total = self.heads.size * shape.head_parameters + self.ffns.size * shape.ffn_parameters
        return (fixed + kept) / (fixed + total)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back; kept units are listed by index, layer by layer."""
        scores = None
        if self.scores is not None:
            scores = {"estimator": self.scores.estimator, "n_examples": self.scores.n_examples}
            scores |= {"heads": self.scores.heads.tolist(), "ffns": self.scores.ffns.tolist()}
        return {
            "format": "supertickets.ticket",
            "version": 1,
            "encoder": {"id": self.encoder, "revision": self.revision},
            "n_layers": self.shape[0],
            "n_heads": self.shape[1],
            "kept_heads": [np.flatnonzero(row).tolist() for row in self.heads],
            "kept_ffns": np.flatnonzero(self.ffns).tolist(),
            "kind": self.kind,
            "level": self.level,
            "seed": self.seed,
            "scores": scores,
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "the ticket") -> Ticket:
        """Reads :meth:`to_json`'s object; raises SuperticketsError naming ``where`` if it is something else."""
        if not isinstance(data, Mapping) or data.get("format") != "supertickets.ticket":
            raise SuperticketsError(f"{where} is not a ticket: it lacks format = supertickets.ticket.")
        if data.get("version") != 1:
            raise SuperticketsError(
                f"{where} is a ticket of version {data.get('version')}, and this version of supertickets reads "
                "version 1; update supertickets."
            )
        try:
            shape = (int(data["n_layers"]), int(data["n_heads"]))
            rows = data["kept_heads"]
            if len(rows) != shape[0]:
                raise ValueError(f"{len(rows)} rows of heads for {shape[0]} layers")
            units = [(layer, head) for layer, row in enumerate(rows) for head in row]
            scores = data.get("scores")
            return cls(
                heads=mask_of(shape, units),
                ffns=mask_of(shape[:1], [(layer,) for layer in data["kept_ffns"]]),
                kind=data.get("kind", ""),
                level=data.get("level"),
                seed=data.get("seed"),
                encoder=data.get("encoder", {}).get("id", ""),
                revision=data.get("encoder", {}).get("revision", ""),
                scores=None if scores is None else Scores(**scores),
                provenance=data.get("provenance", {}),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise SuperticketsError(f"{where} is a damaged ticket ({error}); write it again.") from error

    def save(self, path: str | Path) -> None:
        """Writes :meth:`to_json`'s object as a file."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Ticket:
        """Reads :meth:`save`'s file; raises SuperticketsError if it is missing or is something else."""
        return cls.from_json(read_json(path), where=str(path))


def misfit(ticket: tuple[int, int], wanted: tuple[int, int]) -> str:
    """The one sentence for a ticket that does not fit."""
    return (
        f"The ticket is for an encoder of {ticket[0]} layers x {ticket[1]} heads and does not fit one of {wanted[0]} "
        f"layers x {wanted[1]} heads; use a ticket made from the same encoder."
    )


def full_ticket(shape: tuple[int, int]) -> Ticket:
    """The ticket that keeps everything, for (n_layers, n_heads)."""
    return Ticket(np.ones(shape, dtype=bool), np.ones(shape[0], dtype=bool), level=0.0)


def mask_of(shape: tuple[int, ...], units: list[tuple[int, ...]]) -> np.ndarray:
    """Booleans of a shape that are True at the units listed; raises ValueError for one that lies outside."""
    mask = np.zeros(shape, dtype=bool)
    for unit in units:
        if not all(0 <= index < size for index, size in zip(unit, shape, strict=True)):
            raise ValueError(f"unit {unit} lies outside {shape}")
        mask[unit] = True
    return mask


def read_json(path: str | Path) -> Any:
    """What a JSON file holds; raises SuperticketsError naming the file if it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SuperticketsError(f"There is no file {path}; give the path of a ticket's JSON.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SuperticketsError(f"{path} cannot be read as JSON ({error}); write it again.") from error


def load_authors_ticket(
    heads_path: str | Path, ffns_path: str | Path, shape: tuple[int, int], task: int | str = 0
) -> Ticket:
    """Reads the ``heads_to_mask.json`` and ``ffn_to_mask.json`` of the authors' repository (their units are *pruned*).

    Their files say neither the encoder nor its shape, so ``shape`` = (n_layers, n_heads) must be given; ``task`` is
    the key of the task in the files (a position, "0" for a single task).
    """
    masks = []
    for path in (heads_path, ffns_path):
        data = read_json(path)
        if not isinstance(data, dict) or str(task) not in data:
            known = sorted(data) if isinstance(data, dict) else []
            raise SuperticketsError(f"{path} has no task {task}; it has {', '.join(known) or 'none'}.")
        masks.append(data[str(task)])
    try:
        pruned_heads = mask_of(shape, [(int(layer), int(head)) for layer, row in masks[0].items() for head in row])
        pruned_ffns = mask_of(shape[:1], [(int(layer),) for layer in masks[1]])
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise SuperticketsError(
            f"{heads_path} and {ffns_path} do not fit an encoder of {shape[0]} layers x {shape[1]} heads ({error})."
        ) from error
    return Ticket(~pruned_heads, ~pruned_ffns, provenance={"authors_files": [str(heads_path), str(ffns_path)]})
