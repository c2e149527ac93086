"""Where the files of a task lie, and what they hold: tables of texts and labels in CSV, TSV, JSON lines or Parquet.

A fault in a file raises :class:`~supertickets.errors.SuperticketsError` naming the file and, where there is one,
the data row (the header is not counted).
"""

import csv
import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supertickets.errors import SuperticketsError
from supertickets.tasks.published import canonical_name

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
DEV_NAMES = ("dev", "validation", "valid", "val")
# Where no column is named: the first of these whose columns are all there. GLUE's releases name them all ways.
TEXT_COLUMNS = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("#1 String", "#2 String"),
    ("sentence",),
    ("text",),
)
LABEL_COLUMNS = ("gold_label", "label", "is_duplicate", "Quality", "score")
_WHOLE = re.compile(r"^(-?\d+)\.0*$")  # 1.0 and 1. are the label 1
_SURROGATE = re.compile("[\ud800-\udfff]")  # what is left of half a character, as in "\ud83d"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Table:
    """A table in memory: ``columns[name][row]`` is a text, a number, a truth value, or None where it is missing."""

    path: Path
    columns: dict[str, list[Any]]

    def column(self, name: str) -> list[Any]:
        """Return one column; an unknown name raises SuperticketsError with the names there are."""
        if name not in self.columns:
            raise SuperticketsError(f"File {self.path} has no column {name!r}: its columns are {self._names()}.")
        return self.columns[name]

    def text_columns(self) -> tuple[str, ...]:
        """Return the text column, or the pair of them, recognised by name."""
        for names in TEXT_COLUMNS:
            if all(name in self.columns for name in names):
                return names
        raise SuperticketsError(
            f"File {self.path} has no text column with a usual name: say which of {self._names()} it is (--text)."
        )

    def label_column(self) -> str:
        """Return the label column, recognised by name."""
        for name in LABEL_COLUMNS:
            if name in self.columns:
                return name
        raise SuperticketsError(
            f"File {self.path} has no label column with a usual name: say which of {self._names()} it is (--label)."
        )

    def texts(self, names: Sequence[str], empty_ok: bool = False) -> list[tuple[str, ...]]:
        """Return the texts of each row, outer white space removed; an empty one is an error unless ``empty_ok``."""
        stripped = []
        for name in names:
            values = self.column(name)
            for row, value in enumerate(values):
                if not isinstance(value, str) and not (value is None and empty_ok):
                    raise self._fault(
                        name, row, "has no value" if value is None else f"holds {value!r}, which is not text,"
                    )
                if value and (found := _SURROGATE.search(value)):
                    fix = ", which no encoding can hold: mend the row"
                    raise self._fault(name, row, f"holds half a character ({found.group()!r})", fix)
            stripped.append([(value or "").strip() for value in values])
            if not empty_ok and "" in stripped[-1]:
                raise self._fault(name, stripped[-1].index(""), "is empty", ": fill or drop it")
        return list(zip(*stripped, strict=True))

    def labels(self, name: str) -> list[str]:
        """Return the label of each row as text: whole numbers without a decimal point, however they are stored."""
        labels = []
        for row, value in enumerate(self.column(name)):
            if isinstance(value, list | dict):
                what = "holds a list" if isinstance(value, list) else "holds a table"
                raise self._fault(name, row, what, ": give one label a row")
            text = "" if value is None or value != value else str(value).strip()  # NaN alone differs from itself
            if not text:
                raise self._fault(name, row, "is empty", ": fill or drop it")
            labels.append(_WHOLE.sub(r"\1", text))
        return labels

    def _fault(self, name: str, row: int, what: str, fix: str = "") -> SuperticketsError:
        return SuperticketsError(f"Column {name!r} of {self.path} {what} in data row {row + 1}{fix}.")

    def _names(self) -> str:
        first_line = data_suffix(self.path)[0] in (".csv", ".tsv")
        hint = " (from its first line: if that is data, put a header above it)" if first_line else ""
        return ", ".join(map(repr, self.columns)) + hint


