"""Where the files of a task lie: paths, folders, and tables in memory that become files."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

from supertickets.errors import SuperticketsError
from supertickets.tasks.published import canonical_name


def cache_folder() -> Path:
    """Where what is made once is kept: ``$SUPERTICKETS_CACHE``, else ``supertickets`` in the user's cache folder."""
    if named := os.environ.get("SUPERTICKETS_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "supertickets"


def as_file(given: Any) -> Path:
    """A path without its "~"; a DataFrame or a Hugging Face dataset as a Parquet file of the cache."""
    if isinstance(given, str | os.PathLike):
        return Path(given).expanduser()
    frame = given.to_pandas() if hasattr(given, "to_pandas") else given
    if not hasattr(frame, "to_parquet"):
        raise SuperticketsError(
            f"A split is a file, a DataFrame or one split of a Hugging Face dataset, not a {type(given).__name__}."
        )
    for column, feature in getattr(given, "features", {}).items():
        if hasattr(feature, "int2str"):  # a dataset's classes have names; -1 is none of them
            frame[column] = [feature.int2str(int(x)) if x >= 0 else None for x in frame[column]]
    frame.to_parquet(packed := io.BytesIO(), index=False)
    path = cache_folder() / "data" / f"{hashlib.sha256(packed.getvalue()).hexdigest()[:16]}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())
    return path


def place(path: str | Path, base: Path | None) -> str:
    """The absolute path of a file that may be named within the folder ``base``."""
    inside = None if base is None else base / path
    return os.path.abspath(inside if inside is not None and inside.exists() else path)


def task_folder(data_dir: Path, name: str | None) -> Path:
    """The folder of a task below ``data_dir``, in any spelling; ``data_dir`` itself for a task without a name."""
    if not data_dir.is_dir():
        raise SuperticketsError(f"Folder {data_dir} (data_dir) does not exist: check the path.")
    if name is None:
        return data_dir
    folders = sorted(path for path in data_dir.iterdir() if path.is_dir())
    for same in (lambda folder: folder == name, lambda folder: canonical_name(folder) == canonical_name(name)):
        for folder in folders:
            if same(folder.name):
                return folder
    listed = ", ".join(folder.name for folder in folders) or "no folder"
    raise SuperticketsError(f"Folder {data_dir} has no task {name!r}: it holds {listed}.")


def group(path: Path) -> str:
    """The name of the group that a file of a split holds."""
    stem = path.name.split(".")[0].lower()
    return next((group for group in ("mismatched", "matched") if group in stem), stem)
