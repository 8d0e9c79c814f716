// The page: reads the heads that were written into it, and ties the stage, the panel and the keys together.

import { MODES, Head, decode } from "./head.js";
import { Unshowable } from "./model.js";
import { View, listen } from "./orbit.js";
import { FacePanel, fill, make, showAbout, tabs } from "./panel.js";
import { partner, poseWeights } from "./expressions.js";
import { Stage, backdrop, wantsDarkInk } from "./stage.js";

const $ = (selector) => document.querySelector(selector);
const calmMedia = matchMedia("(prefers-reduced-motion: reduce)");
const darkMedia = matchMedia("(prefers-color-scheme: dark)");
const narrowMedia = matchMedia("(max-width: 760px)");

const USUAL_FRAME = 1 / 60; // seconds
const LONGEST_FRAME = 0.1; // after a pause things go on, they do not jump
const WIDE = 700; // pixels from which a caption stands beside the head
const DOCK_MARGIN = 20;
const ALIKE = 2.5; // largest ratio of sizes that is a difference of heads, not of units
const KEY_TURN = Math.PI / 24;
const KEY_SHIFT = 0.04;
const KEY_APPROACH = 1.12;

const state = { mode: "colour", backdrop: "auto", turning: false, together: true, linked: true, active: 0 };
let stage;
let face;
let cells = [];
let scheduled = false;
let last = 0;

// -- drawing: only while something moves --

function redraw() {
  if (scheduled || !stage) return;
  scheduled = true;
  requestAnimationFrame(frame);
}

function frame(now) {
  scheduled = false;
  const seconds = last ? Math.min((now - last) / 1000, LONGEST_FRAME) : USUAL_FRAME;
  last = now;
  const calm = calmMedia.matches;
  let moving = false;
  for (const view of new Set(cells.map((cell) => cell.view))) {
    moving = view.advance(seconds, { calm, turning: state.turning }) || moving;
  }
  for (const { head } of cells) moving = head?.advance(seconds, { calm }) || moving;
  stage.draw(cells);
  followHead();
  if (moving) redraw();
  else last = 0;
}

/** The panel shows the active head's weights and moment. */
function followHead() {
  const { head } = cells[state.active];
  if (!head) return;
  face.follow((name) => head.weight(name));
  $("#play").setAttribute("aria-pressed", head.playing);
  if (head.clip) {
    const scrubber = $("#moment");
    scrubber.value = head.action.time / head.clip.duration;
    fill(scrubber);
  }
}

// -- heads --

function activeHeads() {
  const chosen = state.together ? cells : [cells[state.active]];
  return chosen.flatMap(({ head }) => head ?? []);
}

function buildCells(abouts) {
  const shared = new View();
  cells = abouts.map((about, k) => {
    const title = about.prompt || about.name;
    const facts = [about.seed && `seed ${about.seed}`, about.licence];
    const element = make(
      "section",
      { className: "cell", tabIndex: 0, ariaLabel: `${title}. Arrow keys turn the head.` },
      make(
        "header",
        {},
        make("h2", { textContent: title, title }),
        make("p", { textContent: facts.filter(Boolean).join("  ·  ") }),
      ),
      make("p", { className: "status", role: "status", textContent: "Unpacking" }),
    );
    const cell = { element, about, view: shared, head: null };
    listen(element, { view: () => cell.view, touched: () => (activate(k), redraw()) });
    element.addEventListener("focus", () => activate(k));
    return cell;
  });
  $("#cells").replaceChildren(...cells.map(({ element }) => element));
  layOut();
}

/** Chooses the number of columns that leaves each head the most room. */
function layOut() {
  const { clientWidth: width, clientHeight: height } = $("#cells");
  const sizes = cells.map((_, k) => Math.min(width / (k + 1), height / Math.ceil(cells.length / (k + 1))));
  $("#cells").style.setProperty("--columns", sizes.indexOf(Math.max(...sizes)) + 1);
  // A head keeps clear of the dock, and of its caption where that is not beside it.
  const beside = cells.length === 1 && width > WIDE;
  const dock = cells.length > 1 ? DOCK_MARGIN : $("#dock").offsetHeight + DOCK_MARGIN;
  const captions = cells.map(({ element }) => element.querySelector("header"));
  const lowest = Math.max(...captions.map((caption) => caption.offsetTop + caption.offsetHeight));
  for (const cell of cells) {
    cell.above = beside ? DOCK_MARGIN : lowest;
    cell.below = dock;
  }
  stage?.resize();
  redraw();
}

function activate(k) {
  if (state.active === k && face) return;
  state.active = k;
  for (const [other, { element }] of cells.entries()) element.toggleAttribute("data-active", other === k);
  showHead();
}

/** Builds the panel for the active head. */
function showHead() {
  const { head, about } = cells[state.active];
  showAbout($("#facts"), head, about);
  const names = head?.names ?? [];
  if (JSON.stringify(names) !== $("#face").dataset.names) {
    face.show(names);
    $("#face").dataset.names = JSON.stringify(names);
  }
  $("#transport").hidden = !head?.clip;
  layOut();
}

