"""From tables to a task: choose columns, tell classification from regression, read labels, take samples."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from supertickets.errors import SuperticketsError
from supertickets.tasks.files import Table
from supertickets.tasks.published import Benchmark
from supertickets.tasks.task import Examples, Task

# split -> its parts, each with the name of its group ("" where the split has one part)
Tables = Mapping[str, Sequence[tuple[str, Table]]]
_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)([eE][+-]\d{1,3})?")
"""Numbers as people and programs write them; codes such as 1_0, 3e2 or twenty digits are none."""
_COMMA = re.compile(r"[+-]?\d+,\d+")
_NO_GOLD = ("-", "-1")  # how MNLI and SNLI mark a pair on which the annotators did not agree


def assemble(
    name: str,
    tables: Tables,
    known: Benchmark | None = None,
    text: tuple[str, ...] = (),
    label: str | None = None,
    kind: str | None = None,
    metrics: tuple[str, ...] = (),
    positive: str | None = None,
) -> Task:
    """Return the task that ``tables`` hold; ``known`` fixes kind, classes and metrics of a published one.

    Without ``text`` and ``label`` the columns are recognised by name, from the training file. A test table without
    labels (no such column, an empty one, or GLUE's -1 throughout) keeps every row, its labels -1, or NaN for scores.
    ``positive`` is the class that F1 is of, the last in order where it is not given. Raises SuperticketsError for a
    missing column or value, or a label that is not one of the task's.
    """
    if known and kind and kind != known.kind:
        raise SuperticketsError(f"Task {name!r} is a {known.kind} task, not {kind!r}: leave the kind out.")
    first = tables["train"][0][1]
    text, label = text or first.text_columns(), label or first.label_column()
    written = {
        split: [
            None if split == "test" and _unlabelled(table, label, known) else table.labels(label) for _, table in parts
        ]
        for split, parts in tables.items()
    }
    values = {value for parts in written.values() for part in parts for value in part or ()}
    if not (kind or known):
        _require_one_kind([cell for split in tables for cell in zip(written[split], tables[split], strict=True)], label)
    kind = kind or (known.kind if known else infer_kind(values))
    names = () if kind == "regression" else known.label_names if known else class_names(values)
    if positive is not None:
        if known or len(names) != 2 or positive not in names:
            what = f"it has {', '.join(names)}" if names else "it has scores"
            raise SuperticketsError(f"{positive!r} is not one of two classes of task {name!r}: {what} (--positive).")
        names = (*(each for each in names if each != positive), positive)

    splits = {}
    for split, parts in tables.items():
        texts: list[tuple[str, ...]] = []
        labels: list[float] = []
        groups: list[str] = []
        for (group, table), part in zip(parts, written[split], strict=True):
            every = table.texts(text, empty_ok=known is not None)  # a few released questions of QQP are empty
            if part is None:
                rows = list(range(len(every)))
                labels += [-1 if names else math.nan] * len(rows)
            else:
                rows = [row for row, value in enumerate(part) if not (known and names and value in _NO_GOLD)]
                labels += _numbers(part, rows, table, label, names, known)
            texts += [every[row] for row in rows]
            groups += [group] * len(rows)
        array = np.array(labels, dtype=np.int64 if names else np.float64)
        splits[split] = Examples(tuple(texts), array, np.array(groups) if any(groups) else None)
    metrics = metrics or (known.metrics if known else ("accuracy",) if names else ("pearson", "spearman"))
    return Task(name, kind, names, metrics, **splits)


def _unlabelled(table: Table, label: str, known: Benchmark | None) -> bool:
    """Whether a test table keeps all its labels to itself; one with some of them is read as any other."""
    hidden = {"", "-1.0", *_NO_GOLD} if known else {""}
    values = table.columns.get(label, ())
    return all(
        value is None or (isinstance(value, float) and math.isnan(value)) or str(value).strip() in hidden
        for value in values
    )


def _require_one_kind(parts: Sequence[tuple[list[str] | None, tuple[str, Table]]], column: str) -> None:
    """Refuses labels most of which are numbers, some not: a slip must not make classes out of scores."""
    cells = [(value, row, table) for part, (_, table) in parts for row, value in enumerate(part or ())]
    odd = [cell for cell in cells if _float(cell[0]) is None]
    commas = [cell for cell in odd if _COMMA.fullmatch(cell[0])]
    if odd and 2 * (len(odd) - len(commas)) < len(cells):
        value, row, table = odd[0]
        others = list(dict.fromkeys(repr(cell[0]) for cell in odd if cell[0] != value))[:5]
        also = f"; others are {', '.join(others)}" if others else ""
        mend = ": write 0.5, not 0,5" if commas else ""
        raise SuperticketsError(
            f"Label {value!r} (column {column!r}, data row {row + 1} of {table.path}) is not a finite number (for "
            f"classes give the kind), as most labels are{also}{mend}."
        )


def _numbers(
    part: list[str], rows: list[int], table: Table, column: str, names: tuple[str, ...], known: Benchmark | None
) -> list[float]:
    """Return the labels of ``rows`` as class indices, or as scores if there are no classes."""
    # A file may give the class's name or, as GLUE's own often do, its index.
    indices = {str(index): index for index in range(len(names))} | {name: index for index, name in enumerate(names)}
    numbers: list[float] = []
    for row in rows:
        number = indices.get(part[row]) if names else _float(part[row])
        if number is None or not math.isfinite(number):
            wanted = f"one of {', '.join(names)}" if names else "a finite number (for classes give the kind)"
            wanted += f", as in the published task {known.name}: give a task of your own another name" if known else ""
            raise SuperticketsError(
                f"Label {part[row]!r} (column {column!r}, data row {row + 1} of {table.path}) is not {wanted}."
            )
        numbers.append(number)
    return numbers


def _float(value: str) -> float | None:
    return float(value) if _NUMBER.fullmatch(value) else None


def infer_kind(values: Iterable[str]) -> str:
    """Return the kind of task that the distinct labels ``values`` suggest.

    Numbers of more than 10 different values, or with fractions among them, are scores; anything else is classes.

    >>> infer_kind(["0", "1"]), infer_kind(["0.5", "1"]), infer_kind(map(str, range(11))), infer_kind(["no", "yes"])
    ('classification', 'regression', 'regression', 'classification')
    """
    numbers = [_float(value) for value in set(values)]
    graded = len(numbers) > 10 or any(number is not None and not number.is_integer() for number in numbers)
    return "regression" if graded and None not in numbers else "classification"


def class_names(values: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels in order: whole numbers by size, anything else by alphabet.

    >>> class_names(["10", "9"]), class_names(["yes", "no"])
    (('9', '10'), ('no', 'yes'))
    """
    distinct = sorted(set(values))
    whole = all(re.fullmatch(r"-?\d{1,15}", value) for value in distinct)
    return tuple(sorted(distinct, key=int) if whole else distinct)
