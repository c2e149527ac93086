"""The specs of single runs, and where they take what they cannot do without from: fingerprints of data, revisions.

Both are hashed from the files themselves (:func:`at_hand`), or known from records (:func:`recorded`): a table of
recorded runs is made on a machine that has neither the data nor the encoder, from the same specs with the same ids.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from supertickets.errors import SuperticketsError
from supertickets.models import encoder_revision
from supertickets.runs import AdaptationSpec, Hyper, RunSpec, RunStore, Spec, TicketRule, data_of
from supertickets.studies.profiles import TASK_DROPOUT
from supertickets.tasks import DataRef, canonical_name, data_ref


@dataclass(frozen=True)
class Inputs:
    """``data(name, **arguments)`` is the reference to a task's data, ``revision(encoder)`` the encoder's hash."""

    data: Callable[..., DataRef]
    revision: Callable[[str], str]


def at_hand(data_dir: str | None = None) -> Inputs:
    """What lies here: the lab, tasks in ``data_dir`` or on the Hub, and encoders.

    >>> at_hand().data("entailment", train_size=100).train_size
    100
    """
    return Inputs(partial(data_ref, data_dir=data_dir or None), encoder_revision)


HERE = at_hand()
"""The usual: without a folder of one's own."""


def full_run(
    encoder: str,
    data: DataRef,
    seed: int,
    hyper: Hyper,
    estimators: tuple[str, ...] = ("example",),
    inputs: Inputs = HERE,
    **fields: Any,
) -> RunSpec:
    """Fine-tuning of the full model (ST-DNN), at whose end importance is scored. ``fields``: others of RunSpec."""
    dropout = TASK_DROPOUT.get(data.name, hyper.task_dropout)
    return RunSpec(
        encoder=encoder,
        encoder_revision=inputs.revision(encoder),
        data=data,
        seed=seed,
        hyper=replace(hyper, task_dropout=dropout),
        estimators=estimators,
        **fields,
    )


def rewound(parent: RunSpec, kind: str, level: float, estimator: str = "example") -> RunSpec:
    """The rewinding run of a full run's ticket at a sparsity level: same data, seed and schedule (section 3)."""
    if estimator not in parent.estimators:
        raise SuperticketsError(f"The parent run takes no {estimator} scores; it takes {', '.join(parent.estimators)}.")
    rule = TicketRule(kind, level, "" if kind == "random" else parent.id, estimator)
    return replace(parent, ticket=rule, estimators=())


def recorded(specs: Iterable[Spec]) -> Inputs:
    """What the runs with these specs had; of two that differ the first counts.

    Data and encoders that none of them had get an empty hash: specs made from it can be counted as missing, and belong
    to no record.

    >>> recorded([]).data("rte", train_size=500).request()
    {'name': 'RTE', 'train_size': 500}
    """
    refs: dict[DataRef, DataRef] = {}
    revisions: dict[str, str] = {}
    for spec in specs:
        source = spec.source if isinstance(spec, AdaptationSpec) else spec
        revisions.setdefault(source.encoder, source.encoder_revision)
        for ref in dict.fromkeys((*data_of(source), *data_of(spec))):
            refs.setdefault(_asked(ref), ref)

    def data(name: str, **arguments: object) -> DataRef:
        given = {key: value for key, value in arguments.items() if value is not None}
        asked = DataRef(canonical_name(name), **given)  # pyright: ignore[reportArgumentType]  # fields by name
        return refs.get(_asked(asked), asked)

    return Inputs(data, lambda encoder: revisions.get(encoder, ""))


def inputs_for(store: RunStore, data_dir: str | None) -> Inputs:
    """The data at hand; for a packed store, which takes no runs, those that its runs had."""
    if store.read_only and data_dir is None:
        return recorded(record.spec for record in store.records())
    return at_hand(data_dir)


def _asked(ref: DataRef) -> DataRef:
    """What was asked for, without what was found and where it lay."""
    return replace(ref, fingerprint="", data_dir=None, train=None, dev=(), test=None)
