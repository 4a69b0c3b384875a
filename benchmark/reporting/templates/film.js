// Lays out what the model of each round says of one image: rounds of one strategy, or strategies after one round.
"use strict";
// It waits until the rest of the page is there: the maps are most of its bytes.
window.addEventListener("load", () => {
  const stored = document.getElementById("film-data");
  if (!stored) return;
  const film = JSON.parse(stored.textContent);
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
    if (byId("film-across").value === "rounds") {
      const label = byId("film-label").value;
      return film.frames[label].map((_, round) => [`round ${round}`, label, round]);
    }
    const round = Number(byId("film-round").value);
    return film.labels.filter((label) => film.frames[label][round] || film.frames[label].length === 1)
      .map((label) => [label, label, Math.min(round, film.frames[label].length - 1)]);
  }

  function draw() {
    const across = byId("film-across").value;
    byId("film-label-box").hidden = across !== "rounds";
    byId("film-round-box").hidden = across === "rounds";
    const number = Number(byId("film-image").value);
    const image = film.images[number];
    const shown = columns().filter(([, label, round]) => film.frames[label][round][number]);
    const frame = (label, round) => (film.frames[label][round] || [])[number];
    const rows = [
      ["picked so far", (label, round) => {
        const bought = [];
        for (let r = 0; r <= round; r++) {
          const one = frame(label, r);
          if (one && one.picks) bought.push([one.picks, film.colours[r], "picked"]);
        }
        return picture(image, image.photo, `Regions picked by ${label} up to round ${round}`, bought);
      }],
      ["entropy, next picks", (label, round) => {
        const next = frame(label, round + 1);
        const outlines = next && next.picks ? [[next.picks, film.colours[round + 1], "next"]] : [];
        return picture(image, film.maps[frame(label, round).entropy], `Entropy after round ${round}`, outlines);
      }],
      ["prediction", (label, round) =>
        picture(image, film.maps[frame(label, round).prediction], `Prediction after round ${round}`, [])],
    ];
    const box = byId("film");
    box.textContent = "";
    if (image.photo) {
      const side = element("div", { class: "film-side" });
      for (const [caption, uri] of [["image", image.photo], ["ground truth", image.truth]]) {
        const figure = element("figure");
        figure.append(picture(image, uri, caption, []), element("figcaption", {}, caption));
        side.append(figure);
      }
      box.append(side);
    }
    const grid = element("div", { class: "film-grid" });
    for (const [head, label, round] of shown) {
      const column = element("div", { class: "film-column" });
      column.append(element("p", { class: "film-head" }, head));
      for (const [caption, make] of rows) {
        const figure = element("figure");
        figure.append(make(label, round), element("figcaption", {}, caption));
        column.append(figure);
      }
      grid.append(column);
    }
    box.append(grid);
  }

  for (const id of ["film-image", "film-across", "film-label", "film-round"]) byId(id).addEventListener("change", draw);
  draw();
});
