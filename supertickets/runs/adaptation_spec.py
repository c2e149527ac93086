"""The spec of a domain adaptation (section 7)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from supertickets.errors import SuperticketsError
from supertickets.runs.run import NUMERICS, Hyper, Record, RunSpec, flat, id_of, read, read_spec
from supertickets.runs.sharing_spec import SharingSpec
from supertickets.tasks import DataRef


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
        values = {**asdict(self), "source": self.source.to_json(), "data": self.data.to_json()}
        if self.size is None:  # runs older than the field keep their ids
            del values["size"]
        return {**values, "study": "adaptation"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads ``to_json``'s object; raises SuperticketsError if fields are missing or unknown."""
        return read_spec(
            cls,
            {"size": None, **data},
            source=lambda spec: (SharingSpec if spec.get("study") == "sharing" else RunSpec).from_json(spec),
            data=DataRef.from_json,
            hyper=read(Hyper),
        )

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
