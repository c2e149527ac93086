"""Whoever has a run store makes tables and figures without torch."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "without_torch.py"
REFUSING = """
import runpy, sys

class Refused:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"{name} was asked for")

sys.meta_path.insert(0, Refused)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def test_every_table_and_figure_is_made_from_a_store_without_torch(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", REFUSING, PROGRAM, tmp_path / "runs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert " tables, 11 figures" in done.stdout
