// Filters the catalogue while its search is typed. Without this the same search is answered by the server.
"use strict";
(() => {
  const field = document.getElementById("q");
  const rows = Array.from(document.querySelectorAll("tr[data-words]"));
  if (!field || rows.length === 0) return;
  const told = document.getElementById("found");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => row.dataset.words.includes(word));
      if (!row.hidden) shown += 1;
    }
    if (told) told.textContent = words.length ? `${shown} found on this page` : "";
  });
})();
