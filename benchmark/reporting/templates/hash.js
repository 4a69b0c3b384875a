// What is chosen on a page stands in the URL's hash, behind the section that is shown: #SECTION&cost=clicks&hide=entropy.
"use strict";
const pageHash = (() => {
  let section = "";

  function read() {
    const parts = location.hash.slice(1).split("&");
    section = parts[0].includes("=") ? "" : parts.shift();
    return new URLSearchParams(parts.join("&"));
  }

  function write(chosen) {
    history.replaceState(null, "", "#" + [section, chosen.toString()].filter(Boolean).join("&"));
  }

  function scroll(options) {
    const shown = section && document.getElementById(section);
    if (shown) shown.scrollIntoView(options);
  }

  // A link of the navigation changes the section and keeps what is chosen; a hash that is typed changes both.
  function follow(writeHash, show) {
    for (const link of document.querySelectorAll("nav a")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        section = link.getAttribute("href").slice(1);
        scroll();
        writeHash();
      });
    }
    window.addEventListener("hashchange", () => {
      show();
      scroll();
    });
  }

  return { read, write, scroll, follow };
})();
