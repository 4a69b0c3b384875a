// A click on the head of a column sorts the table; heat tables stay as they are.
"use strict";
(() => {
  const number = (cell) => {
    const found = cell.textContent.replaceAll("\u2212", "-").replaceAll(",", "").match(/[-+]?\d+(\.\d+)?/);
    return found ? Number(found[0]) : null;
  };

  function sort(table, column, head) {
    const isDown = head.getAttribute("aria-sort") !== "descending";
    const body = table.tBodies[0];
    const isFixed = (row) => row.matches(".full-supervision, .paper") || row.cells.length <= column;
    const rows = [...body.rows].filter((row) => !isFixed(row));
    const fixed = [...body.rows].filter(isFixed);
    const value = (row) => (column ? number(row.cells[column]) : null);
    rows.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === null && b === null) {
        const order = one.cells[column].textContent.localeCompare(other.cells[column].textContent);
        return isDown ? -order : order;
      }
      if (a === null || b === null) return a === null ? 1 : -1; // without a value: last, either way
      return isDown ? b - a : a - b;
    });
    body.append(...rows, ...fixed);
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
  }

  for (const table of document.querySelectorAll("table:not(.heat)")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column, head));
    });
  }
})();
