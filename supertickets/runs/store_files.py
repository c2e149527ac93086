"""The files of a run store: whole or absent, in a local folder by plain system calls, elsewhere through fsspec.

``s3://...`` and the like need the right extra.
"""

import contextlib
import glob
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import fsspec

from supertickets.errors import SuperticketsError, UnwritableError

_AT_ONCE = 256
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
        return self._fs.cat_file(self.at(path))

    def read_if_there(self, path: str) -> bytes | None:
        """The content of a file, None without one; of one that may not be read, or is a folder, nothing."""
        try:
            return self.read(path)
        except FileNotFoundError:
            return None
        except (IsADirectoryError, PermissionError):
            return b""

    def read_many(self, paths: Iterable[str]) -> Iterator[bytes | None]:
        """:meth:`read_if_there` of files in order; from afar, many at once. Raises OSError if one cannot be read."""
        if self.local:
            yield from map(self.read_if_there, paths)
            return
        paths = list(paths)
        for start in range(0, len(paths), _AT_ONCE):
            chunk = paths[start : start + _AT_ONCE]
            found = self._fs.cat([self.at(path) for path in chunk], on_error="return")
            for path in chunk:
                content = found.get(self._fs._strip_protocol(self.at(path)))
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
                yield content if isinstance(content, bytes) else None

    def there(self, path: str, folder: bool = False) -> bool:
        """Whether there is such a file or folder."""
        return self._fs.isdir(self.at(path)) if folder else self._fs.isfile(self.at(path))

    def size(self, path: str) -> int:
        """Bytes in a file; raises FileNotFoundError."""
        return self._fs.size(self.at(path))

    def names(self, folder: str, suffix: str) -> list[str]:
        """Names of the files in a folder that end so, without the ending; none if there is no such folder."""
        self._fs.invalidate_cache(self.at(folder))
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = (path.rsplit("/", 1)[-1] for path in self._fs.ls(self.at(folder), detail=False))
            return [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
        return []

    def below(self, folder: str, suffix: str) -> list[FileInfo]:
        """The files in the folders of a folder that end so, with size and time, from listings alone."""
        found = []
        if self.local:  # many times as fast as fsspec's listing
            for path in glob.iglob(f"*/*{suffix}", root_dir=self.at(folder)):
                with contextlib.suppress(FileNotFoundError):  # gone since
                    stat = os.stat(self.at(f"{folder}/{path}"))
                    found.append(FileInfo(f"{folder}/{path}", stat.st_size, stat.st_mtime))
            return found
        self._fs.invalidate_cache(self.at(folder))
        start = len(self._fs._strip_protocol(self.root)) + 1
        for path, info in self._fs.find(self.at(folder), detail=True).items():
            if path.endswith(suffix):
                found.append(FileInfo(path[start:], int(info.get("size") or 0), _changed(info)))
        return found

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
            raise _unwritable(full, error) from error

    def create(self, path: str, data: bytes) -> bool:
        """Writes a file unless there is one; whether it did. Of several at once, one does.

        Raises UnwritableError if it cannot be written.
        """
        full, ours = self.at(path), False
        try:
            if not self.local:
                self._fs.pipe_file(full, data, mode="create")
                return True
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "xb") as file:
                ours = True
                file.write(data)
        except FileExistsError:
            return False
        except OSError as error:
            if ours:
                self.remove(path)
            raise _unwritable(full, error) from error
        return True

    def append(self, path: str, data: bytes) -> None:
        """Adds to the end of a file, made if there is none; from afar by writing it anew. Raises OSError."""
        if not self.local:
            with contextlib.suppress(FileNotFoundError):
                data = self.read(path) + data
            self._fs.pipe_file(self.at(path), data)
            return
        os.makedirs(os.path.dirname(self.at(path)), exist_ok=True)
        with open(self.at(path), "ab") as file:
            file.write(data)

    def take(self, path: str) -> bytes | None:
        """Removes a file and returns its content; None if it is gone. Of several at once, one gets it (local only)."""
        aside = f"{path}.{uuid.uuid4().hex[:8]}.void" if self.local else path
        if self.local:
            try:
                os.rename(self.at(path), self.at(aside))
            except FileNotFoundError:
                return None
        content = self.read_if_there(aside)
        self.remove(aside)  # of a folder, whatever is in it stays beside
        return content

    def move(self, path: str, to: str) -> None:
        """Moves a file, to a folder that is made; raises FileNotFoundError if it is gone."""
        self._fs.makedirs(os.path.dirname(self.at(to)), exist_ok=True)
        self._fs.mv(self.at(path), self.at(to))

    def remove(self, path: str) -> None:
        """Removes a file if it is there."""
        with contextlib.suppress(OSError):
            os.unlink(self.at(path)) if self.local else self._fs.rm_file(self.at(path))

    def remove_old(self, pattern: str, older: float, remove: Callable[[str], object] = os.unlink) -> None:
        """Removes what matches a glob pattern and was not changed for ``older`` seconds (local stores only)."""
        for path in glob.iglob(pattern, root_dir=self.root) if self.local else ():
            with contextlib.suppress(OSError):
                if os.stat(self.at(path)).st_mtime < time.time() - older:
                    remove(self.at(path))

    def age(self, path: str) -> float:
        """Seconds since a file was written; 0 without one, or where no times are kept."""
        try:
            return time.time() - self._fs.modified(self.at(path)).timestamp()
        except (OSError, RuntimeError):  # a file system that keeps no times says so with a RuntimeError
            return 0.0


def _unwritable(full: str, error: OSError) -> UnwritableError:
    return UnwritableError(f"{full} cannot be written ({error}); free some space or choose another store.")


def _changed(info: dict[str, Any]) -> float:
    """When a file was changed, under whatever name its file system gives that."""
    found = next((info[key] for key in _CHANGED if info.get(key)), 0.0)
    return found.timestamp() if isinstance(found, datetime) else float(found) if isinstance(found, int | float) else 0.0
