// Lays out maps of one image side by side: rounds of one strategy, or strategies after one round.
"use strict";
// Waits until the rest of the page has loaded: the maps are most of its bytes.
window.addEventListener("load", () => {
  const stored = document.getElementById("viewer-data");
  if (!stored) return;
  const viewer = JSON.parse(stored.textContent);
  const byId = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";

  function element(name, attributes = {}, text = "") {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  }

  function picture(image, uri, alt, paths) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
    svg.setAttribute("role", "img");
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("aria-label", alt);
    if (uri) {
      const map = document.createElementNS(SVG, "image");
      map.setAttribute("href", uri);
      map.setAttribute("width", image.width);
      map.setAttribute("height", image.height);
      map.setAttribute("preserveAspectRatio", "none");
      svg.append(map);
    }
    for (const [d, colour, kind] of paths) {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("d", d);
      path.setAttribute("class", kind);
      path.style.setProperty("--c", colour);
      svg.append(path);
    }
    return svg;
  }

  // [head, label, round] of every column
  function columns() {
    if (byId("viewer-across").value === "rounds") {
      const label = byId("viewer-label").value;
      return viewer.frames[label].map((_, round) => [`round ${round}`, label, round]);
    }
    const round = Number(byId("viewer-round").value);
    return viewer.labels.filter((label) => viewer.frames[label][round] || viewer.frames[label].length === 1)
      .map((label) => [label, label, Math.min(round, viewer.frames[label].length - 1)]);
  }

  function draw() {
    const across = byId("viewer-across").value;
    byId("viewer-label-box").hidden = across !== "rounds";
    byId("viewer-round-box").hidden = across === "rounds";
    const number = Number(byId("viewer-image").value);
    const image = viewer.images[number];
    const shown = columns().filter(([, label, round]) => viewer.frames[label][round][number]);
    const frame = (label, round) => (viewer.frames[label][round] || [])[number];
    const rows = [
      ["selected so far", (label, round) => {
        const selected = [];
        for (let r = 0; r <= round; r++) {
          const one = frame(label, r);
          if (one && one.selected) selected.push([one.selected, viewer.colours[r], "selected"]);
        }
        return picture(image, image.photo, `Regions selected by ${label} up to round ${round}`, selected);
      }],
      ["entropy, next selection", (label, round) => {
        const next = frame(label, round + 1);
        const outlines = next && next.selected ? [[next.selected, viewer.colours[round + 1], "next"]] : [];
        return picture(image, viewer.maps[frame(label, round).entropy], `Entropy after round ${round}`, outlines);
      }],
      ["prediction", (label, round) =>
        picture(image, viewer.maps[frame(label, round).prediction], `Prediction after round ${round}`, [])],
    ];
    const box = byId("viewer");
    box.textContent = "";
    if (image.photo) {
      const side = element("div", { class: "viewer-side" });
      for (const [caption, uri] of [["image", image.photo], ["ground truth", image.truth]]) {
        const figure = element("figure");
        figure.append(picture(image, uri, caption, []), element("figcaption", {}, caption));
        side.append(figure);
      }
      box.append(side);
    }
    const grid = element("div", { class: "viewer-grid" });
    for (const [head, label, round] of shown) {
      const column = element("div", { class: "viewer-column" });
      column.append(element("p", { class: "viewer-head" }, head));
      for (const [caption, make] of rows) {
        const figure = element("figure");
        figure.append(make(label, round), element("figcaption", {}, caption));
        column.append(figure);
      }
      grid.append(column);
    }
    box.append(grid);
  }

  for (const id of ["viewer-image", "viewer-across", "viewer-label", "viewer-round"]) byId(id).addEventListener("change", draw);
  draw();
});
