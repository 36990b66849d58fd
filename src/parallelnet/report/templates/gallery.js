"use strict";
// Filters, orders, plays and marks the rows. Marks are kept under the data set's fingerprint, so that several pages of
// one data set share them, and leave the browser only as the csv that `build tweets --exclude` reads. What the page says
// of people's texts is only ever written with textContent and value: never as markup.
(() => {
  const {fingerprint, excluded, marks: reasons} = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  for (const element of all("[data-script]")) element.hidden = false;
  const grid = find("grid"), cards = all(".card"), keys = Object.keys(reasons);
  const texts = new Map(cards.map((card) => [card, `${card.dataset.id} ${card.querySelector(".said").textContent} ${card.querySelector(".found").textContent}`.toLowerCase()]));
  const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));

  // --- marks ---------------------------------------------------------------------------------------------------------
  const place = `parallelnet:marks:${fingerprint}`;
  let marks = new Map();
  const load = () => {
    try {
      const known = Object.entries(JSON.parse(localStorage.getItem(place) ?? "{}"));
      marks = new Map(known.filter(([, mark]) => keys.includes(mark?.reason)));
    } catch { find("unkept").hidden = false; }  // no storage here, or not ours: marks live as long as the page
  };
  const keep = () => {
    try { localStorage.setItem(place, JSON.stringify(Object.fromEntries(marks))); } catch { find("unkept").hidden = false; }
  };
  const draw = (card) => {
    const mark = marks.get(card.dataset.id), note = card.querySelector(".note");
    card.classList.toggle("marked", Boolean(mark));
    for (const button of all("[data-mark]", card)) press(button, button.dataset.mark === mark?.reason);
    note.hidden = !mark;
    if (document.activeElement !== note) note.value = mark?.note ?? "";
  };
  const tell = () => {
    const here = cards.filter((card) => marks.has(card.dataset.id)).length, elsewhere = marks.size - here;
    find("marked").textContent = marks.size === 0 ? "nothing marked" : `${marks.size} marked` + (elsewhere ? `, ${elsewhere} of them on other pages` : "");
    find("marked").classList.toggle("some", marks.size > 0);
    for (const id of ["export", "clear"]) find(id).disabled = marks.size === 0;
  };
  const mark = (card, reason) => {
    const old = marks.get(card.dataset.id);
    if (!reason || old?.reason === reason) marks.delete(card.dataset.id);
    else marks.set(card.dataset.id, {reason, note: old?.note ?? ""});
    keep();
    draw(card);
    tell();
  };
  for (const card of cards) {
    for (const button of all("[data-mark]", card)) button.addEventListener("click", () => mark(card, button.dataset.mark));
    const note = card.querySelector(".note");
    note.addEventListener("input", () => {
      const old = marks.get(card.dataset.id);
      if (old) { marks.set(card.dataset.id, {...old, note: note.value}); keep(); }
    });
    note.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); event.stopPropagation(); go(card); }
    });
  }
  // Another page of the same data set, open in another tab, marked something.
  addEventListener("storage", (event) => { if (event.key === place) { load(); cards.forEach(draw); tell(); } });

  find("clear").addEventListener("click", (event) => {
    const button = event.target;
    if (button.dataset.sure !== "yes") {  // twice: marks are work
      button.dataset.sure = "yes";
      button.textContent = `Really clear ${marks.size}?`;
      setTimeout(() => { delete button.dataset.sure; button.textContent = "Clear"; }, 3000);
      return;
    }
    marks.clear();
    keep();
    cards.forEach(draw);
    tell();
  });
  // As records.harmless: no spreadsheet takes a cell for a formula, and `--exclude` reads the same text back.
  const harmless = (text) => /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
  const quoted = (text) => /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  const cell = (text) => quoted(harmless(text));
  find("export").addEventListener("click", () => {
    // What earlier marks left out goes along, so that this csv alone does for the next build.
    const rows = [...excluded.filter((id) => !marks.has(id)).map((id) => [id, "excluded", ""])];
    for (const [id, {reason, note}] of marks) rows.push([id, reason, note]);
    const csv = [["id", "reason", "note"], ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
    const address = URL.createObjectURL(new Blob([csv], {type: "text/csv"}));
    Object.assign(document.createElement("a"), {href: address, download: "marks.csv"}).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });

  // --- filters and order ---------------------------------------------------------------------------------------------
  const value = (id) => find(id)?.value ?? "";
  const sift = () => {
    const text = value("text").trim().toLowerCase(), wanted = value("mark");
    let n = 0;
    for (const card of cards) {
      const reason = marks.get(card.dataset.id)?.reason;
      const fits = ["class", "source", "agreed", "language"].every((id) => !value(id) || card.dataset[id] === value(id))
        && (!wanted || (wanted === "none" ? !reason : wanted === "some" ? Boolean(reason) : reason === wanted))
        && texts.get(card).includes(text);
      card.hidden = !fits;
      if (!fits) card.querySelector("audio")?.pause();
      n += fits;
    }
    find("count").textContent = n < cards.length ? `${n} of ${cards.length}` : "";
    find("nothing").hidden = n > 0 || cards.length === 0;
    stop(current && !current.hidden ? current : shown()[0]);
  };
  const sort = () => {
    const order = value("order"), sign = order === "sure" ? -1 : 1;
    const sorted = order ? cards.toSorted((a, b) => sign * (a.dataset.sure - b.dataset.sure)) : cards;
    grid.append(...sorted);
  };
  for (const id of ["class", "source", "agreed", "language", "mark", "text"]) find(id)?.addEventListener("input", sift);
  find("order")?.addEventListener("input", sort);
  find("text").form.addEventListener("submit", (event) => event.preventDefault());

  // --- keys ----------------------------------------------------------------------------------------------------------
  let current = null;
  const shown = () => all(".card", grid).filter((card) => !card.hidden);
  const stop = (card) => {  // all cards are one stop of the tabulator
    for (const each of cards) each.tabIndex = each === card ? 0 : -1;
    current = card ?? null;
  };
  const go = (card) => { if (card) { stop(card); card.focus(); } };
  grid.addEventListener("focusin", (event) => { const card = event.target.closest(".card"); if (card && card !== current) stop(card); });
  const step = (by) => {
    const cards = shown(), at = cards.indexOf(current);
    const inside = grid.contains(document.activeElement);
    go(inside && at >= 0 ? cards[Math.max(0, Math.min(cards.length - 1, at + by))] : current ?? cards[0]);
  };
  const columns = () => {
    const cards = shown();
    const n = cards.findIndex((card) => card.offsetTop !== cards[0].offsetTop);
    return n < 0 ? cards.length : n;
  };
  document.addEventListener("keydown", (event) => {
    const on = event.target instanceof Element ? event.target : document.body;
    if (event.ctrlKey || event.altKey || event.metaKey || on.closest("input, select, textarea, dialog")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const card = on.closest(".card");
    const move = {j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1}[key]
      ?? (card && key === "ArrowDown" ? columns() : card && key === "ArrowUp" ? -columns() : undefined);
    if (move !== undefined) step(move);
    else if (!card) return;
    else if (/^\d$/.test(key) && Number(key) <= keys.length) mark(card, keys[Number(key) - 1]);  // 0: none
    else if (key === " " && on === card) card.querySelector(".play")?.click();
    else if (key === "Enter" && on === card) card.querySelector("button.thumb")?.click();
    else if (key === "n" && marks.has(card.dataset.id)) card.querySelector(".note").focus();
    else return;
    event.preventDefault();
  });

  // --- sound and picture ---------------------------------------------------------------------------------------------
  for (const card of cards) {
    const audio = card.querySelector("audio");
    if (!audio) continue;
    const player = card.querySelector(".player"), track = card.querySelector(".track"), clock = card.querySelector("time");
    const button = card.querySelector(".play"), words = all(".said span", card);
    const whole = clock.textContent;
    audio.controls = false;
    const paint = () => {
      const at = audio.currentTime;
      track.value = at;
      clock.textContent = audio.paused && at === 0 ? whole : `${at.toFixed(1)} s`;
      for (const word of words) word.classList.toggle("now", !audio.paused && at >= word.dataset.from && at < word.dataset.to);
    };
    const follow = () => { paint(); if (!audio.paused) requestAnimationFrame(follow); };
    for (const name of ["play", "pause", "ended"]) {
      audio.addEventListener(name, () => {
        player.classList.toggle("playing", !audio.paused);
        button.setAttribute("aria-label", audio.paused ? "Play" : "Pause");
        if (name === "ended") audio.currentTime = 0;
        follow();
      });
    }
    audio.addEventListener("seeked", paint);
    button.addEventListener("click", () => {
      if (!audio.paused) { audio.pause(); return; }
      for (const other of all("audio")) if (other !== audio) other.pause();
      audio.play();
    });
    track.addEventListener("input", () => { audio.currentTime = Number(track.value); });
  }
  const view = find("view");
  for (const thumb of all("button.thumb")) {
    thumb.addEventListener("click", () => {
      const picture = thumb.querySelector("img"), large = view.querySelector("img");
      large.src = picture.src;
      large.alt = picture.alt;
      view.showModal();
    });
  }
  view.addEventListener("click", (event) => { if (event.target === view) view.close(); });

  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => { find("theme").textContent = dark() ? "Light" : "Dark"; };
  find("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  find("blur").addEventListener("click", (event) => {
    const blurred = root.toggleAttribute("data-blur");
    press(event.target, blurred);
  });

  label();
  load();
  cards.forEach(draw);
  tell();
  sift();
})();
