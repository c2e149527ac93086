// Tabs: the scales of a figure or table, one shown at a time. Without this script all are there, one under another.
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

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".st-tabs").forEach(build);
    const key = stored();
    if (key) choose(key, false);
  });
})();
