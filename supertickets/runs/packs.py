"""Packed stores: the records of run stores in one zip that anyone can copy, read wherever a store is, never written to.

``records.jsonl`` has a line for every record, ``runs/`` the arrays of each, ``shared/`` what many runs have in common
(labels, rows of the splits), once, by its hash. Real numbers lie byte plane by byte plane, which compresses better.
``manifest.json`` says what is in it and has the hash of the lines, which have the hashes of all else: whatever is read
is checked first, and nothing is ever unpacked to a path.
"""

import hashlib
import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from supertickets.errors import SuperticketsError
from supertickets.runs.provenance import LIBRARIES, PACKAGE, commit_id, library_versions
from supertickets.runs.records import completed, record_from_json, record_json
from supertickets.runs.run import Record
from supertickets.runs.spec import kind_of, task_of

_FORMAT, _VERSION = "supertickets.pack", 1
_MANIFEST, _RECORDS = "manifest.json", "records.jsonl"
_SHARED = ("dev_labels", "test_labels", "selection", "dev_groups", "test_groups", "rows")
_ID = slice(len('{"id":"'), len('{"id":"') + 20)  # of a run, in its line


class Pack:
    """The records in a packed store's bytes; ``path`` is for messages. Raises SuperticketsError for anything else."""

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self.manifest: dict[str, Any] = json.loads(self._zip.read(_MANIFEST))
            if (self.manifest["format"], self.manifest["version"]) != (_FORMAT, _VERSION):
                raise ValueError(f"not of version {_VERSION}")
            lines = self._read(_RECORDS, self.manifest["sha256"][_RECORDS]).splitlines()
        except Exception as error:  # zipfile raises whatever a damaged file leads it to
            fault = f"{path} is no packed store, or a damaged one ({error}); fetch it again."
            raise SuperticketsError(fault) from error
        self._lines = {line[_ID].decode(): line for line in lines}
        self._known: dict[str, Record] = {}  # without arrays: a page asks for the same records over and over

    def ids(self) -> list[str]:
        """Ids of the runs."""
        return list(self._lines)

    def record(self, run_id: str, arrays: bool) -> Record | None:
        """The record of a run, None if there is none; raises SuperticketsError if it is damaged."""
        if run_id not in self._lines:
            return None
        if not arrays and run_id in self._known:
            return self._known[run_id]
        content = json.loads(self._lines[run_id])
        try:
            found = self._arrays(run_id, content["arrays"]) if arrays else {}
            record = record_from_json(run_id, content, lambda _: found)
        except Exception as error:
            fault = f"Run {run_id} in {self.path} is damaged ({error}); fetch the pack again."
            raise SuperticketsError(fault) from error
        if not arrays:
            self._known[run_id] = record
        return record

    def _arrays(self, run_id: str, entry: Mapping[str, Any]) -> dict[str, np.ndarray]:
        arrays = load_arrays(self._read(f"runs/{run_id}.safetensors", entry["sha256"]))
        for name, kind in entry["planes"].items():
            arrays[name] = np.ascontiguousarray(np.moveaxis(arrays[name], 0, -1)).view(kind)[..., 0]
        for name, digest in entry["shared"].items():
            arrays[name] = load_arrays(self._read(f"shared/{digest}", digest))["array"]
        return arrays

    def _read(self, member: str, digest: str) -> bytes:
        if _digest(data := self._zip.read(member)) != digest:
            raise ValueError(f"{member} is not what it was")
        return data


def open_pack(path: str) -> Pack | None:
    """The packed store at a path or URL; None for a folder, there or not. Raises SuperticketsError for another file."""
    fs, root = fsspec.core.url_to_fs(path)
    if fs.isfile(root):
        return Pack(path, fs.cat_file(root))
    if path.endswith(".zip"):
        raise SuperticketsError(f"There is no packed store {path}; check the path.")
    return None


