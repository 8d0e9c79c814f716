// The canvas: one renderer that draws every head into its own cell of the page.

import { AmbientLight, Color, DirectionalLight, PerspectiveCamera, WebGLRenderer } from "three";

const FOV_DEG = 28; // a portrait lens
const MARGIN = 1.12; // room around a head that fits
const SHARPEST = 2; // device pixels per CSS pixel that are worth their price
const KEY_SHARE = 0.62; // of a white surface's brightness, from the key light at strength 1
const FILL_LOSS = 0.42; // what the even light gives up for it
const LONGEST_PICTURE = 4096;

/** The backdrops: colours in the middle and at the edge; "" is nothing at all. */
export const BACKDROPS = {
  auto: null,
  white: ["#ffffff", "#ffffff"],
  grey: ["#808080", "#808080"],
  black: ["#000000", "#000000"],
  none: ["", ""],
};
const AUTO = { light: ["#fbfaf8", "#dcdad5"], dark: ["#34363b", "#17181b"] };

/** Middle and edge of a backdrop by its name, or of any CSS colour. */
export function backdrop(name, dark) {
  if (name === "auto") return AUTO[dark ? "dark" : "light"];
  return BACKDROPS[name] ?? [name, name];
}

/** Whether dark letters read better than light ones on a backdrop. */
export function wantsDarkInk([middle], dark) {
  if (!middle) return !dark;
  const { r, g, b } = new Color(middle);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.2; // linear light
}

export class Stage {
  /** @throws where the browser has no WebGL 2 */
  constructor(canvas) {
    this.canvas = canvas;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true, powerPreference: "high-performance" });
    this.renderer.setScissorTest(true);
    this.renderer.setClearColor(0, 0);
    this.camera = new PerspectiveCamera(FOV_DEG, 1, 0.05, 50);
    this.fill = new AmbientLight();
    this.key = new DirectionalLight();
    this.light = { azimuth: 35, elevation: 35, strength: 1, follows: true };
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, SHARPEST));
    this.renderer.setSize(width, height, false);
  }

  /** Draws `cells`: each an element, the head and view it shows, and how many pixels above and below letters take. */
  draw(cells) {
    const room = this.canvas.getBoundingClientRect();
    this.renderer.setScissor(0, 0, room.width, room.height);
    this.renderer.clear();
    const shown = cells.filter(({ head }) => head);
    for (const { element, head, view, above, below } of shown) {
      const box = element.getBoundingClientRect();
      const free = Math.max(box.height - above - below, box.height / 3);
      const corner = [box.left - room.left, room.bottom - box.bottom];
      this.renderer.setViewport(...corner, box.width, box.height);
      this.renderer.setScissor(...corner, box.width, box.height);
      // One distance for all, so that heads of the same scale are seen in the same size.
      const far = Math.max(...shown.map((other) => distance(other.head.extent, box.width / free)));
      view.place(this.#lens(box, (above - below) / 2), (far * box.height) / free);
      this.#shine(head.scene);
      this.renderer.render(head.scene, this.camera);
    }
  }

  /** The backdrop and the heads as a PNG, as large as is sensible. */
  async picture(cells, [middle, edge]) {
    const ratio = this.renderer.getPixelRatio();
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    this.renderer.setPixelRatio(Math.min(2 * SHARPEST, Math.max(1, LONGEST_PICTURE / Math.max(width, height))));
    this.draw(cells);
    const paper = document.createElement("canvas");
    paper.width = this.canvas.width;
    paper.height = this.canvas.height;
    const pen = paper.getContext("2d");
    if (middle) {
      const [x, y] = [paper.width / 2, paper.height * 0.42];
      const shade = pen.createRadialGradient(x, y, 0, x, y, Math.hypot(x, paper.height - y));
      shade.addColorStop(0, middle);
      shade.addColorStop(1, edge);
      pen.fillStyle = shade;
      pen.fillRect(0, 0, paper.width, paper.height);
    }
    pen.drawImage(this.canvas, 0, 0);
    this.renderer.setPixelRatio(ratio);
    this.draw(cells);
    return new Promise((done) => paper.toBlob(done, "image/png"));
  }

  /** The camera for a box of pixels, its centre so many of them lower. */
  #lens({ width, height }, lower) {
    this.camera.aspect = width / height;
    this.camera.setViewOffset(width, height, 0, -lower, width, height);
    return this.camera;
  }

  #shine(scene) {
    const { azimuth, elevation, strength, follows } = this.light;
    const [a, e] = [(azimuth * Math.PI) / 180, (elevation * Math.PI) / 180];
    // A white surface in even light of intensity pi is white: at strength 0 colours are the texture's own.
    this.fill.intensity = Math.PI * (1 - FILL_LOSS * Math.min(strength, 1));
    this.key.intensity = Math.PI * KEY_SHARE * strength;
    this.key.position.set(Math.sin(a) * Math.cos(e), Math.sin(e), Math.cos(a) * Math.cos(e));
    if (follows) this.key.position.applyQuaternion(this.camera.quaternion);
    scene.add(this.fill, this.key);
  }
}

/** From where a head of these half extents fills the picture, but never leaves it when it turns. */
function distance({ x, y, z }, aspect) {
  const half = Math.tan((FOV_DEG * Math.PI) / 360);
  return MARGIN * Math.max(y / half + z, Math.max(x, z) / (half * aspect) + Math.min(x, z));
}
