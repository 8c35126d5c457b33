"use strict";
// Plays the traces in #data: {prompts: [text], traces: [{prompt: index, sampler, budget, tokens, ...}]}.
// Everything a model or a person wrote goes through textContent or an attribute, never through HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.traces.length) return;
  const at = (id) => document.getElementById(id);
  const [which, samplers, panels, slider, play, detail, differ] =
    ["which", "samplers", "panels", "step", "play", "detail", "differ"].map(at);
  const BESIDE = 4; // shown at first
  const PACE = 700; // milliseconds a step
  let timer = null;
  let shown = []; // {trace, tokens: [span], state} for each panel

  const make = (name, kind, text) => {
    const element = document.createElement(name);
    if (kind) element.className = kind;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const ends = (trace, token) => (trace.ends || []).includes(token);
  const label = (trace) => `${trace.sampler} \u2264 ${trace.budget}`;
  const key = (trace) => JSON.stringify([trace.sampler, trace.budget]);
  const visible = (text) => (text === "" ? "\u2026" : text.replace(/\n/g, "\u21b5").replace(/\t/g, "\u21e5"));
  const tall = () => Math.max(...shown.map((panel) => panel.trace.steps));

  function words(panel, place) {
    const { trace } = panel, step = trace.revealed_at[place];
    const where = `position ${place + 1} of ${trace.tokens.length}`;
    if (!step || step > Number(slider.value)) return `masked, ${where}`;
    const chance = trace.probability[place];
    const told = chance === null ? "its probability then is not known" : `probability then ${chance.toFixed(3)}`;
    return `\u201c${visible(trace.tokens[place])}\u201d, ${where}, written at step ${step} of ${trace.steps}, ${told}`;
  }

  function tell(panel, place) {
    detail.textContent = `${label(panel.trace)}: ${words(panel, place)}`;
    for (const each of shown) each.told.textContent = ""; // on a phone it stands in the panel itself
    panel.told.textContent = words(panel, place);
  }

  function build(trace) {
    const box = make("article", trace.learned ? "panel learned" : "panel");
    box.setAttribute("aria-label", label(trace));
    const judged = trace.correct === undefined ? "" : trace.correct ? " \u2713 right" : " \u2717 wrong";
    box.append(make("h3", "", label(trace) + judged));
    const state = make("p", "state"), text = make("div", "text"), told = make("p", "told");
    text.setAttribute("role", "list");
    const around = trace.around || [], panel = { trace, state, told, tokens: [] };
    if (around[0]) text.append(make("span", "given", around[0]));
    trace.tokens.forEach((token, place) => {
      const span = make("span", "token");
      span.setAttribute("role", "listitem");
      span.tabIndex = place ? -1 : 0;
      span.style.setProperty("--when", trace.steps > 1 ? (Math.max(1, trace.revealed_at[place]) - 1) / (trace.steps - 1) : 0);
      span.style.minWidth = `${Math.min(24, Math.max(1, token.length))}ch`;
      if (ends(trace, token)) span.classList.add("end"), (span.style.minWidth = "1.4ch");
      const chance = trace.probability[place];
      if (chance !== null && chance < 0.5) span.classList.add("unsure");
      for (const event of ["pointerenter", "focus", "click"]) span.addEventListener(event, () => tell(panel, place));
      panel.tokens.push(span);
      text.append(span);
      if (around[place + 1]) text.append(make("span", "given", around[place + 1]));
      if (token.includes("\n")) text.append(make("br"));
    });
    text.addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key], here = panel.tokens.indexOf(document.activeElement);
      const next = panel.tokens[here + by];
      if (!by || here < 0 || !next) return;
      event.preventDefault();
      panel.tokens[here].tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    box.append(state, text, told);
    panels.append(box);
    return panel;
  }

  function draw() {
    const step = Number(slider.value);
    for (const panel of shown) {
      const { trace } = panel;
      let done = 0;
      panel.tokens.forEach((span, place) => {
        const own = trace.revealed_at[place], there = own > 0 && own <= step;
        const token = trace.tokens[place];
        done += there;
        span.classList.toggle("masked", !there);
        span.classList.toggle("new", there && own === step);
        span.textContent = there ? (ends(trace, token) ? "\u220e" : visible(token)) : "\u00a0";
        if (there) span.dataset.step = own;
        else delete span.dataset.step;
        span.setAttribute("aria-label", words(panel, place));
      });
      panel.state.textContent = `step ${Math.min(step, trace.steps)} of ${trace.steps}, ${done} of ${trace.tokens.length} written`;
    }
    at("at").textContent = `step ${step} of ${tall()}`;
    slider.setAttribute("aria-valuetext", `step ${step} of ${tall()}`);
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function go(step) {
    slider.value = String(Math.min(tall(), Math.max(0, step)));
    draw();
  }

  function start() {
    if (Number(slider.value) >= tall()) go(0);
    play.textContent = "Pause";
    timer = setInterval(() => {
      go(Number(slider.value) + 1);
      if (Number(slider.value) >= tall()) stop();
    }, PACE);
  }

  const toggle = () => (timer === null ? start() : stop());

  const chosen = () => new Set([...samplers.querySelectorAll("input:checked")].map((box) => box.value));

  // Prompts that some of the chosen samplers get right and others wrong.
  function disputed(wanted) {
    const judged = data.prompts.map(() => new Set());
    for (const trace of data.traces) {
      if (wanted.has(key(trace)) && trace.correct !== undefined) judged[trace.prompt].add(trace.correct);
    }
    return judged.map((found) => found.size > 1);
  }

  function choose() {
    stop();
    const wanted = chosen(), apart = disputed(wanted);
    const kept = [...which.options].filter((option) => {
      option.hidden = option.disabled = differ.checked && !apart[Number(option.value)];
      return !option.hidden;
    });
    if (kept.length && !kept.includes(which.selectedOptions[0])) which.value = kept[0].value;
    at("differ-count").textContent = `${apart.filter(Boolean).length} of ${apart.length}`;
    const prompt = Number(which.value);
    panels.replaceChildren();
    shown = data.traces.filter((trace) => trace.prompt === prompt && wanted.has(key(trace))).map(build);
    at("prompt").textContent = data.prompts[prompt];
    const known = data.traces.find((trace) => trace.prompt === prompt && trace.reference !== undefined);
    at("reference").hidden = !known;
    at("reference").textContent = known ? `Right answer: ${known.reference}` : "";
    if (!shown.length) {
      shown = [];
      detail.textContent = "No sampler is chosen.";
      for (const name of ["step", "play", "back", "on"]) at(name).disabled = true;
      return;
    }
    for (const name of ["step", "play", "back", "on"]) at(name).disabled = false;
    slider.max = String(tall());
    go(tall());
  }

  data.prompts.forEach((prompt, number) => {
    const option = make("option", "", `${number + 1}. ${prompt.length > 70 ? prompt.slice(0, 69) + "\u2026" : prompt}`);
    option.value = String(number);
    which.append(option);
  });
  const kinds = new Map(data.traces.map((trace) => [key(trace), trace]));
  const first = new Set(data.first.slice(0, BESIDE).map(JSON.stringify));
  for (const [name, trace] of kinds) {
    const row = make("label"), box = make("input");
    box.type = "checkbox";
    box.value = name;
    box.checked = first.has(name);
    box.addEventListener("change", choose);
    row.append(box, make("span", "", label(trace)));
    samplers.append(row);
  }
  which.addEventListener("change", choose);
  differ.addEventListener("change", choose);
  at("differ-row").hidden = !data.traces.some((trace) => trace.correct !== undefined);
  slider.addEventListener("input", () => (stop(), draw()));
  play.addEventListener("click", toggle);
  at("back").addEventListener("click", () => (stop(), go(Number(slider.value) - 1)));
  at("on").addEventListener("click", () => (stop(), go(Number(slider.value) + 1)));
  document.addEventListener("keydown", (event) => {
    const kind = event.target.closest ? event.target.closest("button, select, input, .scroll, a") : null;
    if (!shown.length || event.altKey || event.ctrlKey || event.metaKey) return;
    if (kind && !(kind.tagName === "BUTTON" && event.key !== " ")) return; // these keys mean something there
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      stop();
      go(Number(slider.value) + (event.key === "ArrowRight" ? 1 : -1));
    } else if (event.key === " ") toggle();
    else return;
    event.preventDefault();
  });
  choose();
  const asked = /[#&]step=(\d+)/.exec(location.hash);
  if (asked && shown.length) go(Number(asked[1]));
})();
