"""Write every notebooks/NN_slug.ipynb from its source NN_slug.py, without outputs (``make sync``).

Cell ids are derived from position and content, so that writing twice changes nothing.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parent.parent


def paired_text(source: Path) -> str:
    """The text of the .ipynb that belongs to a py:percent source."""
    notebook = jupytext.read(source, fmt="py:percent")
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
    for source in sorted((ROOT / "notebooks").glob("*.py")):
        target, text = source.with_suffix(".ipynb"), paired_text(source)
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            print(f"wrote {target.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
