"""A run: its spec (everything that determines the result), its id (the spec's hash) and its record (what came out)."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, is_dataclass
from fractions import Fraction
from functools import cache, cached_property
from types import UnionType
from typing import Any, Self, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.runs.choices import acting, choices_of
from supertickets.tasks import DataRef, TaskFacts
from supertickets.tickets import KINDS, Scores, Ticket, full_ticket, losing_ticket, random_ticket, winning_ticket

_T = TypeVar("_T")

NUMERICS = 5
"""Raised whenever a change of the code changes results, so that stored runs of the old code are not taken for new."""


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters of one fine-tuning run; the defaults are the paper's (section 5.2, A.1.2).

    The epoch with the best score on the selection split is kept, and training stops after ``patience`` epochs without a
    better one, ``epochs`` at most. ``warmup`` is the share of all steps over which the learning rate rises, before it
    falls linearly to zero, ``clip`` the largest gradient norm, ``precision`` "fp32" or "bf16" (autocast),
    ``max_length`` in word pieces.
    """

    learning_rate: float = 5e-5
    batch_size: int = 32
    epochs: int = 6
    patience: int = 2
    warmup: float = 0.1
    clip: float = 1.0
    task_dropout: float = 0.1
    weight_decay: float = 0.0
    max_length: int = 512
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise SuperticketsError(f"Unknown precision {self.precision!r}; known: fp32, bf16, and as an option auto.")
        for name in ("learning_rate", "batch_size", "epochs", "patience", "clip", "max_length"):
            least = 4 if name == "max_length" else 0 if name in ("learning_rate", "clip") else 1
            value, more = getattr(self, name), "at least" if least else "more than"
            if not (value >= least and value > 0 and value < float("inf")):
                option = name.replace("_", "-")
                raise SuperticketsError(f"The {option} must be {more} {least}, not {value} (--{option}).")
        if not (0 <= self.warmup < 1 and 0 <= self.task_dropout < 1):
            raise SuperticketsError(f"Warm-up and dropout lie in [0, 1), not {self.warmup} and {self.task_dropout}.")


