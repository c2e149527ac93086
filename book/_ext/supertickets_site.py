"""What this book needs from Sphinx beyond its configuration.

MathJax inside the site, a provenance line at the foot of each page, an API page for every room, made by looking at the
package, that stays out of the search, a front page with the verdicts of the chapters just executed, links from
first uses to the glossary, and a description of each page.
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

import supertickets_verdicts as verdicts
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

import supertickets
from supertickets.chapters.chapter import RECORDED
from supertickets.chapters.claims import HOLDS, REVERSED, UNKNOWN
from supertickets.chapters.display import box_html, table_html
from supertickets.chapters.inconsistencies import recomputed
from supertickets.chapters.paper import paper_facts
from supertickets.notebooks import executed_stamp
from supertickets.rooms import floors
from supertickets.runs import RunStore, commit_id, library_versions, readable
from supertickets.studies import get_profile

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


def write_room_pages(folder: Path) -> None:
    """A page for each room of the package with a section per module, in the order of the house."""
    folder.mkdir(exist_ok=True)
    for room, floor in floors().items():
        sections = (
            f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```"
            for name in module_names()
            if name.split(".")[1] == room
        )
        text = "\n\n".join((f"---\nnosearch: true\n---\n# {room}", *sections))
        (folder / f"{floor:02}_{room}.md").write_text(text, encoding="utf-8")


def inconsistencies_text() -> str:
    """A section for each place where the paper disagrees with itself: what we found, and the numbers behind it."""
    parts = []
    for name, texts in paper_facts()["inconsistencies"].items():
        parts += [f"## {name}: {texts['where']}", _raw(box_html("We found", [texts["what"]], "found"))]
        if len(numbers := recomputed(name)):
            caption = f"{name}, printed and recomputed."
            parts.append(_raw(table_html(numbers, caption, name.lower())))
    return "\n\n".join(parts)


def fill_markers(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the markers of the API page, the front page and the list of inconsistencies by what there is."""
    fillers = {
        "<!-- public names -->": lambda: public_names_text(),
        "<!-- inconsistencies -->": inconsistencies_text,
        "<!-- verdicts -->": lambda: _raw(verdicts.verdicts_html(claims, titles)),
        "<!-- headlines -->": lambda: _raw(verdicts.headlines_html(claims, titles)),
        "<!-- summary -->": lambda: "\n".join(f"- {line}" for line in verdicts.summary(claims, titles)),
        "<!-- evidence -->": lambda: evidence_text(Path(app.srcdir), stamps),
        "<!-- figure 1 -->": lambda: _raw(first_figure(chapters / "01_introduction.ipynb", titles)),
    }
    if not any(marker in source[0] for marker in fillers):
        return
    chapters = Path(app.srcdir) / "chapters"
    stamps = [stamp for path in sorted(chapters.glob("*.ipynb")) if (stamp := executed_stamp(path))]
    claims = verdicts.read_claims(chapters)
    # The larger of the real encoders first.
    recorded = {name: RECORDED[name] for name in ("mpnet", "minilm")} | RECORDED
    titles = recorded | {stamp["profile"]: stamp["profile"].capitalize() for stamp in stamps}
    for marker, fill in fillers.items():
        if marker in source[0]:
            source[0] = source[0].replace(marker, fill())


PRESENTS = re.compile(
    r"^(from|import|if stored|if gpu)\b|\b(each|show_claims|measured|inconsistencies|told)\(", re.MULTILINE
)


