// The 52 ARKit expressions: how they are grouped, which belong together, and a few ready faces. No drawing here.

const SIDES = { Left: "Right", Right: "Left" };

// These move the middle of the face to one side; the other name is their opposite, not their mirror image.
const SIDEWAYS = new Set(["jawLeft", "jawRight", "mouthLeft", "mouthRight"]);

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
  const asked = POSES[pose];
  return new Map(names.map((name) => [name, asked[name] ?? asked[sideOf(name)[0]] ?? 0]));
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
    const row = rows.get(stem) ?? { stem, label: label(stem), cells: [] };
    row.cells.push({ name, side });
    rows.set(stem, row);
  }
  for (const rows of groups.values()) {
    for (const { cells } of rows.values()) cells.sort((a, b) => a.side.localeCompare(b.side));
  }
  return [...groups].filter(([, rows]) => rows.size).map(([title, rows]) => ({ title, rows: [...rows.values()] }));
}
