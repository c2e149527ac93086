"""Packaging: one set of pins, everywhere the same, and every file where an installer looks for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKED_EXTRAS = ("minilm", "cluster", "book", "dev")
UNLOCKED_EXTRAS = ("onnx", "mpnet")  # resolved where they are wanted
# Libraries that torch itself pins on machines with an accelerator.
OF_TORCH = re.compile(r"nvidia-|cuda-|triton")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_lock_holds_plain_exact_pins_in_order() -> None:
    lines = [line for line in text_of("requirements.lock").splitlines() if not line.startswith("#")]
    assert len(lines) > 50
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9]+(\.[0-9a-z]+)*", line)] == []
    assert list(lock_pins()) == sorted(lock_pins())
    assert len(lock_pins()) == len(lines)


def test_conda_environment_has_the_same_pins() -> None:
    environment = yaml.safe_load(text_of("environment.yml"))
    python, pip, below = environment["dependencies"]
    assert (python, pip) == ("python=3.11", "pip")
    assert dict(pin.split("==") for pin in below["pip"]) == lock_pins()


def test_lock_satisfies_the_project() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras) == {*LOCKED_EXTRAS, *UNLOCKED_EXTRAS}
    wanted = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    wanted += [Requirement(text) for extra in LOCKED_EXTRAS for text in extras[extra]]
    pins = lock_pins()
    assert [str(need) for need in wanted if not need.specifier.contains(pins.get(canonical(need.name), "0"))] == []
    assert Requirement("jupyter-book>=1.0.4,<2") in wanted


def test_lock_is_closed_and_consistent() -> None:
    """What a pinned distribution needs is pinned too, at a version it accepts."""
    pins, faults, seen = lock_pins(), [], 0
    for name, version in pins.items():
        try:
            here = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if here.version.split("+")[0] != version:
            continue
        seen += 1
        for need in map(Requirement, here.requires or ()):
            applies = need.marker is None or need.marker.evaluate({"extra": ""})
            if applies and not OF_TORCH.match(canonical(need.name)):
                pin = pins.get(canonical(need.name))
                if pin is None or not need.specifier.contains(pin, prereleases=True):
                    faults.append(f"{name} needs {need}, the lock has {pin}")
    if seen < len(pins) // 2:
        pytest.skip("this environment was not made from requirements.lock")
    assert faults == []


def test_make_alone_lists_every_target() -> None:
    makefile = text_of("Makefile")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    targets = phony.group(1).split()
    assert {"book", "test", "lint", "sync", "smoke", "lock", "clean", "help"} <= set(targets)
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split()[1] for line in listed.stdout.splitlines()] == targets


def test_book_is_built_as_the_page_tests_build_it() -> None:
    flags = re.search(r"BUILD_FLAGS = (\[.*\])", text_of("tests/book/conftest.py"))
    assert flags is not None
    expected = " ".join(re.findall(r'"([^"]+)"', flags.group(1)))
    assert expected == "build -n -W --keep-going"
    assert f"jupyter-book {expected}\n" in text_of("Makefile")
    config = yaml.safe_load(text_of("book/_config.yml"))
    assert config["execute"]["execute_notebooks"] == "off"


def test_ci_calls_the_make_targets() -> None:
    lines = text_of(".ci/run").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert [line.split()[1] for line in lines if line.startswith("make ")] == ["test", "lint"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_versions_and_citation_agree() -> None:
    import supertickets

    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["project"]["version"] == supertickets.__version__
    paper = citation["preferred-citation"]
    assert paper["doi"] == "10.18653/v1/2021.acl-long.510"
    assert len(paper["authors"]) == 8
    assert paper["doi"] in text_of("book/references.bib")
    assert "the supertickets authors" in text_of("LICENSE")


def test_contributing_begins_with_the_source_of_notebooks() -> None:
    first = text_of("CONTRIBUTING.md").splitlines()[0]
    assert "notebooks/NN_slug.py" in first
    assert "source" in first


def test_every_data_file_is_packaged() -> None:
    package = ROOT / "supertickets"
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["supertickets"]
    packaged = {path for pattern in patterns for path in package.glob(pattern)}
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert files
    assert [path.relative_to(package).as_posix() for path in files if path not in packaged] == []


def test_import_has_no_side_effects() -> None:
    program = (
        "import os, random, sys, warnings\n"
        "state = lambda: (os.getcwd(), random.getstate(), list(warnings.filters), dict(os.environ))\n"
        "before = state()\n"
        "import supertickets\n"
        "assert state() == before\n"
        "print([name for name in ('torch', 'IPython', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    """Built from a copy, installed into a folder of its own, and used from another: `find` on the lab."""
    source = tmp_path / "source"
    shutil.copytree(ROOT / "supertickets", source / "supertickets", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--no-input"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True, text=True, timeout=300)
    (wheel,) = tmp_path.glob("supertickets-*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, timeout=300)
    assert (site / "supertickets/py.typed").is_file()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    where = "import supertickets; print(supertickets.__file__)"

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", where).strip() == str(site / "supertickets/__init__.py")
    options = (
        "--encoder lab-base --task entailment --train-size 48 --epochs 1 --levels 0.5 --workers 1 --quiet --out found"
    )
    assert "Written: found/report.html" in run("-m", "supertickets.cli", "find", *options.split())
    assert "2 runs done" in run("-m", "supertickets.cli", "status", "--store", "found/runs")
