"""What ``make gpu`` asks of a GPU machine before it measures anything there (tools/bench.py): a GPU, and its tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

# Named, since collecting others asks for what a GPU machine need not have; so do the options of pyproject.toml.
GPU_TESTS = ("tests/training", "tests/models", "tests/test_devices.py")


def require_gpu() -> None:
    """Ends with one sentence where torch is missing or sees no GPU."""
    try:
        import torch

        why = "" if torch.cuda.is_available() else f"its torch ({torch.__version__}) sees no CUDA device"
    except ImportError:
        why = "it has no torch"
    if why:
        sys.exit(f"make gpu cannot measure with {sys.executable}: {why}; name another with GPU_PYTHON=python.")


def tested(seconds: float) -> dict[str, Any]:
    """Runs the tests marked ``gpu``, for so long at most: a row of how they ended, ``missing`` if not well."""
    row = {"suite": "gpu", "side": "missing", "task": "its tests: there was no time left"}
    options = ["-q", "-o", "addopts=", "--import-mode=importlib", "-m", "gpu"]
    command = [sys.executable, "-m", "pytest", *options, *GPU_TESTS]
    root = Path(__file__).resolve().parents[1]
    try:
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return row
    sys.stderr.write(done.stdout)
    told = "".join(done.stdout.splitlines()[-1:])
    return row | {"side": "missing" if done.returncode else "tests", "task": told}