@dataclass(frozen=True)
class TicketRule:
    """Which ticket a run trains: the whole model ("full"), or a level's winning, random or losing ticket.

    Winning and losing tickets are read off the ``estimator`` scores of the run whose id is ``parent``. Random ones are
    drawn with the run's own seed and need no parent. ``protect`` heads stay in every layer (audit D9).
    """

    kind: str = "full"
    level: float = 0.0
    parent: str = ""
    estimator: str = "example"
    protect: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("full", *KINDS):
            raise SuperticketsError(f"Unknown kind of ticket {self.kind!r}; known: full, {', '.join(KINDS)}.")
        if self.kind == "full" and (self.level != 0 or self.parent):
            raise SuperticketsError("The full model has level 0 and no parent run.")
        if self.kind in ("winning", "losing") and not self.parent:
            raise SuperticketsError(f"A {self.kind} ticket needs the id of the fine-tuning run that was scored.")

    def ticket(self, shape: tuple[int, int], seed: int, scores: Scores | None, choices: Collection[str] = ()) -> Ticket:
        """The ticket for an encoder of (n_layers, n_heads), made as the paper says but for these ``choices``."""
        free = "unprotected" in choices or (self.kind == "random" and "unprotected_random" in choices)
        protect = 0 if free else self.protect
        ffn_share = Fraction(5, 6) if "ffn_counts" in choices else Fraction(1)
        if self.kind == "full":
            return full_ticket(shape)
        if self.kind == "random":
            replacement, divisor = "replacement" in choices, "divisor" in choices
            return random_ticket(shape, self.level, seed, protect, ffn_share, replacement, divisor)
        if scores is None:
            raise SuperticketsError(f"The scores of run {self.parent} are missing; run it before its tickets.")
        make = winning_ticket if self.kind == "winning" else losing_ticket
        return make(scores, self.level, protect, ffn_share)


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines a run's result. The id leaves out *where* things are (see :meth:`identity`).

    ``estimators`` are the importance scores taken at the end, of a ticket those of the units that it keeps.
    ``selection_fraction`` and ``split_seed`` cut dev into selection (early stopping, choice of the super ticket) and
    report. ``choices`` are those in which the run does as the published code and not as the paper
    (:data:`supertickets.runs.CHOICES`); only those that can touch the run are in its id, so that a run is shared by all
    choices that leave it alone."""

    encoder: str
    encoder_revision: str
    data: DataRef
    seed: int
    hyper: Hyper = field(default_factory=Hyper)
    ticket: TicketRule = field(default_factory=TicketRule)
    estimators: tuple[str, ...] = ("example",)
    selection_fraction: float = 0.1
    split_seed: int = 0
    numerics: int = NUMERICS
    choices: tuple[str, ...] = ()
    study = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", choices_of(self.choices))

    @property
    def acting(self) -> tuple[str, ...]:
        """The choices that can touch this run."""
        return acting(self.choices, [self.ticket.kind])

    def identity(self) -> dict[str, Any]:
        """What is hashed: all fields but the encoder's and the data's locations, which their own hashes stand for."""
        values = {**self.to_json(), "data": self.data.identity()}
        del values["encoder"]
        return values

    @cached_property
    def id(self) -> str:
        """The run's id (:func:`id_of`)."""
        return id_of(self.identity())

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the runs whose importance scores this one needs."""
        return (self.ticket.parent,) if self.ticket.parent else ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back."""
        return spec_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads ``to_json``'s object; raises SuperticketsError if fields are missing or unknown."""
        return read_spec(cls, {"choices": (), **data})

    def rows(self, record: "Record") -> list[dict[str, Any]]:
        """One flat row of this spec's record, for a data frame of records."""
        row: dict[str, Any] = {
            "run": record.id,
            "encoder": self.encoder,
            "task": self.data.name,
            "seed": self.seed,
            "kind": self.ticket.kind,
            "level": self.ticket.level,
            "estimator": self.ticket.estimator,
            "learning_rate": self.hyper.learning_rate,
            "batch_size": self.hyper.batch_size,
            "task_dropout": self.hyper.task_dropout,
            "parent": self.ticket.parent,
            "data": self.data.fingerprint,
            "train_size": self.data.train_size,
            "train_seed": self.data.train_seed,
            **record.columns(self.data.name),
            **record.size,
            "best_epoch": record.best_epoch,
            "seconds": record.timings.get("total", float("nan")),
            "memory": record.memory.get("gpu", record.memory.get("process", float("nan"))),
        }
        return [row | flat(record.metrics)]


@dataclass(frozen=True, eq=False)
class Record:
    """What a finished run leaves: its spec, scores per epoch, final metrics, arrays, timings and environment.

    ``spec`` is a RunSpec, or that of another kind of run (:class:`supertickets.runs.SharingSpec`). ``metrics`` maps
    "selection", "report" and "dev" (the whole of it, the paper's protocol) to metric values. ``arrays`` holds
    ``dev_logits (n_dev, n_outputs)``, ``dev_labels``, ``selection`` (True where the example belongs to that split),
    ``test_logits`` and ``test_labels`` where the data have a test split, the ticket's masks ``heads`` and ``ffns``,
    and, for a full run, ``importance/E/heads`` and ``importance/E/ffns`` for every estimator E. ``memory`` is the run's
    peak in MiB (:mod:`supertickets.engines.resources`), empty where nobody looked. ``tasks`` holds the facts of its
    tasks by name, so that nothing needs the data themselves. ``finished`` is when it was saved (UTC).
    """

    spec: RunSpec | Any
    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    metrics: dict[str, dict[str, float]]
    size: dict[str, float]
    arrays: dict[str, np.ndarray]
    timings: dict[str, float]
    environment: dict[str, str]
    memory: Mapping[str, float] = field(default_factory=dict)
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict)
    finished: str = ""

    @property
    def id(self) -> str:
        """The id of the run's spec."""
        return self.spec.id

    def scores(self, estimator: str) -> Scores:
        """The importance scores of a full run."""
        name = f"importance/{estimator}"
        if f"{name}/heads" not in self.arrays:
            raise SuperticketsError(f"Run {self.id} has no {estimator} importance scores; it did not ask for them.")
        n_examples = int(self.arrays[f"{name}/n_examples"][0])
        return Scores(self.arrays[f"{name}/heads"], self.arrays[f"{name}/ffns"], estimator, n_examples)

    def ticket(self) -> Ticket:
        """The ticket this run trained."""
        rule = self.spec.ticket
        return Ticket(
            self.arrays["heads"],
            self.arrays["ffns"],
            kind="" if rule.kind == "full" else rule.kind,
            level=rule.level,
            seed=self.spec.seed,
            encoder=self.spec.encoder,
            revision=self.spec.encoder_revision,
            provenance={"run": self.id, "parent": rule.parent, **self.environment},
        )

    def columns(self, task: str) -> dict[str, float]:
        """What the record says of a task in a row of a data frame: nothing if it has no facts of it."""
        if (facts := self.tasks.get(task)) is None:
            return {}
        return {"train_examples": facts.sizes.get("train", np.nan), "constant_score": facts.constant_score}

    def rows(self) -> list[dict[str, Any]]:
        """Flat rows for a data frame of records: one for a run of one task, one per task and stage for many."""
        return self.spec.rows(self)


