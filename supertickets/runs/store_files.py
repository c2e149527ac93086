"""The files of a run store: whole or absent, in a local folder by plain system calls, elsewhere through fsspec.

A local store is by far the most common, and thousands of small files are read at once, so nothing stands between them
and the system there; ``s3://...`` and the like need fsspec and the right extra.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from supertickets.errors import SuperticketsError, UnwritableError

_AT_ONCE = 256
_UNFINISHED = (".tmp", ".void", ".half")
UNFINISHED = 3600.0
"""Seconds after which a temporary file is nobody's: none takes so long to write."""
_CHANGED = ("mtime", "LastModified", "last_modified", "updated", "created")


class FileInfo(NamedTuple):
    """A file's path below the store's root, its size in bytes and when it was last changed, in seconds (0: unknown)."""

    path: str
    size: int
    changed: float


class StoreFiles:
    """Files below ``path``, a local folder or an fsspec URL, named by their path from there ("runs/ab/abcd.json").

    >>> import tempfile
    >>> files = StoreFiles(tempfile.mkdtemp())
    >>> files.write("notes/a.txt", b"one"), files.append("notes/a.txt", b" two"), files.read("notes/a.txt")
    (None, None, b'one two')
    """

    def __init__(self, path: str) -> None:
        try:
            self._fs, self.root = fsspec.core.url_to_fs(path)
        except (ValueError, ImportError) as error:
            raise SuperticketsError(f"The run store {path} cannot be opened: {error}.") from error
        self.local = self._fs.protocol == "file" or "file" in self._fs.protocol

    def at(self, path: str) -> str:
        """The full path of a file."""
        return f"{self.root}/{path}"

    def read(self, path: str) -> bytes:
        """The content of a file; raises FileNotFoundError, or OSError if it cannot be read."""
        if not self.local:
            return self._fs.cat_file(self.at(path))
        with open(self.at(path), "rb") as file:
            return file.read()

    def read_many(self, paths: Iterable[str]) -> Iterator[bytes | None]:
        """The contents of files in order, None for those that are not there; from afar, many at once.

        What is there but may not be read, or is a folder, is empty. Raises OSError if one cannot be read.
        """
        paths = list(paths)
        for start in range(0, len(paths), _AT_ONCE):
            chunk = paths[start : start + _AT_ONCE]
            if self.local:
                yield from map(self._read_or_none, chunk)
                continue
            found = self._fs.cat([self.at(path) for path in chunk], on_error="return")
            for path in chunk:
                content = found.get(self._fs._strip_protocol(self.at(path)))
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
                yield content if isinstance(content, bytes) else None

    def _read_or_none(self, path: str) -> bytes | None:
        try:
            return self.read(path)
        except FileNotFoundError:
            return None
        except (IsADirectoryError, PermissionError):
            return b""

    def there(self, path: str) -> bool:
        """Whether there is such a file."""
        return os.path.isfile(self.at(path)) if self.local else bool(self._fs.isfile(self.at(path)))

    def size(self, path: str) -> int:
        """Bytes in a file; raises FileNotFoundError."""
        return os.stat(self.at(path)).st_size if self.local else self._fs.size(self.at(path))

    def names(self, folder: str, suffix: str) -> list[str]:
        """Names of the files in a folder that end so, without the ending; none if there is no such folder."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if self.local:
                names = os.listdir(self.at(folder))
            else:
                self._fs.invalidate_cache(self.at(folder))
                names = [path.rsplit("/", 1)[-1] for path in self._fs.ls(self.at(folder), detail=False)]
            return [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
        return []

    def names_below(self, folder: str, suffix: str) -> list[str]:
        """Names of the files in the folders of a folder that end so, without the ending."""
        if self.local:
            return [name for each in self._folders(folder) for name in self.names(each, suffix)]
        return [info.path.rsplit("/", 1)[-1].removesuffix(suffix) for info in self.below(folder, suffix)]

    def below(self, folder: str, suffix: str) -> list[FileInfo]:
        """The files in the folders of a folder that end so, with size and time, from listings alone."""
        found = []
        if self.local:
            for each in self._folders(folder):
                for entry in os.scandir(self.at(each)):
                    if entry.name.endswith(suffix):
                        with contextlib.suppress(FileNotFoundError):  # gone since
                            stat = entry.stat()
                            found.append(FileInfo(f"{each}/{entry.name}", stat.st_size, stat.st_mtime))
            return found
        self._fs.invalidate_cache(self.at(folder))
        start = len(self._fs._strip_protocol(self.root)) + 1
        for path, info in self._fs.find(self.at(folder), detail=True).items():
            if path.endswith(suffix):
                found.append(FileInfo(path[start:], int(info.get("size") or 0), _changed(info)))
        return found

    def _folders(self, folder: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return [f"{folder}/{entry.name}" for entry in os.scandir(self.at(folder)) if entry.is_dir()]
        return []

    def write(self, path: str, data: bytes, durable: bool = False) -> None:
        """All or nothing: a temporary file renamed into place, or one object put; ``durable`` outlasts a power cut.

        Raises UnwritableError if it cannot be written; nothing half-written remains.
        """
        full = self.at(path)
        try:
            if not self.local:
                self._fs.pipe_file(full, data)
                return
            temporary = f"{full}.{uuid.uuid4().hex[:8]}.tmp"
            try:
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(temporary, "wb") as file:
                    file.write(data)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
                if os.path.isdir(full):  # nobody's; whatever is in it stays beside
                    os.rename(full, f"{full}.{uuid.uuid4().hex[:8]}.void")
                os.replace(temporary, full)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            raise UnwritableError(
                f"{full} cannot be written ({error}); free some space or choose another store."
            ) from error

    def create(self, path: str, data: bytes) -> bool:
        """Writes a file unless there is one; whether it did. Of several at once, one does.

        Raises UnwritableError if it cannot be written.
        """
        full = self.at(path)
        try:
            if not self.local:
                self._fs.pipe_file(full, data, mode="create")
                return True
            os.makedirs(os.path.dirname(full), exist_ok=True)
            temporary = f"{full}.{uuid.uuid4().hex[:8]}.tmp"
            try:
                Path(temporary).write_bytes(data)
                os.link(temporary, full)  # whole or not at all, and only if there is none
            finally:
                Path(temporary).unlink(missing_ok=True)
        except FileExistsError:
            return False
        except OSError as error:
            raise UnwritableError(f"{full} cannot be written ({error}); free some space.") from error
        return True

    def append(self, path: str, data: bytes) -> None:
        """Adds to the end of a file, made if there is none; from afar by writing it anew. Raises OSError."""
        full = self.at(path)
        if not self.local:
            with contextlib.suppress(FileNotFoundError):
                data = self._fs.cat_file(full) + data
            self._fs.pipe_file(full, data)
            return
        try:
            file = open(full, "ab")  # noqa: SIM115  # closed below, whichever way it was opened
        except FileNotFoundError:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            file = open(full, "ab")  # noqa: SIM115
        with file:
            file.write(data)

    def take(self, path: str) -> bytes | None:
        """Removes a file and returns its content; None if it is gone. Of several at once, one gets it (local only)."""
        if not self.local:
            try:
                content = self._fs.cat_file(self.at(path))
            except OSError:
                content = None
            self.remove(path)
            return content
        aside = f"{self.at(path)}.{uuid.uuid4().hex[:8]}.void"
        try:
            os.rename(self.at(path), aside)
        except FileNotFoundError:
            return None
        try:
            content = Path(aside).read_bytes()
        except IsADirectoryError:  # whatever is in it stays beside
            return b""
        os.unlink(aside)
        return content

    def move(self, path: str, to: str) -> None:
        """Moves a file, to a folder that is made; raises FileNotFoundError if it is gone."""
        self._fs.makedirs(os.path.dirname(self.at(to)), exist_ok=True)
        self._fs.mv(self.at(path), self.at(to))

    def remove(self, path: str) -> None:
        """Removes a file if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(self.at(path)) if self.local else self._fs.rm_file(self.at(path))

    def remove_unfinished(
        self, folders: Iterable[str], of_folders: Iterable[str], of_models: Iterable[str], older: float = UNFINISHED
    ) -> None:
        """Removes temporary files in folders and in the folders of folders, and hidden folders, which models start as.

        Only those in a local store that were not changed for ``older`` seconds, a model's not for a day.
        """
        if not self.local:
            return
        now = time.time()
        for folder in (*folders, *(each for parent in of_folders for each in self._folders(parent))):
            for name in self.names(folder, ""):
                path = f"{self.at(folder)}/{name}"
                with contextlib.suppress(OSError):
                    if name.endswith(_UNFINISHED) and os.stat(path).st_mtime < now - older:
                        os.unlink(path)
        for folder in of_models:
            for path in self._folders(folder):
                with contextlib.suppress(OSError):
                    if path.rsplit("/", 1)[1].startswith(".") and os.stat(self.at(path)).st_mtime < now - 24 * older:
                        shutil.rmtree(self.at(path), ignore_errors=True)

    def age(self, path: str) -> float:
        """Seconds since a file was written; 0 without one, or where no times are kept."""
        try:
            return time.time() - self._fs.modified(self.at(path)).timestamp()
        except (OSError, RuntimeError):  # a file system that keeps no times says so with a RuntimeError
            return 0.0


def _changed(info: dict[str, Any]) -> float:
    """When a file was changed, under whatever name its file system gives that."""
    found = next((info[key] for key in _CHANGED if info.get(key)), 0.0)
    return found.timestamp() if isinstance(found, datetime) else float(found) if isinstance(found, int | float) else 0.0
