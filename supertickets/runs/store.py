"""The run store: one record per finished run, found by its id, in plain files anyone can copy.

``runs/ab/<id>.json`` is a record; its arrays lie beside it in a safetensors file named by their hash. The arrays are
written first and the JSON last, each in one atomic step, so a record is either whole or absent and any number of
processes may write at once. A record that is truncated, or not what its name says, is moved to ``broken/`` with a
warning and its run counts as not done. ``failed/`` holds the errors of failed runs, ``running/`` the heartbeats of
those under way, ``logs/`` what happened in each (:mod:`supertickets.runs.log`), ``claims/`` who is at which run
(:mod:`supertickets.runs.locks`), ``models/`` the trained models that other runs start from. Paths are fsspec's: a
local folder, or ``s3://...`` with the right extra installed.
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from supertickets.errors import SuperticketsError, UnwritableError
from supertickets.runs.packs import open_pack
from supertickets.runs.records import TIME, record_from_json, record_json
from supertickets.runs.run import Record
from supertickets.runs.spec import Spec, spec_from_json
from supertickets.runs.store_files import StoreFiles

_HEARTBEAT = ("epoch", "epochs", "time", "pid")
_UNFINISHED = 3600.0
"""Seconds after which a temporary file is nobody's: none takes so long to write. (A model may: a day.)"""
_WRONG = (ValueError, KeyError, TypeError, AttributeError)
_DAMAGES = (*_WRONG, RecursionError, OSError, SafetensorError, SuperticketsError)


class BrokenRecordWarning(UserWarning):
    """A record could not be trusted and was set aside."""