def mean_report_score(record: Record) -> float:
    """The mean of a record's report scores: one for a run of one task, one per task and stage for many."""
    scores = [values["score"] for name, values in record.metrics.items() if name.endswith("report")]
    return sum(scores) / len(scores) if scores else float("nan")


def id_of(identity: Mapping[str, Any]) -> str:
    """The id of a run: 20 hex digits of the SHA-256 of the canonical JSON of what determines it."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def spec_json(spec: Any) -> dict[str, Any]:
    """A spec's JSON object: its fields, its study if it has a name, and the choices that can touch its run, if any."""

    def told(value: Any) -> Any:
        if value is None or isinstance(value, (str, int, float)):
            return value
        if isinstance(value, tuple):
            return [told(part) for part in value]
        return value.to_json() if hasattr(value, "to_json") else dict(vars(value))  # asdict copies, which takes long

    values = {name: told(getattr(spec, name)) for name in spec.__dataclass_fields__ if name != "choices"}
    choices = list(getattr(spec, "acting", ()))  # runs without any are as they were before there were any
    return values | ({"study": spec.study} if spec.study else {}) | ({"choices": choices} if choices else {})


def read_spec(cls: type[_T], data: Mapping[str, Any]) -> _T:
    """A spec from its JSON object, each field as its type says; SuperticketsError if some are missing or unknown."""
    try:
        return _filled(cls)({name: value for name, value in data.items() if name != "study"})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SuperticketsError(f"This run's spec is damaged or of another version ({error}).") from error


@cache
def _filled(cls: type[_T]) -> Callable[[Mapping[str, Any]], _T]:
    """What makes a dataclass of the object with its fields."""
    kinds = get_type_hints(cls)
    readers = {name: how for name, kind in kinds.items() if (how := _reader(kind))}

    def made(data: Mapping[str, Any]) -> _T:
        if kinds.keys() != data.keys():
            missing, unknown = sorted(kinds.keys() - data.keys()), sorted(data.keys() - kinds.keys())
            raise ValueError(f"{cls.__name__} fields missing: {missing}, unknown: {unknown}")
        return cls(**{name: readers[name](value) if name in readers else value for name, value in data.items()})

    return made


def _reader(kind: Any) -> Callable[[Any], Any] | None:
    """What makes a value of a type of what JSON made of it; None: it is one."""
    if get_origin(kind) is tuple:
        part = _reader(get_args(kind)[0])
        return lambda values: tuple(map(part, values) if part else values)
    if isinstance(kind, UnionType) and hasattr(get_args(kind)[0], "study"):  # specs of several studies
        studies = {each.study: each for each in get_args(kind)}
        return lambda value: studies[value.get("study", "")].from_json(value)
    return getattr(kind, "from_json", None) or (_filled(kind) if is_dataclass(kind) else None)


def flat(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Metrics by split as columns of a row: "report_score" and so on."""
    return {f"{split}_{metric}": value for split, values in metrics.items() for metric, value in values.items()}
