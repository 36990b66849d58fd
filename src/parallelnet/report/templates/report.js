"use strict";
// Repaints the page for another class, plays its sounds, lights up what belongs together. Elements say in data-u which
// value colours them, in data-n which number they show, in data-at which unit they speak of: s3 is the fourth speech
// unit, i5 the sixth region, x3.5 the two together, n7 a part of the division, b3.0 a frequency band. What the page
// says of people's words and files is only ever written with textContent: never as markup.
(() => {
  const {explanation, page} = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const find = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  for (const element of all("[data-script]")) element.hidden = false;

  // --- values as colours and numbers ---------------------------------------------------------------------------------
  const coloured = all("[data-u]"), numbered = all("[data-n]");
  let shown = page.target;
  const value = (key) => page.values[shown][key] ?? 0;
  const signed = (number) => {
    const text = (Math.abs(number) * page.factor).toFixed(page.digits);
    return Number(text) === 0 ? text : (number < 0 ? "\u2212" : "+") + text;
  };
  const shade = (element, number, scale) => {
    element.dataset.sign = number < 0 ? "-" : "+";
    element.style.setProperty("--m", Math.min(1, Math.abs(number) / scale).toFixed(3));
  };

  const paint = () => {
    for (const element of coloured) shade(element, value(element.dataset.u), page.scales[shown][element.dataset.u[0]]);
    for (const element of numbered) element.textContent = signed(value(element.dataset.n));
    for (const region of regions) region.setAttribute("aria-label", describe(region.dataset.u));
    measure("s");
  };

  // What the strongest colour stands for: of speech and picture, or of pairs while partners are lit.
  const measure = (letter) => {
    find("scale").textContent = `full colour: \u00b1${signed(page.scales[shown][letter]).slice(1)} ${page.unit}`;
  };

  const show = (number) => {
    shown = number;
    for (const element of all("[data-class]")) element.hidden = Number(element.dataset.class) !== shown;
    find("other").hidden = shown === page.target || !explanation.speech_units.length;
    paint();
  };

  // --- what belongs together -----------------------------------------------------------------------------------------
  const readout = find("readout"), asked = readout.textContent;
  const regions = all(".regions > path"), chips = all(".chips > button");
  const interacts = Boolean(explanation.interactions);
  let pinned = null, lit = null;

  const describe = (key) => {
    if (key[0] === "x") {
      const [word, region] = key.slice(1).split(".");
      return `${page.names["s" + word]} with ${page.names["i" + region]}: ${signed(value(key))} ${page.unit} only together`;
    }
    const lost = value("l" + key.slice(1)), told = `${page.names[key]}: ${signed(value(key))} ${page.unit}`;
    return key[0] === "n" && Math.abs(lost) > 1e-6 ? `${told}, ${signed(lost)} lost below it` : told;
  };

  // The partners of a unit, as [element, key of the pair]: every region for a word, every word for a region.
  const partners = (key) => key[0] === "s"
    ? regions.map((region) => [region, `x${key.slice(1)}.${region.dataset.u.slice(1)}`])
    : chips.map((chip) => [chip, `x${chip.dataset.u.slice(1)}.${key.slice(1)}`]);

  const light = (key) => {
    if (key === lit) return;
    lit = key;
    for (const element of all(".lit")) element.classList.remove("lit");
    readout.classList.toggle("told", key !== null);
    if (interacts) {
      measure("s");
      document.body.classList.remove("together");
      for (const element of [...regions, ...chips]) {
        shade(element, value(element.dataset.u), page.scales[shown][element.dataset.u[0]]);
      }
    }
    if (key === null) { readout.textContent = asked; return; }
    const own = key[0] === "x" ? ["s" + key.slice(1).split(".")[0], "i" + key.slice(1).split(".")[1], key] : [key];
    for (const each of own) {
      for (const element of all(`[data-u="${each}"], [data-at="${each}"]`)) element.classList.add("lit");
    }
    readout.textContent = describe(key);
    if (interacts && (key[0] === "s" || key[0] === "i")) {
      document.body.classList.add("together");
      measure("x");
      let best = null;
      for (const [element, pair] of partners(key)) {
        shade(element, value(pair), page.scales[shown].x);
        if (best === null || Math.abs(value(pair)) > Math.abs(value(best))) best = pair;
      }
      const [word, region] = best.slice(1).split(".");
      const partner = page.names[key[0] === "s" ? "i" + region : "s" + word];
      readout.textContent += `. Strongest together with ${partner}: ${signed(value(best))}.`;
    }
  };

  const keyOf = (target) => {
    const element = target instanceof Element ? target.closest("[data-u], [data-at]") : null;
    const key = element ? element.dataset.u ?? element.dataset.at : null;
    return key && "sixn".includes(key[0]) ? key : null;
  };
  document.addEventListener("pointerover", (event) => { if (event.pointerType === "mouse") light(keyOf(event.target) ?? pinned); });
  document.addEventListener("focusin", (event) => { const key = keyOf(event.target); if (key) light(key); });
  document.addEventListener("focusout", () => light(pinned));
  document.addEventListener("click", (event) => {
    const key = keyOf(event.target);
    if (!key && event.target.closest("button, input, label, a, summary")) return;
    pinned = key === pinned ? null : key;
    light(pinned ?? (matchMedia("(hover: hover)").matches ? key : null));
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") { pinned = null; light(null); } });

  // Many small buttons are one stop of the tabulator; arrows move between them.
  const roving = (elements) => elements.forEach((element, place) => element.addEventListener("keydown", (event) => {
    const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
    const to = event.key === "Home" ? elements[0] : event.key === "End" ? elements.at(-1) : step && elements[place + step];
    if (!to) return;
    event.preventDefault();
    element.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }));
  roving(regions);
  roving(chips);

  // --- sounds --------------------------------------------------------------------------------------------------------
  const players = all(".player[data-kind]").map((element) => {
    const audio = element.querySelector("audio"), track = element.querySelector(".track");
    const cursor = element.querySelector(".cursor"), clock = element.querySelector("time");
    const button = element.querySelector(".play"), duration = Number(track.getAttribute("aria-valuemax"));
    let until = Infinity;
    audio.controls = false;

    const draw = () => {
      if (audio.currentTime >= until) { audio.pause(); until = Infinity; }
      cursor.style.left = `${Math.min(100, 100 * audio.currentTime / duration)}%`;
      clock.textContent = `${audio.currentTime.toFixed(1)} s`;
      track.setAttribute("aria-valuenow", audio.currentTime.toFixed(2));
      track.setAttribute("aria-valuetext", `${audio.currentTime.toFixed(1)} of ${duration.toFixed(1)} seconds`);
    };
    const follow = () => { draw(); if (!audio.paused) requestAnimationFrame(follow); };
    const play = (from, to = Infinity) => {
      for (const other of players) if (other.audio !== audio) other.audio.pause();
      if (from !== undefined) audio.currentTime = from;
      until = to;
      audio.play();
    };
    const seek = (seconds) => { until = Infinity; audio.currentTime = Math.max(0, Math.min(duration, seconds)); draw(); };

    for (const name of ["play", "pause", "ended"]) {
      audio.addEventListener(name, () => { element.classList.toggle("playing", !audio.paused); follow(); });
    }
    audio.addEventListener("timeupdate", draw);  // also in a tab that is not seen, where no frames are drawn
    button.addEventListener("click", () => { if (audio.paused) play(); else audio.pause(); });
    track.addEventListener("pointerdown", (event) => {
      const box = track.getBoundingClientRect();
      seek(duration * (event.clientX - box.left) / box.width);
    });
    track.addEventListener("keydown", (event) => {
      const step = {ArrowRight: 0.5, ArrowUp: 0.5, ArrowLeft: -0.5, ArrowDown: -0.5}[event.key];
      if (step) seek(audio.currentTime + step);
      else if (event.key === "Home") seek(0);
      else if (event.key === " " || event.key === "Enter") { if (audio.paused) play(); else audio.pause(); }
      else return;
      event.preventDefault();
    });
    return {audio, play};
  });
  for (const chip of chips) {
    chip.addEventListener("click", () => players[0]?.play(Number(chip.dataset.from), Number(chip.dataset.to)));
  }

  // --- controls ------------------------------------------------------------------------------------------------------
  for (const choice of all("input[name=class]")) choice.addEventListener("change", () => { light(null); show(Number(choice.value)); });
  const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => { find("theme").textContent = dark() ? "Light" : "Dark"; press(find("theme"), dark()); };
  find("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; label(); });
  find("colours").addEventListener("click", () => {
    root.dataset.colours = root.dataset.colours === "safe" ? "paper" : "safe";
    press(find("colours"), root.dataset.colours === "safe");
  });
  find("print").addEventListener("click", () => print());
  const picture = find("picture");
  find("opacity")?.addEventListener("input", (event) => picture.style.setProperty("--over", event.target.value / 100));
  find("zoom")?.addEventListener("click", (event) => {
    const whole = event.target.getAttribute("aria-pressed") !== "true";
    press(event.target, whole);
    picture.setAttribute("viewBox", whole ? picture.dataset.whole : picture.dataset.near);
  });
  find("download").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([JSON.stringify(explanation, null, 1)], {type: "application/json"}));
    const link = Object.assign(document.createElement("a"), {href: address, download: "explanation.json"});
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
  // Paper shows what is folded away on the screen.
  const folded = all("details");
  let open = [];
  addEventListener("beforeprint", () => { open = folded.map((each) => each.open); for (const each of folded) each.open = true; });
  addEventListener("afterprint", () => folded.forEach((each, place) => { each.open = open[place]; }));

  label();
  show(shown);
})();
