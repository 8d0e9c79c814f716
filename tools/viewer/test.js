// Drives a viewer page in headless Chromium: node test.js PAGE HEADS [FOLDER FOR PICTURES].
// The first head must have the 52 expressions and an animation that opens its jaw half way through.
// CHROMIUM names the browser. Prints what was measured as JSON.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [file, heads, pictures] = process.argv.slice(2);
const SOFTWARE_GL = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"];
const DESKTOP = { width: 800, height: 480 }; // small, because the software that draws here is slow
const PHONE = { width: 390, height: 844, deviceScaleFactor: 1, isMobile: true, hasTouch: true };

function launch(flags) {
  return puppeteer.launch({ executablePath: process.env.CHROMIUM ?? "chromium", args: [...SOFTWARE_GL, ...flags] });
}

async function open(browser, viewport, scheme) {
  const page = await browser.newPage();
  const problems = [];
  page.on("console", (message) => message.type() !== "log" && problems.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("request", (request) => {
    const url = request.url();
    if (!/^(data|blob):/.test(url) && url !== pathToFileURL(resolve(file)).href) problems.push(`request: ${url}`);
  });
  await page.setOfflineMode(true);
  await page.setViewport(viewport);
  await page.emulateMediaFeatures([
    { name: "prefers-color-scheme", value: scheme },
    { name: "prefers-reduced-motion", value: "reduce" }, // poses are reached at once
  ]);
  await page.goto(pathToFileURL(resolve(file)).href);
  await page.waitForSelector("html[data-ready]", { timeout: 90_000 });
  return { page, problems };
}

/** A fingerprint of what is seen where the head is, away from letters and buttons. */
async function look(page) {
  const { width } = page.viewport();
  const clip = width === PHONE.width ? { x: 40, y: 150, width: 270, height: 400 } : { x: 100, y: 90, width: 260, height: 300 };
  return createHash("sha256").update(await page.screenshot({ clip, captureBeyondViewport: false })).digest("hex");
}

/** Waits until the picture has come to rest: the browser shows frames a little after they were drawn. */
async function settled(page) {
  let last;
  for (let now = await look(page); now !== last; now = await look(page)) last = now;
  return last;
}

async function changes(page, what, act) {
  const before = await settled(page);
  await act();
  for (let tries = 0; tries < 50; tries++) if ((await look(page)) !== before) return;
  assert.fail(`${what} left the picture as it was`);
}

async function becomes(page, what, wanted) {
  for (let tries = 0; tries < 50; tries++) if ((await look(page)) === wanted) return;
  assert.fail(`the picture is another than before: ${what}`);
}

const value = (page, name) => page.$eval(`input[data-name=${name}]`, (slider) => Number(slider.value));
const drag = (page, selector, to) =>
  page.$eval(
    selector,
    (slider, to) => {
      slider.value = to;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    },
    to,
  );
const save = (page, name) => pictures && page.screenshot({ path: join(pictures, `${name}.png`), captureBeyondViewport: false });

async function saved(folder, suffix) {
  for (let tries = 0; tries < 100; tries++) {
    const found = readdirSync(folder).find((name) => name.endsWith(suffix));
    if (found) return readFileSync(join(folder, found));
    await new Promise((later) => setTimeout(later, 100));
  }
  throw new Error(`no ${suffix} was saved`);
}

async function desktop(browser) {
  const { page, problems } = await open(browser, DESKTOP, "light");
  assert.equal(await page.$eval("html", (root) => root.dataset.ready), heads);
  assert.equal((await page.$$("#groups input[type=range]")).length, 52);
  const rest = await settled(page);

  await changes(page, "a slider", () => drag(page, "input[data-name=jawOpen]", 1));
  await drag(page, "input[data-name=eyeBlinkLeft]", 0.6);
  await settled(page);
  assert.equal(await value(page, "eyeBlinkRight"), 0.6, "left and right are linked");
  await page.click("#reset");
  await becomes(page, "reset undoes the sliders", rest);

  for (const mode of ["clay", "normals", "wires"]) {
    await changes(page, mode, () => page.$eval(`#modes input[value=${mode}]`, (choice) => choice.click()));
    await save(page, mode);
  }
  await changes(page, "the key 1", () => page.keyboard.press("1"));
  for (const key of ["ArrowLeft", "+", "Shift+ArrowUp"]) {
    const [first, second] = key.length > 1 ? key.split("+") : [key];
    await changes(page, `the key ${key}`, async () => {
      if (second) await page.keyboard.down(first);
      await page.keyboard.press(second ?? first);
      if (second) await page.keyboard.up(first);
    });
  }
  await page.keyboard.press("f");
  await becomes(page, "F sees the face again", rest);

  await changes(page, "a drag", async () => {
    await page.mouse.move(200, 300);
    await page.mouse.down();
    await page.mouse.move(280, 280);
    await page.mouse.up();
  });
  await page.keyboard.press("Home");

  await changes(page, "a moment of the animation", () => drag(page, "#moment", 0.5));
  assert.ok((await value(page, "jawOpen")) > 0.9, "the sliders follow the animation");
  await changes(page, "playing", async () => {
    await page.click("#play");
    await new Promise((later) => setTimeout(later, 400));
  });
  await page.click("#play");
  await page.click("#reset");

  await page.click("#tab-light");
  await changes(page, "the light's direction", () => drag(page, "#light input[name=azimuth]", -120));
  await changes(page, "the background", () => page.$eval("#backdrops input[value=black]", (choice) => choice.click()));
  await page.$eval("#backdrops input[value=auto]", (choice) => choice.click());
  await drag(page, "#light input[name=azimuth]", 35);

  const folder = mkdtempSync(join(tmpdir(), "viewer-"));
  const session = await page.createCDPSession();
  await session.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: folder });
  await page.keyboard.press("d");
  const glb = await saved(folder, ".glb");
  await page.keyboard.press("s");
  assert.equal((await saved(folder, ".png")).subarray(1, 4).toString(), "PNG");
  rmSync(folder, { recursive: true });

  await page.click("#tab-face");
  await page.$$eval("#poses button", (buttons) => buttons.find((button) => button.textContent === "Smile").click());
  await settled(page);
  await save(page, "desktop");
  await page.keyboard.press("?");
  assert.ok(await page.$eval("#help", (help) => help.open));
  const unnamed = await page.$$eval("input, button", (all) =>
    all.filter((one) => !(one.ariaLabel || one.closest("label") || one.textContent.trim())).map((one) => one.outerHTML),
  );
  assert.deepEqual(unnamed, [], "every control has a name");
  assert.deepEqual(problems, []);
  const first = await page.$eval("html", (root) => Number(root.dataset.firstPicture));
  await page.close();
  return { first_picture_ms: first, glb_base64: glb.toString("base64") };
}

async function phone(browser) {
  const { page, problems } = await open(browser, PHONE, "dark");
  await changes(page, "a finger", async () => {
    await page.touchscreen.touchStart(150, 350);
    await page.touchscreen.touchMove(230, 350);
    await page.touchscreen.touchEnd();
  });
  await page.tap("#open-panel");
  const surprise = await page.waitForSelector("#poses button:nth-child(5)", { visible: true });
  await settled(page);
  await surprise.tap();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= PHONE.width, "nothing stands out at the side");
  await settled(page);
  await save(page, "phone");
  assert.deepEqual(problems, []);
  await page.close();
}

async function withoutWebGL() {
  const browser = await launch(["--disable-3d-apis"]);
  try {
    const page = await browser.newPage();
    await page.goto(pathToFileURL(resolve(file)).href);
    await page.waitForSelector("html[data-ready]");
    assert.match(await page.$eval("#notice", (notice) => notice.innerText), /cannot draw in 3D/);
  } finally {
    await browser.close();
  }
}

const browser = await launch([]);
try {
  const measured = await desktop(browser);
  await phone(browser);
  await withoutWebGL();
  console.log(JSON.stringify(measured));
} finally {
  await browser.close();
}
