// A GLB of anybody's, read from memory: nothing is fetched, and what the page has no use for is left out.

import { TextureLoader } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { MeshoptDecoder } from "three/addons/libs/meshopt_decoder.module.js";
import { shapeNames } from "./expressions.js";

const DRACO = "KHR_draco_mesh_compression";
const SURFACES = [undefined, 4, 5, 6]; // triangles, strips and fans of them

/** Why a head cannot be shown, in words for its user. */
export class Unshowable extends Error {}

/** Reads a GLB: its `model`, the meshes with triangles and their shapes' names, and the first animation that moves. */
export async function readModel(bytes) {
  const loader = new GLTFLoader().setMeshoptDecoder(MeshoptDecoder);
  let given;
  loader.register((parser) => {
    given = prepare(parser.json);
    // The usual ImageBitmapLoader fetches blobs, which a page without any connection may not; <img> may show them.
    parser.textureLoader = new TextureLoader();
    return { name: "headartist", loadBufferView: (k) => padded(parser, k) };
  });
  const exact = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  const { scene: model, animations, parser } = await loader.parseAsync(exact ? bytes.buffer : bytes.slice().buffer, "");
  const [meshes, lights] = [[], []];
  model.traverse((node) => {
    if (node.isMesh && node.geometry.attributes.position) meshes.push(node);
    if (node.isLight) lights.push(node);
  });
  for (const light of lights) light.removeFromParent(); // the page has a lamp of its own
  if (!meshes.length) throw new Unshowable("it holds no triangles");
  const names = (mesh) =>
    shapeNames(given[parser.associations.get(mesh)?.meshes] ?? [], mesh.morphTargetInfluences?.length ?? 0);
  if (parser.json.extensions?.VRM) model.rotation.y = Math.PI; // before VRM 1.0, they looked the other way
  return {
    model,
    meshes: meshes.map((mesh) => ({ mesh, names: names(mesh) })),
    clip: animations.find((clip) => clip.duration > 0),
  };
}

/** Leaves one scene, whole shapes, and no Draco streams where there is a way without; returns the shapes' names of every mesh. */
function prepare(json) {
  json.scenes = [shownScene(json)];
  json.scene = 0;
  json.extensionsUsed = json.extensionsUsed?.filter((name) => name !== DRACO);
  const meshes = json.meshes ?? [];
  for (const primitive of meshes.flatMap(({ primitives }) => primitives)) {
    delete primitive.extensions?.[DRACO];
    fillShapes(json, primitive);
  }
  return meshes.map((mesh) => {
    const given = targetNames(mesh);
    delete mesh.extras?.targetNames; // they are read here, for good
    return given;
  });
}

/** Writes that a shape leaves alone what another moves; the loader would take the surface itself for what is missing. */
function fillShapes({ accessors }, { targets = [], attributes }) {
  for (const key of new Set(targets.flatMap(Object.keys))) {
    if (targets.every((target) => key in target) || !(key in attributes)) continue;
    const { type, count } = accessors[attributes[key]];
    const none = { componentType: 5126, type, count, min: [0, 0, 0], max: [0, 0, 0] };
    const zeros = accessors.push(none) - 1;
    for (const target of targets) target[key] ??= zeros;
  }
}

/** A stretch of data whose last element lacks the gap that follows the others, which the loader counts on. */
function padded(parser, k) {
  const { buffer, byteOffset = 0, byteLength, byteStride } = parser.json.bufferViews[k];
  if (!byteStride || byteLength % byteStride === 0) return null;
  return parser.getDependency("buffer", buffer).then((data) => {
    const whole = new Uint8Array(Math.ceil(byteLength / byteStride) * byteStride);
    whole.set(new Uint8Array(data, byteOffset, byteLength));
    return whole.buffer;
  });
}

/** The names where their writers put them: in the mesh, in its first surface, or with each shape. */
function targetNames({ extras, primitives: [first] }) {
  const lists = [extras?.targetNames, first?.extras?.targetNames];
  return lists.find(Array.isArray) ?? first?.targets?.map((target) => target.extras?.name) ?? [];
}

/** The scene to open with where it holds triangles, or else the first that does; all nodes where there are no scenes. */
function shownScene({ scenes, scene = 0, nodes = [], meshes = [] }) {
  if (!scenes?.length) {
    const inner = new Set(nodes.flatMap(({ children = [] }) => children));
    return { nodes: [...nodes.keys()].filter((k) => !inner.has(k)) };
  }
  const isSurface = ({ mesh, children = [] }) =>
    meshes[mesh]?.primitives.some(({ mode }) => SURFACES.includes(mode)) || children.some((k) => isSurface(nodes[k]));
  const holds = (one) => one?.nodes?.some((k) => isSurface(nodes[k]));
  return [scenes[scene], ...scenes].find(holds) ?? scenes[0];
}
