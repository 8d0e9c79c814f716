// The 52 ARKit expressions: how others spell and we group them, which belong together, a few ready faces. No drawing here.

const SIDES = { Left: "Right", Right: "Left" };

// These move the middle of the face to one side; the other name is their opposite, not their mirror image.
const SIDEWAYS = new Set(["jawLeft", "jawRight", "mouthLeft", "mouthRight"]);

const SIDED = `browDown browOuterUp cheekSquint eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp eyeSquint eyeWide mouthDimple
  mouthFrown mouthLowerDown mouthPress mouthSmile mouthStretch mouthUpperUp noseSneer`.split(/\s+/);
const MIDDLE = `browInnerUp cheekPuff jawForward jawOpen mouthClose mouthFunnel mouthPucker mouthRollLower mouthRollUpper
  mouthShrugLower mouthShrugUpper tongueOut`.split(/\s+/);
const ARKIT = new Set([...SIDED.flatMap((stem) => Object.keys(SIDES).map((side) => stem + side)), ...MIDDLE, ...SIDEWAYS]);
const SPELLINGS = new Map([...ARKIT].map((name) => [name.toLowerCase(), name]));
const MOST_WORDS = 4; // of a spelling: Eye_Look_In_L

/** Groups in the order they are shown, each with the prefixes of its names. */
const GROUPS = [
  ["Eyes", /^eye/],
  ["Brows", /^brow/],
  ["Cheeks and nose", /^(cheek|nose)/],
  ["Mouth", /^mouth/],
  ["Jaw and tongue", /^(jaw|tongue)/],
  ["Others", /^/],
];

const PREFIX = /^(eye|brow|cheek|mouth)(?=[A-Z])/;

/** Ready faces: weights by ARKit name; a name without its side stands for both sides. */
export const POSES = {
  Neutral: {},
  Smile: { mouthSmile: 0.85, cheekSquint: 0.45, eyeSquint: 0.25, mouthDimple: 0.2, browOuterUp: 0.1 },
  Blink: { eyeBlink: 1 },
  Open: { jawOpen: 0.75 },
  Surprised: { jawOpen: 0.45, browInnerUp: 0.9, browOuterUp: 0.9, eyeWide: 0.9, mouthFunnel: 0.25 },
  Sad: { mouthFrown: 0.75, browInnerUp: 0.8, eyeSquint: 0.2, mouthShrugLower: 0.35 },
  Angry: { browDown: 0.95, noseSneer: 0.6, mouthPress: 0.5, eyeSquint: 0.5, mouthFrown: 0.3 },
  Kiss: { mouthPucker: 0.95, eyeSquint: 0.15 },
};

/** The ARKit name that words end with, and where among them it begins; undefined where they end otherwise. */
function ending(words) {
  const few = words.slice(-MOST_WORDS).map((word, k, all) => (k < all.length - 1 ? word : unfolded(word)).toLowerCase());
  for (const k of few.keys()) {
    const name = SPELLINGS.get(few.slice(k).join(""));
    if (name) return { name, begin: words.length - few.length + k };
  }
}

/** A last word with its side in full: "L" as "Left", "BlinkR" as "BlinkRight". */
function unfolded(word) {
  return word.replace(/(?:^|(?<=[a-z]))[LR]$|^[lr]$/, (letter) => (letter.toUpperCase() === "L" ? "Left" : "Right"));
}

/** The ARKit name behind "eyeBlink_L", "EyeBlinkLeft" or "Mesh.eyeBlinkLeft"; undefined behind all other names. */
export function arkitName(text) {
  const words = text.match(/[\p{L}\p{N}]+/gu) ?? [];
  const found = ending(words);
  if (!found || words.some((word) => /^viseme/i.test(word))) return undefined;
  const before = words.slice(0, found.begin);
  // "jawOpen_mouthClose" is what both do together, neither of them.
  const mixed = before.some((_, k) => ending(before.slice(Math.max(0, k + 1 - MOST_WORDS), k + 1)));
  return mixed ? undefined : found.name;
}

/** One mesh's shapes by names that differ: ARKit's where it is one, a number where the file gives none. */
export function shapeNames(given, count) {
  const own = Array.from({ length: count }, (_, k) => readable(given[k]) || `shape ${k + 1}`);
  const exact = new Set(own.filter((name) => ARKIT.has(name)));
  const taken = new Set();
  return own.map((text) => {
    const known = exact.has(text) ? text : arkitName(text);
    let name = known && !taken.has(known) && (known === text || !exact.has(known)) ? known : text;
    for (let copy = 2; taken.has(name); copy++) name = `${text} (${copy})`;
    taken.add(name);
    return name;
  });
}

function readable(name) {
  return typeof name === "string" ? name.trim() : "";
}

/** Splits "eyeBlinkLeft" into ["eyeBlink", "Left"]; a name of no side, or of a sideways motion, has the side "". */
export function sideOf(name) {
  const match = SIDEWAYS.has(name) ? null : name.match(/^(.*[a-z])(Left|Right)$/);
  return match ? [match[1], match[2]] : [name, ""];
}

/** The expression that moves along when left and right are linked; undefined where there is none. */
export function partner(name) {
  const [stem, side] = sideOf(name);
  if (!side) return undefined;
  // Both eyes look the same way: what turns one inwards turns the other outwards.
  const twin = stem.replace(/^eyeLook(In|Out)$/, (_, way) => `eyeLook${way === "In" ? "Out" : "In"}`);
  return twin + SIDES[side];
}

/** The weights of a ready face, for the names a head has. */
export function poseWeights(pose, names) {
  const asked = new Map(Object.entries(POSES[pose]));
  const sided = new Set(names.map(sideOf).flatMap(([stem, side]) => (side ? [stem] : [])));
  const weight = ([stem, side]) => (side || !sided.has(stem) ? (asked.get(stem) ?? 0) : 0); // not both sides twice
  return new Map(names.map((name) => [name, weight(sideOf(name))]));
}

/** The ready faces that move something of a head with these names, and the way back. */
export function readyFaces(names) {
  const moving = Object.keys(POSES).filter((pose) => [...poseWeights(pose, names).values()].some(Boolean));
  return moving.length ? [Object.keys(POSES)[0], ...moving] : [];
}

/** "eyeLookInLeft" as "Look in": what a row of sliders is called. */
export function label(stem) {
  const words = stem
    .replace(PREFIX, "")
    .replace(/[_-]+/g, " ")
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .trim()
    .toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Rows of one or two names (left, right) under their group's title, for any list of names. */
export function grouped(names) {
  const groups = new Map(GROUPS.map(([title]) => [title, new Map()]));
  for (const name of names) {
    const [stem, side] = sideOf(name);
    const rows = groups.get(GROUPS.find(([, pattern]) => pattern.test(name))[0]);
    const key = side ? `${stem}*` : stem; // a shape for both sides has a row of its own
    const row = rows.get(key) ?? { stem, label: label(stem), cells: [] };
    row.cells.push({ name, side });
    rows.set(key, row);
  }
  for (const rows of groups.values()) {
    for (const { cells } of rows.values()) cells.sort((a, b) => a.side.localeCompare(b.side));
  }
  return [...groups].filter(([, rows]) => rows.size).map(([title, rows]) => ({ title, rows: [...rows.values()] }));
}