class RunStore:
    """Records by run id under ``path``; nothing is written until the first save.

    The path may be that of a packed store (:mod:`supertickets.runs.packs`), which is read-only, and of several stores,
    separated by commas: runs are looked for in all, the first that has one wins, and what is new goes to the first.

    >>> import tempfile
    >>> store = RunStore(tempfile.mkdtemp())
    >>> "0123456789abcdef0123" in store, len(store)
    (False, 0)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        self._first, *others = (part.strip() for part in self.path.split(","))
        self.files, self._pack = StoreFiles(self._first), open_pack(self._first)
        self._others = [RunStore(other) for other in others]

    def __contains__(self, run_id: str) -> bool:
        return self.get(run_id, arrays=False) is not None

    def __len__(self) -> int:
        return len(self.ids())

    def ids(self) -> list[str]:
        """Ids of all stored records, sorted; what they hold is checked when they are read."""
        own = self._pack.ids() if self._pack else [Path(info.path).stem for info in self.files.below("runs", ".json")]
        return sorted({*own, *(run_id for other in self._others for run_id in other.ids())})

    def get(self, run_id: str, arrays: bool = True) -> Record | None:
        """The record of a run, or None if there is none that can be trusted (a broken one is set aside)."""
        if self._pack:
            return self._pack.record(run_id, arrays) or self._elsewhere(run_id, arrays)
        return self._checked(run_id, self.files.read_if_there(_record(run_id)), arrays, {})

    def _elsewhere(self, run_id: str, arrays: bool) -> Record | None:
        found = (other.get(run_id, arrays) for other in self._others)
        return next((record for record in found if record is not None), None)

    def __getitem__(self, run_id: str) -> Record:
        record = self.get(run_id)
        if record is None:
            raise SuperticketsError(f"The run store {self.path} has no finished run {run_id}; run it first.")
        return record

    def records(self, ids: Iterable[str] | None = None, arrays: bool = False) -> Iterator[Record]:
        """The records of these ids (default: all) that are there, in order."""
        wanted = self.ids() if ids is None else list(ids)
        if self._pack:
            yield from (record for run_id in wanted if (record := self.get(run_id, arrays)) is not None)
            return
        # From afar, one listing instead of a question for each record.
        afar = not self.files.local and not arrays
        sizes = {info.path: info.size for info in self.files.below("runs", ".safetensors")} if afar else {}
        for run_id, text in zip(wanted, self.files.read_many(map(_record, wanted)), strict=True):
            if (record := self._checked(run_id, text, arrays, sizes)) is not None:
                yield record

    def frame(self, specs: Iterable[Spec] | None = None) -> pd.DataFrame:
        """The rows of records (``Record.rows``): of these specs, or of everything in the store."""
        ids = None if specs is None else [spec.id for spec in specs]
        return pd.DataFrame([row for record in self.records(ids) for row in record.rows()])

    def manifests(self) -> dict[str, dict[str, Any]]:
        """What the packed stores among these hold, by path."""
        own = {self._first: self._pack.manifest} if self._pack else {}
        return {**own, **{path: made for other in self._others for path, made in other.manifests().items()}}

    @property
    def read_only(self) -> bool:
        """Whether nothing can be saved, since the store, or the first of several, is packed."""
        return bool(self._pack)

    def require_writable(self) -> None:
        """Raises SuperticketsError if the store is :attr:`read_only`."""
        if self.read_only:
            fix = f"name a folder before it, which takes what is new (runs,{self._first})"
            raise SuperticketsError(f"The packed store {self._first} is read-only; {fix}.")

    def there(self) -> Self:
        """Itself; raises SuperticketsError if there is no such store, or one of several: nobody has run anything."""
        for store in (self, *self._others):
            if not (store._pack or store.files.there("", folder=True)):
                raise SuperticketsError(f"There is no run store {store._first}; check the path.")
        return self

    def save(self, record: Record) -> None:
        """Writes a record; afterwards its run is done and any earlier failure of it is forgotten.

        Raises UnwritableError if it cannot be written (disk full, no permission); nothing half-written remains.
        """
        self.require_writable()
        run_id = record.id
        data = save_arrays({name: np.ascontiguousarray(array) for name, array in record.arrays.items()})
        digest = hashlib.sha256(data).hexdigest()
        arrays_file = f"{run_id}-{digest[:8]}.safetensors"
        content = {**record_json(record), "arrays": {"file": arrays_file, "sha256": digest, "bytes": len(data)}}
        path = f"{_folder(run_id)}/{arrays_file}"
        there = self.files.there(path)
        self.files.write(path, data, durable=True)  # outlasts a power cut, not only a kill
        try:
            self.files.write(_record(run_id), _dump(content), durable=True)
        except UnwritableError:
            if not there:  # nobody would ever find them
                self.files.remove(path)
            raise
        self.files.remove(f"failed/{run_id}.json")

    def fail(self, spec: Spec, error: str) -> None:
        """Notes that a run failed and why; it is retried only on request."""
        self.require_writable()
        content = {"id": spec.id, "error": error, "spec": spec.to_json(), "time": time.time()}
        self.files.write(f"failed/{spec.id}.json", _dump(content), durable=True)

    def failures(self) -> dict[str, str]:
        """Error by run id, for the runs that failed and have not succeeded since."""
        found = {}
        for content in self._notes("failed").values():
            with contextlib.suppress(KeyError, TypeError):
                found[content["id"]] = str(content["error"])
        return found

    def failed_specs(self) -> list[Spec]:
        """The specs of the runs in :meth:`failures`, for carrying them out again; unreadable notes are left out."""
        found = []
        for content in self._notes("failed").values():
            with contextlib.suppress(*_WRONG, SuperticketsError):
                found.append(spec_from_json(content["spec"]))
        return found

    def running(self) -> dict[str, dict[str, Any]]:
        """The last :meth:`heartbeat` of runs under way, or killed, by id: ``epoch``, ``time``, ``pid`` and so on."""
        found = self._notes("running").items()
        return {run: note for run, note in found if all(isinstance(note.get(key), int | float) for key in _HEARTBEAT)}

    def heartbeat(self, run_id: str, epoch: int, epochs: int) -> None:
        """Notes how far a run under way has come; a run goes on if that cannot be written."""
        content = {"epoch": epoch, "epochs": epochs, "time": time.time(), "pid": os.getpid()}
        with contextlib.suppress(SuperticketsError):
            self.files.write(f"running/{run_id}.json", _dump({**content, "host": socket.gethostname()}))

    def forget_heartbeat(self, run_id: str) -> None:
        """Removes the note of :meth:`heartbeat` once a run has ended; without one it does nothing."""
        self.files.remove(f"running/{run_id}.json")

    def progress(self, run_id: str) -> float:
        """Share of a run's epochs that are behind it, 0 if unknown."""
        try:
            content = json.loads(self.files.read(f"running/{run_id}.json"))
            return content["epoch"] / content["epochs"]
        except (OSError, *_WRONG, ZeroDivisionError):
            return 0.0

    def log(self, run_id: str, text: str) -> bool:
        """Adds text to a run's log; whether it could be written. A run goes on without."""
        try:
            self.files.append(f"logs/{run_id}.log", text.encode(errors="replace"))
        except Exception:  # a full disk, or whatever a file system far away may raise
            return False
        return True

    def log_path(self, run_id: str) -> str:
        """Where a run's log is."""
        return f"{self._first.rstrip('/')}/logs/{run_id}.log"

    def read_log(self, start: str) -> str:
        """The log of the run whose id starts so; raises SuperticketsError unless there is one, and only one."""
        found = sorted(run_id for run_id in self.files.names("logs", ".log") if run_id.startswith(start))
        if len(found) != 1:
            none = f"no log of a run {start}; `supertickets status` lists runs, and a sweep writes their logs."
            many = f"{len(found)} logs of runs that start with {start}: {', '.join(found[:5])}; give more of the id."
            raise SuperticketsError(f"The run store {self.path} has {many if found else none}")
        return self.files.read(f"logs/{found[0]}.log").decode(errors="replace")

    def finished_since(self, moment: float) -> dict[str, float]:
        """When runs finished, in seconds since 1970 by id, of those that did after ``moment``."""
        # A file is never older than its run; of the few (or, after a copy, many) that are new, the content tells.
        new = [info.path for info in self.files.below("runs", ".json") if not 0 < info.changed < moment - 1]
        found = {}
        for content in self.files.read_many(new):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                values = json.loads(content or b"")
                when = datetime.strptime(values["finished"], TIME).replace(tzinfo=UTC).timestamp()
                if when >= moment:
                    found[values["id"]] = when
        return found

    def scratch(self, run_id: str) -> str | None:
        """The file in which a long run keeps what it needs to go on after a kill; None if the store is not local.

        It is removed by the run that wrote it.
        """
        if self._pack or not self.files.local:
            return None
        folder = Path(self.files.at("running"))
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder / f"{run_id}.safetensors")

    def claims(self) -> dict[str, dict[str, Any]]:
        """The claims there are, by run id; a half-written one is left out."""
        return self._notes("claims")

    def remove_unfinished(self) -> None:
        """Removes what writers that were killed left unfinished, if it is old enough to be theirs (local stores)."""
        for folder in ("claims", "running", "failed", "logs", "runs/*"):
            for ending in (".tmp", ".void", ".half"):
                self.files.remove_old(f"{folder}/*{ending}", _UNFINISHED)
        self.files.remove_old("models/.*", 24 * _UNFINISHED, shutil.rmtree)  # which models start as

    def model_folder(self, run_id: str) -> str | None:
        """Where the model of a run that others start from is kept; None if the store is not local."""
        return self.files.at(f"models/{run_id}") if self.files.local and not self._pack else None

    def _notes(self, folder: str) -> dict[str, dict[str, Any]]:
        """The JSON objects in a folder, sorted by run; one being replaced or truncated says nothing we could trust."""
        found = {}
        for run_id in sorted(self.files.names(folder, ".json")):
            with contextlib.suppress(OSError, ValueError):
                content = json.loads(self.files.read(f"{folder}/{run_id}.json"))
                if isinstance(content, dict):
                    found[run_id] = content
        return found

    def _checked(self, run_id: str, text: bytes | None, arrays: bool, sizes: Mapping[str, int]) -> Record | None:
        """The record with this text; that of another store without one, or if it cannot be trusted."""
        if text is not None:
            try:
                return self._parse(run_id, text, arrays, sizes)
            except _DAMAGES as error:
                self._set_aside(run_id, str(error) or type(error).__name__)
        return self._elsewhere(run_id, arrays)

    def _parse(self, run_id: str, text: bytes, arrays: bool, sizes: Mapping[str, int]) -> Record:
        if not text:
            raise ValueError("it is empty or may not be read")
        content = json.loads(text)

        def load(needed: bool) -> dict[str, np.ndarray]:
            path = f"{_folder(run_id)}/{content['arrays']['file']}"
            if arrays or needed:
                data = self.files.read(path)
                if hashlib.sha256(data).hexdigest() != content["arrays"]["sha256"]:
                    raise ValueError("its arrays are truncated or changed")
                return load_arrays(data)
            if (sizes[path] if path in sizes else self.files.size(path)) != content["arrays"]["bytes"]:
                raise ValueError("its arrays are truncated")
            return {}

        return record_from_json(run_id, content, load)

    def _set_aside(self, run_id: str, reason: str) -> None:
        aside = f"broken/{run_id}-{uuid.uuid4().hex[:8]}.json"
        try:
            self.files.move(_record(run_id), aside)
        except FileNotFoundError:  # another process set it aside first
            return
        warnings.warn(
            f"The record {self.files.at(_record(run_id))} cannot be trusted ({reason}); it was moved to "
            f"{self.files.at(aside)} and its run will be repeated.",
            BrokenRecordWarning,
            stacklevel=4,
        )


def _folder(run_id: str) -> str:
    return f"runs/{run_id[:2]}"


def _record(run_id: str) -> str:
    return f"{_folder(run_id)}/{run_id}.json"


def _dump(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()