def read_table(
    path: str | Path, header: Sequence[str] = (), skip_ragged: bool = False, released: bool = False
) -> Table:
    """Read a .csv, .tsv, .json or .jsonl file (each may end in .gz) or a .parquet file.

    CSV is read with quoting, its separator one of ``, ; | tab`` (told from the header or a line ``sep=;``). TSV is read
    as GLUE's files are, a ``"`` being text, unless all quotes in it are those of pandas; in a ``released`` file they
    never are. JSON is an array of objects, or an object a line. Columns without a name are left out. ``header`` names
    the columns of a TSV file whose first row is already data (the first row is taken as a header if it holds one of
    the usual column names). ``skip_ragged`` leaves out TSV rows with another number of fields than the header.
    """
    path = Path(path)
    suffix, packed = data_suffix(path)
    if suffix == ".parquet":
        columns = _parquet(path)
    else:
        text = _text(path, packed)
        if suffix in (".jsonl", ".json"):
            columns = _json_rows(path, text)
        else:
            rows = _csv_rows(path, text) if suffix == ".csv" else _tsv_rows(path, text, released)
            columns = _by_column(path, rows, header, skip_ragged)
    if not columns or not len(next(iter(columns.values()))):
        raise SuperticketsError(f"File {path} holds no data rows: give a file with at least one.")
    return Table(path, columns)


def data_suffix(path: Path) -> tuple[str, bool]:
    """Return the format of a file by its name, one of ``FORMATS``, and whether it is packed with gzip.

    >>> data_suffix(Path("train.tsv.gz"))
    ('.tsv', True)
    """
    name = path.name.lower()
    packed = name.endswith(".gz")
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in FORMATS or (packed and suffix == ".parquet"):
        raise SuperticketsError(
            f"File {path} is of no known format: name it .csv, .tsv, .json or .jsonl (.gz may follow) or .parquet."
        )
    return suffix, packed


def find_split(folder: Path, split: str) -> list[Path]:
    """Return the file(s) of ``split`` in a task's folder.

    The rule: the file named exactly as the split (``train.tsv``, ``dev.csv.gz``); else one ``dev_matched`` and one
    ``dev_mismatched`` file (or ``test_``), as MNLI has; else the only file whose name begins with the split and "_"
    (``train_subset.tsv.gz``). Dev may be called validation, valid or val. Several files where one is wanted are an
    error that lists them: which rows a result
    rests on is not for the program to guess.
    """
    if not folder.is_dir():
        raise SuperticketsError(f"Folder {folder} does not exist: check the path.")
    option = "test=" if split == "test" else f"--{split} "
    names = {path: path.name.lower().removesuffix(".gz") for path in sorted(folder.iterdir()) if path.is_file()}
    stems = {path: Path(name).stem for path, name in names.items() if Path(name).suffix in FORMATS}
    called = DEV_NAMES if split == "dev" else (split,)
    forms = (("",), ("_matched", "_mismatched"), ("_",))
    for wanted in (tuple(each + end for end in ends) for each in called for ends in forms):
        found = []
        for name in wanted:
            exact = [path for path, stem in stems.items() if stem == name]
            begins = name if name.endswith("_") else f"{name}_"
            longer = [path for path, stem in stems.items() if stem.startswith(begins)] if name not in called else []
            found.append(exact or longer)
        for candidates in found:
            if all(found) and len(candidates) > 1:
                listed = ", ".join(path.name for path in candidates)
                example = " ".join(f"{option}{choices[0].name}" for choices in found)
                raise SuperticketsError(
                    f"Folder {folder} has several files for its {split} split ({listed}): choose by name, "
                    f"for example {example}."
                )
        if all(found):
            return [candidates[0] for candidates in found]
    listed = ", ".join(path.name for path in names) or "nothing"
    raise SuperticketsError(
        f"Folder {folder} has no {split} file: it holds {listed}; name one {split}.tsv or choose with {option.strip()}."
    )


