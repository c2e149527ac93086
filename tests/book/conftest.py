"""The book, built once per test run as `make book` builds it, from notebooks executed at profile smoke."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pdf import find_browser
from playwright.sync_api import Browser
from site_pages import browser

from supertickets.notebooks import find_notebooks, notebook_parameters, read_notebook, run_notebook

collect_ignore = ["specimen.py"]  # a notebook, not a module
ROOT = Path(__file__).resolve().parents[2]
BUILD_FLAGS = ["build", "-n", "-W", "--keep-going"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all page tests: a second one in the same thread is refused."""
    executable = find_browser()
    assert executable is not None
    with browser(executable) as opened:
        yield opened


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site: every chapter, and the specimen as one chapter more."""
    home = tmp_path_factory.mktemp("site")
    book = home / "book"
    shutil.copytree(ROOT / "book", book, ignore=shutil.ignore_patterns("_build", "chapters", "__pycache__"))
    specimen = home / "99_specimen.py"
    shutil.copyfile(Path(__file__).with_name("specimen.py"), specimen)
    for source in [*find_notebooks(ROOT / "notebooks"), specimen]:
        parameters = {"profile": "smoke"}
        if "store" in notebook_parameters(read_notebook(source), source.name):
            parameters["store"] = str(home / "runs")
        run_notebook(source, book / "chapters" / f"{source.stem}.ipynb", parameters, timeout=600)
    toc = yaml.safe_load((book / "_toc.yml").read_text(encoding="utf-8"))
    toc["parts"].append({"caption": "Specimen", "chapters": [{"file": "chapters/99_specimen"}]})
    (book / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")
    program = Path(sys.executable).with_name("jupyter-book")
    done = subprocess.run([program, *BUILD_FLAGS, book], capture_output=True, text=True, timeout=600, check=False)
    faults = [
        line for line in (done.stdout + done.stderr).splitlines() if re.search("warning|error|exception", line, re.I)
    ]
    assert done.returncode == 0, "jupyter-book failed:\n" + "\n".join(faults)
    return book / "_build" / "html"
