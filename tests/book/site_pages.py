"""Opening a built site's pages in the system's Chromium and reading its files: what is wrong with each page."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

PHONE = {"width": 375, "height": 700}
DESK = {"width": 1280, "height": 800}
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# Formulas without output, and formulas that MathJax could not read.
UNSET_MATH = """async () => {
  const formulas = [...document.querySelectorAll('.math')];
  if (formulas.length === 0) return [];
  if (!window.MathJax || !MathJax.startup) return ['MathJax did not load'];
  await MathJax.startup.promise;
  return formulas.filter(f => !f.querySelector('mjx-container svg') || f.querySelector('[data-mjx-error]'))
    .map(f => f.textContent.slice(0, 80));
}"""
PICTURES_WITHOUT_TEXT = """() => [
  ...[...document.querySelectorAll('img')].filter(i => !(i.alt || '').trim()).map(i => i.src.slice(0, 120)),
  ...[...document.querySelectorAll('figure svg')].filter(s => !(s.getAttribute('aria-label') || '').trim())
    .map(s => s.id || 'svg in a figure'),
]"""


@dataclass
class Visit:
    """What one page did when it was opened."""

    page: str
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    unset_math: list[str] = field(default_factory=list)
    formulas: int = 0
    textless: list[str] = field(default_factory=list)
    phone_width: int = 0


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback interface; gives its address, ending in a slash."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def browser(executable: str) -> Iterator[Browser]:
    """A headless browser with a fresh profile."""
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=executable, headless=True, args=list(FLAGS))
        try:
            yield opened
        finally:
            opened.close()


def visit_page(page: Page, base: str, name: str) -> Visit:
    """Open ``base + name`` and note everything that a reader without a network would miss."""
    visit = Visit(name)

    def request(sent: object) -> None:
        if not sent.url.startswith((base, "data:", "blob:")):  # pyright: ignore[reportAttributeAccessIssue]
            visit.outside.append(sent.url)  # pyright: ignore[reportAttributeAccessIssue]

    def failed(sent: object) -> None:
        if sent.failure != "net::ERR_ABORTED":  # pyright: ignore[reportAttributeAccessIssue]  # of the page before, left
            visit.errors.append(f"failed: {sent.url}")  # pyright: ignore[reportAttributeAccessIssue]

    listeners = {
        "console": lambda message: visit.errors.append(message.text) if message.type == "error" else None,
        "pageerror": lambda error: visit.errors.append(str(error)),
        "request": request,
        "requestfailed": failed,
        "response": lambda got: visit.errors.append(f"{got.status}: {got.url}") if got.status >= 400 else None,
    }
    for event, listener in listeners.items():
        page.on(event, listener)  # pyright: ignore[reportArgumentType, reportCallIssue]
    try:
        page.set_viewport_size(DESK)  # pyright: ignore[reportArgumentType]
        page.goto(base + name, wait_until="load")
        visit.unset_math = page.evaluate(UNSET_MATH)
        visit.formulas = page.evaluate("document.querySelectorAll('.math').length")
        visit.textless = page.evaluate(PICTURES_WITHOUT_TEXT)
        page.set_viewport_size(PHONE)  # pyright: ignore[reportArgumentType]
        visit.phone_width = page.evaluate("document.documentElement.scrollWidth")
    finally:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
    return visit


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.twice: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "id" and value in self.ids:
                self.twice.add(value)
            if key == "id" and value:
                self.ids.add(value)
            if value and ((key == "href" and tag in ("a", "link")) or (key == "src" and tag in ("img", "script"))):
                self.links.append(value)


def page_files(folder: Path) -> list[Path]:
    """The pages of a built site; the theme keeps templates that end in .html in _static."""
    return sorted(path for path in folder.rglob("*.html") if "_static" not in path.relative_to(folder).parts)


def broken_links(folder: Path) -> list[str]:
    """Links of a built site that lead inside it but to no file or element, and ids that a page has twice."""
    anchors: dict[Path, _Anchors] = {}
    for path in page_files(folder):
        anchors[path.resolve()] = parser = _Anchors()
        parser.feed(path.read_text(encoding="utf-8"))
    broken = [
        f"{path.relative_to(folder.resolve())}: twice #{name}" for path in anchors for name in anchors[path].twice
    ]
    for path, parser in anchors.items():
        for link in parser.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            missing_id = target in anchors and parts.fragment and unquote(parts.fragment) not in anchors[target].ids
            if not target.is_file() or missing_id:
                broken.append(f"{path.relative_to(folder.resolve())}: {link}")
    return broken
