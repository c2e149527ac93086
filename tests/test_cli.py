"""The doors: version, help, slips in options, consoles and systems that are not the usual ones."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import supertickets
from supertickets import cli
from supertickets.engines import default_workers
from supertickets.engines.resources import peak_memory

ROOT = Path(supertickets.__file__).parents[1]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    given = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment}
    return subprocess.run([sys.executable, "-m", "supertickets", *arguments], capture_output=True, env=given)


def test_version_and_help_at_80_columns():
    assert run("--version").stdout.decode().strip() == supertickets.__version__
    told = run("find", "--help").stdout.decode()
    assert max(map(len, told.splitlines())) <= 80
    for option in ("--selection-fraction", "--learning-rate", "--choose", "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8"):
        assert option in told


LAB = ("find", "--encoder", "lab-base", "--task", "entailment")
SLIPS = {
    "epochs": ((*LAB, "--epochs", "0"), "The epochs must be at least 1, not 0 (--epochs)."),
    "max-length": ((*LAB, "--max-length", "3"), "The max-length must be at least 4, not 3 (--max-length)."),
    "precision": ((*LAB, "--precision", "fp16"), "known: fp32, bf16, and as an option auto"),
    "find's seeds": ((*LAB, "--seeds=-1"), "Seeds are different whole numbers from 0, such as 0,1,2 (--seeds), not"),
    "fraction": ((*LAB, "--selection-fraction", "1.5"), "--selection-fraction 1.5 does not lie between 0 and 1"),
    "plan's seeds": (("plan", "table1", "--seeds=-1"), "Seeds are different whole numbers"),
    "one column twice": (
        ("find", "--encoder", "lab-base", "--train", "t.csv", "--dev", "d.csv", "--text", "x", "--label", "x"),
        "Column 'x' cannot be text and label at once (--text, --label).",
    ),
    "sweep's seeds": (("sweep", "table1", "--seeds", "0,0"), "Seeds are different whole numbers"),
}


@pytest.mark.parametrize("command", ["status", "log 12ab", "retry", "verify", "pack --to x.zip"])
def test_a_store_that_is_not_there_is_said(command, tmp_path, monkeypatch, capsys):
    name, *rest = command.split()
    store = [str(tmp_path / "typo")] if name == "pack" else ["--store", f"{tmp_path},{tmp_path / 'typo'}"]
    monkeypatch.setattr(sys, "argv", ["supertickets", name, *rest, *store])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error == f"supertickets: There is no run store {tmp_path / 'typo'}; check the path.\n"
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_an_option_is_said_before_torch_is_loaded(slip, monkeypatch, capsys):
    arguments, sentence = SLIPS[slip]

    def refuse(name, *args, **kwargs):
        assert name.split(".")[0] not in ("torch", "transformers"), f"{name} is imported first"
        return imported(name, *args, **kwargs)

    imported = builtins.__import__
    monkeypatch.setattr(sys, "argv", ["supertickets", *arguments])
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and len(error.splitlines()) == 1 and sentence in error


def test_a_console_that_is_not_utf_8_gets_numbers_for_characters():
    plain = {"PYTHONIOENCODING": "latin-1"}  # click takes a console of ASCII for one of UTF-8
    done = run("find", "--encoder", "lab-base", "--train", "\u4f60.csv", "--dev", "d.csv", **plain)
    assert done.returncode == 2 and b"\\u4f60.csv does not exist" in done.stderr, done.stderr


def test_without_what_only_linux_has(monkeypatch, tmp_path, capsys):
    monkeypatch.delattr(signal, "SIGHUP")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    unreadable = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda self, *a, **k: unreadable(Path("/nowhere") if "proc" in self.parts else self, *a, **k)
    )
    assert default_workers() >= 1
    with peak_memory() as found:
        pass
    assert "process" not in found
    options = "--train-size 60 --levels 0.3 --epochs 1 --workers 1 --quiet"
    monkeypatch.setattr(sys, "argv", ["supertickets", *LAB, *options.split(), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    assert "Written: " in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").is_file()
