// Tells what viewer pages show, in headless Chromium without a network: node look.js [--pictures FOLDER] PAGE...
// CHROMIUM names the browser. Prints a JSON list with, for each page: `words` under heads that cannot be shown, the names
// of `sliders`, the ready `faces`, in which `box` of the stage something is drawn and where its `mass` is,
// which share of all pixels each slider and face `moves`, whether a row is too `wide`, and the browser's `complaints`.

import { parse, join } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"];
const pages = process.argv.slice(2);
const pictures = pages[0] === "--pictures" ? pages.splice(0, 2)[1] : undefined;

/** Runs in the page. */
async function measure() {
  const canvas = document.querySelector("#canvas");
  const copy = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  /** What is drawn: the picture lasts no longer than its frame, so that it is taken in the same. */
  const pixels = () =>
    new Promise((done) => {
      requestAnimationFrame(() => {
        [copy.canvas.width, copy.canvas.height] = [canvas.width, canvas.height];
        copy.drawImage(canvas, 0, 0);
        done(copy.getImageData(0, 0, canvas.width, canvas.height).data);
      });
    });
  const after = async (act) => (act(), pixels());
  const rest = await after(() => press("0"));
  const changed = (now) => {
    let count = 0;
    for (let k = 0; k < now.length; k += 4) count += [0, 1, 2, 3].some((c) => Math.abs(now[k + c] - rest[k + c]) > 8);
    return count / (now.length / 4);
  };
  const [columns, rows] = [[], []];
  for (let k = 3; k < rest.length; k += 4) {
    if (!rest[k]) continue;
    columns.push(((k >> 2) % canvas.width) / canvas.width);
    rows.push(Math.floor((k >> 2) / canvas.width) / canvas.height);
  }
  const ends = (all) => [all.reduce((a, b) => Math.min(a, b), 1), all.reduce((a, b) => Math.max(a, b), 0)];
  const moves = {};
  const buttons = [...document.querySelectorAll("#poses button")];
  for (const button of buttons) {
    moves[button.textContent] = changed(await after(() => button.click()));
    await after(() => press("0"));
  }
  document.querySelector("#linked").click();
  const sliders = [...document.querySelectorAll("#groups input")];
  for (const slider of sliders) {
    const put = (value) => after(() => ((slider.value = value), slider.dispatchEvent(new Event("input"))));
    moves[slider.dataset.name] = changed(await put(1));
    await put(0);
  }
  return {
    words: [...document.querySelectorAll(".status")].map((status) => status.textContent),
    sliders: sliders.map((slider) => slider.dataset.name),
    groups: Object.fromEntries(
      [...document.querySelectorAll("details")].map((group) => [
        group.querySelector("summary").firstChild.textContent,
        [...group.querySelectorAll("input")].map((slider) => slider.dataset.name),
      ]),
    ),
    faces: buttons.filter((button) => button.checkVisibility()).map((button) => button.textContent),
    box: [...ends(columns), ...ends(rows)],
    mass: [columns, rows].map((all) => all.reduce((a, b) => a + b, 0) / all.length),
    wide: document.querySelector("#face").scrollWidth > document.querySelector("#face").clientWidth,
    moves,
  };
}

const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? "chromium", args: FLAGS });
try {
  const told = [];
  for (const file of pages) {
    const page = await browser.newPage();
    const complaints = [];
    page.on("console", (message) => message.type() !== "log" && complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(error.message));
    await page.setOfflineMode(true);
    await page.setViewport({ width: 800, height: 320 });
    await page.emulateMediaFeatures([{ name: "prefers-reduced-motion", value: "reduce" }]);
    await page.goto(pathToFileURL(file).href);
    await page.waitForSelector("html[data-ready]", { timeout: 90_000 });
    const seen = await page.evaluate(measure);
    if (pictures) await page.screenshot({ path: join(pictures, `${parse(file).name}.png`), captureBeyondViewport: false });
    told.push({ ...seen, complaints });
    await page.close();
  }
  console.log(JSON.stringify(told));
} finally {
  await browser.close();
}
