"""Write requirements.lock and environment.yml from what is installed beside this interpreter.

Called by ``make lock`` in an environment of the package, its extras minilm, cluster, book and dev, and nothing else; of
the earliest Python 3.11 in use (Debian 12 has 3.11.2), since releases differ in the patch version they ask for.
Pins are plain names and public versions: no hosts, no hashes, no local versions (``torch==2.13.0`` also takes a build
for CPU only). Accelerator libraries are left out: torch's own metadata pins them on the machines that need them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "3.11"  # the version the pins were resolved for, and the one conda users get
LEFT_OUT = ("pip", "supertickets", "triton")
LEFT_OUT_PREFIXES = ("nvidia-", "cuda-")


def installed_pins() -> list[str]:
    """``name==version`` of every installed distribution, in order."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=True,
    )
    pins = {}
    for entry in json.loads(listing.stdout):
        name = entry["name"].lower().replace("_", "-").replace(".", "-")
        if name not in LEFT_OUT and not name.startswith(LEFT_OUT_PREFIXES):
            pins[name] = entry["version"].split("+")[0]
    return [f"{name}=={version}" for name, version in sorted(pins.items())]


def lock_text(pins: list[str]) -> str:
    """The text of requirements.lock."""
    head = f"# Written by `make lock` for Python {PYTHON}; do not edit. With extras minilm, cluster, book and dev.\n"
    return head + "\n".join(pins) + "\n"


def environment_text(pins: list[str]) -> str:
    """The text of environment.yml: the same pins for conda users."""
    head = f"""\
# Written by `make lock`; do not edit. The pins of requirements.lock for conda users:
#   conda env create -f environment.yml && conda activate supertickets && pip install --no-deps -e .
name: supertickets
channels:
  - conda-forge
dependencies:
  - python={PYTHON}
  - pip
  - pip:
"""
    return head + "".join(f"      - {pin}\n" for pin in pins)


def main() -> None:
    pins = installed_pins()
    (ROOT / "requirements.lock").write_text(lock_text(pins), encoding="utf-8")
    (ROOT / "environment.yml").write_text(environment_text(pins), encoding="utf-8")
    print(f"{len(pins)} pins in requirements.lock and environment.yml")


if __name__ == "__main__":
    main()
