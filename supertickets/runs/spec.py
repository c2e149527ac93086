"""Runs of many tasks and of adaptation, any kind of run (what a store holds, an engine carries out), runs in words."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from supertickets.errors import SuperticketsError
from supertickets.runs.choices import acting, choices_of
from supertickets.runs.run import (
    NUMERICS,
    Hyper,
    Record,
    RunSpec,
    TicketRule,
    flat,
    id_of,
    read_spec,
    spec_json,
)
from supertickets.tasks import DataRef

_SPLITS = ("selection", "report", "dev")


@dataclass(frozen=True)
class SharingSpec:
    """Everything that determines a multi-task run; tasks are kept in the order of their names, however given.

    ``tickets[i]`` is the rule of task i's ticket, all "full" for MT-DNN, ``dropouts[i]`` its head's dropout, together
    and alone: the ``task_dropout`` of the hyper-parameters plays no part. With ``fine_tuning``, each task's model is
    afterwards fine-tuned alone from the shared weights ("+ ST fine-tuning"), once with each of these hyper-parameters
    (A.4 varies the learning rate).
    Raises SuperticketsError unless the tasks have different names and each its rule and dropout.
    """

    encoder: str
    encoder_revision: str
    data: tuple[DataRef, ...]
    tickets: tuple[TicketRule, ...]
    dropouts: tuple[float, ...]
    seed: int
    hyper: Hyper = field(default_factory=Hyper)
    fine_tuning: tuple[Hyper, ...] = ()
    selection_fraction: float = 0.1
    split_seed: int = 0
    numerics: int = NUMERICS
    choices: tuple[str, ...] = ()
    study = "sharing"

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", choices_of(self.choices))
        names = [ref.name for ref in self.data]
        if not names or len(set(names)) < len(names):
            given = ", ".join(names) or "none"
            raise SuperticketsError(f"A multi-task run needs tasks of different names, not {given}.")
        if not len(names) == len(self.tickets) == len(self.dropouts):
            raise SuperticketsError("A multi-task run needs a ticket rule and a dropout for each of its tasks.")
        rates = [hyper.learning_rate for hyper in self.fine_tuning]
        if len(set(rates)) < len(rates):
            raise SuperticketsError(f"Two fine-tunings have the same learning rate ({rates}); give each its own.")
        order = sorted(range(len(names)), key=names.__getitem__)
        for name in ("data", "tickets", "dropouts"):
            object.__setattr__(self, name, tuple(getattr(self, name)[i] for i in order))

    @property
    def acting(self) -> tuple[str, ...]:
        """The choices that can touch this run."""
        return acting(self.choices, [rule.kind for rule in self.tickets], shared=True)

    @property
    def id(self) -> str:
        """The run's id, as :attr:`supertickets.runs.RunSpec.id`."""
        values = {**self.to_json(), "data": [ref.identity() for ref in self.data]}
        del values["encoder"]
        return id_of(values)

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the single-task runs whose importance scores the tickets are read off."""
        return tuple(dict.fromkeys(rule.parent for rule in self.tickets if rule.parent))

    @property
    def model(self) -> str:
        """The paper's name for it: "MT-DNN", or "Ticket-Share" if some task has a ticket."""
        return "MT-DNN" if all(rule.kind == "full" for rule in self.tickets) else "Ticket-Share"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back."""
        return spec_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads ``to_json``'s object; raises SuperticketsError if fields are missing or unknown."""
        return read_spec(cls, {"choices": (), **data})

    def rows(self, record: Record) -> list[dict[str, Any]]:
        """One flat row per task and stage of this spec's record, for a data frame.

        The stage is "multi-task" or "fine-tuned"; fine-tuned rows differ in their ``learning_rate``.
        """
        stages = [("multi-task", self.hyper), *((f"fine-tuned{at_rate(hyper)}", hyper) for hyper in self.fine_tuning)]
        return [
            {
                "run": record.id,
                "encoder": self.encoder,
                "model": self.model,
                "stage": stage.split("@")[0],
                "learning_rate": hyper.learning_rate,
                "task_dropout": dropout,
                "task": ref.name,
                "seed": self.seed,
                "kind": rule.kind,
                "level": rule.level,
                "data": ref.fingerprint,
                **record.columns(ref.name),
                "weights_remaining": record.size[f"{ref.name}/weights_remaining"],
                "average_compression": record.size["average_compression"],
                "stored": record.size["stored"],
                "seconds": record.timings.get("total", float("nan")),
                **flat({split: record.metrics[f"{stage}/{ref.name}/{split}"] for split in _SPLITS}),
            }
            for ref, rule, dropout in zip(self.data, self.tickets, self.dropouts, strict=True)
            for stage, hyper in stages
        ]


