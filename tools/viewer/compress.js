// Packs the data of a GLB with meshoptimizer: node compress.js IN.glb OUT.glb EXTENSION, EXT_ or KHR_meshopt_compression.
// For files whose every accessor has a buffer view of its own, without gaps.

import { readFileSync, writeFileSync } from "node:fs";
import { MeshoptEncoder } from "meshoptimizer";

const [source, target, extension] = process.argv.slice(2);
const JSON_CHUNK = 0x4e4f534a;
const BINARY_CHUNK = 0x004e4942;
const MULTIPLE = 4; // of bytes, which each element of a packed attribute takes

const glb = readFileSync(source);
const length = glb.readUInt32LE(12);
const document = JSON.parse(glb.subarray(20, 20 + length));
const data = glb.subarray(28 + length);

await MeshoptEncoder.ready;
const indices = new Set(document.meshes.flatMap(({ primitives }) => primitives.map((primitive) => primitive.indices)));
const pieces = [];
let end = 0;
function put(bytes) {
  const start = end;
  pieces.push(Buffer.from(bytes), Buffer.alloc(-bytes.length & 3));
  end += bytes.length + (-bytes.length & 3);
  return { buffer: 0, byteOffset: start, byteLength: bytes.length };
}
for (const [k, view] of document.bufferViews.entries()) {
  const raw = data.subarray(view.byteOffset ?? 0, (view.byteOffset ?? 0) + view.byteLength);
  const number = document.accessors.findIndex((accessor) => accessor.bufferView === k);
  const count = document.accessors[number]?.count;
  const byteStride = raw.length / count;
  if (!count || byteStride % MULTIPLE) {
    Object.assign(view, put(raw));
    continue;
  }
  const mode = indices.has(number) ? "TRIANGLES" : "ATTRIBUTES";
  const version = extension.startsWith("KHR") ? 1 : 0;
  const packed = put(MeshoptEncoder.encodeGltfBuffer(raw, count, byteStride, mode, version));
  Object.assign(view, { buffer: 1, extensions: { [extension]: { ...packed, byteStride, count, mode } } });
}
document.buffers = [{ byteLength: end }, { byteLength: data.length, extensions: { [extension]: { fallback: true } } }];
document.extensionsUsed = document.extensionsRequired = [extension];

const text = Buffer.from(JSON.stringify(document));
const words = Buffer.concat([text, Buffer.alloc(-text.length & 3, " ")]);
const header = (...numbers) => Buffer.from(Uint32Array.from(numbers).buffer);
const parts = [header(words.length, JSON_CHUNK), words, header(end, BINARY_CHUNK), ...pieces];
writeFileSync(target, Buffer.concat([Buffer.from("glTF"), header(2, 28 + words.length + end), ...parts]));
