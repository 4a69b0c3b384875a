// Draws the charts of the page from the specifications in #data and lets the reader switch what they show.
// What is chosen stands in the URL's hash (hash.js).
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const NARROW = 680; // pixels of a chart below which plots stand one above the other
  // ast: Vega's interpreter evaluates its expressions, so that the page needs no unsafe-eval.
  const options = { renderer: "svg", ast: true, actions: { export: true, source: false, compiled: false, editor: false } };
  const draw = (id, spec) =>
    vegaEmbed("#" + id, spec, { ...options, downloadFileName: id }).catch((error) => {
      byId(id).textContent = "This chart can't be drawn: " + error.message;
    });

  // ---- what is chosen ----
  const CONTROLS = ["cost", "baseline", "metric", "second-cost", "band", "seeds", "log", "gallery-seed", "gallery-round"];
  const present = () => CONTROLS.map(byId).filter(Boolean);
  const boxes = () => [...document.querySelectorAll("#shown input")];
  const valueOf = (control) => (control.type === "checkbox" ? String(control.checked) : control.value);
  const first = Object.fromEntries(present().map((control) => [control.id, valueOf(control)]));
  let previousCost = byId("cost") && byId("cost").value;

  function readHash() {
    const given = pageHash.read();
    for (const control of present()) {
      const value = given.get(control.id) ?? first[control.id];
      if (control.type === "checkbox") control.checked = value === "true";
      else if ([...control.options].some((option) => option.value === value)) control.value = value;
    }
    for (const box of boxes()) box.checked = !given.getAll("hide").includes(box.value);
    const [cost, second] = [byId("cost"), byId("second-cost")];
    if (cost && second && second.value === cost.value) second.value = first.cost;
    previousCost = cost && cost.value;
  }

  function writeHash() {
    const chosen = new URLSearchParams();
    for (const control of present()) if (valueOf(control) !== first[control.id]) chosen.set(control.id, valueOf(control));
    for (const box of boxes()) if (!box.checked) chosen.append("hide", box.value);
    pageHash.write(chosen);
  }

  // ---- charts ----
  function curves(id, cost) {
    const spec = structuredClone(data.curves);
    const metric = byId("metric").value;
    const shown = boxes().filter((box) => box.checked).map((box) => box.value);
    const chosen = { metric, cost, band: byId("band").value, seeds: byId("seeds").checked, shown };
    for (const param of spec.params) if (param.name in chosen) param.value = chosen[param.name];
    // An empty layer would have no extent, of which Vega warns.
    spec.layer = spec.layer.filter((layer) => chosen.seeds || !layer.data || layer.data.name !== "seeds");
    for (const { encoding } of spec.layer) {
      if (encoding.x && encoding.x.field === "x") {
        encoding.x.title = data.axes[cost].title;
        encoding.x.axis = { ...data.axes[cost], grid: false };
        encoding.x.scale = byId("log").checked ? { type: "log", nice: false } : { type: "linear", nice: false, zero: false };
      }
      if (encoding.y && encoding.y.field === "mean" && "title" in encoding.y) encoding.y.title = data.titles[metric];
    }
    byId("curves-note").textContent = "Band: " + byId("band").selectedOptions[0].textContent + ".";
    byId(id).setAttribute("aria-label", `Learning curves: ${data.titles[metric]} over ${data.axes[cost].title}; the numbers are in the tables below.`);
    return draw(id, spec);
  }

  // In a narrow window the title of an axis, wider than the plot, takes two lines, and there are fewer ticks.
  function folded(layers) {
    for (const { encoding } of layers) {
      if (!encoding.x || !encoding.x.axis) continue;
      encoding.x.title = encoding.x.title.replace(" (", "\n(").split("\n");
      encoding.x.axis.tickCount = 5;
    }
  }

  // Pixels and clicks are always both there; the one that is chosen comes first.
  function gains() {
    const spec = structuredClone(data.gains);
    const plots = byId("cost").value === "clicks" ? spec.hconcat.reverse() : spec.hconcat;
    const room = byId("gains-chart").clientWidth;
    const isNarrow = room < NARROW;
    plots.forEach((plot, place) => {
      plot.width = isNarrow ? Math.max(120, room - 215) : Math.max(200, Math.min(620, (room - 250) / 2));
      for (const { encoding } of plot.layer) {
        if (encoding.y && encoding.y.axis) encoding.y.axis.labels = isNarrow || place === 0;
      }
    });
    if (isNarrow) {
      for (const plot of plots) folded(plot.layer);
      spec.vconcat = plots;
      delete spec.hconcat;
    }
    return draw("gains-chart", spec);
  }

  function differences() {
    const spec = structuredClone(data.differences[byId("baseline").value]);
    if (byId("differences-chart").clientWidth < NARROW) folded(spec.layer);
    return draw("differences-chart", spec);
  }

  function heads() {
    const texts = data.heads[byId("cost").value];
    for (const table of document.querySelectorAll("table[data-by-round]")) {
      [...table.tHead.rows[0].cells].slice(1, 1 + texts.length).forEach((cell, round) => {
        (cell.querySelector("button") || cell).firstChild.textContent = texts[round].replace(" %", "\u00a0%");
        const small = cell.querySelector("small");
        if (small) small.textContent = byId("cost").value === "regions" ? data.heads["labelled-fraction"][round] : data.heads.regions[round] + " regions";
      });
    }
    for (const note of document.querySelectorAll(".head-cost")) note.textContent = data.axes[byId("cost").value].title;
  }

  function show(kind, value) {
    for (const box of document.querySelectorAll(".by-" + kind)) box.hidden = box.dataset[kind] !== value;
  }

  function gallery() {
    const seed = byId("gallery-seed").value;
    const round = byId("gallery-round").value;
    for (const figure of document.querySelectorAll(".gallery figure[data-seed]")) {
      figure.hidden = figure.dataset.seed !== seed;
      for (const path of figure.querySelectorAll("path[data-round]")) {
        path.style.display = round === "all" || Number(path.dataset.round) <= Number(round) ? "" : "none";
      }
    }
  }

  function render(changed) {
    const drawn = [];
    const any = (...ids) => !changed || ids.includes(changed);
    if (byId("cost") && any("cost")) {
      if (changed && byId("second-cost") && byId("second-cost").value === byId("cost").value) byId("second-cost").value = previousCost;
      previousCost = byId("cost").value;
      show("cost", byId("cost").value);
      heads();
      if (data.gains) drawn.push(gains());
    }
    if (byId("baseline") && any("baseline")) {
      show("baseline", byId("baseline").value);
      if (data.differences) drawn.push(differences());
    }
    if (data.curves && any("cost", "second-cost", "metric", "band", "seeds", "log", "shown")) {
      drawn.push(curves("curves-chart", byId("cost").value), curves("second-curves-chart", byId("second-cost").value));
    }
    if (byId("gallery-seed") && any("gallery-seed", "gallery-round")) gallery();
    return Promise.all(drawn);
  }

  // ---- pictures, larger ----
  const PICTURE = "figure > svg, figure > img";
  function enlarge(picture) {
    const dialog = byId("enlarged");
    const figure = picture.closest("figure").cloneNode(true);
    dialog.querySelector("div").replaceChildren(figure);
    dialog.showModal();
  }
  document.addEventListener("click", (event) => {
    if (event.target.closest("dialog")) byId("enlarged").close();
    else if (event.target.closest(PICTURE)) enlarge(event.target.closest(PICTURE));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches && event.target.matches(PICTURE)) enlarge(event.target);
  });
  for (const picture of document.querySelectorAll(PICTURE)) picture.setAttribute("tabindex", "0");

  // ---- begin ----
  readHash();
  render().then(() => {
    document.documentElement.dataset.drawnMs = Math.round(performance.now()); // tests/performance/open_page.py reads it
    pageHash.scroll({ behavior: "instant" });
  });
  for (const id of [...CONTROLS, "shown"]) {
    if (byId(id)) {
      byId(id).addEventListener("change", () => {
        render(id);
        writeHash();
      });
    }
  }
  pageHash.follow(writeHash, () => {
    readHash();
    render();
  });
  let waiting = 0;
  let width = innerWidth;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      if (data.gains && innerWidth !== width) gains();
      width = innerWidth;
    }, 200);
  });
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
