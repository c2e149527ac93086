"""Rules of CONTRIBUTING.md that a program can check."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "supertickets").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
LONGEST = 360  # about 350
CHECKS = re.compile(r"^(raises|warns|skip|fail|assert_\w+)$")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def unchecked_tests(text: str) -> list[str]:
    """Test functions that check nothing."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            calls = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
            names = [call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls]
            asserts = any(isinstance(part, ast.Assert) for part in ast.walk(node))
            if not asserts and not any(CHECKS.match(name) for name in names):
                found.append(node.name)
    return found


def test_files_are_short() -> None:
    lengths = {module_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert len(lengths) > 10
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_every_test_checks_something() -> None:
    assert {path.name: names for path in TESTS if (names := unchecked_tests(path.read_text(encoding="utf-8")))} == {}
    assert unchecked_tests("def test_a():\n    run()\n\ndef test_b():\n    assert run()\n") == ["test_a"]


def test_nothing_is_left_undone_or_names_a_machine() -> None:
    undone = re.compile("TO" + r"DO|FIX" + r"ME|NotImplemented" + r"Error|X" + "XX")
    machine = re.compile(r"/(?:root|work|home/\w+)" + r"/|trust_remote_code=T" + "rue|allow_pickle=T" + "rue")
    folders = ("supertickets", "tests", "tools", "notebooks", "book/_ext", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".sh", "")]
    files += [ROOT / "Makefile", *ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("book/*.*")]
    faults = []
    for path in files:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            faults += [f"{path.relative_to(ROOT)}: {hit}" for hit in undone.findall(text) + machine.findall(text)]
    assert len(files) > 30
    assert faults == []
