"""Where tasks come from: the lab, GLUE (Hub or folder), SNLI, SciTail, and files of one's own.

:func:`load_task` returns a :class:`~supertickets.tasks.Task`. :func:`data_ref` takes the same arguments and returns a
:class:`DataRef`: a small JSON-able value with which another process loads the same task and knows that it is the
same. A task that was loaded is kept for the life of the process; treat its arrays as read-only.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from supertickets.errors import SuperticketsError
from supertickets.tasks.files import Table, as_file, find_split, group, place, read_table, task_folder
from supertickets.tasks.from_files import Tables, assemble
from supertickets.tasks.published import BENCHMARKS, Benchmark, benchmark, canonical_name
from supertickets.tasks.sampling import cut_dev, disjoint_part, sample
from supertickets.tasks.task import Task, fingerprint_of, validate_task

_PLACES = ("data_dir", "train", "dev", "test")
_NEWER = ("positive", "dev_share")  # written where given only: records and ids are older than these fields


@dataclass(frozen=True)
class DataRef:
    """All that is needed to load a task again, and the fingerprint of what must then be found.

    The fields are the arguments of :func:`load_task`; ``data_dir`` (here the task's own folder), ``train``, ``dev``
    and ``test`` say where the rows lie (absolute paths), all others what they are. Made by :func:`data_ref`. One that
    comes from a record has names in place of paths (:meth:`without_places`) and is loaded after :meth:`at`.
    """

    name: str
    fingerprint: str = ""
    text: tuple[str, ...] = ()
    label: str | None = None
    kind: str | None = None
    metrics: tuple[str, ...] = ()
    train_size: int | None = None
    dev_size: int | None = None
    seed: int = 0
    noise: float | None = None
    train_seed: int | None = None
    data_dir: str | None = None
    train: str | None = None
    dev: tuple[str, ...] = ()
    test: str | None = None
    with_test: bool = False
    positive: str | None = None
    dev_share: float | None = None

    def load(self) -> Task:
        """Return the task; raise SuperticketsError if its data are gone or no longer those referred to."""
        task = _load(replace(self, fingerprint=""), _stamp(self))
        if task.fingerprint != self.fingerprint:
            raise SuperticketsError(
                f"The data of task {self.name!r} changed: their fingerprint is {task.fingerprint[:12]}, not "
                f"{self.fingerprint[:12]} ({task.source}): restore the data, or start a new run on the changed ones."
            )
        return task

    def request(self) -> dict[str, Any]:
        """Return the arguments of :func:`load_task` that were given, but for where the files lie.

        >>> DataRef("RTE", "ab12", train_size=500, data_dir="/data/RTE").request()
        {'name': 'RTE', 'train_size': 500}
        """
        default = DataRef("")
        given = {key: value for key, value in vars(self).items() if value != getattr(default, key)}
        return {key: value for key, value in given.items() if key not in ("fingerprint", *_PLACES)}

    @property
    def in_lab(self) -> bool:
        """Whether it is a task of the lab, which is drawn anew and needs no files."""
        return self.data_dir is None and self.train is None and benchmark(self.name) is None

    def without_places(self) -> Self:
        """Return the reference with the names of its folder and files only, as records keep it."""
        return self._placed(lambda path: Path(path).name)

    def at(self, data_dir: str | Path) -> Self:
        """Return the reference to the same data below ``data_dir``, the folder of :func:`load_task`.

        A task from the Hub is then read from there, and files that were named one by one are looked for in the folder
        itself. The lab's tasks need no folder. Raises SuperticketsError if the task's folder is not there.
        """
        if self.in_lab:
            return self
        base = Path(os.path.abspath(data_dir))
        one_by_one = self.train is not None and self.data_dir is None
        if not one_by_one:
            base = task_folder(base, Path(self.data_dir or self.name).name)
        found = self._placed(lambda path: str(base / Path(path).name))
        return found if one_by_one else replace(found, data_dir=str(base))

    def _placed(self, place: Callable[[str], str]) -> Self:
        """The reference with every path changed; itself if nothing changes."""
        changed: dict[str, Any] = {
            name: place(path) if isinstance(path, str) else tuple(map(place, path))
            for name in _PLACES
            if (path := getattr(self, name))
        }
        same = all(getattr(self, name) == path for name, path in changed.items())
        return self if same else replace(self, **changed)

    def identity(self) -> dict[str, Any]:
        """Return what the task is, without where its files lie: a run on moved files is the same run."""
        left_out = _PLACES if self.with_test else (*_PLACES, "with_test")  # runs older than the field keep their ids
        return {name: value for name, value in self.to_json().items() if name not in left_out}

    def to_json(self) -> dict[str, Any]:
        """Return the reference as a dict that ``json.dumps`` accepts."""
        given = {name: value for name, value in vars(self).items() if value is not None or name not in _NEWER}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the reference that :meth:`to_json` wrote.

        >>> ref = DataRef("RTE", "ab12", text=("a", "b"))
        >>> DataRef.from_json(ref.to_json()) == ref
        True
        """
        unknown = sorted(set(data) - cls.__dataclass_fields__.keys())
        if unknown or not {"name", "fingerprint"} <= set(data):
            fault = f"it has the unknown field {unknown[0]!r}" if unknown else "its name or fingerprint is missing"
            raise SuperticketsError(f"This is not a reference to a task's data: {fault}.")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**values)


