// Filters the rows of the tables; what is chosen stands in the URL's hash (hash.js).
"use strict";
(() => {
  const { ranked, settings } = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const controls = ["strategy", "data-set", "ranked"].map(byId).filter(Boolean);
  const valueOf = (control) => (control.type === "checkbox" ? (control.checked ? "true" : "") : control.value);
  const textOf = (cell) => cell.textContent.trim();

  function readHash() {
    const given = pageHash.read();
    for (const control of controls) {
      const value = given.get(control.id) ?? "";
      if (control.type === "checkbox") control.checked = value === "true";
      else if (!control.options || [...control.options].some((option) => option.value === value)) control.value = value;
    }
  }

  function writeHash() {
    const chosen = new URLSearchParams();
    for (const control of controls) if (valueOf(control)) chosen.set(control.id, valueOf(control));
    pageHash.write(chosen);
  }

  function filter() {
    const words = byId("strategy").value.toLowerCase().split(/\s+/).filter(Boolean);
    const dataSet = byId("data-set").value;
    const isRanked = byId("ranked") && byId("ranked").checked;
    const onDataSet = (setting) => !dataSet || settings[setting].data_set === dataSet;
    const there = new Set(Object.values(settings).filter((one) => !dataSet || one.data_set === dataSet).flatMap((one) => one.strategies));
    const isShown = (name) => there.has(name) && (!isRanked || ranked.includes(name)) && words.every((word) => name.toLowerCase().includes(word));
    for (const group of document.querySelectorAll("[data-rows]")) {
      for (const row of group.querySelectorAll("tbody tr")) {
        const name = textOf(row.cells[0]);
        const place = group.dataset.setting;
        row.hidden = group.dataset.rows === "setting" ? !onDataSet(name) : !isShown(name) || (place && !onDataSet(textOf(row.cells[place])));
      }
      if ("columns" in group.dataset) {
        for (const table of group.querySelectorAll("table")) {
          [...table.tHead.rows[0].cells].forEach((head, place) => {
            const isHidden = place > 0 && !isShown(textOf(head));
            for (const row of table.rows) row.cells[place].hidden = isHidden;
          });
        }
      }
    }
    const rows = [...document.querySelectorAll("#summary tbody tr")];
    const shown = rows.filter((row) => !row.hidden).length;
    byId("count").textContent = shown === rows.length ? "" : `${shown} of ${rows.length} strategies`;
  }

  readHash();
  filter();
  pageHash.scroll({ behavior: "instant" });
  for (const control of controls) {
    control.addEventListener("input", () => {
      filter();
      writeHash();
    });
  }
  document.querySelector("form.controls").addEventListener("submit", (event) => event.preventDefault());
  pageHash.follow(writeHash, () => {
    readHash();
    filter();
  });
  document.documentElement.dataset.drawnMs = Math.round(performance.now());
})();
