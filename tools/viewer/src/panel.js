// The panel beside the heads: sliders of the expressions, light and backdrop, and where the heads come from.

import { grouped, label, readyFaces, sideOf } from "./expressions.js";

/** An element with properties and children; text is always text, never markup. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Fills the coloured part of a slider up to its thumb. */
export function fill(slider) {
  const share = (slider.value - slider.min) / (slider.max - slider.min);
  slider.style.setProperty("--at", share);
}

const SIDE_LETTERS = { Left: "L", Right: "R" };

/** The face tab: ready faces, and a slider for every expression. */
export class FacePanel {
  /** @param actions move(name, value), pose(name), reset() */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.sliders = new Map();
    this.rows = [];
    root.querySelector("#search").addEventListener("input", (event) => this.#search(event.target.value));
    root.querySelector("#reset").addEventListener("click", actions.reset);
  }

  /** Builds the sliders for a head's expressions. */
  show(names) {
    this.sliders.clear();
    this.rows = [];
    this.root.querySelector("#poses").replaceChildren(
      ...readyFaces(names).map((pose) =>
        make("button", { type: "button", textContent: pose, onclick: () => this.actions.pose(pose) }),
      ),
    );
    this.root.querySelector("#groups").replaceChildren(...grouped(names).map((group) => this.#group(group)));
    this.root.dataset.expressions = names.length;
    this.#search(this.root.querySelector("#search").value);
  }

  #group({ title, rows }) {
    const lines = rows.map((row) => this.#row(row));
    const count = rows.reduce((sum, { cells }) => sum + cells.length, 0);
    const summary = make("summary", {}, title, make("span", { className: "count", textContent: count }));
    return make("details", { open: true }, summary, ...lines);
  }

  #row({ stem, label: words, cells }) {
    const value = make("output", { className: "value" });
    const name = make("span", { className: "name" }, make("span", { textContent: words, title: words }), value);
    const line = make("div", { className: "row" }, name);
    for (const { name, side } of cells) line.append(this.#slider(name, side, value, cells));
    this.rows.push({ line, words: [stem, words, ...cells.map(({ name }) => name)].join(" ").toLowerCase() });
    return line;
  }

  #slider(name, side, value, cells) {
    const spoken = side ? `${label(sideOf(name)[0])}, ${side.toLowerCase()}` : label(name);
    const slider = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, title: name });
    slider.setAttribute("aria-label", spoken);
    slider.dataset.name = name;
    slider.addEventListener("input", () => this.actions.move(name, Number(slider.value)));
    slider.addEventListener("dblclick", () => this.actions.move(name, 0));
    this.sliders.set(name, { slider, value, cells });
    return side ? make("span", { className: "side", "data-side": SIDE_LETTERS[side] }, slider) : slider;
  }

  /** Puts every slider where the head's weight is. */
  follow(weight) {
    for (const [name, { slider }] of this.sliders) {
      const now = Math.round(weight(name) * 100) / 100;
      if (Number(slider.value) === now && slider.style.length) continue;
      slider.value = now;
      slider.setAttribute("aria-valuetext", `${Math.round(now * 100)} %`);
      fill(slider);
    }
    for (const { value, cells } of new Set(this.sliders.values())) {
      const shown = cells.map(({ name }) => Math.round(weight(name) * 100));
      const text = shown.some(Boolean) ? [...new Set(shown)].join(" · ") : "";
      if (value.value !== text) value.value = text;
    }
  }

  #search(words) {
    const wanted = words.trim().toLowerCase();
    for (const row of this.rows) row.line.hidden = !row.words.includes(wanted);
    for (const group of this.root.querySelectorAll("details")) {
      group.hidden = !group.querySelector(".row:not([hidden])");
    }
    this.root.querySelector("#nothing").hidden = !wanted || this.rows.some(({ line }) => !line.hidden);
  }
}

/** The about tab: what is known of a head, as a list of terms. */
export function showAbout(list, head, about) {
  const facts = {
    Prompt: about.prompt,
    Seed: about.seed,
    Prior: about.prior,
    "Made with": about.version && `headartist ${about.version}`,
    Licence: about.licence,
    File: `${about.name}.glb`,
    Size: head && megabytes(head.bytes.length),
    Triangles: head && Math.round(head.triangles).toLocaleString("en"),
    Expressions: head && (head.names.length || "none"),
    Animation: head && (head.clip ? `${head.clip.duration.toFixed(1)} s` : "none"),
  };
  const known = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "");
  list.replaceChildren(
    ...known.flatMap(([term, value]) => [make("dt", { textContent: term }), make("dd", { textContent: value })]),
  );
}

function megabytes(bytes) {
  return bytes < 1e5 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Tabs by the pattern of the ARIA guide: arrows move between them, Tab goes into the page of one. */
export function tabs(list) {
  const all = [...list.querySelectorAll("[role=tab]")];
  const choose = (tab) => {
    for (const other of all) {
      other.setAttribute("aria-selected", other === tab);
      other.tabIndex = other === tab ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = other !== tab;
    }
  };
  for (const [k, tab] of all.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = all[(k + step + all.length) % all.length];
      choose(next);
      next.focus();
      event.stopPropagation();
    });
  }
}