def load_task(
    name: str | None = None,
    *,
    data_dir: str | Path | None = None,
    train: Any = None,
    dev: Any = (),
    test: Any = None,
    text: str | Sequence[str] = (),
    label: str | None = None,
    kind: str | None = None,
    metrics: str | Sequence[str] = (),
    train_size: int | None = None,
    dev_size: int | None = None,
    seed: int = 0,
    noise: float | None = None,
    train_seed: int | None = None,
    with_test: bool = False,
    positive: str | None = None,
    dev_share: float | None = None,
) -> Task:
    """Return a task, checked by :func:`~supertickets.tasks.task.validate_task` and with its fingerprint.

    - ``load_task("entailment")``: a task of the lab; ``noise`` (rate of flipped labels), ``train_seed`` (a training
      set drawn afresh) and the sizes go to :func:`supertickets.tasks.lab_tasks.lab_task`.
    - ``load_task("RTE")``: GLUE, SNLI or SciTail from the Hub (any case; "sst2" is "SST-2").
    - ``load_task("RTE", data_dir="glue_data")``: the folder ``glue_data/RTE`` with GLUE's own files or
      ``train.tsv[.gz]`` and ``dev.tsv[.gz]`` with a header ``sentence1 sentence2 label`` or ``sentence label``;
      :func:`~supertickets.tasks.files.find_split` has the rule for other names, and ``train=``, ``dev=`` (one file name
      or two) choose. A folder of any other name is a task of your own; without a name, ``data_dir`` is the folder.
    - ``load_task(train="t.csv", dev="d.csv", text=("a", "b"), label="y")``: your own CSV, TSV, JSON or Parquet,
      a pandas DataFrame or a Hugging Face dataset. The last two are kept as Parquet files in the cache folder
      (``$SUPERTICKETS_CACHE``, else ``~/.cache/supertickets``), named by what they hold, where other processes read
      them. ``dev_share=0.2`` instead of ``dev`` cuts that share of train off.

    ``kind`` and ``metrics`` are known for published tasks. Elsewhere labels that are all numbers, with more than 10
    different values or fractions among them, make a regression (pearson, spearman), all others a classification
    (accuracy), its classes in sorted order. ``positive`` names the class of two that F1 is of, else the last in order.
    Labels of which most, but not all, are numbers are refused unless ``kind`` says what they are.

    The test split is loaded ``with_test`` only, or if a file is named by ``test``: the Hub's, the folder's (found by
    the same rule as dev), 2,000 examples of the lab. Where its labels are not published, as in GLUE, every one of them
    is -1, or NaN for scores, and rows keep their order.

    ``train_size`` and ``dev_size`` keep at most so many examples: a sample stratified by class, drawn with ``seed``,
    such that smaller samples are contained in larger ones. Outside the lab ``train_seed=k`` takes the k-th (from 0)
    of the disjoint training sets of ``train_size`` rows instead; see
    :func:`~supertickets.tasks.sampling.disjoint_part`. Raises SuperticketsError for whatever is wrong.
    """
    arguments = {key: value for key, value in locals().items() if key != "name"}
    ref = _reference(name, **arguments)
    return _load(ref, _stamp(ref))


def data_ref(name: str | None = None, **arguments: Any) -> DataRef:
    """Return the reference to the task that ``load_task(name, **arguments)`` loads (and keeps at hand)."""
    ref = _reference(name, **arguments)
    return replace(ref, fingerprint=_load(ref, _stamp(ref)).fingerprint)


