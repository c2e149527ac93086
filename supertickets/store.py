"""The run store: one record per finished run, found by its id, in plain files anyone can copy.

``runs/ab/<id>.json`` is a record; its arrays lie beside it in a safetensors file named by their hash. The
arrays are written first and the JSON last, each in one atomic step, so a record is either whole or absent and any
number of processes may write at once. A record that is truncated, or not what its name says, is moved to ``broken/``
with a warning and its run counts as not done. ``failed/`` holds the errors of failed runs, ``running/`` the
heartbeats of those under way, ``claims/`` who is at which run, ``models/`` the trained models that other runs start
from. Paths are fsspec's: a local folder, or ``s3://...`` with the right extra installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from supertickets.errors import SuperticketsError
from supertickets.runs import Record
from supertickets.specs import Spec, spec_from_json

_HEARTBEAT = ("epoch", "epochs", "time", "pid")
_FORMAT, _VERSION = "supertickets.record", 1


class BrokenRecordWarning(UserWarning):
    """A record could not be trusted and was set aside."""


class RunStore:
    """Records by run id under ``path``; nothing is written until the first save.

    >>> import tempfile
    >>> store = RunStore(tempfile.mkdtemp())
    >>> "0123456789abcdef0123" in store, len(store)
    (False, 0)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        try:
            self._fs, self._root = fsspec.core.url_to_fs(self.path)
        except (ValueError, ImportError) as error:
            raise SuperticketsError(f"The run store {self.path} cannot be opened: {error}.") from error
        self._local = self._fs.protocol == "file" or "file" in self._fs.protocol
        if self._fs.isfile(self._root):
            raise SuperticketsError(f"The run store {self.path} is a file; give a folder.")

    def __contains__(self, run_id: str) -> bool:
        return self.get(run_id, arrays=False) is not None

    def __len__(self) -> int:
        return len(self.ids())

    def ids(self) -> list[str]:
        """Ids of all stored records, sorted; what they hold is checked when they are read."""
        return sorted(
            name.rsplit("/", 1)[1].removesuffix(".json") for name in self._fs.glob(f"{self._root}/runs/*/*.json")
        )

    def get(self, run_id: str, arrays: bool = True) -> Record | None:
        """The record of a run, or None if there is none that can be trusted (a broken one is set aside)."""
        path = self._record_path(run_id)
        try:
            text = self._fs.cat_file(path)
        except FileNotFoundError:
            return None
        try:
            return self._parse(run_id, json.loads(text), arrays)
        except (ValueError, KeyError, TypeError, OSError, SafetensorError, SuperticketsError) as error:
            self._set_aside(run_id, str(error) or type(error).__name__)
            return None

    def __getitem__(self, run_id: str) -> Record:
        record = self.get(run_id)
        if record is None:
            raise SuperticketsError(f"The run store {self.path} has no finished run {run_id}; run it first.")
        return record

    def records(self, ids: Iterable[str] | None = None, arrays: bool = False) -> Iterator[Record]:
        """The records of these ids (default: all) that are there, in order."""
        for run_id in self.ids() if ids is None else ids:
            record = self.get(run_id, arrays)
            if record is not None:
                yield record

    def frame(self, specs: Iterable[Spec] | None = None) -> pd.DataFrame:
        """The rows of records (``Record.rows``): of these specs, or of everything in the store."""
        ids = None if specs is None else [spec.id for spec in specs]
        return pd.DataFrame([row for record in self.records(ids) for row in record.rows()])

    def save(self, record: Record) -> None:
        """Writes a record; afterwards its run is done and any earlier failure of it is forgotten.

        Raises SuperticketsError if it cannot be written (disk full, no permission); nothing half-written remains.
        """
        run_id = record.id
        data = save_arrays({name: np.ascontiguousarray(array) for name, array in record.arrays.items()})
        digest = hashlib.sha256(data).hexdigest()
        arrays_file = f"{run_id}-{digest[:8]}.safetensors"
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "id": run_id,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "spec": record.spec.to_json(),
            "epochs": list(record.epochs),
            "best_epoch": record.best_epoch,
            "metrics": record.metrics,
            "size": record.size,
            "timings": record.timings,
            "environment": record.environment,
            "arrays": {"file": arrays_file, "sha256": digest, "bytes": len(data)},
        }
        self._write(f"{self._folder(run_id)}/{arrays_file}", data)
        self._write(self._record_path(run_id), _dump(content))
        self._remove(f"{self._root}/failed/{run_id}.json")

    def fail(self, spec: Spec, error: str) -> None:
        """Notes that a run failed and why; it is retried only on request."""
        content = {"id": spec.id, "error": error, "spec": spec.to_json(), "time": time.time()}
        self._write(f"{self._root}/failed/{spec.id}.json", _dump(content))

    def failures(self) -> dict[str, str]:
        """Error by run id, for the runs that failed and have not succeeded since."""
        found = {}
        for path in self._fs.glob(f"{self._root}/failed/*.json"):
            try:
                content = json.loads(self._fs.cat_file(path))
                found[content["id"]] = content["error"]
            except (ValueError, KeyError, OSError):  # being replaced or truncated: it says nothing we could trust
                continue
        return found

    def failed_specs(self) -> list[Spec]:
        """The specs of the runs in :meth:`failures`, for carrying them out again; unreadable notes are left out."""
        found = []
        for path in sorted(self._fs.glob(f"{self._root}/failed/*.json")):
            try:
                found.append(spec_from_json(json.loads(self._fs.cat_file(path))["spec"]))
            except (ValueError, KeyError, TypeError, AttributeError, OSError, SuperticketsError):
                continue
        return found

    def running(self) -> dict[str, dict[str, float]]:
        """The last :meth:`heartbeat` of runs under way, or killed, by id: ``epoch``, ``epochs``, ``time``, ``pid``."""
        found = {}
        for path in self._fs.glob(f"{self._root}/running/*.json"):
            try:
                content = json.loads(self._fs.cat_file(path))
                found[path.rsplit("/", 1)[1].removesuffix(".json")] = {key: content[key] for key in _HEARTBEAT}
            except (ValueError, KeyError, TypeError, OSError):
                continue
        return found

    def heartbeat(self, run_id: str, epoch: int, epochs: int) -> None:
        """Notes how far a run under way has come; a run goes on if that cannot be written."""
        content = {"epoch": epoch, "epochs": epochs, "time": time.time(), "pid": os.getpid()}
        with contextlib.suppress(SuperticketsError):
            self._write(f"{self._root}/running/{run_id}.json", _dump(content), durable=False)

    def progress(self, run_id: str) -> float:
        """Share of a run's epochs that are behind it, 0 if unknown."""
        try:
            content = json.loads(self._fs.cat_file(f"{self._root}/running/{run_id}.json"))
            return content["epoch"] / content["epochs"]
        except (OSError, ValueError, KeyError):
            return 0.0

    def scratch(self, run_id: str) -> str | None:
        """The file in which a long run keeps what it needs to go on after a kill; None if the store is not local.

        It is removed by the run that wrote it.
        """
        folder = Path(f"{self._root}/running")
        if not isinstance(self._fs, LocalFileSystem):
            return None
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder / f"{run_id}.safetensors")

    def write_claim(self, run_id: str, data: bytes, new: bool = False) -> bool:
        """Writes a run's claim (:mod:`supertickets.claims`); with ``new`` only if there is none. Whether it did."""
        path = f"{self._root}/claims/{run_id}.json"
        if not new:
            self._write(path, data, durable=False)
            return True
        try:
            if not self._local:
                self._fs.pipe_file(path, data, mode="create")
                return True
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
            try:
                Path(temporary).write_bytes(data)
                os.link(temporary, path)  # whole or not at all, and only if there is none
            finally:
                Path(temporary).unlink(missing_ok=True)
        except FileExistsError:
            return False
        except OSError as error:
            raise SuperticketsError(f"{path} cannot be written ({error}); free some space.") from error
        return True

    def read_claim(self, run_id: str) -> bytes | None:
        """A run's claim, None without one."""
        try:
            return self._fs.cat_file(f"{self._root}/claims/{run_id}.json")
        except OSError:
            return None

    def take_claim(self, run_id: str) -> bytes | None:
        """Removes a run's claim and returns it; None if it is gone. Of several at once, one gets it (local stores)."""
        path = f"{self._root}/claims/{run_id}.json"
        if not self._local:
            content = self.read_claim(run_id)
            self._remove(path)
            return content
        aside = f"{path}.{uuid.uuid4().hex[:8]}.void"
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return None
        content = Path(aside).read_bytes()
        os.unlink(aside)
        return content

    def claim_age(self, run_id: str) -> float:
        """Seconds since a run's claim was written; 0 without one."""
        try:
            return time.time() - self._fs.modified(f"{self._root}/claims/{run_id}.json").timestamp()
        except (OSError, RuntimeError):  # a file system that keeps no times says so with a RuntimeError
            return 0.0

    def model_folder(self, run_id: str) -> str | None:
        """Where the model of a run that others start from is kept; None if the store is not local."""
        return f"{self._root}/models/{run_id}" if isinstance(self._fs, LocalFileSystem) else None

    def forget_heartbeat(self, run_id: str) -> None:
        """Removes the note of :meth:`heartbeat` once a run has ended; without one it does nothing."""
        self._remove(f"{self._root}/running/{run_id}.json")

    def _parse(self, run_id: str, content: dict[str, Any], arrays: bool) -> Record:
        if not isinstance(content, dict) or content.get("format") != _FORMAT or content.get("version") != _VERSION:
            raise ValueError(f"not a record of version {_VERSION}")
        spec = spec_from_json(content["spec"])
        if spec.id != run_id or content["id"] != run_id:
            raise ValueError(f"its spec belongs to run {spec.id}")
        arrays_path = f"{self._folder(run_id)}/{content['arrays']['file']}"
        if arrays:
            data = self._fs.cat_file(arrays_path)
            if hashlib.sha256(data).hexdigest() != content["arrays"]["sha256"]:
                raise ValueError("its arrays are truncated or changed")
        elif self._fs.size(arrays_path) != content["arrays"]["bytes"]:
            raise ValueError("its arrays are truncated")
        return Record(
            spec=spec,
            epochs=tuple(content["epochs"]),
            best_epoch=content["best_epoch"],
            metrics=content["metrics"],
            size=content["size"],
            arrays=load_arrays(data) if arrays else {},
            timings=content["timings"],
            environment=content["environment"],
        )

    def _set_aside(self, run_id: str, reason: str) -> None:
        path, aside = self._record_path(run_id), f"{self._root}/broken/{run_id}-{uuid.uuid4().hex[:8]}.json"
        try:
            self._fs.makedirs(f"{self._root}/broken", exist_ok=True)
            self._fs.mv(path, aside)
        except FileNotFoundError:  # another process set it aside first
            return
        warnings.warn(
            f"The record {path} cannot be trusted ({reason}); it was moved to {aside} and its run will be repeated.",
            BrokenRecordWarning,
            stacklevel=3,
        )

    def _folder(self, run_id: str) -> str:
        return f"{self._root}/runs/{run_id[:2]}"

    def _record_path(self, run_id: str) -> str:
        return f"{self._folder(run_id)}/{run_id}.json"

    def _write(self, path: str, data: bytes, durable: bool = True) -> None:
        """All or nothing: a temporary file renamed into place, or one object put."""
        if not self._local:
            self._fs.pipe_file(path, data)
            return
        temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                if durable:  # a record must survive a power cut, not only a kill
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            self._remove(temporary)
            raise SuperticketsError(
                f"{path} cannot be written ({error}); free some space or choose another store."
            ) from error

    def _remove(self, path: str) -> None:
        with contextlib.suppress(OSError):  # it was not there
            self._fs.rm_file(path)


def _dump(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()
