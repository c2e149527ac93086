"""The page "Use it on your data": its command carried out on files that the build writes, what it says, its report."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
from sphinx.application import Sphinx

from supertickets.runs import code_fingerprint, data_fingerprint, library_versions, readable
from supertickets.tasks import load_task

ROWS = {"train": 200, "dev": 400}
COMMAND = """\
supertickets find \\
  --encoder lab-base \\
  --train train.csv --dev dev.csv \\
  --text first --text second \\
  --label follows \\
  --seeds 0,1,2 \\
  --levels 0.1,0.3,0.5 \\
  --choose smallest-within \\
  --margin 2 \\
  --out found"""


def write_files(folder: Path) -> None:
    """``train.csv`` and ``dev.csv``: pairs of sentences of the lab, and whether the second follows from the first."""
    task = load_task("entailment", train_size=ROWS["train"])
    for name, split in (("train", task.train), ("dev", task.dev)):
        frame = pd.DataFrame(split.texts, columns=["first", "second"])
        frame["follows"] = ["no" if label else "yes" for label in split.labels]
        frame.head(ROWS[name]).to_csv(folder / f"{name}.csv", index=False)


def carried_out(folder: Path) -> dict[str, Any]:
    """Carry the command out in ``folder``, unless that was done with the same code: what it printed, and the seconds.

    Raises RuntimeError, with what the command said, if it fails.
    """
    parts = (COMMAND, inspect.getsource(write_files), ROWS, code_fingerprint(), data_fingerprint(), library_versions())
    key, done = hashlib.sha256(repr(parts).encode()).hexdigest(), folder / "done.json"
    if done.is_file() and (known := json.loads(done.read_text(encoding="utf-8")))["key"] == key:
        return known
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_files(folder)
    started = time.monotonic()
    call = [sys.executable, "-m", "supertickets.cli", *shlex.split(COMMAND.replace("\\\n", " "))[1:]]
    ran = subprocess.run(call, cwd=folder, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{COMMAND} failed in {folder}: {ran.stderr}")
    said = {"key": key, "seconds": time.monotonic() - started, "printed": ran.stdout}
    done.write_text(json.dumps(said), encoding="utf-8")
    return said


def embedded(report: str) -> str:
    """What a report shows, as a part of a page: without its style and title, its headings two levels down."""
    body = re.sub(r"<h1>.*?</h1>", "", report.split("<body>")[1].split("</body>")[0])
    body = re.sub(r"<(/?)h2>", r"<\1h4>", body)
    return f'<div class="st-report">{re.sub(r"<pre>(.*?)</pre>", _code, body, flags=re.DOTALL)}</div>'


def _code(block: re.Match[str]) -> str:
    return f'<div class="highlight"><pre>{block[1]}</pre></div>'


def example_text(folder: Path, target: Path) -> str:
    """The part of the page; the report as the command wrote it goes into ``target``, below the site's ``_static``."""
    done, report = carried_out(folder), (folder / "found" / "report.html").read_text(encoding="utf-8")
    target.mkdir(parents=True, exist_ok=True)
    (target / "report.html").write_text(report, encoding="utf-8")
    first = "".join((folder / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)[:4])
    took, address = readable(done["seconds"]), f"{target.parent.name}/{target.name}/report.html"
    parts = [
        f"`train.csv` has {ROWS['train']} rows and begins",
        f"```text\n{first}```",
        "The command:",
        f"```bash\n{COMMAND}\n```",
        f"It took {took} here and said",
        f"```text\n{done['printed'].strip()}\n```",
        "### The report",
        f'The command writes it as one file, <a href="{address}">report.html</a>. It holds:',
        f"```{{raw}} html\n{embedded(report)}\n```",
    ]
    return "\n\n".join(parts)


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the page's marker."""
    if page == "use_it":
        build = Path(app.outdir)
        text = example_text(build.parent / "example", build / "_static" / "found")
        source[0] = source[0].replace("<!-- example -->", text)


def outdated(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Read in every build, since the package may be another."""
    return ["use_it"] if "use_it" in env.all_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers; called by Sphinx."""
    app.connect("source-read", fill)
    app.connect("env-get-outdated", outdated)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