def pack(records: Iterable[Record], to: str | Path, note: str = "", data_dir: str | Path | None = None) -> str:
    """Writes records (with arrays; such as ``store.records(arrays=True)``) to the zip ``to``; what it holds, in words.

    Those of the old form are brought to the new one, with the facts of their tasks taken from the data below
    ``data_dir`` if that is given, else as far as they are known. The same records make the same bytes, with the same
    code and note. An existing pack is replaced at once or not at all. Raises SuperticketsError without records, for a
    place that is taken or cannot be written, and for data that are not those of a run.
    """
    to = Path(to)
    if to.exists():
        open_pack(str(to))  # whatever else it is, is not ours to replace
    temporary = to.with_name(f"{to.name}.{os.getpid()}.tmp")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w") as file:
            manifest = _written(file, (completed(record, data_dir) for record in records), note)
        os.replace(temporary, to)
    except OSError as error:
        raise SuperticketsError(f"The pack {to} cannot be written ({error}); free some space.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return told(manifest)


def told(manifest: Mapping[str, Any]) -> str:
    """What a packed store's manifest says, in words."""
    lines = [f"{manifest['runs']} runs, packed by commit {manifest['packed by']['commit']}", manifest["note"]]
    lines += [
        f"  {what}: {', '.join(f'{n} {kind}' for kind, n in row.items())}" for what, row in manifest["counts"].items()
    ]
    lines += [f"  {n} made on {setting}" for setting, n in manifest["made on"].items()]
    return "\n".join(filter(None, lines))


def _written(file: zipfile.ZipFile, records: Iterable[Record], note: str) -> dict[str, Any]:
    """Writes the members, the manifest last."""
    lines: list[str] = []
    shared: set[str] = set()
    counts: dict[str, Counter[str]] = {}
    settings: Counter[str] = Counter()
    for record in records:
        entry: dict[str, Any] = {"planes": {}, "shared": {}}
        own = dict(record.arrays)
        for name, array in sorted(record.arrays.items()):
            if name.rsplit("/", 1)[-1] in _SHARED:
                data = save_arrays({"array": own.pop(name)})
                if (digest := _digest(data)) not in shared:
                    _add(file, f"shared/{digest}", data)
                entry["shared"][name] = digest
                shared.add(digest)
            elif array.dtype.kind == "f":
                entry["planes"][name] = array.dtype.str
                planes = np.ascontiguousarray(array).view(np.uint8).reshape(*array.shape, -1)
                own[name] = np.ascontiguousarray(np.moveaxis(planes, -1, 0))
        _add(file, f"runs/{record.id}.safetensors", data := save_arrays(own))
        # The id first: readers find it there.
        content = {"id": record.id, **record_json(record), "arrays": {**entry, "sha256": _digest(data)}}
        lines.append(json.dumps(content, separators=(",", ":"), allow_nan=False))
        spec, source = record.spec, getattr(record.spec, "source", record.spec)
        rows = counts.setdefault(f"{source.encoder} on {task_of(spec)}", Counter())
        rows[kind_of(spec) if source is spec else f"from {kind_of(spec)}"] += 1
        made = ("device", *LIBRARIES)
        settings[", ".join(f"{name} {record.environment.get(name, 'unknown')}" for name in made)] += 1
    if not lines:
        raise SuperticketsError("There is no finished run to pack.")
    _add(file, _RECORDS, records_data := "\n".join(lines).encode())
    root = PACKAGE.parent
    commit = commit_id(root) if (root / ".git").exists() else "unknown"
    manifest = {
        "format": _FORMAT,
        "version": _VERSION,
        "note": note,
        "runs": len(lines),
        "counts": {what: dict(sorted(row.items())) for what, row in sorted(counts.items())},
        "made on": dict(sorted(settings.items())),
        "packed by": {"supertickets": library_versions()["supertickets"], "commit": commit},
        "sha256": {_RECORDS: _digest(records_data)},
    }
    _add(file, _MANIFEST, json.dumps(manifest, indent=1).encode())
    return manifest


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name)  # of 1980, whenever it is written
    info.create_system, info.external_attr = 3, 0o644 << 16
    file.writestr(info, data, zipfile.ZIP_DEFLATED, 9)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
