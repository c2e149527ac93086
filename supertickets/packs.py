"""Packing run stores into one file that anyone can copy, and saying what is in it."""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import save as save_arrays

from supertickets.errors import SuperticketsError
from supertickets.pack_files import FORMAT, MANIFEST, RECORDS, VERSION, digest_of, files_of, planes_of, shared_and_own
from supertickets.provenance import LIBRARIES, commit_id, library_versions
from supertickets.records import completed, record_json
from supertickets.runs import Record, RunSpec
from supertickets.shared_runs import SharingSpec
from supertickets.specs import Spec, data_of
from supertickets.store import RunStore


def pack(store: RunStore, to: str | Path, note: str = "", data_dir: str | Path | None = None) -> dict[str, Any]:
    """Writes all records of a store (or of several) to the zip ``to`` and returns its manifest; the store stays.

    Only records are packed: no log, failure, claim or model. Those of the old form are brought to the new one, with
    the facts of their tasks taken from the data below ``data_dir`` if that is given, else as far as they are known.
    The same records make the same bytes, with the same code and note; a sweep may write to the store meanwhile. An
    existing pack is replaced at once or not at all. Raises SuperticketsError without records, for a place that is
    taken by something else or cannot be written, and for data that are not those of a run.
    """
    to = Path(to)
    if to.exists():
        files_of(str(to))  # whatever else it is, is not ours to replace
    temporary = to.with_name(f"{to.name}.{os.getpid()}.tmp")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w") as file:
            manifest = _written(file, (completed(record, data_dir) for record in store.records(arrays=True)), note)
        if not manifest["runs"]:
            raise SuperticketsError(f"The run store {store.path} holds no finished run; there is nothing to pack.")
        os.replace(temporary, to)
    except OSError as error:
        raise SuperticketsError(f"The pack {to} cannot be written ({error}); free some space.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return manifest


def described(manifest: Mapping[str, Any]) -> str:
    """What a packed store's manifest says, in words."""
    lines = [f"{manifest['runs']} runs, packed at commit {manifest['packed by']['commit']}"]
    lines += [manifest["note"]] if manifest["note"] else []
    by_task: dict[str, list[str]] = {}
    for row in manifest["counts"]:
        by_task.setdefault(f"  {row['encoder']} on {row['task']}", []).append(f"{row['runs']} {row['kind']}")
    lines += [f"{what}: {', '.join(counts)}" for what, counts in by_task.items()]
    for row in manifest["made on"]:
        versions = ", ".join(f"{name} {version}" for name, version in row.items() if name in LIBRARIES)
        lines.append(f"  {row['runs']} on {row['device']}: {versions}")
    return "\n".join(lines)


def _written(file: zipfile.ZipFile, records: Iterable[Record], note: str) -> dict[str, Any]:
    """Writes the members, the manifest last."""
    lines: list[str] = []
    shared: set[str] = set()
    counts: Counter[tuple[str, str, str]] = Counter()
    settings: Counter[str] = Counter()
    for record in records:
        common, own = shared_and_own(record.arrays)
        floats = {name: array.dtype.newbyteorder("<").str for name, array in own.items() if array.dtype.kind == "f"}
        data = save_arrays({name: planes_of(array) if name in floats else array for name, array in own.items()})
        entry: dict[str, Any] = {"file": f"{record.id}.safetensors", "sha256": digest_of(data), "bytes": len(data)}
        entry |= {"planes": floats, "shared": {}}
        _add(file, f"runs/{record.id[:2]}/{entry['file']}", data)
        for name, array in common.items():
            data = save_arrays({"array": array})
            digest = entry["shared"][name] = digest_of(data)
            if digest not in shared:
                _add(file, f"shared/{digest}.safetensors", data)
                shared.add(digest)
        # The id first: readers find it there.
        content = {"id": record.id, **record_json(record), "arrays": entry}
        lines.append(json.dumps(content, separators=(",", ":"), allow_nan=False))
        encoder, kind = _condition(record.spec)
        counts[encoder, " + ".join(ref.name for ref in data_of(record.spec)), kind] += 1
        names = ("device", "python", *LIBRARIES)
        settings[json.dumps({name: record.environment.get(name, "unknown") for name in names})] += 1
    content = "\n".join(lines).encode()
    _add(file, RECORDS, content)
    names = ("encoder", "task", "kind", "runs")
    root = Path(__file__).parents[1]
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "note": note,
        "runs": len(lines),
        "counts": [dict(zip(names, (*key, n), strict=True)) for key, n in sorted(counts.items())],
        "made on": [{**json.loads(setting), "runs": n} for setting, n in sorted(settings.items())],
        "packed by": {
            "supertickets": library_versions()["supertickets"],
            "commit": commit_id(root) if (root / ".git").exists() else "unknown",
        },
        "sha256": {RECORDS: digest_of(content)},
    }
    _add(file, MANIFEST, json.dumps(manifest, indent=1).encode())
    return manifest


def _condition(spec: Spec) -> tuple[str, str]:
    """The encoder and the kind of run."""
    if isinstance(spec, RunSpec):
        return spec.encoder, spec.ticket.kind
    if isinstance(spec, SharingSpec):
        return spec.encoder, spec.model
    return spec.source.encoder, f"adapted from {spec.model}"


def _add(file: zipfile.ZipFile, name: str, data: bytes) -> None:
    """A member that says nothing of when and where it was written."""
    info = zipfile.ZipInfo(name)  # of 1980
    info.create_system, info.external_attr = 3, 0o644 << 16
    file.writestr(info, data, zipfile.ZIP_DEFLATED, 9)
