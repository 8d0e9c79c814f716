// Prints the Khronos validator's report of one GLB as JSON: node validate.js FILE (after `npm ci` in this folder).
"use strict";

const fs = require("fs");
const validator = require("gltf-validator");

const [file] = process.argv.slice(2);
if (!file) {
  console.error("usage: node validate.js FILE");
  process.exit(2);
}

validator
  .validateBytes(new Uint8Array(fs.readFileSync(file)), { uri: file })
  .then((report) => {
    console.log(JSON.stringify(report.issues, null, 2));
    process.exit(report.issues.numErrors + report.issues.numWarnings > 0 ? 1 : 0);
  })
  .catch((error) => {
    console.error(String(error));
    process.exit(2);
  });