def _reference(name: str | None, **arguments: Any) -> DataRef:
    """Return the arguments of ``load_task`` in one form: canonical name, absolute paths, tuples."""
    given: dict[str, Any] = {key: value for key, value in arguments.items() if value is not None}
    for key in ("text", "metrics", "dev"):
        value = given.get(key, ())
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        given[key] = tuple(value) if listed else (value,)
    for key in ("train_size", "dev_size"):
        if given.get(key, 1) < 1:
            raise SuperticketsError(f"{key} must be at least 1, not {given[key]}.")
    if len(given["text"]) > 2 or len(set(given["text"])) < len(given["text"]):
        raise SuperticketsError(f"A task has one text column or two different ones, not {given['text']}.")
    if given.get("label") in given["text"]:
        raise SuperticketsError(f"Column {given['label']!r} cannot be text and label at once (--text, --label).")
    if name is None and not {"data_dir", "train"} & set(given):
        raise SuperticketsError("Name a task, or give a file to train on (train=, --train).")
    if given.get("dev_share") is not None and given["dev"]:
        raise SuperticketsError("Dev is given, so no share of train becomes dev: leave one of the two out (dev_share).")
    if name is None and not isinstance(given.get("train", ""), str | Path):
        name = "frame"
    given |= {key: as_file(given[key]) for key in ("data_dir", "train", "test") if key in given}
    given["dev"] = tuple(map(as_file, given["dev"]))
    where = Path(os.path.abspath(given.get("data_dir") or given.get("train") or ""))
    base = None
    if "data_dir" in given:
        base = task_folder(where, name)
        where = base
        given["data_dir"] = str(base)
    for key in ("train", "test"):
        if key in given:
            given[key] = place(given[key], base)
    given["dev"] = tuple(place(path, base) for path in given["dev"])
    stem = where.name.split(".")[0]
    if name is None and base is None:
        from supertickets.tasks.lab_tasks import LAB_TASKS  # only where it is needed: it loads the whole lab

        if benchmark(stem) or stem in LAB_TASKS:
            name = f"own-{stem}"  # a file's name makes no benchmark of it
    return DataRef(name=canonical_name(name or stem), **given)


def _files(ref: DataRef) -> dict[str, list[Path]]:
    """Return the files of each split of a reference with ``data_dir`` or ``train``."""
    folder = Path(ref.data_dir or "")
    train = Path(ref.train) if ref.train else find_split(folder, "train")[0]
    find_dev = ref.data_dir and not ref.dev_share
    dev = [Path(path) for path in ref.dev] or (find_split(folder, "dev") if find_dev else [])
    test = [Path(ref.test)] if ref.test else find_split(folder, "test") if ref.with_test and ref.data_dir else []
    return {"train": [train], "dev": dev, "test": test}


