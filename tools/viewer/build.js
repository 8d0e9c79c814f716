// Bundles the page into src/headartist/viewer/viewer.html: `node build.js`; with --check it only compares, and fails on a difference.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const here = (path) => new URL(path, import.meta.url);
const TARGET = here("../../src/headartist/viewer/viewer.html");
const PLACE_FOR_HEADS = "<!-- heads -->";
const BROWSERS = ["chrome123", "firefox120", "safari17.5"];

async function bundle(entry) {
  const { outputFiles } = await build({
    entryPoints: [here(entry).pathname],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: BROWSERS,
    charset: "utf8",
    legalComments: "inline",
  });
  return outputFiles[0].text.trim();
}

/** What a Content-Security-Policy calls an inline script or style. */
function fingerprint(text) {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

const script = await bundle("src/viewer.js");
const style = await bundle("src/viewer.css");
const parts = {
  LICENCE: readFileSync(here("node_modules/three/LICENSE"), "utf8").trim(),
  POLICY: [
    "default-src 'none'",
    `script-src ${fingerprint(script)} 'wasm-unsafe-eval'`, // the decoder of meshoptimizer is WebAssembly
    `style-src ${fingerprint(style)}`,
    "img-src blob: data:",
    "connect-src data:", // buffers that a GLB spells out in its JSON
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; "),
  STYLE: style,
  HEADS: PLACE_FOR_HEADS,
  SCRIPT: script,
};
const page = readFileSync(here("src/page.html"), "utf8").replace(/%([A-Z]+)%/g, (_, name) => parts[name]);
if (page.split(PLACE_FOR_HEADS).length !== 2) throw new Error(`${PLACE_FOR_HEADS} must stand in the page once`);

if (process.argv.includes("--check")) {
  if (readFileSync(TARGET, "utf8") !== page) {
    console.error("src/headartist/viewer/viewer.html is not what tools/viewer makes: run `npm run build` there.");
    process.exit(1);
  }
} else {
  writeFileSync(TARGET, page);
  console.log(`${TARGET.pathname}: ${page.length} characters`);
}
