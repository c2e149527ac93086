"""What this book needs from Sphinx beyond its configuration.

MathJax inside the site, a provenance line at the foot of each page, and an API page that lists the package's modules by
looking at it.
"""

from __future__ import annotations

import html
import json
import pkgutil
import re
import shutil
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import supertickets
from supertickets.rooms import floors
from supertickets.runs import commit_id, library_versions

MATHJAX = "tex-svg-full.js"  # formulas as SVG: no web fonts, every TeX extension in one file
MATHJAX_PARTS = (MATHJAX, "a11y", "sre", "ui")  # and what its menu and screen-reader support load on demand


def copy_mathjax(app: Sphinx, fault: Exception | None) -> None:
    """Put MathJax, as packaged by sphinx-mathjax-offline, into the site's _static folder."""
    if fault is not None or app.builder.format != "html":
        return
    source = Path(
        str(metadata.distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax"))
    )
    target = Path(app.outdir) / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    for part in MATHJAX_PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / part, target / part)


def provenance_lines(app: Sphinx, page: str) -> list[tuple[str, str]]:
    """(what, value) pairs for the foot of a page: the notebook's stamp, or for prose what this build knows."""
    stamp: dict[str, Any] = {}
    if page in app.env.all_docs and (path := Path(app.env.doc2path(page))).suffix == ".ipynb":
        stamp = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("supertickets", {})
    if not stamp:
        stamp = {"commit": commit_id(Path(app.srcdir)), "versions": library_versions()}
        stamp["versions"]["jupyter-book"] = metadata.version("jupyter-book")
        stamp["finished"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [("Profile", str(stamp["profile"]))] if stamp.get("profile") else []
    lines.append(("Commit", stamp["commit"]))
    if "code" in stamp:
        lines.append(("Package code", stamp["code"][:12]))
    if "device" in stamp:
        lines.append(("Device", stamp["device"]))
    if "seconds" in stamp:
        lines.append(("Duration", f"{stamp['seconds']:.0f} s"))
    lines.append(("Executed" if "seconds" in stamp else "Built", stamp["finished"]))
    if "parameters" in stamp:
        lines.append(("Parameters", ", ".join(f"{key} = {value!r}" for key, value in stamp["parameters"].items())))
    lines.append(("Versions", ", ".join(f"{name} {version}" for name, version in stamp["versions"].items())))
    return lines


def add_provenance(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Append the provenance block to a page's body."""
    if not context.get("body"):
        return
    rows = "".join(
        f"<div><dt>{html.escape(what)}</dt><dd>{html.escape(value)}</dd></div>"
        for what, value in provenance_lines(app, page)
    )
    context["body"] += f'<aside class="provenance" aria-label="Provenance of this page"><dl>{rows}</dl></aside>'


def module_names() -> list[str]:
    """Every module of the package that can be imported without running something."""
    found = pkgutil.walk_packages(supertickets.__path__, "supertickets.")
    names = sorted(module.name for module in found if not module.name.rsplit(".", 1)[-1].startswith("_"))
    return sorted(names, key=lambda name: floors()[name.split(".")[1]])


def public_names_text() -> str:
    """A table of the names importable from ``supertickets``, each with the first line of its docstring."""
    rows = []
    for name in dir(supertickets):
        value = getattr(supertickets, name)
        home = getattr(value, "__module__", None)
        if home is None:  # plain data has no docstring of its own
            continue
        kind = "class" if isinstance(value, type) else "func"
        first = re.sub(r":[a-z:]+:`~?([^`]+)`", r"``\1``", "".join((value.__doc__ or "").strip().splitlines()[0:1]))
        rows.append(f"   * - :py:{kind}:`~{home}.{value.__qualname__}`\n     - {first}")
    if not rows:
        return ""
    head = ".. list-table::\n   :header-rows: 1\n   :class: public-names\n\n   * - Name\n     - What it is\n"
    return "```{eval-rst}\n" + head + "\n".join(rows) + "\n```"


def modules_text() -> str:
    """One section per module."""
    return "\n\n".join(
        f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```" for name in module_names()
    )


def fill_api_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the two markers of api.md by what the package holds."""
    if page == "api":
        source[0] = (
            source[0].replace("<!-- public names -->", public_names_text()).replace("<!-- modules -->", modules_text())
        )


def resolve_public_name(app: Sphinx, env: Any, node: Any, shown: Any) -> Any:
    """Let ``supertickets.Ticket``, and what a room hands on, point to the module that defines it."""
    parts = node.get("reftarget", "").split(".")
    for n, rooms in ((1, ["supertickets"]), (2, [f"supertickets.{room}" for room in floors()])):
        room, name = ".".join(parts[:n]), "".join(parts[n : n + 1])
        if node.get("refdomain") == "py" and room in rooms and name in dir(import_module(room)):
            value = getattr(import_module(room), name)
            target = ".".join([value.__module__, value.__qualname__, *parts[n + 1 :]])
            domain = env.get_domain("py")
            return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, shown)
    return None


def outdated_pages(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Read the API page in every build: a module may have come or gone."""
    return ["api"] if "api" in env.all_docs else []


def keep_first_line(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Stop napoleon from taking "Outputs of the head: ..." of a property for a type and its description."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers; called by Sphinx."""
    app.config.mathjax_path = f"mathjax/{MATHJAX}"  # pyright: ignore[reportAttributeAccessIssue]
    app.connect("source-read", fill_api_page)
    app.connect("env-get-outdated", outdated_pages)
    app.connect("missing-reference", resolve_public_name)
    app.connect("autodoc-process-docstring", keep_first_line, priority=100)
    app.connect("html-page-context", add_provenance)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