def at_rate(hyper: Hyper) -> str:
    """What the names of a fine-tuning's results end with."""
    return f"@{hyper.learning_rate:g}"


@dataclass(frozen=True)
class AdaptationSpec:
    """Everything that determines one adaptation: where from, where to, and how much of the target's training set.

    ``source_task`` is the task of a multi-task source whose head goes along ("" = none does). ``size`` of the target's
    training examples are used, or else that ``fraction`` of them, the ``draw``-th of several random subsets
    (:func:`~supertickets.tasks.nested_subset`). Raises SuperticketsError for a share or size that cannot be, or both.
    """

    source: RunSpec | SharingSpec
    data: DataRef
    fraction: float = 1.0
    draw: int = 0
    source_task: str = ""
    hyper: Hyper = field(default_factory=Hyper)
    selection_fraction: float = 0.1
    split_seed: int = 0
    numerics: int = NUMERICS
    size: int | None = None
    study = "adaptation"

    def __post_init__(self) -> None:
        if self.size is not None and (self.size < 1 or self.fraction != 1):
            raise SuperticketsError(
                f"A subset has one size, of at least one example, or is a fraction: not {self.size} examples and "
                f"{self.fraction:g} of the training set."
            )
        if not 0 < self.fraction <= 1:
            raise SuperticketsError(
                f"A fraction of the training set lies above 0 and is at most 1, not {self.fraction}."
            )

    @property
    def id(self) -> str:
        """The run's id, as :attr:`supertickets.runs.RunSpec.id`."""
        return id_of({**self.to_json(), "data": self.data.identity(), "source": self.source.id})

    @property
    def seed(self) -> int:
        """The source's seed: conditions are paired by it."""
        return self.source.seed

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the runs whose importance scores the source's tickets are read off."""
        return self.source.parents

    @property
    def model(self) -> str:
        """The paper's name of the source: "ST-DNN", "SuperT", "MT-DNN" or "Ticket-Share"."""
        if isinstance(self.source, SharingSpec):
            return self.source.model
        return "ST-DNN" if self.source.ticket.kind == "full" else "SuperT"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that :meth:`from_json` reads back."""
        values = spec_json(self)
        if self.size is None:  # runs older than the field keep their ids
            del values["size"]
        return values

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads ``to_json``'s object; raises SuperticketsError if fields are missing or unknown."""
        return read_spec(cls, {"size": None, **data})

    def rows(self, record: Record) -> list[dict[str, Any]]:
        """One flat row of this spec's record, for a data frame of records."""
        row = {
            "run": record.id,
            "encoder": self.source.encoder,
            "model": self.model,
            "task": self.data.name,
            "seed": self.seed,
            "learning_rate": self.hyper.learning_rate,
            "fraction": self.fraction,
            "draw": self.draw,
            "data": self.data.fingerprint,
            "of_examples": record.columns(self.data.name).get("train_examples", float("nan")),
            **record.size,
            "head": record.environment["task head"],
            "seconds": record.timings.get("total", float("nan")),
        }
        return [row | flat(record.metrics)]


