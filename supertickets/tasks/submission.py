"""Submissions to the GLUE server, which alone knows the labels of GLUE's test splits (the paper reports dev scores).

A submission is a zip of tables, one per test split, each with the header ``index<TAB>prediction`` and a row for every
test example in order. :func:`answers` makes a task's rows from its test logits, :func:`write_submission` the zip, and
:func:`validate_submission` says what the server would refuse.
"""

import io
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tasks.published import benchmark
from supertickets.tasks.task import Examples, Task

HEADER = ("index", "prediction")
_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class ServerTable:
    """One table of a submission: its rows and the predictions allowed (none listed: a score from 0 to 5)."""

    rows: int
    labels: tuple[str, ...]
    in_paper: bool = True  # the server wants the other two all the same


# By name in the zip, without ".tsv"; a task's usual name except for MNLI, whose two parts are two tables.
FILES: Mapping[str, ServerTable] = {
    "CoLA": ServerTable(1_063, _BINARY),
    "SST-2": ServerTable(1_821, _BINARY),
    "MRPC": ServerTable(1_725, _BINARY),
    "STS-B": ServerTable(1_379, ()),
    "QQP": ServerTable(390_965, _BINARY),
    "MNLI-m": ServerTable(9_796, _THREE_WAY),
    "MNLI-mm": ServerTable(9_847, _THREE_WAY),
    "QNLI": ServerTable(5_463, _ENTAILMENT),
    "RTE": ServerTable(3_000, _ENTAILMENT),
    "WNLI": ServerTable(146, _BINARY, in_paper=False),
    "AX": ServerTable(1_104, _THREE_WAY, in_paper=False),
}
CONSTANT_ANSWERS: Mapping[str, str] = {"WNLI": "0", "AX": "entailment"}
"""What stands in the tables that the paper leaves out: of WNLI's training set the larger class, of AX the largest."""
_PARTS = {"matched": "MNLI-m", "mismatched": "MNLI-mm"}


def answers(task: Task, logits: np.ndarray, file: str = "") -> dict[str, tuple[str, ...]]:
    """Return the predictions that ``logits`` mean, in the server's words: name in ``FILES`` -> one per test row.

    ``task`` is the one the model was trained on, loaded ``with_test``; ``logits`` (n_test, n_classes), or scores
    (n_test,) or (n_test, 1), are of its test split in order. The classes are taken by name from the task, whatever
    their order; scores are cut to [0, 5]. MNLI's test split gives two tables, by its groups. ``file`` names another
    table than the task's own: a model of MNLI also answers "AX", with the diagnostic set as its ``test`` file.

    Raises SuperticketsError if the task has no test split or is none of the server's, or the logits do not fit.

    >>> from supertickets.tasks.task import Examples
    >>> rows = Examples((("a", "b"), ("c", "d")), np.array([-1, -1]))
    >>> rte = Task("RTE", "classification", ("entailment", "not_entailment"), ("accuracy",), rows, rows, rows)
    >>> answers(rte, np.array([[0.1, 0.9], [2.0, 1.0]]))
    {'RTE': ('not_entailment', 'entailment')}
    """
    if task.test is None:
        raise SuperticketsError(f"Task {task.name!r} has no test split to answer: load it with_test=True.")
    logits = np.asarray(logits, dtype=np.float64)
    logits = logits[:, None] if logits.ndim == 1 else logits
    if logits.shape != (len(task.test), task.num_labels):
        raise SuperticketsError(
            f"The test logits of task {task.name!r} have shape {logits.shape}, not "
            f"{(len(task.test), task.num_labels)}: one row per test example, one column per output."
        )
    if not np.isfinite(logits).all():
        raise SuperticketsError(f"The test logits of task {task.name!r} are not finite: the model's training diverged.")
    rows = {name: np.flatnonzero(mask) for name, mask in _tables(task, task.test, file).items()}
    if task.kind == "regression":
        found = [f"{score:.6f}" for score in np.clip(logits[:, 0], 0.0, 5.0) + 0.0]  # no -0.0
    else:
        words = _words(task, next(iter(rows)))
        found = [words[index] for index in logits.argmax(axis=1)]
    return {name: tuple(found[row] for row in indices) for name, indices in rows.items()}


def constant_answers(name: str) -> tuple[str, ...]:
    """Return the one answer of a table of ``CONSTANT_ANSWERS``, as often as the table has rows.

    >>> constant_answers("WNLI")[:2]
    ('0', '0')
    """
    return (CONSTANT_ANSWERS[name],) * FILES[name].rows


def _tables(task: Task, test: Examples, file: str) -> dict[str, np.ndarray]:
    """Return the tables of a task's test split, each with the mask of its rows."""
    name = file or task.name
    if name == "MNLI":
        if test.groups is None or not set(test.groups.tolist()) <= set(_PARTS):
            raise SuperticketsError(
                "The test split of MNLI is in one part, and the server has two tables: say which it is, file='MNLI-m' "
                "or 'MNLI-mm'."
            )
        return {part: test.groups == group for group, part in _PARTS.items() if group in test.groups}
    _known(name)
    if (task.kind == "regression") == bool(FILES[name].labels):
        raise SuperticketsError(f"Task {task.name!r} is a {task.kind} task, and {name}.tsv wants something else.")
    return {name: np.ones(len(test), dtype=bool)}


