"use strict";
// Shows the rows that hold a text, an emotion, a kind.
(() => {
  const find = (id) => document.getElementById(id);
  const rows = [...document.querySelectorAll("tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  for (const element of document.querySelectorAll("[data-script]")) element.hidden = false;
  const sift = () => {
    const text = find("text").value.trim().toLowerCase(), emotion = find("emotion").value, kind = find("kind").value;
    let n = 0;
    rows.forEach((row, place) => {
      const fits = texts[place].includes(text) && (!emotion || row.dataset.emotion === emotion) && (!kind || row.dataset.kind === kind);
      row.hidden = !fits;
      n += fits;
    });
    find("count").textContent = n < rows.length ? `${n} of ${rows.length}` : "";
  };
  for (const id of ["text", "emotion", "kind"]) find(id).addEventListener("input", sift);
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
})();
