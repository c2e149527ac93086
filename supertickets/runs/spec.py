"""Any kind of run: what a run store holds records of, and an engine carries out; and runs in words."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from supertickets.runs.adaptation_spec import AdaptationSpec
from supertickets.runs.run import RunSpec
from supertickets.runs.sharing_spec import SharingSpec
from supertickets.tasks import DataRef

Spec = RunSpec | SharingSpec | AdaptationSpec
_S = TypeVar("_S", bound=Spec)

_NO_PATH = re.compile(r"(?!\.)[\w.-]+(/[\w.-]+)?")  # minilm, lab-base, or a Hub id


def spec_from_json(data: Mapping[str, Any]) -> Spec:
    """The spec that its ``to_json`` wrote, of whatever kind; raises SuperticketsError if it is damaged."""
    kinds = {"sharing": SharingSpec, "adaptation": AdaptationSpec}
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


def task_of(spec: Spec) -> str:
    """The task of a run, or its tasks; of an adaptation the target."""
    return " + ".join(ref.name for ref in data_of(spec))