Spec = RunSpec | SharingSpec | AdaptationSpec
_S = TypeVar("_S", bound=Spec)

_NO_PATH = re.compile(r"(?!\.)[\w.-]+(/[\w.-]+)?")  # minilm, lab-base, or a Hub id


def spec_from_json(data: Mapping[str, Any]) -> Spec:
    """The spec that its ``to_json`` wrote, of whatever kind; raises SuperticketsError if it is damaged."""
    kinds = {kind.study: kind for kind in (SharingSpec, AdaptationSpec)}
    return kinds.get(data.get("study", ""), RunSpec).from_json(data)


def data_of(spec: Spec) -> tuple[DataRef, ...]:
    """The tasks that a run's results are about: one, or all of a multi-task run; of an adaptation the target."""
    return spec.data if isinstance(spec, SharingSpec) else (spec.data,)


def placed(spec: _S, data_dir: str | Path | None) -> _S:
    """The spec with its data below the folder ``data_dir`` (:meth:`supertickets.tasks.DataRef.at`); None: as it is.

    So a run of which there is only a record is carried out again. Its id stays.
    """
    return spec if data_dir is None else _changed(spec, lambda ref: ref.at(data_dir), lambda encoder: encoder)


def without_places(spec: _S) -> _S:
    """The spec as a record keeps it: of paths of data and encoder only the last name. Its id stays."""
    return _changed(
        spec, DataRef.without_places, lambda encoder: encoder if _NO_PATH.fullmatch(encoder) else Path(encoder).name
    )


def _changed(spec: Any, data: Callable[[DataRef], DataRef], encoder: Callable[[str], str]) -> Any:
    """The spec with its references to data and its encoder changed; itself if nothing changes."""
    values: dict[str, Any] = {"data": tuple(map(data, spec.data)) if isinstance(spec, SharingSpec) else data(spec.data)}
    if isinstance(spec, AdaptationSpec):
        values["source"] = _changed(spec.source, data, encoder)
    else:
        values["encoder"] = encoder(spec.encoder)
    return spec if all(getattr(spec, name) == value for name, value in values.items()) else replace(spec, **values)


def readable(seconds: float) -> str:
    """A length of time in words.

    >>> readable(42), readable(4000)
    ('42 s', '1 h 07 min')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def in_words(mib: float) -> str:
    """An amount of memory in words.

    >>> in_words(812.3), in_words(6000)
    ('812 MiB', '5.9 GiB')
    """
    return f"{mib:.0f} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB"


def described(spec: Spec) -> str:
    """A run in words: its encoder, its tasks, its seed and what of the model it trains."""
    if isinstance(spec, AdaptationSpec):
        source = f"{spec.model} of {task_of(spec.source)}"
        part = f"{spec.fraction:.3%} of its training set" if spec.size is None else f"{spec.size} training examples"
        return (
            f"{spec.source.encoder}, {source}, adapted to {spec.data.name}, {part}, draw {spec.draw}, seed {spec.seed}"
        )
    if isinstance(spec, RunSpec):
        rule = spec.ticket
        what = "full model" if rule.kind == "full" else f"{rule.kind} ticket at sparsity level {rule.level:.0%}"
        what += f" of run {rule.parent} by {rule.estimator} scores" if rule.parent else ""
        return f"{spec.encoder} on {spec.data.name}, {what}, seed {spec.seed}"
    return f"{spec.encoder}, {spec.model} on {task_of(spec)}, seed {spec.seed}"


def kind_of(spec: Spec) -> str:
    """The kind of a run's ticket, "full" for none; of many tasks, or of an adaptation, the model's name."""
    return spec.ticket.kind if isinstance(spec, RunSpec) else spec.model


def task_of(spec: Spec) -> str:
    """The task of a run, or its tasks; of an adaptation the target."""
    return " + ".join(ref.name for ref in data_of(spec))
