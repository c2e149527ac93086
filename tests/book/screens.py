"""What a page looks like on a screen or on paper: contrast, letters, what is cut, captions. Run inside the browser."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

WIDTHS = {"desk": 1400, "phone": 390}

# Every colour as red, green, blue, alpha; what stands behind an element; the WCAG contrast of two colours.
_COLOURS = """
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const known = new Map();
  function rgba(colour) {
    if (!known.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  }
  const over = (top, below, alpha = 1) => [0, 1, 2].map(i => top[i] * top[3] * alpha + below[i] * (1 - top[3] * alpha));
  const once = make => {
    const made = new Map();
    return element => made.get(element) ?? (made.set(element, make(element)), made.get(element));
  };
  const ground = once(element => {
    if (!element) return [255, 255, 255];
    const own = rgba(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own : over(own, ground(element.parentElement));
  });
  const light = c => c.slice(0, 3).map(x => x / 255).map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  function contrast(a, b) {
    const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  }
  const opacity = once(
    element => element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1);
  const seen = element => element.checkVisibility({visibilityProperty: true, opacityProperty: true});
  const said = (element, more) => `${(element.textContent || element.id).trim().slice(0, 40)}: ${more}`;
"""

AUDIT = (
    "() => {"
    + _COLOURS
    + """
  const found = {pale: new Set(), lines: new Set(), small: new Set(), cut: [], loose: [], bare: []};
  const UNREAD = 'svg, script, style, noscript, mjx-container, template';
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    if (!words.currentNode.data.trim() || element.closest(UNREAD)) continue;
    const box = element.getBoundingClientRect();
    if (!seen(element) || box.width < 2 || box.height < 2) continue;
    const style = getComputedStyle(element), below = ground(element);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const seenContrast = contrast(over(rgba(style.color), below, opacity(element)), below);
    if (seenContrast < (large ? 3 : 4.5)) found.pale.add(said(element, seenContrast.toFixed(2)));
  }
  for (const svg of document.querySelectorAll('figure.st-figure svg')) {
    if (!seen(svg)) continue;
    const below = ground(svg.parentElement);
    for (const text of svg.querySelectorAll('text')) {
      const style = getComputedStyle(text);
      const drawn = text.getScreenCTM(), size = parseFloat(style.fontSize) * Math.hypot(drawn.a, drawn.b);
      if (size && size < 10.9) found.small.add(said(text, size.toFixed(1)));
      const fixed = ['rgb(254, 254, 254)', 'rgb(1, 1, 1)'].includes(style.fill);  // numbers on coloured cells
      const value = contrast(over(rgba(style.fill), below, opacity(text)), below);
      if (!fixed && value < 4.5) found.pale.add(said(text, value.toFixed(2)));
    }
    for (const shape of svg.querySelectorAll('path, rect, circle, use, polygon')) {
      // Cells of a heat map say their number or stand beside a scale; what is only defined is not drawn.
      if (shape.closest('defs, clipPath, [id*="QuadMesh"], [id*="matplotlib.axis"]')) continue;
      const style = getComputedStyle(shape), all = opacity(shape);
      if (shape.closest('[id*="legend_"]') && style.stroke === 'rgb(204, 204, 204)') continue;  // a legend's frame
      const seenAs = (colour, alpha, least) => {
        if (colour === 'none' || alpha * all < 0.5) return null;
        return contrast(over(rgba(colour), below, alpha * all), below);
      };
      const line = parseFloat(style.strokeWidth) >= 0.2 ? seenAs(style.stroke, Number(style.strokeOpacity)) : null;
      const area = seenAs(style.fill, Number(style.fillOpacity));
      const best = Math.max(line ?? 0, area ?? 0);
      if (best && best < 3 && best > 1.02)
        found.lines.add(`${svg.closest('figure').id}: ${style.stroke} ${style.fill}`);
    }
  }
  for (const box of document.querySelectorAll('main *')) {
    if (box.closest('svg, dialog, .bd-sidebar-secondary') || box.parentElement.closest('mjx-container')) continue;
    if (box.clientWidth < 20 || !seen(box)) continue;
    if (box.scrollWidth <= box.clientWidth + 2 || getComputedStyle(box).overflowX === 'visible') continue;
    const cue = box.parentElement.querySelector(':scope > .st-more');
    if (!cue || !seen(cue)) found.cut.push(said(box, box.className));
    const cell = box.querySelector('table tr > :first-child');
    if (cell && getComputedStyle(cell).position !== 'sticky') found.loose.push(said(box, box.className));
  }
  for (const figure of document.querySelectorAll('figure.st-figure, figure.st-table')) {
    const caption = figure.querySelector('figcaption');
    if (!caption || !/^(Figure|Table) (\\w+\\.)?\\d+/.test(caption.textContent) || caption.textContent.length < 30)
      found.bare.push(figure.id);
  }
  return Object.fromEntries(Object.entries(found).map(([name, all]) => [name, [...all]]));
}"""
)

# On paper nothing scrolls: what is wider than the sheet, or still hidden.
PRINTED = """() => {
  window.dispatchEvent(new Event('beforeprint'));
  const width = document.documentElement.clientWidth, lost = [];
  for (const box of document.querySelectorAll('.bd-article table, .bd-article pre, .bd-article figure svg'))
    if (box.checkVisibility() && box.getBoundingClientRect().right > width + 2)
      lost.push(`wide: ${(box.closest('figure') || box).id || box.textContent.slice(0, 40)}`);
  for (const box of document.querySelectorAll('.bd-article .st-tab, .bd-article details > :not(summary)'))
    if (!box.checkVisibility()) lost.push(`hidden: ${box.className}`);
  for (const box of document.querySelectorAll('.bd-article *')) {
    if (box.closest('svg, mjx-container') || box.clientWidth < 20 || !box.checkVisibility()) continue;
    if (box.scrollWidth > box.clientWidth + 2 && getComputedStyle(box).overflowX !== 'visible')
      lost.push(`scrolls: ${box.className}`);
  }
  return lost;
}"""


def audit(page: Page, address: str) -> dict[str, dict[str, list[str]]]:
    """What is wrong with a page at the page's own size, by colour scheme and kind."""
    page.goto(address, wait_until="load")
    page.evaluate("() => window.MathJax && MathJax.startup ? MathJax.startup.promise : null")
    found = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found[scheme] = {kind: faults for kind, faults in page.evaluate(AUDIT).items() if faults}
    return found


def lost_in_print(page: Page, address: str) -> list[str]:
    """What of a page would not be read on an A4 sheet."""
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 720, "height": 1000})
    page.goto(address, wait_until="load")
    lost: list[str] = page.evaluate(PRINTED)
    return lost


def menus(page: Page, way: str) -> dict[str, Any]:
    """Open both menus of an opened page by "click", "tap" or "key", and close them: which chapters and places show."""
    shown: dict[str, Any] = {}
    for name in ("primary", "secondary"):
        button = page.locator(f".bd-header-article .{name}-toggle")
        if not button.count() or not button.is_visible():
            shown[name] = None
            continue
        if way == "key":
            button.focus()
            page.keyboard.press("Enter")
        else:
            getattr(button, way)()
        links = page.locator(f"#pst-{name}-sidebar-modal[open] a:visible")
        shown[name] = links.count()
        page.keyboard.press("Escape")
        shown[f"{name} closed"] = not page.locator(f"#pst-{name}-sidebar-modal[open]").count()
    return shown
