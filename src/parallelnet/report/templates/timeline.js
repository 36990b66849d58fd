"use strict";
// Moves the cursors with the sound, says what the model says at that moment, and jumps to where one clicks. Without
// sound (a silent clip) the cursor is moved by hand. Names are only ever written with textContent: never as markup.
(() => {
  const {classes, duration, spans, probs, likely} = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement, audio = document.querySelector("audio");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  for (const element of all("[data-script]")) element.hidden = false;
  const strips = all(".strip"), list = document.querySelector(".passages"), rows = all("button", list);
  const scroller = document.querySelector(".window"), now = document.getElementById("now");
  let here = 0, row = null;

  const clock = (seconds) => {
    const whole = Math.floor(seconds + 1e-6), pad = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return (hours ? `${hours}:${pad(minutes)}` : String(minutes)) + `:${pad(whole % 60)}`;
  };
  // The last of sorted starts that is not behind a second; -1 before the first.
  const last = (n, start, seconds) => {
    let low = 0, high = n;
    while (low < high) { const middle = (low + high) >> 1; if (start(middle) <= seconds) low = middle + 1; else high = middle; }
    return low - 1;
  };

  const say = (seconds) => {
    const k = last(spans.length, (i) => spans[i][0], seconds), [time, name, said, every] = now.children;
    time.textContent = clock(seconds);
    if (k < 0 || seconds >= spans[k][1]) {
      name.textContent = said.textContent = every.textContent = "";
      said.textContent = audio ? "a pause, not judged" : "no face, not judged";
      return said.textContent;
    }
    const order = probs[k].map((_, c) => c).sort((a, b) => probs[k][b] - probs[k][a]), top = order[0];
    const set = order.filter((c) => likely[k].includes(c)).map((c) => classes[c]);
    name.textContent = classes[top];
    said.textContent = set.length > 1 ? `unsure: ${set.join(" or ")}` : "sure";
    every.textContent = order.map((c) => `${classes[c]} ${Math.round(100 * probs[k][c])} %`).join(", ");
    return `${classes[top]}, ${said.textContent}`;
  };

  const draw = () => {
    const told = say(here);
    for (const strip of strips) {
      strip.querySelector(".cursor").style.left = `${Math.min(100, 100 * here / duration)}%`;
      strip.setAttribute("aria-valuenow", here.toFixed(2));
      strip.setAttribute("aria-valuetext", `${clock(here)}: ${told}`);
    }
    if (scroller) scroller.scrollLeft = scroller.scrollWidth * here / duration - scroller.clientWidth / 2;
    const k = last(rows.length, (i) => Number(rows[i].dataset.t), here + 1e-3);
    if (rows[k] !== row) {
      if (row) row.removeAttribute("aria-current");
      row = rows[k] ?? null;
      if (row) {
        row.setAttribute("aria-current", "true");
        list.scrollTop = row.offsetTop - list.offsetTop - list.clientHeight / 2;
      }
    }
  };
  const seek = (seconds) => {
    here = Math.max(0, Math.min(duration, seconds));
    if (audio) audio.currentTime = here;
    draw();
  };
  const follow = () => { here = audio.currentTime; draw(); if (!audio.paused) requestAnimationFrame(follow); };
  if (audio) {
    audio.addEventListener("play", follow);
    for (const name of ["seeked", "pause"]) audio.addEventListener(name, () => { here = audio.currentTime; draw(); });
  }
  const toggle = () => { if (audio) { if (audio.paused) audio.play(); else audio.pause(); } };

  for (const strip of strips) {
    const at = (event) => { const box = strip.getBoundingClientRect(); return duration * (event.clientX - box.left) / box.width; };
    strip.addEventListener("click", (event) => seek(at(event)));
    strip.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse" && (!audio || audio.paused)) say(Math.max(0, at(event))); });
    strip.addEventListener("pointerleave", () => say(here));
    strip.addEventListener("keydown", (event) => {
      const step = {ArrowRight: 2, ArrowUp: 2, ArrowLeft: -2, ArrowDown: -2, PageUp: 30, PageDown: -30}[event.key];
      if (step) seek(here + step);
      else if (event.key === "Home") seek(0);
      else if (event.key === "End") seek(duration);
      else if (event.key === " ") toggle();
      else return;
      event.preventDefault();
    });
  }
  list.addEventListener("click", (event) => {
    const button = event.target.closest("[data-t]");
    if (!button) return;
    seek(Number(button.dataset.t));
    if (audio) audio.play();
  });

  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => {
    const dark = getComputedStyle(root).colorScheme === "dark" || (root.dataset.theme ?? "") === "" && matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    theme.setAttribute("aria-pressed", String(!dark));
  });
  document.getElementById("print").addEventListener("click", () => print());
  draw();
})();
