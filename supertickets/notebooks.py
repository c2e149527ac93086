"""Executing the book's notebooks, strictly.

papermill warns and goes on where a parameter's name is misspelt or a notebook has no parameters cell. Here both are
errors, a failed cell fails the run, and every executed notebook says what produced it. One whose source, package code,
parameters and library versions are what they were is not executed again. All mistakes are SuperticketsErrors.

Run over all notebooks with ``python -m supertickets.notebooks --out book/chapters --profile lab``.
"""

import argparse
import ast
import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from supertickets.errors import SuperticketsError
from supertickets.runs import code_fingerprint, commit_id, data_fingerprint, device_name, library_versions

CELL_TIMEOUT = 3600  # seconds one cell may take; always finite, so that a hung kernel ends a build
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}  # this environment's Python
QUIET = "ignore:IProgress not found"  # tqdm misses widgets, which no page of the book uses
STAMP = "supertickets"  # the key of an executed notebook's metadata that says what produced it


def read_notebook(source: Path) -> Any:
    """Read ``NN_slug.py`` (py:percent, the source) or a ``.ipynb``, as an nbformat notebook without outputs."""
    import jupytext

    source = Path(source)
    if source.suffix not in (".py", ".ipynb"):
        raise SuperticketsError(f"{source} is no notebook: give a .py (py:percent) or .ipynb file.")
    if not source.is_file():
        raise SuperticketsError(f"There is no notebook {source}; the notebooks are notebooks/NN_slug.py.")
    try:
        notebook = jupytext.read(source, fmt="py:percent" if source.suffix == ".py" else "ipynb")
    except Exception as fault:  # a reader's errors are of many types: JSON, nbformat, jupytext
        raise SuperticketsError(f"{source} cannot be read as a notebook: {fault}") from fault
    notebook.metadata["kernelspec"] = dict(KERNEL)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def notebook_parameters(notebook: Any, name: str = "notebook") -> dict[str, Any]:
    """Names and defaults of a notebook's one ``parameters`` cell: its first code cell, ``name = literal`` only.

    >>> from types import SimpleNamespace as Cell
    >>> cell = Cell(cell_type="code", metadata={"tags": ["parameters"]}, source="profile = 'lab'\\nseeds = 3")
    >>> notebook_parameters(Cell(cells=[cell]))
    {'profile': 'lab', 'seeds': 3}
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise SuperticketsError(
            f"{name} has {len(tagged)} cells tagged `parameters`; it needs one, its first code cell."
        )
    if code[0] is not tagged[0]:
        raise SuperticketsError(f"In {name} the cell tagged `parameters` must be the first code cell.")
    try:
        statements = ast.parse(tagged[0].source).body
    except SyntaxError as fault:
        raise SuperticketsError(f"The parameters cell of {name} is not valid Python: {fault}") from fault
    values: dict[str, Any] = {}
    for statement in statements:
        try:
            (target,) = statement.targets  # pyright: ignore[reportAttributeAccessIssue]  # others have none
            values[target.id] = ast.literal_eval(statement.value)  # pyright: ignore[reportAttributeAccessIssue]
        except (AttributeError, ValueError) as fault:
            told = f"only `name = literal`, not `{ast.unparse(statement)}`"
            raise SuperticketsError(f"The parameters cell of {name} may hold {told}.") from fault
    return values


def check_parameters(given: Mapping[str, Any], known: Mapping[str, Any], name: str = "notebook") -> dict[str, Any]:
    """All effective parameters: the defaults with ``given`` over them, each checked by name and type.

    An int is taken where the default is a float, and anything where the default is None.

    >>> check_parameters({"seeds": 2}, {"profile": "lab", "seeds": 3})
    {'profile': 'lab', 'seeds': 2}
    """
    for key, value in given.items():
        if key not in known:
            raise SuperticketsError(f"{name} has no parameter {key!r}; it has: {', '.join(known) or 'none'}.")
        default = known[key]
        same = type(value) is type(default) or (isinstance(default, float) and type(value) is int)
        if default is not None and not same:
            wanted, given_type = type(default).__name__, type(value).__name__
            raise SuperticketsError(f"Parameter {key!r} of {name} is a {wanted}, not {value!r} ({given_type}).")
    return {**known, **given}


def parse_parameter(text: str, default: Any) -> Any:
    """A command line's text as a value of the default's type; text stays text where the default is text.

    >>> parse_parameter("3", 5), parse_parameter("3", "lab"), parse_parameter("[1, 2]", [0])
    (3, '3', [1, 2])
    """
    if isinstance(default, str):
        return text
    with contextlib.suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    return text


def execution_key(notebook: Any, parameters: Mapping[str, Any]) -> str:
    """Sha256 of everything an executed notebook depends on: cells, parameters, package, data, library versions."""
    what = {
        "cells": [(cell.cell_type, cell.source, cell.metadata.get("tags", [])) for cell in notebook.cells],
        "parameters": dict(parameters),
        "code": code_fingerprint(),
        "data": data_fingerprint(),
        "versions": library_versions(),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=repr).encode()).hexdigest()


def executed_stamp(path: Path) -> dict[str, Any]:
    """What produced the executed notebook at ``path``; empty where there is none, or it is not ours."""
    try:
        stamp = json.loads(Path(path).read_text(encoding="utf-8"))["metadata"][STAMP]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def run_notebook(
    source: Path, out: Path, parameters: Mapping[str, Any] | None = None, *, timeout: int = CELL_TIMEOUT
) -> Path:
    """Execute a notebook with papermill and write it, stamped with what produced it, to ``out``.

    ``source`` is ``notebooks/NN_slug.py`` or a ``.ipynb``, ``parameters`` are values by name over the defaults of its
    parameters cell, ``timeout`` the seconds that one cell may take. The kernel runs in the notebook's own folder. A
    notebook that fails is left, as far as it came, in a folder ``_failed`` beside ``out``, and an older ``out`` is
    removed, so that no build can show results of another state.
    """
    import nbformat

    source, out = Path(source), Path(out)
    notebook = read_notebook(source)
    defaults = notebook_parameters(notebook, source.name)
    effective = check_parameters(parameters or {}, defaults, source.name)
    started, kept = time.monotonic(), out.absolute().parent / "_failed" / out.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)
    changed = {key: value for key, value in effective.items() if value != defaults[key]}
    try:
        executed = _executed(notebook, kept, changed, source, timeout)
    except SuperticketsError as fault:
        out.unlink(missing_ok=True)
        if not kept.is_file():
            raise
        raise SuperticketsError(f"{fault} As far as it came, it is {out.parent / '_failed' / out.name}.") from fault
    kept.unlink()
    with contextlib.suppress(OSError):  # others may have failed
        kept.parent.rmdir()
    for each in (executed, *executed.cells):  # papermill's paths and timings: pages must not differ by machine
        for key in ("papermill", "execution"):
            each.metadata.pop(key, None)
    executed.metadata[STAMP] = {
        "notebook": source.name,
        "parameters": effective,
        "profile": effective.get("profile"),
        "commit": commit_id(source.parent),
        "code": code_fingerprint(),
        "versions": library_versions(),
        "device": device_name(),
        "seconds": round(time.monotonic() - started, 1),
        "finished": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "key": execution_key(notebook, effective),
    }
    partial = out.with_name(out.name + ".partial")
    nbformat.write(executed, partial)
    os.replace(partial, out)
    return out


def _executed(notebook: Any, after: Path, parameters: dict[str, Any], source: Path, timeout: int) -> Any:
    """What papermill makes of a notebook, its many ways to fail turned into one sentence each."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    quiet = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), QUIET]))
    try:
        with patch.dict(os.environ, PYTHONWARNINGS=quiet, SUPERTICKETS_QUIET="yes"):  # which the kernel inherits
            return papermill.execute_notebook(
                notebook,
                after,
                parameters=parameters,
                kernel_name="python3",
                cwd=source.parent,
                execution_timeout=timeout,
                progress_bar=sys.stderr.isatty(),
                extra_arguments=["--log-level=ERROR"],  # the kernel's own remarks are not the notebook's
            )
    except PapermillExecutionError as fault:
        first = next((line for line in fault.source.splitlines() if line.strip()), "")
        told = f"failed in code cell {fault.exec_count} (`{first}`): {fault.ename}: {fault.evalue}"
        raise SuperticketsError(f"{source.name} {told}.") from fault
    except CellTimeoutError as fault:
        raise SuperticketsError(f"{source.name} has a cell that took longer than {timeout} s.") from fault
    except DeadKernelError as fault:
        raise SuperticketsError(f"The kernel of {source.name} died (out of memory?).") from fault