async function loadCell(cell, k) {
  const status = cell.element.querySelector(".status");
  try {
    const source = document.getElementById(`head-${k}`);
    const bytes = decode(source.textContent);
    source.remove(); // the letters are a third larger than the bytes, and no longer needed
    cell.bytes = bytes;
    cell.head = await Head.load(cell.about, bytes);
    status.remove();
  } catch (error) {
    status.textContent = `This head cannot be shown: ${reason(error)}.`;
    status.classList.add("failed");
    return;
  }
  cell.head.show(state.mode, wireColours());
  level();
  if (k === state.active) showHead();
}

/** Why a head cannot be shown; what the program says by itself is for those who mend it. */
function reason({ message, constructor }) {
  const words = message.replace(/^THREE\.GLTFLoader: |\.$/g, "");
  return constructor === Unshowable ? words : `its file is damaged, or holds what this page cannot read (${words})`;
}

/** Heads of about one size share one scale; files in metres beside files in inches are each drawn large. */
function level() {
  const heads = cells.flatMap(({ head }) => head ?? []);
  const radii = heads.map(({ radius }) => radius);
  const largest = Math.max(...radii);
  const alike = Math.min(...radii) * ALIKE > largest;
  for (const head of heads) head.scale(1 / (alike ? largest : head.radius));
}

// -- what the controls do --

function setMode(mode) {
  state.mode = mode;
  for (const choice of document.querySelectorAll("#modes input")) choice.checked = choice.value === mode;
  for (const { head } of cells) head?.show(mode, wireColours());
  redraw();
}

function wireColours() {
  const darkInk = wantsDarkInk(backdrop(state.backdrop, darkMedia.matches), darkMedia.matches);
  return darkInk ? { ink: "#2f4a6d", paper: "#f4f1ec" } : { ink: "#b9d2f2", paper: "#26292e" };
}

function setBackdrop(name) {
  state.backdrop = name;
  const colours = backdrop(name, darkMedia.matches);
  const room = $("#stage");
  room.style.setProperty("--middle", colours[0] || "transparent");
  room.style.setProperty("--edge", colours[1] || "transparent");
  room.toggleAttribute("data-empty", !colours[0]);
  room.dataset.ink = wantsDarkInk(colours, darkMedia.matches) ? "dark" : "light";
  for (const choice of document.querySelectorAll("#backdrops input[type=radio]")) choice.checked = choice.value === name;
  setMode(state.mode);
}

function move(name, value) {
  for (const head of activeHeads()) {
    head.play(false);
    head.setWeight(name, value);
    const other = state.linked && partner(name);
    if (other) head.setWeight(other, value);
  }
  redraw();
}

function pose(name) {
  for (const head of activeHeads()) {
    head.play(false);
    head.aim(poseWeights(name, head.names));
  }
  redraw();
}

function play(on = !cells[state.active].head?.playing) {
  for (const head of activeHeads()) head.play(on);
  redraw();
}

function seek(share) {
  for (const head of activeHeads()) if (head.clip) head.seek(share * head.clip.duration);
  redraw();
}

function turn(on = !state.turning) {
  state.turning = on;
  $("#turn").setAttribute("aria-pressed", on);
  redraw();
}

function setTogether(on) {
  state.together = on;
  $("#together").checked = on;
  const { view } = cells[state.active];
  for (const cell of cells) cell.view = on ? view : new View(view);
  redraw();
}

function look(azimuth) {
  if (state.turning) turn(false);
  cells[state.active].view.front(azimuth);
  redraw();
}

function setPanel(open) {
  document.body.toggleAttribute("data-panel", open);
  $("#open-panel").setAttribute("aria-expanded", open);
  layOut();
}

function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`Saved ${name}`);
}

function download() {
  const { about, bytes } = cells[state.active];
  if (bytes) save(new Blob([bytes], { type: "model/gltf-binary" }), `${about.name}.glb`);
}

async function screenshot() {
  const name = cells.length > 1 ? "heads" : cells[0].about.name;
  save(await stage.picture(cells, backdrop(state.backdrop, darkMedia.matches)), `${name}.png`);
}

let hush;
function say(words) {
  const toast = $("#toast");
  toast.textContent = words;
  toast.toggleAttribute("data-shown", true);
  clearTimeout(hush);
  hush = setTimeout(() => toast.removeAttribute("data-shown"), 2500);
}

// -- keys --

