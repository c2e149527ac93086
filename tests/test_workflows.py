"""Workflow files for a public host: valid, calling targets that exist, publishing what the site links to."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from supertickets_launch import launch_html

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PLACES = yaml.safe_load((ROOT / "book" / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"][
    "launch_places"
]


def test_a_linter_finds_nothing(tmp_path: Path) -> None:
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed here")
    bad = tmp_path / "bad.yml"
    bad.write_text("on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{rum: make}]}}\n", encoding="utf-8")
    program = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*program, *WORKFLOWS], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert subprocess.run([*program, bad], capture_output=True, timeout=120, check=False).returncode == 1


def test_workflows_call_what_is_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["book", "nightly", "tests"]
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = {
        path.stem: re.findall(r"run: (make (\w+)|\S+/run)", path.read_text(encoding="utf-8")) for path in WORKFLOWS
    }
    assert {name: [call for call, _ in calls] for name, calls in called.items()} == {
        "book": ["make book"],
        "nightly": ["make smoke"],
        "tests": [".ci/run"],
    }
    assert {target for calls in called.values() for _, target in calls if target} <= targets


def test_a_chapter_says_how_it_is_run_and_opened(tmp_path: Path) -> None:
    source = ROOT / "notebooks" / "05_single_task.ipynb"
    local, public = launch_html(source, PLACES), launch_html(source, PLACES, "someone/tickets")
    for profile in ("lab", "minilm", "paper-base", "paper-large", "smoke"):
        assert f"papermill 05_single_task.ipynb ../05_{profile}.ipynb -p profile {profile}\n" in f"{local}\n".replace(
            "</pre>", "\n"
        )
    assert "://" not in local
    # The forms that the two services document; what Binder opens is in the repository, with what it installs.
    assert re.findall(r'<a class="st-launch" href="([^"]*)">', public) == [
        "https://colab.research.google.com/github/someone/tickets/blob/gh-pages/colab/05_single_task.ipynb",
        "https://mybinder.org/v2/gh/someone/tickets/HEAD?urlpath=lab/tree/notebooks/05_single_task.ipynb",
    ]
    assert all((ROOT / name).is_file() for name in ("notebooks/05_single_task.ipynb", "environment.yml", "postBuild"))
    command = [sys.executable, "tools/sync.py", "--colab", "someone/tickets", str(tmp_path / "colab")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    text = (tmp_path / "colab" / "05_single_task.ipynb").read_text(encoding="utf-8")
    assert text.index("github.com/someone/tickets") < text.index("# 5 Single task")
    assert '"$SITE/colab"' in (ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8")
