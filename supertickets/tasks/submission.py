"""Submissions to the GLUE server, which alone knows the labels of GLUE's test splits (the paper reports dev scores).

A submission is a zip of tables, one per test split, each with the header ``index<TAB>prediction`` and a row for every
test example in order. :func:`answers` makes a task's rows from its test logits, :func:`write_submission` the zip.
"""

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tasks.published import benchmark
from supertickets.tasks.task import Examples, Task

_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class ServerTable:
    """One table of a submission: its rows and the predictions allowed (none listed: a score from 0 to 5).

    ``constant`` is what stands in those that the server wants and the paper leaves out: of WNLI's training set the
    larger class, of AX the largest.
    """

    rows: int
    labels: tuple[str, ...]
    constant: str = ""


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
    "WNLI": ServerTable(146, _BINARY, "0"),
    "AX": ServerTable(1_104, _THREE_WAY, "entailment"),
}
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


def constant_answers() -> dict[str, tuple[str, ...]]:
    """Return the tables that the paper leaves out, each with its one answer in every row."""
    return {name: (table.constant,) * table.rows for name, table in FILES.items() if table.constant}


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
    paper's as well as "WNLI" and "AX", without which the server scores nothing: a sentence for each. The same
    predictions make the same bytes; an existing file is replaced at once or not at all.

    Raises SuperticketsError for an unknown table, a wrong number of rows, a label the server does not know, or a
    score outside [0, 5]; nothing is written then.
    """
    if not predictions:
        raise SuperticketsError("There is nothing to submit: give the predictions of at least one task.")
    for name in predictions:
        _known(name)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for name in (name for name in FILES if name in predictions):  # in one order, whatever the mapping's
            rows = list(map(str, predictions[name]))
            if fault := _fault(name, rows):
                raise SuperticketsError(f"No submission was written: {fault}")
            entry = zipfile.ZipInfo(f"{name}.tsv", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every system
            text = "index\tprediction\n" + "".join(f"{index}\t{row}\n" for index, row in enumerate(rows))
            made.writestr(entry, text)  # stored: compressed bytes would differ between releases of zlib
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(packed.getvalue())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SuperticketsError(f"The submission {path} cannot be written: {error.strerror}.") from None
    why = " (the paper leaves it out, the server scores nothing without it)"
    lacking = {name: table for name, table in FILES.items() if name not in predictions}
    return [f"{name}.tsv is missing{why if table.constant else ''}." for name, table in lacking.items()]


def _fault(name: str, rows: Sequence[str]) -> str:
    """What is wrong with one table: its number of rows, else the first prediction that the server does not know."""
    table = FILES[name]
    if len(rows) != table.rows:
        return f"{name}.tsv has {len(rows):,} rows, not {table.rows:,}."
    wanted = f"one of {', '.join(table.labels)}" if table.labels else "a number from 0 to 5"
    bad = (i for i, row in enumerate(rows) if not (row in table.labels if table.labels else _is_score(row)))
    if (first := next(bad, None)) is None:
        return ""
    return f"Data row {first + 1} of {name}.tsv predicts {rows[first]!r}, which is not {wanted}."


def _is_score(value: str) -> bool:
    try:
        return 0.0 <= float(value) <= 5.0
    except ValueError:
        return False