def fold_cells(app: Sphinx, page: str, source: list[str]) -> None:
    """Fold the code that imports, sets parameters, or shows every scale: what teaches stays open.

    What papermill put in for the parameters stands at the foot of the page. Where a chapter says its cost, say what
    this copy of it took.
    """
    if not app.env.doc2path(page).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    stamp = notebook["metadata"].get("supertickets", {})
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and stamp:
            took = f"**Cost**: {readable(stamp['seconds'])} at profile `{stamp['profile']}` for this copy; "
            cell["source"] = "".join(cell["source"]).replace("**Cost**: ", took)
        tags = cell["metadata"].setdefault("tags", [])
        folded = {"parameters", "injected-parameters"} & set(tags) or PRESENTS.search("".join(cell["source"]))
        if cell["cell_type"] == "code" and folded and "hide-input" not in tags:
            tags.append("hide-input")
        if "injected-parameters" in tags:
            tags.append("remove-cell")
        what = "solution" if "hide-cell" in tags else "parameters" if "parameters" in tags else "code"
        cell["metadata"]["mystnb"] = {f"code_prompt_{do.lower()}": f"{do} the {what}" for do in ("Show", "Hide")}
    source[0] = json.dumps(notebook)


def _raw(text: str) -> str:
    return "```{raw} html\n" + text + "\n```"


def evidence_text(book: Path, stamps: list[dict[str, Any]]) -> str:
    """What this copy rests on, in one line: recorded runs by scale and device, and those of this build."""
    packs = sorted(str(path) for path in (book / "results").glob("*.zip"))
    found: dict[str, list[str]] = {}
    for record in RunStore(",".join(packs)).records() if packs else ():
        encoder = getattr(record.spec, "source", record.spec).encoder
        who = "lab" if encoder.startswith("lab-") else encoder
        found.setdefault(who, []).append(_device(record.environment.get("device", "a device not named")))
    said = []
    shown = {name: title for name, title in RECORDED.items() if get_profile(name).encoder == name} | {"lab": "the lab"}
    for who, title in shown.items():
        devices = found.get(who, [])
        places = ", ".join(sorted(set(devices)))
        said.append(f"{len(devices)} recorded runs of {title} ({places})" if devices else f"no runs of {title} yet")
    for profile in dict.fromkeys(stamp["profile"] for stamp in stamps):
        own = [stamp for stamp in stamps if stamp["profile"] == profile]
        minutes = sum(stamp["seconds"] for stamp in own) / 60
        devices = ", ".join(sorted({_device(stamp["device"]) for stamp in own}))
        said.append(f"the runs of profile `{profile}`, made by this build ({devices}, {minutes:.0f} minutes)")
    return "; ".join(said) + "."


def _device(name: str) -> str:
    """A device without its details, which stand on the pages of the runs."""
    return name.split(" (")[0]


def first_figure(notebook: Path, scales: dict[str, str]) -> str:
    """Figure 1 out of chapter 1 as executed, at the first of the scales that has it."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"] if notebook.is_file() else []
    shown = "".join(
        "".join(output.get("data", {}).get("text/html", "")) for cell in cells for output in cell.get("outputs", [])
    )
    for key, title in scales.items():
        found = re.search(rf'<figure class="st-figure" id="figure-figure-1-{key}">.*?</figure>', shown, re.DOTALL)
        if found:
            text = re.sub(r"\n\s*\n", "\n", found[0])
            return text.replace('data-name="figure-1"', f'data-name="figure-1" data-scale="{html.escape(title)}"', 1)
    return ""


def finish_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Words of verdicts get a link to their meaning, the page a description of itself."""
    body = context.get("body")
    if not body:
        return
    words, glossary = "|".join((HOLDS, REVERSED, UNKNOWN)), context["pathto"]("glossary")
    body = re.sub(
        rf'(<td class="st-words"[^>]*>)({words})</td>',
        lambda cell: (
            f'{cell[1]}<a class="st-verdict" href="{glossary}#term-{cell[2].replace(" ", "-")}">{cell[2]}</a></td>'
        ),
        body,
    )
    context["body"] = re.sub(r'<span class="pre">(?=--?[\w-]{1,25}<)', '<span class="pre st-flag">', body)
    paragraphs = list(doctree.findall(nodes.paragraph)) if doctree is not None else []
    told = [node for node in paragraphs if node.astext().startswith("You will see")]
    first = next(iter([*told, *(node for node in paragraphs if isinstance(node.parent, nodes.section))]), None)
    text = " ".join((first.astext() if first is not None else context.get("title", "")).split())
    text = text if len(text) <= 160 else text[:157].rsplit(" ", 1)[0] + "..."
    context["metatags"] = context.get("metatags", "") + f'<meta name="description" content="{html.escape(text)}">\n'


