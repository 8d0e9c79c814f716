// Where a camera stands around a head, and the gestures that move it. Angles in radians, lengths in head radii.

const SETTLE_SECONDS = 0.07; // how quickly the picture follows the hand
const STEEPEST = Math.PI / 2 - 0.02;
const NEAREST = 0.35; // of the distance at which the whole head fits
const FARTHEST = 4;
const TURN_SECONDS = 16;
const TURN_PER_PIXEL = 0.0075;
const FRONT = { azimuth: 0, elevation: 0.06, zoom: 1, x: 0, y: 0 };
const SMALLEST_CHANGE = 1e-4;

/** A view: where the camera is (`now`) and where it is going (`goal`). Azimuth 0 sees the face, +90 deg its left side. */
export class View {
  constructor(other) {
    this.now = { ...(other?.now ?? FRONT) };
    this.goal = { ...(other?.goal ?? FRONT) };
  }

  turn(azimuth, elevation) {
    this.goal.azimuth += azimuth;
    this.goal.elevation = clamp(this.goal.elevation + elevation, -STEEPEST, STEEPEST);
  }

  /** Comes nearer by a factor above 1. */
  approach(factor) {
    this.goal.zoom = clamp(this.goal.zoom * factor, 1 / FARTHEST, 1 / NEAREST);
  }

  /** Shifts the head across the picture, in heights of the picture. */
  shift(x, y) {
    this.goal.x = clamp(this.goal.x + x / this.goal.zoom, -1, 1);
    this.goal.y = clamp(this.goal.y + y / this.goal.zoom, -1, 1);
  }

  /** Back to the face, by the shorter way round; `azimuth` looks from another side. */
  front(azimuth = 0) {
    const turns = Math.round((this.goal.azimuth - azimuth) / (2 * Math.PI));
    this.goal = { ...FRONT, azimuth: azimuth + 2 * Math.PI * turns };
  }

  /** One frame's motion; returns whether there is more to come. */
  advance(seconds, { calm, turning }) {
    if (turning) {
      const step = (2 * Math.PI * seconds) / TURN_SECONDS;
      this.goal.azimuth += step;
      this.now.azimuth += step;
    }
    const share = calm ? 1 : 1 - Math.exp(-seconds / SETTLE_SECONDS);
    let moving = turning;
    for (const key of Object.keys(this.now)) {
      const rest = this.goal[key] - this.now[key];
      const arrives = Math.abs(rest) < SMALLEST_CHANGE;
      this.now[key] += arrives ? rest : rest * share;
      moving ||= !arrives && !calm;
    }
    return moving;
  }

  /** Puts a camera there; `fit` is the distance at which the whole head is seen. */
  place(camera, fit) {
    const { azimuth, elevation, zoom, x, y } = this.now;
    const distance = fit / zoom;
    camera.position.set(
      distance * Math.sin(azimuth) * Math.cos(elevation),
      distance * Math.sin(elevation),
      distance * Math.cos(azimuth) * Math.cos(elevation),
    );
    camera.lookAt(0, 0, 0);
    const height = 2 * fit * Math.tan((camera.fov * Math.PI) / 360);
    camera.translateX(-x * height);
    camera.translateY(-y * height);
    camera.updateMatrixWorld();
  }
}

/** One finger or the left button turns; two fingers, the other buttons or Shift shift; pinch and wheel come nearer. */
export function listen(element, { view, touched }) {
  const pointers = new Map();
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    element.dataset.dragging = "";
    touched();
  });
  element.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const before = pinch(pointers);
    const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const height = element.clientHeight;
    if (pointers.size > 1) {
      const after = pinch(pointers);
      view().approach(after.spread / Math.max(before.spread, 1));
      view().shift((after.x - before.x) / height, -(after.y - before.y) / height);
    } else if (event.buttons & 6 || event.shiftKey) {
      view().shift(dx / height, -dy / height);
    } else {
      view().turn(-dx * TURN_PER_PIXEL, dy * TURN_PER_PIXEL);
    }
    touched();
  });
  const lift = (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) delete element.dataset.dragging;
  };
  element.addEventListener("pointerup", lift);
  element.addEventListener("pointercancel", lift);
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1);
      view().approach(Math.exp(-clamp(pixels, -200, 200) * 0.0015));
      touched();
    },
    { passive: false },
  );
}

function pinch(pointers) {
  const [a, b = a] = pointers.values();
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, spread: Math.hypot(a.x - b.x, a.y - b.y) };
}

function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}
