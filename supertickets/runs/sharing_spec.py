"""The spec of a run of many tasks with one encoder (section 6): MT-DNN or Ticket-Share."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from supertickets.errors import SuperticketsError
from supertickets.runs.choices import acting, choices_of
from supertickets.runs.run import NUMERICS, Hyper, Record, TicketRule, flat, id_of, read, read_spec, with_choices
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
        values = {
            **asdict(self),
            "study": "sharing",
            "data": [ref.to_json() for ref in self.data],
            "tickets": [asdict(rule) for rule in self.tickets],
            "dropouts": list(self.dropouts),
            "fine_tuning": [asdict(hyper) for hyper in self.fine_tuning],
        }
        return with_choices(values, self.acting)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads ``to_json``'s object; raises SuperticketsError if fields are missing or unknown."""
        return read_spec(
            cls,
            {"choices": (), **data},
            data=lambda refs: tuple(map(DataRef.from_json, refs)),
            tickets=lambda rules: tuple(map(read(TicketRule), rules)),
            dropouts=tuple,
            hyper=read(Hyper),
            fine_tuning=lambda hypers: tuple(map(read(Hyper), hypers)),
            choices=tuple,
        )

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
