"""Any kind of run: what a run store holds records of, and an engine carries out."""

from __future__ import annotations

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
