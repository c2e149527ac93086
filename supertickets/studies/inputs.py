"""Where specs take what they cannot do without from: the fingerprints of data and the revisions of encoders.

Both are hashed from the files themselves (:func:`at_hand`), or known from records (:func:`recorded`): a table of
recorded runs is made on a machine that has neither the data nor the encoder, from the same specs with the same ids.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from supertickets.models import encoder_revision
from supertickets.runs import AdaptationSpec, RunStore, Spec, data_of
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
