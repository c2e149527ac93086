"""The book's notebooks: sources and generated files in step, no outputs, one parameters cell, all in the book."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from supertickets.notebooks import find_notebooks, notebook_parameters, read_notebook

ROOT = Path(__file__).resolve().parents[2]
SOURCES = find_notebooks(ROOT / "notebooks")
each_notebook = pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_notebook_is_a_pair_and_a_chapter() -> None:
    sources = {source.stem for source in SOURCES}
    assert sources
    assert sources == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    entries = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    chapters = [entry.removeprefix("chapters/") for entry in entries if entry.startswith("chapters/")]
    assert sorted(chapters) == sorted(sources)
    assert len(set(chapters)) == len(chapters)


@each_notebook
def test_generated_notebook_is_in_step_with_its_source(source: Path) -> None:
    expected = load_tool("sync").paired_text(source)
    assert source.with_suffix(".ipynb").read_text(encoding="utf-8") == expected, "run `make sync`"


@each_notebook
def test_no_outputs_and_quiet_headers(source: Path) -> None:
    notebook = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    for text in (source.read_text(encoding="utf-8"), source.with_suffix(".ipynb").read_text(encoding="utf-8")):
        assert "jupytext_version" not in text
        assert "pip install" not in text


@each_notebook
def test_parameters_are_literals_with_comments(source: Path) -> None:
    notebook = read_notebook(source)
    assert notebook_parameters(notebook, source.name)["profile"] == "lab"
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    lines = [line for line in cell.source.splitlines() if re.match(r"\w+ = ", line)]
    before = cell.source.splitlines()
    silent = [line for line in lines if "#" not in line and not before[max(before.index(line) - 1, 0)].startswith("#")]
    assert silent == []


@each_notebook
def test_lines_fit_a_page_and_logic_lives_in_the_package(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if len(line) > 80 and "://" not in line] == []
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert [node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, defined)] == []
    assert "run_all" not in text


FORM = ("**You will see**", "**Claim", "**Cost**", "## Exercises", "## What was found", "**What differs")


@pytest.mark.parametrize("source", [source for source in SOURCES if source.stem < "12"], ids=lambda source: source.stem)
def test_chapters_open_and_end_alike(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    places = [text.find(words) for words in FORM]
    assert -1 not in places and places == sorted(places), dict(zip(FORM, places, strict=True))
    assert re.search(r"# \*\*(Next|Back to)\*\*: .*\n(#.*\n)*\Z", text)
    exercises = text[places[3] : places[4]]
    assert len(re.findall(r"^# \*\*\d\.\*\* ", exercises, re.MULTILINE)) == exercises.count('tags=["hide-cell"]') >= 3


def test_every_cell_of_imports_is_folded_on_its_page() -> None:
    from supertickets_site import PRESENTS

    for source in SOURCES:
        for cell in (cell for cell in read_notebook(source).cells if cell.cell_type == "code"):
            if re.search("^(from|import) ", cell.source, re.MULTILINE):
                assert PRESENTS.search(cell.source) or "hide-input" in cell.metadata.tags
