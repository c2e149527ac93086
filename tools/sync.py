"""Write every notebooks/NN_slug.ipynb from its source NN_slug.py, without outputs (``make sync``).

Cell ids are derived from position and content, so that writing twice changes nothing. With ``--colab OWNER/NAME DIR``
the notebooks are written to DIR instead, each with a first cell that fetches and installs this repository.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parent.parent
FETCH = """\
!git clone --quiet --depth 1 https://github.com/{repository} supertickets-book
%cd supertickets-book/notebooks
%pip install --quiet .."""


def paired_text(source: Path, repository: str = "") -> str:
    """The text of the .ipynb that belongs to a py:percent source; for Colab, with the repository's OWNER/NAME."""
    notebook = jupytext.read(source, fmt="py:percent")
    if repository:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(FETCH.format(repository=repository)))
    notebook.metadata = nbformat.from_dict(
        {
            "jupytext": {"formats": "ipynb,py:percent"},
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        }
    )
    for place, cell in enumerate(notebook.cells):
        cell.id = hashlib.sha256(f"{place}\0{cell.source}".encode()).hexdigest()[:8]
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return nbformat.writes(notebook) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--colab", nargs=2, metavar=("OWNER/NAME", "DIR"), default=("", ROOT / "notebooks"))
    repository, folder = parser.parse_args().colab
    Path(folder).mkdir(parents=True, exist_ok=True)
    for source in sorted((ROOT / "notebooks").glob("*.py")):
        target, text = Path(folder, f"{source.stem}.ipynb"), paired_text(source, repository)
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            print(f"wrote {target.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
