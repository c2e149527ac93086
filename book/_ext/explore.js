// The page to explore: a table of cells in place of each picture, by mouse, touch and keyboard. Without this script the
// pictures stand there. Colours are those of the pictures, light enough for black numbers in either theme.
(function () {
  "use strict";
  const BLUE = [0, 114, 178], ORANGE = [213, 94, 0], PALE = [246, 246, 246];
  const TERMS = { gain: 1, "fall of variance": 1, "rise of bias": -1 }; // 1: more of it speaks for pruning

  function shade(part) { // -1 to 1
    const to = part < 0 ? ORANGE : BLUE, weight = 0.72 * Math.min(1, Math.abs(part));
    return `rgb(${PALE.map((from, i) => Math.round(from + weight * (to[i] - from))).join(", ")})`;
  }
  const percent = (x) => `${Math.round(100 * x)}%`;
  const signed = (x, digits = 2) => { // a zero has no sign
    const size = Math.abs(x).toFixed(digits);
    return (Number(size) === 0 ? "" : x < 0 ? "−" : "+") + size;
  };
  const span = (cell, name) => `[${signed(cell[`${name}: low`])}, ${signed(cell[`${name}: high`])}]`;

  function make(name, attributes, ...inside) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inside);
    return made;
  }

  // A table whose cells are reached by Tab and walked by arrows; what the current one says stands below it.
  function table(label, corner, columns, rows, said) {
    const cells = [];
    const show = (cell) => {
      for (const row of cells) for (const other of row) other.tabIndex = -1;
      cell.tabIndex = 0;
      said.textContent = cell.getAttribute("aria-label");
    };
    const body = rows.map(({ head, values }, i) => {
      cells.push(values.map(({ words, part, kind, told }, j) => {
        const cell = make("td", { role: "gridcell", "aria-label": told, class: kind, tabindex: "-1" }, words);
        if (part !== undefined) cell.style.background = shade(part);
        cell.addEventListener("focus", () => show(cell));
        cell.addEventListener("pointerenter", () => show(cell));
        cell.addEventListener("click", () => cell.focus());
        cell.addEventListener("keydown", (event) => {
          const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
          const next = step && cells[i + step[0]] && cells[i + step[0]][j + step[1]];
          if (step) event.preventDefault();
          if (next) next.focus();
        });
        return cell;
      }));
      return make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader" }, head), ...cells[i]);
    });
    const heads = [corner, ...columns].map((head) => make("th", { scope: "col", role: "columnheader" }, head));
    const made = make("table", { role: "grid", "aria-label": label },
      make("thead", {}, make("tr", { role: "row" }, ...heads)), make("tbody", {}, ...body));
    cells[0][0].tabIndex = 0;
    return made;
  }

  function units(scale, { task, level }, said) {
    const chosen = task === "all" ? scale.tasks : [scale.tasks[task]], at = scale.levels[level];
    const value = (k) => {
      const part = chosen.reduce((sum, one) => sum + one.importance[k], 0) / chosen.length;
      const keeps = (one) => 2 * one.kept[level][k] > one.seeds, column = k % (scale.heads + 1);
      const layer = Math.floor(k / (scale.heads + 1)) + 1;
      const name = column === scale.heads ? `FFN of layer ${layer}` : `Head ${column + 1} of layer ${layer}`;
      const count = task === "all" ? chosen.filter(keeps).length : chosen[0].kept[level][k];
      const tell = (one) => `${one.name} (${one.kept[level][k]} of ${one.seeds} seeds)`;
      const list = (all) => all.map(tell).join(", ") || "none";
      const told = `${name}: ${percent(part)} of the greatest importance. At ${percent(at)} kept by ` +
        `${list(chosen.filter(keeps))}; pruned by ${list(chosen.filter((one) => !keeps(one)))}.`;
      return { words: String(count), part, kind: count ? "st-kept" : "st-pruned", told };
    };
    const width = scale.heads + 1, columns = [...Array(scale.heads).keys()].map((head) => String(head + 1));
    const rows = [...Array(scale.layers).keys()].map((layer) => ({
      head: String(layer + 1),
      values: [...Array(width).keys()].map((column) => value(layer * width + column)),
    }));
    return table("Heads and FFNs by layer", "layer", [...columns, "FFN"], rows, said);
  }

  function places(scale, { term }, said) {
    const most = Math.max(...scale.cells.map((cell) => Math.abs(cell[term]))) || 1;
    const sorted = (name) => [...new Set(scale.cells.map((cell) => cell[name]))].sort((a, b) => a - b);
    const value = (cell) => {
      if (!cell) return { words: "", kind: "st-none", told: "No runs of this cell." };
      const sure = cell[`${term}: low`] * cell[`${term}: high`] > 0;
      const told = `${cell.train_size} examples, ${percent(cell.noise)} wrong labels, ${cell.n} training sets: gain ` +
        `${signed(cell.gain)} points ${span(cell, "gain")}, ${cell.verdict}; full model ${cell["ST-DNN"].toFixed(1)}. ` +
        `Variance ${cell.variance.toFixed(2)}, falls by ${signed(cell["fall of variance"])} ` +
        `${span(cell, "fall of variance")}; bias² ${cell.bias2.toFixed(2)}, rises by ${signed(cell["rise of bias"])} ` +
        `${span(cell, "rise of bias")}, hundredths of the Brier loss.`;
      const judged = term === "gain" && cell.verdict !== "cannot tell";
      return { words: signed(cell[term], 1) + (sure ? "*" : ""), part: TERMS[term] * cell[term] / most,
        kind: judged ? "st-kept" : "st-unsure", told };
    };
    const noises = sorted("noise");
    const rows = sorted("train_size").map((size) => ({
      head: String(size),
      values: noises.map((noise) => value(scale.cells.find((one) => one.train_size === size && one.noise === noise))),
    }));
    return table(`The map: ${term}`, "examples", noises.map((noise) => `${percent(noise)} wrong`), rows, said);
  }

  const VIEWS = {
    tickets: { draw: units, key: "The darker, the more important. The number says how many tasks keep a head or FFN " +
      "at the level (of a single task: how many seeds); dashed: none does." },
    map: { draw: places, key: "Blue speaks for light pruning, orange against it. A star: the 95% interval excludes zero; " +
      "framed: the gain, or loss, stands after the correction over all cells." },
  };

  function live(box) {
    const scales = JSON.parse(box.querySelector("script").textContent), view = VIEWS[box.dataset.view];
    const said = make("p", { class: "st-said" }), place = make("div", { class: "st-grid" });
    const chosen = { scale: 0, task: "all", level: 0, term: "gain" }; // the level: an index
    const middle = () => Math.floor(((scales[chosen.scale].levels || []).length - 1) / 2);
    const controls = make("div", { class: "st-controls" });
    const draw = () => {
      place.replaceChildren(view.draw(scales[chosen.scale], chosen, said));
      said.textContent = "Point at a cell, tap it or walk with the arrow keys, to read what was measured there.";
    };
    const choice = (name, label, options) => {
      const select = make("select", {}, ...options.map(([value, words]) => make("option", { value }, words)));
      select.value = String(chosen[name]);
      select.addEventListener("change", () => {
        chosen[name] = select.value;
        if (name === "scale") { chosen.task = "all"; chosen.level = middle(); build(); }
        draw();
      });
      controls.append(make("label", {}, `${label} `, select));
    };
    const build = () => {
      const scale = scales[chosen.scale];
      controls.replaceChildren();
      if (scales.length > 1) choice("scale", "Scale", scales.map((one, i) => [String(i), one.title]));
      if (!scale.tasks) return choice("term", "Shown", Object.keys(TERMS).map((term) => [term, term]));
      choice("task", "Task", [["all", `all ${scale.tasks.length}`], ...scale.tasks.map((one, i) => [String(i), one.name])]);
      const range = make("input", { type: "range", min: 0, max: scale.levels.length - 1, value: chosen.level });
      const level = make("output", {}, percent(scale.levels[chosen.level]));
      range.addEventListener("input", () => {
        chosen.level = Number(range.value);
        level.textContent = percent(scale.levels[chosen.level]);
        draw();
      });
      controls.append(make("label", {}, "Pruned ", range, level));
    };
    chosen.level = middle();
    build();
    draw();
    box.querySelector("figcaption").before(controls, place, said, make("p", { class: "st-key" }, view.key));
    box.classList.add("st-live");
  }

  document.querySelectorAll(".st-explore").forEach(live);
})();
