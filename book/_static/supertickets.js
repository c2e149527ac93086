// Cues where something is cut, long tables folded, everything open in print, and
// tabs: the scales of a figure or table, one shown at a time. Without this script all are there, one under another.
(function () {
  "use strict";
  const KEY = "supertickets-scale";

  function stored() {
    try { return localStorage.getItem(KEY); } catch (_) { return null; }
  }

  function choose(key, keep) {
    for (const tabs of document.querySelectorAll(".st-tabs")) {
      const panels = [...tabs.querySelectorAll(":scope > .st-tab")];
      if (!panels.some((panel) => panel.dataset.tab === key)) continue;
      for (const panel of panels) panel.classList.toggle("st-hidden", panel.dataset.tab !== key);
      for (const button of tabs.querySelectorAll(":scope > .st-tablist > button")) {
        const on = button.dataset.tab === key;
        button.setAttribute("aria-selected", String(on));
        button.tabIndex = on ? 0 : -1;
      }
    }
    if (keep) try { localStorage.setItem(KEY, key); } catch (_) { /* private mode: the choice ends with the page */ }
  }

  function build(tabs, number) {
    const panels = [...tabs.querySelectorAll(":scope > .st-tab")];
    if (panels.length < 2) return;
    const list = document.createElement("div");
    list.className = "st-tablist";
    list.setAttribute("role", "tablist");
    panels.forEach((panel, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.tab = panel.dataset.tab;
      button.textContent = panel.querySelector(".st-tab-title").textContent;
      button.id = `st-tab-${number}-${index}`;
      button.setAttribute("role", "tab");
      panel.id = `st-panel-${number}-${index}`;
      button.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.setAttribute("aria-labelledby", button.id);
      button.addEventListener("click", () => {
        const before = button.getBoundingClientRect().top;
        choose(button.dataset.tab, true);
        window.scrollBy(0, button.getBoundingClientRect().top - before); // panels above may have changed height
      });
      button.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = list.children[(index + step + panels.length) % panels.length];
        next.click();
        next.focus();
      });
      list.append(button);
    });
    tabs.prepend(list);
    tabs.classList.add("st-live");
    choose(panels[0].dataset.tab, false);
  }

  // A link to something inside a tab opens it.
  function reveal() {
    let target = null;
    try { target = document.querySelector(decodeURIComponent(location.hash) || null); } catch (_) { /* no selector */ }
    const tab = target && target.closest(".st-tab.st-hidden"), table = target && target.closest(".st-brief");
    if (tab) choose(tab.dataset.tab, false);
    if (table) table.showNumbers();
    if (tab || table) target.scrollIntoView();
  }

  // What scrolls sideways gets an arrow at its right edge until its end is in sight, and the keyboard can reach it.
  const WIDE = ".st-scroll, .bd-article div.highlight pre, .bd-article div.math, .pst-scrollable-table-container";

  function watch(box) {
    const frame = document.createElement("div");
    const arrow = document.createElement("span");
    arrow.className = "st-more";
    arrow.textContent = "→";
    arrow.setAttribute("aria-hidden", "true");
    box.replaceWith(frame);
    frame.append(box);
    const look = () => {
      const cut = box.scrollWidth - box.clientWidth - box.scrollLeft > 2;
      frame.classList.toggle("st-cut", cut);
      if (cut) {
        frame.append(arrow);
        box.tabIndex = 0;
      } else arrow.remove();
    };
    box.addEventListener("scroll", look, { passive: true });
    new ResizeObserver(look).observe(box);
    for (const inner of box.children) new ResizeObserver(look).observe(inner);
    look();
  }

  // Of a table that is much longer than its first rows, these; a button shows all. CSS hides the others, on screens only.
  const FIRST = 12, LONG = 18;

  function fold(table) {
    const rows = table.tBodies[0] ? table.tBodies[0].rows.length : 0;
    if (rows <= LONG || table.closest(".st-verdicts")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "st-all";
    const set = (folded) => {
      table.classList.toggle("st-folded", folded);
      button.textContent = folded ? `Show all ${rows} rows` : `Show the first ${FIRST} rows`;
      button.setAttribute("aria-expanded", String(!folded));
    };
    button.addEventListener("click", () => set(!table.classList.contains("st-folded")));
    table.closest("figure").querySelector("figcaption").before(button);
    set(true);
  }

  // On a phone the table of all claims says the words alone, until a button or a link to a row asks for the numbers.
  function brief(figure) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "st-all st-numbers";
    const set = (on) => {
      for (const name of ["st-brief", "st-claims"]) figure.classList.toggle(name, on);
      button.textContent = on ? "Show effects, intervals and numbers of runs" : "Show the words alone";
      button.setAttribute("aria-expanded", String(!on));
    };
    button.addEventListener("click", () => set(!figure.classList.contains("st-brief")));
    figure.prepend(button);
    figure.showNumbers = () => set(false);
    set(true);
  }

  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  window.addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

  // A name such as supertickets.engines.execution goes to the next line behind a dot, if it must.
  function breakable(name) {
    if (!name.children.length) name.innerHTML = name.innerHTML.replace(/\.(?=\w)/g, ".<wbr>");
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".st-tabs").forEach(build);
    const key = stored();
    if (key) choose(key, false);
    document.querySelectorAll("figure.st-table table").forEach(fold);
    document.querySelectorAll("figure.st-verdicts").forEach(brief);
    document.querySelectorAll(".bd-article :not(pre) > code, .bd-article code .pre, dt.sig .pre").forEach(breakable);
    document.querySelectorAll(WIDE).forEach(watch);
    reveal();
  });
  window.addEventListener("hashchange", reveal);
})();
