"""The built book as one PDF (``make pdf``): what a browser shows of its pages, in the order of the menu.

Needs Chromium or Chrome. Formulas are set by then, all tabs and folded parts are open; links lead to places in the PDF.
Code that only imports, or shows what a text speaks of, is left out: the site folds it, in print it would be half.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGES = r"""() => [location.href, ...[...document.querySelectorAll('nav.bd-links a[href]')].map(a => a.href)]
  .map(address => address.split('#')[0]).filter(address => !/\/api(\/[^\/]*)?\.html$/.test(address))"""
# A page's article; "#!" marks links between pages, by the page's number.
ARTICLE = """async pages => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const article = document.querySelector('article.bd-article');
  const used = 'script, button, .headerlink, .st-tablist, .st-more, .st-run, .st-runs, a[download]';
  article.querySelectorAll(`${used}, .tag_hide-input details`).forEach(e => e.remove());
  article.querySelectorAll('details').forEach(one => { one.open = true; });
  article.querySelectorAll('.tag_hide-cell summary').forEach(one => { one.textContent = 'Solution'; });
  for (const link of article.querySelectorAll('a[href]')) {
    const place = pages.indexOf(link.href.split('#')[0]);
    if (place >= 0) link.setAttribute('href', `#!p${place}-${decodeURIComponent(link.hash.slice(1))}`);
    else if (link.protocol === 'file:') link.replaceWith(...link.childNodes);  // a page that is not here
  }
  return article.innerHTML;
}"""
IDS = r'((?<![\w-])id="|href="#|url\((?:&quot;)?#)(?!!)'
STYLE = """section.st-page + section.st-page { break-before: page; } .st-page h1 { margin-top: 0; }
  body { padding: 0 !important; font-size: 10.5pt; } pre, code { font-size: 8.5pt; }
  h1, h2, h3, h4, .st-tab-title, .admonition-title { break-after: avoid; }
  pre, details, .cell, .highlight, .admonition, .st-tab { break-inside: auto !important; }
  figure, tr { break-inside: avoid; } figure.st-table { break-inside: auto; } figcaption { break-before: avoid; }
  aside.provenance { font-size: 6.5pt; margin-top: 1rem; }"""
FOOT = '<div style="width: 100%; font-size: 8px; text-align: center"><span class="pageNumber"></span></div>'


def find_browser() -> str | None:
    """The system's Chromium or Chrome, if there is one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def write_pdf(site: Path, target: Path) -> int:
    """Print the site's pages, but for the API's, into ``target``; how many there were.

    Raises FileNotFoundError where there is no built site or no browser.
    """
    executable = find_browser()
    if executable is None or not (site / "index.html").is_file():
        raise FileNotFoundError(f"make pdf needs {'Chromium or Chrome' if executable is None else 'make book first'}.")
    with sync_playwright() as driver:
        page = driver.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"]).new_page()
        page.set_default_timeout(300_000)
        page.goto((site.resolve() / "index.html").as_uri())
        pages = list(dict.fromkeys(page.evaluate(PAGES)))
        parts = []
        for place, address in enumerate(pages):
            page.goto(address)
            text = re.sub(IDS, rf"\1p{place}-", page.evaluate(ARTICLE, pages))
            parts.append(f'<section class="st-page" id="p{place}-">{text.replace("#!", "#")}</section>')
        page.goto(pages[0])
        book = f'<div class="bd-content"><article class="bd-article">{"".join(parts)}</article></div>'
        page.evaluate("([text]) => { document.body.innerHTML = text; }", [f"<style>{STYLE}</style>{book}"])
        feet = {"display_header_footer": True, "header_template": "<span></span>", "footer_template": FOOT}
        looks = {"margin": dict.fromkeys(("top", "bottom", "left", "right"), "15mm"), "print_background": True}
        page.pdf(path=target, format="A4", outline=True, tagged=True, **looks, **feet)  # pyright: ignore[reportArgumentType]
    return len(pages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, default=Path("book/_build/html"), help="the built site")
    parser.add_argument("--out", type=Path, default=Path("book/_build/supertickets.pdf"), help="the PDF")
    options = parser.parse_args()
    print(f"{write_pdf(options.site, options.out)} pages of the site, in {options.out}")


if __name__ == "__main__":
    main()
