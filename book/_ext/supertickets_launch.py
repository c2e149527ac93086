"""How to run a chapter, at the head of its page: papermill's line for each profile, and where it opens in a browser."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from supertickets.notebooks import read_notebook
from supertickets.studies.profiles import PROFILES


def launch_html(notebook: Path, places: dict[str, str], repository: str = "") -> str:
    """The block for a notebook; the profiles are those that the comment of its parameters cell names.

    ``places`` are addresses by the name of a service, with ``{repository}`` (OWNER/NAME) and ``{notebook}`` in them;
    without a repository, as in a build on one's own machine, no address is shown.
    """
    cells = (cell for cell in read_notebook(notebook).cells if "parameters" in cell.metadata.get("tags", []))
    words = re.search("^profile = .*#(.*)$", next(cells).source, re.MULTILINE)
    profiles = [word for word in re.findall(r"[\w-]+", words[1] if words else "") if word in PROFILES]
    if not profiles:
        return ""
    name, number = notebook.stem, notebook.stem.split("_")[0]
    lines = [f"papermill {name}.ipynb ../{number}_{profile}.ipynb -p profile {profile}" for profile in profiles]
    commands = "\n".join((". .venv/bin/activate; cd notebooks", *lines))
    links = " ".join(
        f'<a class="st-launch" href="{html.escape(address)}">Open in {service}</a>'
        for service, place in places.items()
        if repository and (address := place.format(repository=repository, notebook=name))
    )
    return (
        f"{links and f'<p>{links}</p>'}"
        '<details class="st-run"><summary>Run this chapter</summary><p>By papermill, or by hand with '
        "<code>make lab</code>.</p>"
        f'<div class="highlight"><pre>{html.escape(commands)}</pre></div></details>'
    )


def add_launch(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Put the block below a chapter's title."""
    if page.startswith("chapters/") and context.get("body"):
        block = launch_html(
            Path(app.env.doc2path(page)), app.config.launch_places, os.environ.get("GITHUB_REPOSITORY", "")
        )
        context["body"] = context["body"].replace("</h1>", f"</h1>{block}", 1)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handler; called by Sphinx."""
    app.add_config_value("launch_places", {}, "html")
    app.connect("html-page-context", add_launch)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