def _text(path: Path, packed: bool) -> str:
    try:
        raw = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    except FileNotFoundError:
        raise SuperticketsError(f"File {path} does not exist: check the path.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SuperticketsError(f"File {path} cannot be unpacked ({error}): it is cut short or not gzip.") from None
    except OSError as error:
        raise SuperticketsError(f"File {path} cannot be read: {error.strerror}.") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SuperticketsError(
            f"File {path} is not UTF-8 text (byte {error.start}, line {raw[: error.start].count(10) + 1}): "
            "save it as UTF-8."
        ) from None


def _tsv_rows(path: Path, text: str, released: bool) -> list[list[str]]:
    # Not splitlines(): it also breaks at characters that are legal inside a text (U+0085, U+2028).
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    rows = [line.split("\t") for line in lines if line or "\t" not in lines[0]] if text.strip() else []
    with_quotes = [] if released else [field for row in rows for field in row if '"' in field]
    # Whoever quotes as CSV does doubles the quotes within: without any such the quotes may as well be text.
    if any('""' in field[1:-1] for field in with_quotes) and all(map(_QUOTED.fullmatch, with_quotes)):
        return _csv_rows(path, text, "\t")
    return rows


def _csv_rows(path: Path, text: str, mark: str = "") -> list[list[str]]:
    first, _, rest = text.partition("\n")
    if not mark and re.fullmatch(r"(?i)sep=.\s*", first):
        mark, text = first[4], rest
    if not mark:
        fields = {each: len(next(csv.reader([first], delimiter=each), [])) for each in ",;|\t"}
        mark = "," if fields[","] > 1 else max(fields, key=lambda each: fields[each])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    limit = csv.field_size_limit(2**31 - 1)  # of the module, so it is put back: a text is not cut at 131,072 characters
    try:
        return [row for row in reader if row]
    except csv.Error as error:
        raise SuperticketsError(
            f"File {path} is not valid CSV near line {reader.line_num} ({error}): check its quotes."
        ) from None
    finally:
        csv.field_size_limit(limit)


def _by_column(path: Path, rows: list[list[str]], header: Sequence[str], skip_ragged: bool) -> dict[str, list[Any]]:
    if not rows:
        return {}
    usual = {*LABEL_COLUMNS, *(name for names in TEXT_COLUMNS for name in names)}
    if header and len(rows[0]) == len(header) and not usual & set(rows[0]):
        names = list(header)
    else:
        names, rows = [name.strip() for name in rows[0]], rows[1:]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise SuperticketsError(f"File {path} has two columns named {twice!r}: rename one.")
    if skip_ragged:
        rows = [row for row in rows if len(row) == len(names)]
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise SuperticketsError(
                f"Data row {number + 1} of {path} has {len(row)} field(s), the header {len(names)}: mend the row."
            )
    columns = zip(*rows, strict=True)
    return {name: list(column) for name, column in zip(names, columns, strict=True) if name} if rows else {}


def _json_rows(path: Path, text: str) -> dict[str, list[Any]]:
    def read(part: str, line: int) -> Any:
        try:
            return json.loads(part)
        except (ValueError, RecursionError) as error:  # a ValueError also for a number of thousands of digits
            line += getattr(error, "lineno", 1)
            raise SuperticketsError(
                f"Line {line} of {path} is not valid JSON ({getattr(error, 'msg', error)})."
            ) from None

    if text.lstrip().startswith("["):
        whole = read(text, 0)
        places = [(f"Entry {number + 1}", record) for number, record in enumerate(whole)]
    else:
        lines = [(number, line) for number, line in enumerate(text.split("\n")) if line.strip()]
        places = [(f"Line {number + 1}", read(line, number)) for number, line in lines]
    for place, record in places:
        if not isinstance(record, dict):
            raise SuperticketsError(f"{place} of {path} is not a JSON object of columns and values.")
    records = [record for _, record in places]
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _parquet(path: Path) -> dict[str, list[Any]]:
    import pyarrow
    import pyarrow.parquet
    import pyarrow.types as types

    if not path.is_file():
        raise SuperticketsError(f"File {path} does not exist: check the path.")
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SuperticketsError(f"File {path} is not a readable Parquet file ({reason}).") from None
    nested = {field.name: [[]] * len(table) for field in table.schema if types.is_nested(field.type)}  # to be named
    return {**nested, **table.drop_columns(list(nested)).to_pydict()}


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
