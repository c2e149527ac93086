"""A packed store: many runs in one zip, read as if its files lay in a folder, and never written to.

``records.jsonl`` has a line for every record, ``runs/`` the arrays of each, ``shared/`` what many runs have in common
(labels, rows of the splits), once, by hash. Floating-point arrays are kept byte plane by byte plane, which compresses
better. ``manifest.json`` says what is in it and has the hash of the lines, which have the hashes of all else; whatever
is read is checked first, and nothing is ever unpacked to a path.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NoReturn

import fsspec
import numpy as np
from safetensors.numpy import load as load_arrays

from supertickets.errors import SuperticketsError
from supertickets.store_files import FileInfo, StoreFiles

FORMAT, VERSION = "supertickets.pack", 1
MANIFEST, RECORDS = "manifest.json", "records.jsonl"
_SHARED = ("dev_labels", "test_labels", "selection", "dev_groups", "test_groups", "rows")
_ID = slice(len('{"id":"'), len('{"id":"') + 20)  # of a run, in its line


class PackFiles:
    """What :class:`StoreFiles` is for a folder, for a packed store at ``path`` with the content ``data``.

    Raises SuperticketsError if that is no packed store, or a damaged one.
    """

    local = False

    def __init__(self, path: str, data: bytes) -> None:
        self.root = path
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            self.manifest: dict[str, Any] = json.loads(self._zip.read(MANIFEST))
            known = (self.manifest["format"], self.manifest["version"]) == (FORMAT, VERSION)
            lines = self._zip.read(RECORDS) if known else b""
            whole = known and digest_of(lines) == self.manifest["sha256"][RECORDS]
        except Exception as error:  # zipfile raises whatever a damaged file leads it to
            raise SuperticketsError(
                f"{path} is no packed store, or a damaged one ({type(error).__name__}: {error}); fetch it again."
            ) from error
        if not whole:
            what = "its records are not those it was made with" if known else f"it is not of version {VERSION}"
            raise SuperticketsError(f"{path} is no packed store that can be read: {what}; fetch it again.")
        self._lines = {f"{line[_ID].decode()}.json": line for line in lines.splitlines()}

    def at(self, path: str) -> str:
        """A name for a file, for messages."""
        return f"{self.root}:{path}"

    def read(self, path: str) -> bytes:
        """The content of a file; raises FileNotFoundError, or SuperticketsError if it is damaged."""
        name = path.rsplit("/", 1)[-1]
        if path.startswith("runs/") and name in self._lines:
            return self._lines[name]
        try:
            return self._zip.read(path)
        except KeyError as error:
            raise FileNotFoundError(self.at(path)) from error
        except Exception as error:
            raise SuperticketsError(f"{self.at(path)} is damaged ({error}).") from error

    def read_many(self, paths: Iterable[str]) -> Iterator[bytes | None]:
        """The records at these paths in order, None for those that are not there."""
        return (self._lines.get(path.rsplit("/", 1)[-1]) for path in paths)

    def there(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self._zip.namelist()

    def size(self, path: str) -> int:
        """Bytes in a file; raises FileNotFoundError."""
        try:
            return self._zip.getinfo(path).file_size
        except KeyError as error:
            raise FileNotFoundError(self.at(path)) from error

    def names(self, folder: str, suffix: str) -> list[str]:
        """None: failures, claims and the like are of stores that are being written to."""
        return []

    def names_below(self, folder: str, suffix: str) -> list[str]:
        """The ids of the runs."""
        return [name.removesuffix(suffix) for name in self._lines]

    def below(self, folder: str, suffix: str) -> list[FileInfo]:
        """The runs' files that end so; when they were changed is unknown."""
        if suffix == ".json":
            return [FileInfo(f"{folder}/{name[:2]}/{name}", len(line), 0.0) for name, line in self._lines.items()]
        found = (info for info in self._zip.infolist() if info.filename.endswith(suffix))
        return [FileInfo(info.filename, info.file_size, 0.0) for info in found]

    def age(self, path: str) -> float:
        """0: nobody is at a run."""
        return 0.0

    def remove(self, path: str) -> None:
        """Nothing: there is nothing that anybody might remove."""

    def remove_unfinished(self, *_folders: Any) -> None:
        """Nothing, as before."""

    def write(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Raises SuperticketsError, as every attempt to write does."""
        raise SuperticketsError(
            f"The packed store {self.root} is read-only; name a folder before it, which then takes what is new "
            f"(runs,{self.root})."
        )

    create = append = take = move = write


def files_of(path: str) -> StoreFiles | PackFiles:
    """The files of a store: of a packed one if the path is that of a file, else of a folder, there or not.

    Raises SuperticketsError if the path cannot be opened, is a zip's that is not there, or another file's.
    """
    files = StoreFiles(path)
    if files.is_file:
        return _opened(path, fsspec.core.url_to_fs(path)[0].ukey(files.root))
    if path.endswith(".zip"):
        raise SuperticketsError(f"There is no packed store {path}; check the path.")
    return files


@lru_cache(maxsize=8)
def _opened(path: str, _key: str) -> PackFiles:
    """Packs are kept open, by what a file system knows of the file, since every run of a sweep asks for its store."""
    fs, root = fsspec.core.url_to_fs(path)
    return PackFiles(path, fs.cat_file(root))


def digest_of(data: bytes) -> str:
    """SHA-256 (hex)."""
    return hashlib.sha256(data).hexdigest()


def shared_and_own(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A record's arrays, in which other runs may have the same, and its own."""
    common = {name for name in arrays if name.rsplit("/", 1)[-1] in _SHARED}
    own = sorted({*arrays} - common)
    return {name: arrays[name] for name in sorted(common)}, {name: arrays[name] for name in own}


def planes_of(array: np.ndarray) -> np.ndarray:
    """The bytes of an array, first those that hold the signs and exponents: (itemsize, *shape), uint8."""
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(np.moveaxis(little.view(np.uint8).reshape(*array.shape, -1), -1, 0)[::-1])


def unpacked(
    arrays: dict[str, np.ndarray], entry: Mapping[str, Any], read: Callable[[str], bytes]
) -> dict[str, np.ndarray]:
    """The arrays of a record as they were before they were packed; ``entry`` is what its JSON says of them.

    Those of a folder's record are themselves. Raises ValueError if shared ones are not what they were.

    >>> array = np.array([[1.5, -2.0]], dtype=np.float32)
    >>> unpacked({"a": planes_of(array)}, {"planes": {"a": "<f4"}}, str.encode)["a"]
    array([[ 1.5, -2. ]], dtype=float32)
    """
    found = dict(arrays)
    for name, kind in entry.get("planes", {}).items():
        planes = np.ascontiguousarray(np.moveaxis(arrays[name][::-1], 0, -1))
        found[name] = planes.view(np.dtype(kind))[..., 0]
    for name, digest in entry.get("shared", {}).items():
        data = read(f"shared/{digest}.safetensors")
        if digest_of(data) != digest:
            raise ValueError("its labels are truncated or changed")
        found[name] = load_arrays(data)["array"]
    return found
