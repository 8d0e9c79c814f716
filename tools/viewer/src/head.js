// One head: its GLB decoded and read, how its surface is shown, its expression and its animation.

import {
  AnimationMixer,
  Box3,
  Color,
  Group,
  MeshBasicMaterial,
  MeshNormalMaterial,
  MeshStandardMaterial,
  Scene,
  TextureLoader,
  Vector3,
} from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

export const MODES = ["colour", "clay", "normals", "wires"];

const POSE_SECONDS = 0.1; // time constant of the way into a ready face
const SMALLEST_CHANGE = 1e-3;

/** Bytes of base64 text; the browser's own decoder where it has one. */
export function decode(text) {
  const bare = text.trim();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(bare);
  return Uint8Array.from(atob(bare), (letter) => letter.charCodeAt(0));
}

/** Reads a GLB from memory; nothing is fetched, pictures become blobs. */
async function parse(bytes) {
  const loader = new GLTFLoader();
  loader.register((parser) => {
    // The usual ImageBitmapLoader fetches blobs, which a page without any connection may not; <img> may show them.
    parser.textureLoader = new TextureLoader();
    return { name: "headartist_pictures" };
  });
  const exact = bytes.byteOffset === 0 && bytes.byteLength === bytes.buffer.byteLength;
  return loader.parseAsync(exact ? bytes.buffer : bytes.slice().buffer, "");
}

/** A head in its own scene, centred, of radius 1 until `scale` says otherwise, ready to be drawn. */
export class Head {
  /** @param about what the page knows of it: name, prompt, seed, ... @param bytes its GLB */
  static async load(about, bytes) {
    return new Head(about, bytes, await parse(bytes));
  }

  constructor(about, bytes, gltf) {
    this.about = about;
    this.bytes = bytes;
    this.scene = new Scene();
    this.meshes = [];
    gltf.scene.traverse((node) => node.isMesh && this.meshes.push(node));
    if (!this.meshes.length) throw new Error("it holds no triangles");
    this.triangles = 0;
    for (const mesh of this.meshes) {
      const { index, attributes } = mesh.geometry;
      this.triangles += (index ? index.count : attributes.position.count) / 3;
      if (!attributes.normal) mesh.geometry.computeVertexNormals();
      mesh.frustumCulled = false; // expressions and joints move it beyond its box
    }
    this.#frame(gltf.scene);
    this.#dress();

    this.names = [...new Set(this.meshes.flatMap((mesh) => Object.keys(mesh.morphTargetDictionary ?? {})))];
    this.goal = new Map();
    this.clip = gltf.animations.find((clip) => clip.duration > 0);
    if (this.clip) {
      this.mixer = new AnimationMixer(gltf.scene);
      this.action = this.mixer.clipAction(this.clip);
    }
  }

  /** Centres the model, and keeps its size for the camera. */
  #frame(model) {
    model.updateMatrixWorld(true);
    const box = new Box3();
    const point = new Vector3();
    for (const mesh of this.meshes) {
      for (let k = 0; k < mesh.geometry.attributes.position.count; k++) {
        box.expandByPoint(mesh.getVertexPosition(k, point).applyMatrix4(mesh.matrixWorld));
      }
    }
    this.centre = box.getCenter(new Vector3());
    this.size = box.getSize(new Vector3()).divideScalar(2);
    this.radius = Math.max(this.size.length(), 1e-9);
    this.frame = new Group();
    this.frame.add(model);
    this.scene.add(this.frame);
    this.scale(1 / this.radius);
  }

  /** Draws the model at so many times its own size; `extent` then holds half its width, height and depth. */
  scale(factor) {
    this.frame.scale.setScalar(factor);
    this.frame.position.copy(this.centre).multiplyScalar(-factor);
    this.extent = this.size.clone().multiplyScalar(factor);
  }

  /** Makes the materials of every mode, and a second mesh for the wires that follows the first. */
  #dress() {
    this.dresses = this.meshes.map((mesh) => {
      const side = mesh.material.side;
      const wires = mesh.clone();
      wires.material = new MeshBasicMaterial({ wireframe: true, transparent: true, opacity: 0.5, depthWrite: false });
      wires.morphTargetInfluences = mesh.morphTargetInfluences; // the same array, so both move as one
      wires.frustumCulled = false;
      wires.visible = false;
      mesh.parent.add(wires);
      const clay = new MeshStandardMaterial({ color: 0xc9bfb4, roughness: 0.9, metalness: 0, side });
      const paper = new MeshBasicMaterial({ side, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 });
      return { mesh, wires, colour: mesh.material, clay, normals: new MeshNormalMaterial({ side }), paper };
    });
  }

  /** Shows the surface in one of `MODES`; wires are drawn in `ink` on `paper`. */
  show(mode, { ink, paper }) {
    for (const dress of this.dresses) {
      dress.mesh.material = mode === "wires" ? dress.paper : dress[mode];
      dress.wires.visible = mode === "wires";
      dress.wires.material.color.copy(new Color(ink));
      dress.paper.color.copy(new Color(paper));
    }
  }

  weight(name) {
    for (const mesh of this.meshes) {
      const k = mesh.morphTargetDictionary?.[name];
      if (k !== undefined) return mesh.morphTargetInfluences[k];
    }
    return 0;
  }

  /** Sets a weight at once. */
  setWeight(name, value) {
    this.goal.delete(name);
    this.#put(name, value);
  }

  /** Sets out towards weights, to arrive within a moment. */
  aim(weights) {
    for (const [name, value] of weights) this.goal.set(name, value);
  }

  #put(name, value) {
    for (const mesh of this.meshes) {
      const k = mesh.morphTargetDictionary?.[name];
      if (k !== undefined) mesh.morphTargetInfluences[k] = value;
    }
  }

  get playing() {
    return Boolean(this.action?.isRunning());
  }

  /** Starts, goes on with or pauses the animation. */
  play(on) {
    if (!this.action) return;
    if (on) this.goal.clear();
    this.action.play();
    this.action.paused = !on;
  }

  /** Goes to a moment of the animation, in seconds. */
  seek(seconds) {
    this.play(false);
    this.action.time = seconds;
    this.mixer.update(0);
  }

  /** One frame's motion; returns whether there is more to come. */
  advance(seconds, { calm }) {
    if (this.playing) this.mixer.update(seconds);
    const share = calm ? 1 : 1 - Math.exp(-seconds / POSE_SECONDS);
    for (const [name, goal] of this.goal) {
      const rest = goal - this.weight(name);
      const arrives = calm || Math.abs(rest) < SMALLEST_CHANGE;
      this.#put(name, arrives ? goal : goal - rest * (1 - share));
      if (arrives) this.goal.delete(name);
    }
    return this.playing || this.goal.size > 0;
  }
}