def find_notebooks(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """The sources ``NN_slug.py`` of a folder in order, or those named: ``03_finding_super_tickets``, ``03``, a path."""
    found = sorted(Path(folder).glob("[0-9A-Z]*_*.py"))
    if not names:
        return found
    chosen = []
    for name in names:
        stem = Path(name).name.removesuffix(".py").removesuffix(".ipynb")
        matches = [path for path in found if path.stem == stem or path.stem.split("_")[0] == stem]
        if len(matches) != 1:
            known = ", ".join(path.stem for path in found) or "none"
            raise SuperticketsError(f"{name!r} names {len(matches)} notebooks in {folder}; there are: {known}.")
        chosen += matches
    return chosen


def run_notebooks(
    sources: Sequence[Path],
    out: Path,
    parameters: Mapping[str, str] | None = None,
    *,
    force: bool = False,
    timeout: int = CELL_TIMEOUT,
) -> list[Path]:
    """Execute several notebooks into a folder, leaving alone those whose executed copy is still true.

    ``parameters`` are texts, as from a command line. All names are checked, every notebook must know each, before the
    first notebook starts; the first failure ends the batch.
    """
    planned = []
    for source in sources:
        notebook = read_notebook(source)
        known = notebook_parameters(notebook, source.name)
        given = {key: parse_parameter(text, known.get(key)) for key, text in (parameters or {}).items()}
        effective = check_parameters(given, known, source.name)
        target = Path(out) / f"{source.stem}.ipynb"
        planned.append((source, target, given, execution_key(notebook, effective)))
    for source, target, given, key in planned:
        if not force and executed_stamp(target).get("key") == key:
            print(f"{source.stem}: unchanged, kept", flush=True)
            continue
        print(f"{source.stem}: executing", flush=True)
        run_notebook(source, target, given, timeout=timeout)
        print(f"{source.stem}: done in {executed_stamp(target)['seconds']} s", flush=True)
    return [target for _, target, _, _ in planned]


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m supertickets.notebooks``: exit status 0, or 2 with one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m supertickets.notebooks", description="Execute the book's notebooks."
    )
    parser.add_argument("names", nargs="*", help="notebooks by name or number; all without")
    parser.add_argument("--source", type=Path, default=Path("notebooks"), help="folder of NN_slug.py (notebooks)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the executed .ipynb")
    parser.add_argument("--profile", help="lab, minilm, paper-base, paper-large or smoke; the notebooks' own without")
    parser.add_argument("-p", dest="pairs", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--force", action="store_true", help="execute even what is unchanged")
    parser.add_argument("--timeout", type=int, default=CELL_TIMEOUT, help="seconds one cell may take")
    options = parser.parse_args(arguments)
    parameters = dict(options.pairs) | ({"profile": options.profile} if options.profile else {})
    try:
        sources = find_notebooks(options.source, options.names)
        if not sources:
            raise SuperticketsError(f"There is no notebook NN_slug.py in {options.source}.")
        made = run_notebooks(sources, options.out, parameters, force=options.force, timeout=options.timeout)
        if not options.names:
            for stale in set(options.out.glob("*.ipynb")) - set(made):
                if executed_stamp(stale):  # executed by us from a notebook that is gone
                    stale.unlink()
    except SuperticketsError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
