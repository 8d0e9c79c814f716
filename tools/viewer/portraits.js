// Shows the heads of a viewer page smiling, blinking and opening the mouth: node portraits.js PAGE PICTURE.png.
// CHROMIUM names the browser. Prints how long the first picture took, in milliseconds.

import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [file, picture] = process.argv.slice(2);
const VIEW = { width: 900, height: 360 };
const POSES = [
  { mouthSmileLeft: 1, mouthSmileRight: 1, cheekSquintLeft: 0.5, cheekSquintRight: 0.5 },
  { eyeBlinkLeft: 1, eyeBlinkRight: 1 },
  { jawOpen: 0.8 },
];

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"],
});
try {
  const page = await browser.newPage();
  await page.setViewport(VIEW);
  await page.emulateMediaFeatures([{ name: "prefers-reduced-motion", value: "reduce" }]);
  const began = Date.now();
  await page.goto(pathToFileURL(resolve(file)).href);
  await page.waitForSelector("html[data-ready]", { timeout: 180_000 });
  console.log(JSON.stringify({ first_picture_ms: Date.now() - began }));
  const shots = [];
  for (const pose of POSES) {
    await page.$$eval(
      "input[data-name]",
      (sliders, pose) => {
        for (const slider of sliders) {
          slider.value = pose[slider.dataset.name] ?? 0;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
        }
      },
      pose,
    );
    await new Promise((done) => setTimeout(done, 3000)); // software draws slowly
    shots.push(await page.screenshot({ encoding: "base64", captureBeyondViewport: false }));
  }
  const sheet = await (await browser.newPage()).evaluate(
    async (shots, { width, height }) => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [width, height * shots.length];
      for (const [row, shot] of shots.entries()) {
        const image = new Image();
        image.src = `data:image/png;base64,${shot}`;
        await image.decode();
        canvas.getContext("2d").drawImage(image, 0, row * height);
      }
      return canvas.toDataURL("image/png").split(",")[1];
    },
    shots,
    VIEW,
  );
  writeFileSync(picture, Buffer.from(sheet, "base64"));
} finally {
  await browser.close();
}