def _stamp(ref: DataRef) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and time of the files read, so that a changed file is read again within a process.

    Raises SuperticketsError for a reference without places.
    """
    if ref.data_dir is None and ref.train is None:
        return ()
    if not os.path.isabs(where := ref.data_dir or ref.train or ""):
        raise SuperticketsError(
            f"The record of a run on task {ref.name!r} does not say where its data ({where}) lie: give the folder that "
            "holds them (--data-dir)."
        )
    found = [path for paths in _files(ref).values() for path in paths if path.is_file()]
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in found)


@functools.lru_cache(maxsize=16)
def _load(ref: DataRef, stamp: tuple[tuple[str, int, int], ...]) -> Task:
    known = benchmark(ref.name)
    from_files = ref.data_dir is not None or ref.train is not None
    if (from_files or known) and ref.noise is not None:
        raise SuperticketsError(f"noise is for the lab's tasks, and {ref.name!r} is not one of them: leave it out.")
    if (from_files or known) and ref.train_seed is not None and ref.train_size is None:
        raise SuperticketsError(
            f"train_seed chooses among disjoint training sets of task {ref.name!r}: say of what size (train_size)."
        )
    if not from_files:
        if ref.dev or ref.test or ref.text or ref.label or ref.positive or ref.dev_share:
            raise SuperticketsError(f"Task {ref.name!r} has no file to train on: give train= (--train) or data_dir=.")
        if known is None:
            return _from_lab(ref)
    drawn = {"train_size": None, "dev_size": None, "train_seed": None, "seed": ref.seed if ref.dev_share else 0}
    task = _whole(replace(ref, **drawn), stamp)
    if ref.train_seed is not None and ref.train_size is not None:
        task = replace(task, train=disjoint_part(task, ref.train_size, ref.train_seed, ref.seed))
    task = validate_task(sample(task, ref.train_size, ref.dev_size, ref.seed))
    return replace(task, fingerprint=fingerprint_of(task.train, task.dev, task.test))


@functools.lru_cache(maxsize=4)
def _whole(ref: DataRef, stamp: tuple[tuple[str, int, int], ...]) -> Task:
    """Return all examples of a task from files or the Hub, read once for its many samples."""
    known = benchmark(ref.name)
    if ref.data_dir is not None or ref.train is not None:
        tables = _file_tables(ref, known)
        source = f"files {', '.join(table.path.name for parts in tables.values() for _, table in parts)}"
    else:
        assert known is not None
        tables, source = _hub_tables(ref, known), f"Hub {known.hub[0]}"
    task = assemble(ref.name, tables, known, ref.text, ref.label, ref.kind, ref.metrics, ref.positive)
    task = cut_dev(task, ref.dev_share, ref.seed) if ref.dev_share else task
    return replace(task, source=source)


def _from_lab(ref: DataRef) -> Task:
    from supertickets.tasks.lab_tasks import LAB_TASKS, lab_task

    if ref.name not in LAB_TASKS:
        raise SuperticketsError(
            f"Unknown task {ref.name!r}: the lab has {', '.join(LAB_TASKS)}; published are "
            f"{', '.join(made.name for made in BENCHMARKS)}; a task of your own needs its files (--data-dir, "
            "in `find` --train too)."
        )
    if ref.kind or ref.metrics:
        raise SuperticketsError(f"The kind and metrics of the lab's task {ref.name!r} are fixed: leave them out.")
    options = {name: getattr(ref, name) for name in ("train_size", "dev_size", "noise", "seed", "train_seed")}
    if not ref.with_test:
        options["test_size"] = 0
    return validate_task(lab_task(ref.name, **{name: value for name, value in options.items() if value is not None}))


def _file_tables(ref: DataRef, known: Benchmark | None) -> Tables:
    files = _files(ref)
    if ref.dev_share:
        files["dev"] = files["train"]
    if not files["dev"]:
        raise SuperticketsError(
            f"Task {ref.name!r} has no dev file to score on: give dev= (--dev), or the share of train that becomes dev "
            "(--dev-share)."
        )
    if ref.with_test and not files["test"]:
        raise SuperticketsError(f"Task {ref.name!r} has no test file: give test=, or leave with_test out.")
    header, ragged = (known.header, known.ragged) if known else ((), False)

    def read(paths: list[Path]) -> list[tuple[str, Table]]:
        return [
            (group(path) if len(paths) > 1 else "", read_table(path, header, ragged, known is not None))
            for path in paths
        ]

    return {split: read(paths) for split, paths in files.items() if paths}


def _hub_tables(ref: DataRef, known: Benchmark) -> Tables:
    import datasets

    try:
        loaded: Any = datasets.load_dataset(*known.hub)
    except Exception as error:  # whatever the libraries below raise without a network, it means the same here
        raise SuperticketsError(
            f"Task {ref.name!r} could not be loaded from the Hub ({known.hub[0]}: {type(error).__name__}): connect, "
            "fill the Hugging Face cache beforehand, or give a folder with its files (--data-dir)."
        ) from error

    def read(name: str) -> Table:
        columns = {key: list(loaded[name][key]) for key in loaded[name].column_names}
        if not known.label_names:  # the Hub holds STS-B's scores in single precision: 3.8 arrives as 3.7999999523
            columns["label"] = [round(value, 4) for value in columns["label"]]
        return Table(Path(f"{known.hub[0]}:{name}"), columns)

    wanted = {"train": ("train",), "dev": known.dev, "test": known.test if ref.with_test else ()}
    missing = [name for names in wanted.values() for name in names if name not in loaded]
    if missing:
        raise SuperticketsError(f"Task {ref.name!r} has no {missing[0]} split on the Hub ({known.hub[0]}).")
    return {split: [(name.partition("_")[2], read(name)) for name in names] for split, names in wanted.items() if names}