def _words(task: Task, name: str) -> tuple[str, ...]:
    """Return the server's word for each class of the task."""
    allowed, known = FILES[name].labels, benchmark(task.name)
    if set(task.label_names) <= set(allowed):
        return task.label_names
    if allowed == _BINARY and known is not None and set(task.label_names) <= set(known.label_names):
        return tuple(str(known.label_names.index(label)) for label in task.label_names)  # the Hub's numbers are GLUE's
    raise SuperticketsError(
        f"The classes of task {task.name!r} are {', '.join(task.label_names)}, and {name}.tsv wants "
        f"{', '.join(allowed)}: rename them."
    )


def _known(name: str) -> None:
    if name not in FILES:
        raise SuperticketsError(f"The GLUE server has no task {name!r}: its tables are {', '.join(FILES)}.")


def write_submission(path: str | Path, predictions: Mapping[str, Sequence[object]]) -> list[str]:
    """Write the zip of ``predictions`` (name in ``FILES`` -> one per test row, in order) and return what it lacks.

    ``{**answers(rte, rte_logits), **answers(mnli, mnli_logits)}`` are predictions. Some tables may be left out, the
    paper's as well as "WNLI" and "AX": the sentences returned are those of :func:`validate_submission`, one for each
    table absent. The same predictions make the same bytes; an existing file is replaced at once or not at all.

    Raises SuperticketsError for an unknown table, a wrong number of rows, a label the server does not know, or a
    score outside [0, 5]; nothing is written then.
    """
    if not predictions:
        raise SuperticketsError("There is nothing to submit: give the predictions of at least one task.")
    for name in predictions:
        _known(name)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name in FILES:  # in one order, whatever the mapping's
            if name not in predictions:
                continue
            rows = [HEADER, *enumerate(predictions[name])]
            text = "".join(f"{index}\t{prediction}\n" for index, prediction in rows)
            faults = _faults(name, text)
            if faults:
                raise SuperticketsError(f"No submission was written: {faults[0]}")
            entry = zipfile.ZipInfo(f"{name}.tsv", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every system
            made.writestr(entry, text)  # stored: compressed bytes would differ between releases of zlib
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(packed.getvalue())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SuperticketsError(f"The submission {path} cannot be written: {error.strerror}.") from None
    return validate_submission(path)


def validate_submission(path: str | Path, complete: bool = True) -> list[str]:
    """Return what the GLUE server would refuse about a zip, as sentences; an empty list if nothing.

    The server scores no submission without "WNLI.tsv" and "AX.tsv", which the paper leaves out; with ``complete``
    False these two may be missing. What is there must be right in either case.

    >>> validate_submission("no_such_submission.zip")
    ['no_such_submission.zip cannot be read: there is no such file.']
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as opened:
            names = [name for name in opened.namelist() if not name.endswith("/")]
            contents = {name: opened.read(name) for name in names if name.removesuffix(".tsv") in FILES}
    except FileNotFoundError:
        return [f"{path} cannot be read: there is no such file."]
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, RuntimeError) as error:
        return [f"{path} cannot be read as a zip file ({error})."]
    problems = []
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.append(f"{name} is there {names.count(name)} times: keep one.")
        if name not in (f"{known}.tsv" for known in FILES):
            inside = name.rpartition("/")[2].removesuffix(".tsv") in FILES and "/" in name
            what = (
                "lies in a folder: put it at the top" if inside else "is no table that the server knows: leave it out"
            )
            problems.append(f"{name} {what}.")
    for name, table in FILES.items():
        if f"{name}.tsv" in contents:
            try:
                problems += _faults(name, contents[f"{name}.tsv"].decode("utf-8"))
            except UnicodeDecodeError:
                problems.append(f"{name}.tsv is not UTF-8 text.")
        elif table.in_paper or complete:
            why = "" if table.in_paper else " (the paper leaves it out, the server scores nothing without it)"
            problems.append(f"{name}.tsv is missing{why}.")
    return problems


def _faults(name: str, text: str) -> list[str]:
    """Return what is wrong with one table: its header, else its number of rows, indices and first bad prediction."""
    header, *lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if tuple(header.split("\t")) != HEADER:
        return [f"{name}.tsv begins with {header[:60]!r}, not with the header 'index<TAB>prediction'."]
    table, faults = FILES[name], []
    if len(lines) != table.rows:
        faults.append(f"{name}.tsv has {len(lines):,} rows, not {table.rows:,}.")
    rows = [line.split("\t") for line in lines]
    for number, row in enumerate(rows):
        if len(row) != 2:
            return [*faults, f"Data row {number + 1} of {name}.tsv has {len(row)} field(s), not 2."]
    indices, values = zip(*rows, strict=True) if rows else ((), ())
    wrong = next((number for number, index in enumerate(indices) if index != str(number)), None)
    if wrong is not None:
        faults.append(
            f"Data row {wrong + 1} of {name}.tsv has the index {indices[wrong]!r}, not {wrong}: count from 0."
        )
    unknown = {value for value in set(values) if not (value in table.labels if table.labels else _is_score(value))}
    if unknown:
        bad = next(number for number, value in enumerate(values) if value in unknown)
        wanted = f"one of {', '.join(table.labels)}" if table.labels else "a number from 0 to 5"
        faults.append(f"Data row {bad + 1} of {name}.tsv predicts {values[bad]!r}, which is not {wanted}.")
    return faults


def _is_score(value: str) -> bool:
    try:
        score = float(value)
    except ValueError:
        return False
    return math.isfinite(score) and 0.0 <= score <= 5.0
