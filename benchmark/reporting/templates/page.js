// Draws the charts of the page from the specifications in #data and lets the reader switch what they show.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  // ast: Vega's interpreter evaluates its expressions, so that the page needs no unsafe-eval.
  const options = { renderer: "svg", ast: true, actions: { export: true, source: false, compiled: false, editor: false } };
  const draw = (id, spec) =>
    vegaEmbed("#" + id, spec, { ...options, downloadFileName: id }).catch((error) => {
      byId(id).textContent = "This chart can't be drawn: " + error.message;
    });

  function curves(id, cost) {
    const spec = structuredClone(data.curves);
    const metric = byId("metric").value;
    const shown = [...document.querySelectorAll("#shown input:checked")].map((box) => box.value);
    const chosen = { metric, cost, band: byId("band").value, seeds: byId("seeds").checked, shown };
    for (const param of spec.params) if (param.name in chosen) param.value = chosen[param.name];
    for (const { encoding } of spec.layer) {
      if (encoding.x && encoding.x.field === "x") {
        encoding.x.title = data.axes[cost].title;
        encoding.x.axis = { ...data.axes[cost], grid: false };
        encoding.x.scale = byId("log").checked ? { type: "log", nice: false } : { type: "linear", nice: false, zero: false };
      }
      if (encoding.y && encoding.y.field === "mean" && "title" in encoding.y) encoding.y.title = data.titles[metric];
    }
    const band = byId("band").selectedOptions[0].textContent;
    byId("curves-note").textContent = "Band: " + band + ".";
    return draw(id, spec);
  }

  const bothCurves = () =>
    Promise.all([curves("curves-chart", byId("cost").value), curves("second-curves-chart", byId("second-cost").value)]);

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

  if (data.curves) {
    for (const id of ["metric", "cost", "second-cost", "band", "seeds", "log", "shown"]) byId(id).addEventListener("change", bothCurves);
    bothCurves().then(() => {
      document.documentElement.dataset.drawnMs = Math.round(performance.now()); // tests/performance/open_page.py reads it
    });
  }
  if (data.gains) draw("gains-chart", data.gains);
  if (data.differences) draw("differences-chart", data.differences);
  if (byId("efficiency-cost")) {
    byId("efficiency-cost").addEventListener("change", (event) => {
      for (const box of document.querySelectorAll(".by-cost")) box.hidden = box.dataset.cost !== event.target.value;
    });
  }
  if (byId("gallery-seed")) {
    for (const id of ["gallery-seed", "gallery-round"]) byId(id).addEventListener("change", gallery);
    gallery();
  }
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
