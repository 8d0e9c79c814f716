// One head: its GLB decoded, how its surface is shown, its expression and its animation.

import {
  AnimationMixer,
  Box3,
  Color,
  Group,
  MeshBasicMaterial,
  MeshNormalMaterial,
  MeshStandardMaterial,
  Scene,
  Vector3,
} from "three";
import { Unshowable, readModel } from "./model.js";

export const MODES = ["colour", "clay", "normals", "wires"];

const POSE_SECONDS = 0.1; // time constant of the way into a ready face
const SMALLEST_CHANGE = 1e-3;

/** Bytes of base64 text; the browser's own decoder where it has one. */
export function decode(text) {
  const bare = text.trim();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(bare);
  return Uint8Array.from(atob(bare), (letter) => letter.charCodeAt(0));
}

/** A head in its own scene, centred, of radius 1 until `scale` says otherwise, ready to be drawn. */
export class Head {
  /** @param about what the page knows of it: name, prompt, seed, ... @param bytes its GLB */
  static async load(about, bytes) {
    return new Head(about, bytes, await readModel(bytes));
  }

  constructor(about, bytes, { model, meshes, clip }) {
    this.about = about;
    this.bytes = bytes;
    this.scene = new Scene();
    this.meshes = meshes.map(({ mesh }) => mesh);
    this.triangles = 0;
    for (const mesh of this.meshes) {
      const { index, attributes } = mesh.geometry;
      this.triangles += (index ? index.count : attributes.position.count) / 3;
      if (!attributes.normal) mesh.geometry.computeVertexNormals();
      mesh.frustumCulled = false; // expressions and joints move it beyond its box
    }
    this.#frame(model);
    this.#dress();
    this.#bind(meshes);

    this.goal = new Map();
    this.clip = clip;
    if (clip) {
      this.mixer = new AnimationMixer(model);
      this.action = this.mixer.clipAction(clip);
    }
  }

  /** Centres the model, and keeps its size for the camera. */
  #frame(model) {
    model.updateMatrixWorld(true);
    const box = new Box3().setFromObject(model, true);
    this.centre = box.getCenter(new Vector3());
    this.size = box.getSize(new Vector3()).divideScalar(2);
    this.radius = Math.max(this.size.length(), 1e-9);
    if (!Number.isFinite(this.radius)) throw new Unshowable("its vertices lie at places that are no finite numbers");
    this.frame = new Group();
    this.frame.add(model);
    this.scene.add(this.frame);
    this.scale(1 / this.radius);
  }

  /** Ties each name to the weights it moves: the shapes of that name in all meshes. */
  #bind(meshes) {
    this.shapes = new Map();
    for (const { mesh, names } of meshes) {
      for (const [k, name] of names.entries()) {
        if (!this.shapes.has(name)) this.shapes.set(name, []);
        this.shapes.get(name).push({ weights: mesh.morphTargetInfluences, k });
      }
    }
    this.names = [...this.shapes.keys()];
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
      // Nothing is around the head that metal could mirror: it would be black, and a glTF that says nothing is metal.
      if (mesh.material.metalness) mesh.material.metalness = 0;
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
    const [first] = this.shapes.get(name) ?? [];
    return first ? first.weights[first.k] : 0;
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
    for (const { weights, k } of this.shapes.get(name) ?? []) weights[k] = value;
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
