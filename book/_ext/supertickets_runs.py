"""The pages made of records: the runs behind each experiment, what was executed when, and the one to explore."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from supertickets.chapters.explore import map_html, map_view, tickets_html
from supertickets.chapters.provenance import EXPERIMENTS, Evidence, evidence, runs_html, titled
from supertickets.notebooks import executed_stamp
from supertickets.runs import readable

PAGES = ("explore", "status")


@lru_cache(maxsize=1)
def _evidence(book: str) -> tuple[Evidence, dict[str, dict[str, Any]]]:
    """What this build has: the records, and the stamps of the executed chapters by page."""
    found = {path.stem: executed_stamp(path) for path in sorted(Path(book, "chapters").glob("*.ipynb"))}
    stamps = {page: stamp for page, stamp in found.items() if stamp}
    return evidence(stamps.values(), Path(book, "results"), Path(book).parent / "notebooks"), stamps


def _table(name: str, caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are HTML: links."""
    top = "".join(f'<th scope="col" class="st-words">{words}</th>' for words in head)
    body = "".join(
        f'<tr><th scope="row" class="st-words">{first}</th>'
        + "".join(
            f'<td class="st-words" data-label="{name}">{words}</td>' for name, words in zip(head[1:], rest, strict=True)
        )
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<figure class="st-table st-stacked" id="table-{name}"><div class="st-scroll" tabindex="0" role="region" '
        f'aria-label="{caption}"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<figcaption data-name="{name}">{caption}</figcaption></figure>'
    )


def chapters_html(stamps: dict[str, dict[str, Any]]) -> str:
    """The executed chapters: profile, duration, when, where and with which code; then the versions."""
    rows = []
    for page, stamp in stamps.items():
        said = [str(stamp[key]) for key in ("profile", "finished", "device", "commit")]
        said.insert(1, readable(stamp["seconds"]))
        link = f'<a href="chapters/{page}.html">{html.escape(titled(page))}</a>'
        rows.append([link, *map(html.escape, said)])
    head = ("chapter", "profile", "duration", "executed", "device", "commit")
    versions = {", ".join(f"{name} {x}" for name, x in stamp["versions"].items()): None for stamp in stamps.values()}
    said = "".join(f"<p>Versions: {html.escape(line)}.</p>" for line in versions)
    return _table("chapters", "The chapters as they were executed for this copy.", head, rows) + said


def runs_table(found: Evidence) -> str:
    """How many runs of every experiment there are at every scale, of those planned, with a link to each."""
    rows, titles = [], {scale.key: scale.title for scale in found.scales}
    for name, title in EXPERIMENTS.items():
        counts = {
            scale.key: f'<a href="runs/{name}.html#{scale.key}">{len(records)} of {len(specs)}</a>'
            for scale, specs, records in found.runs(name)
            if records
        }
        link = f'<a href="runs/{name}.html">{html.escape(title)}</a>'
        rows.append((link, counts))
    used = [key for key in titles if any(key in counts for _, counts in rows)]
    rows = [[link, *(counts.get(key, "") for key in used)] for link, counts in rows]
    head = ("experiment", *(html.escape(titles[key]) for key in used))
    caption = (
        "Runs of each experiment of those planned, with those that they start from; chapters count their own alone."
    )
    return _table("experiments", caption, head, rows)


def explorers(found: Evidence) -> dict[str, str]:
    """Both views: of tickets at every scale that has full runs, of the map at every scale that has cells."""
    tickets, maps = [], []
    for scale in found.scales:
        if len(frame := scale.frame("figure6")):
            records = list(scale.store.records(list(dict.fromkeys(frame["run"])), arrays=True))
            tickets.append((scale.title, records, scale.profile.levels))
    for scale, _, records in found.runs("map"):
        whole = scale.store.records([record.id for record in records], arrays=True)
        if len(data := map_view(whole)):
            maps.append((scale.title, data))
    return {"<!-- tickets -->": tickets_html(tickets), "<!-- map -->": map_html(maps)}


def fill(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the markers of these pages by what the records say."""
    if page not in PAGES:
        return
    found, stamps = _evidence(str(app.srcdir))
    texts = {"<!-- chapters -->": chapters_html(stamps), "<!-- runs -->": runs_table(found)}
    if page == "explore":
        script = (Path(__file__).parent / "explore.js").read_text(encoding="utf-8")
        texts = {**explorers(found), "<!-- script -->": f"<script>\n{script}</script>"}
    for marker, text in texts.items():
        source[0] = source[0].replace(marker, "```{raw} html\n" + text + "\n```")


def collect(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each experiment, with its records as CSV beside it."""
    found, _ = _evidence(str(app.srcdir))
    folder = Path(app.outdir) / "runs"
    folder.mkdir(exist_ok=True)
    for name, title in EXPERIMENTS.items():
        body, frames = runs_html(found, name)
        for file, frame in frames.items():
            frame.to_csv(folder / file, index=False)
        yield f"runs/{name}", {"title": f"Runs: {title}", "body": body}, "page.html"


def outdated(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Read in every build what is made of records."""
    return [page for page in PAGES if page in env.all_docs]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers; called by Sphinx."""
    _evidence.cache_clear()
    app.connect("source-read", fill)
    app.connect("html-collect-pages", collect)
    app.connect("env-get-outdated", outdated)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