class GlossaryLinks(SphinxPostTransform):
    """Link the first use of each word of the glossary on a page, in running text, to its meaning."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Walk the page's text once per word."""
        page = self.env.docname
        if page.split("/")[0] in ("glossary", "api", "bibliography"):
            return
        entries = self.env.get_domain("std").objects  # pyright: ignore[reportAttributeAccessIssue]
        terms = {name: place for (kind, name), place in entries.items() if kind == "term"}
        longest = sorted(terms, key=len, reverse=True)
        seen: set[str] = set()
        pattern = re.compile(rf"\b({'|'.join(map(re.escape, longest))})s?\b", re.IGNORECASE)
        lower = {name.lower(): name for name in terms}
        for text in list(self.document.findall(nodes.Text)):
            if not isinstance(text.parent, nodes.paragraph):
                continue
            pieces, start, words = [], 0, text.astext()
            for found in pattern.finditer(words):
                name = lower[found[1].lower()]
                if name in seen:
                    continue
                seen.add(name)
                target, anchor = terms[name]
                link = make_refnode(self.app.builder, page, target, anchor, nodes.Text(found[0]), name)
                link["classes"].append("st-term")
                pieces += [nodes.Text(words[start : found.start()]), link]
                start = found.end()
            if pieces:
                text.parent.replace(text, [*pieces, nodes.Text(words[start:])])


class QuietPython(PythonDomain):
    """Python's names, out of the search: it would find them before the chapters."""

    def get_objects(self) -> Any:
        """All names, each with the priority that the search leaves out."""
        return ((*entry[:-1], -1) for entry in super().get_objects())


def resolve_public_name(app: Sphinx, env: Any, node: Any, shown: Any) -> Any:
    """Let ``supertickets.Ticket``, and what a room hands on, point to the module that defines it."""
    parts = node.get("reftarget", "").split(".")
    for n, rooms in ((1, ["supertickets"]), (2, [f"supertickets.{room}" for room in floors()])):
        room, name = ".".join(parts[:n]), "".join(parts[n : n + 1])
        if node.get("refdomain") == "py" and room in rooms and name in dir(import_module(room)):
            value = getattr(import_module(room), name)
            home = getattr(value, "__module__", None) or next(  # plain data do not know their module
                module for module in module_names() if vars(import_module(module)).get(name) is value
            )
            target = ".".join([home, getattr(value, "__qualname__", name), *parts[n + 1 :]])
            domain = env.get_domain("py")
            return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, shown)
    return None


def outdated_pages(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Read in every build what is made from the package, the runs and the executed chapters."""
    return [page for page in env.all_docs if page.split("/")[0] in ("index", "inconsistencies", "api")]


def keep_first_line(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Stop napoleon from taking "Outputs of the head: ..." of a property for a type and its description."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers; called by Sphinx, before it looks for pages."""
    write_room_pages(Path(app.srcdir) / "api")
    app.config.mathjax_path = f"mathjax/{MATHJAX}"  # pyright: ignore[reportAttributeAccessIssue]
    app.config.html_search_scorer = str(Path(__file__).with_name("scorer.js"))  # pyright: ignore[reportAttributeAccessIssue]
    app.add_domain(QuietPython, override=True)
    app.add_post_transform(GlossaryLinks)
    app.connect("source-read", fill_markers)
    app.connect("source-read", fold_cells)
    app.connect("env-get-outdated", outdated_pages)
    app.connect("missing-reference", resolve_public_name)
    app.connect("autodoc-process-docstring", keep_first_line, priority=100)
    app.connect("html-page-context", finish_page)
    app.connect("html-page-context", add_provenance)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