const KEYS = {
  ArrowLeft: () => cells[state.active].view.turn(-KEY_TURN, 0),
  ArrowRight: () => cells[state.active].view.turn(KEY_TURN, 0),
  ArrowUp: () => cells[state.active].view.turn(0, KEY_TURN),
  ArrowDown: () => cells[state.active].view.turn(0, -KEY_TURN),
  "Shift+ArrowLeft": () => cells[state.active].view.shift(-KEY_SHIFT, 0),
  "Shift+ArrowRight": () => cells[state.active].view.shift(KEY_SHIFT, 0),
  "Shift+ArrowUp": () => cells[state.active].view.shift(0, KEY_SHIFT),
  "Shift+ArrowDown": () => cells[state.active].view.shift(0, -KEY_SHIFT),
  "+": () => cells[state.active].view.approach(KEY_APPROACH),
  "=": () => cells[state.active].view.approach(KEY_APPROACH),
  "-": () => cells[state.active].view.approach(1 / KEY_APPROACH),
  Home: () => look(0),
  f: () => look(0),
  l: () => look(Math.PI / 2),
  r: () => look(-Math.PI / 2),
  b: () => look(Math.PI),
  " ": () => play(),
  t: () => turn(),
  s: () => screenshot(),
  d: () => download(),
  e: () => setPanel(!document.body.hasAttribute("data-panel")),
  0: () => pose("Neutral"),
  "?": () => $("#help").showModal(),
};
for (const [k, mode] of MODES.entries()) KEYS[k + 1] = () => setMode(mode);

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("#help").open) return;
  const inControl = event.target.closest("input, button, summary, [role=tab]");
  const steers = /^(Arrow|Home$|Page|End$)/.test(event.key) || event.key === " ";
  if (event.target.matches("input[type=search]") || (inControl && steers)) return;
  const arrow = event.shiftKey && event.key.startsWith("Arrow");
  const action = KEYS[arrow ? `Shift+${event.key}` : event.key.length > 1 ? event.key : event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
  redraw();
}

// -- beginning --

function wire() {
  face = new FacePanel($("#face"), { move, pose, reset: () => pose("Neutral") });
  tabs($("#tabs"));
  $("#modes").addEventListener("change", (event) => setMode(event.target.value));
  $("#backdrops").addEventListener("input", (event) => setBackdrop(event.target.value));
  $("#linked").addEventListener("change", (event) => (state.linked = event.target.checked));
  $("#together").addEventListener("change", (event) => setTogether(event.target.checked));
  $("#play").addEventListener("click", () => play());
  $("#moment").addEventListener("input", (event) => seek(Number(event.target.value)));
  $("#turn").addEventListener("click", () => turn());
  $("#front").addEventListener("click", () => look(0));
  $("#shot").addEventListener("click", screenshot);
  $("#download").addEventListener("click", download);
  $("#ask").addEventListener("click", () => $("#help").showModal());
  $("#help").addEventListener("click", (event) => event.target === $("#help") && $("#help").close());
  $("#open-panel").addEventListener("click", () => setPanel(!document.body.hasAttribute("data-panel")));
  for (const slider of document.querySelectorAll("#light input[type=range]")) {
    slider.addEventListener("input", () => (setLight(slider), redraw()));
    setLight(slider);
  }
  $("#follows").addEventListener("change", (event) => {
    stage.light.follows = event.target.checked;
    redraw();
  });
  document.addEventListener("keydown", onKey);
  darkMedia.addEventListener("change", () => setBackdrop(state.backdrop));
  new ResizeObserver(layOut).observe($("#cells"));
}

function setLight(slider) {
  fill(slider);
  slider.parentElement.querySelector("output").value = slider.dataset.unit === "%"
    ? `${Math.round(slider.value * 100)} %`
    : `${slider.value}°`;
  if (stage) stage.light[slider.name] = Number(slider.value);
}

async function begin() {
  const abouts = JSON.parse($("#heads").textContent);
  document.title = `${abouts.map(({ prompt, name }) => prompt || name).join(", ")} – headartist`;
  document.body.toggleAttribute("data-several", abouts.length > 1);
  setPanel(!narrowMedia.matches);
  buildCells(abouts);
  try {
    stage = new Stage($("#canvas"));
  } catch {
    $("#notice").hidden = false;
  }
  wire();
  setBackdrop("auto");
  cells[0].element.toggleAttribute("data-active", true);
  if (!stage) {
    for (const cell of cells) cell.element.querySelector(".status").remove();
    for (const [k, cell] of cells.entries()) cell.bytes = decode(document.getElementById(`head-${k}`).textContent);
    document.documentElement.dataset.ready = "without WebGL";
    return;
  }
  stage.canvas.addEventListener("webglcontextlost", () => say("The graphics card was lost; waiting for it"));
  stage.canvas.addEventListener("webglcontextrestored", () => (say("The graphics card is back"), redraw()));
  layOut();
  for (const [k, cell] of cells.entries()) {
    await loadCell(cell, k);
    stage.draw(cells);
    document.documentElement.dataset.firstPicture ??= Math.round(performance.now());
    await new Promise((next) => setTimeout(next)); // the page stays answerable between heads
  }
  if (!cells.some(({ head }) => head?.names.length)) $("#tab-light").click();
  document.documentElement.dataset.ready = cells.filter(({ head }) => head).length;
  redraw();
}

begin();
