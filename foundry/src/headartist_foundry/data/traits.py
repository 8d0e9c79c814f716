"""Traits: what is drawn and what the caption says, sampled together.

Colours of hair, beard, hat and skin are drawn independently of each other and of the age wherever nature allows it:
a model that only ever saw white beards under white hair would whiten the scalp when asked for a white beard.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

HAIR_COLORS = {
    "black": (0.06, 0.055, 0.055),
    "brown": (0.26, 0.15, 0.08),
    "blonde": (0.82, 0.65, 0.33),
    "red": (0.62, 0.21, 0.07),
    "grey": (0.52, 0.52, 0.53),
    "white": (0.90, 0.90, 0.88),
    "blue": (0.12, 0.25, 0.75),
    "pink": (0.90, 0.40, 0.62),
}
CLOTH_COLORS = {
    "black": (0.06, 0.06, 0.07),
    "brown": (0.34, 0.21, 0.12),
    "red": (0.66, 0.09, 0.08),
    "blue": (0.10, 0.22, 0.62),
    "white": (0.90, 0.90, 0.88),
    "green": (0.12, 0.42, 0.16),
    "yellow": (0.86, 0.70, 0.14),
    "purple": (0.38, 0.14, 0.52),
}
PAINT_COLORS = {
    "red": (0.75, 0.08, 0.07),
    "blue": (0.10, 0.24, 0.72),
    "green": (0.10, 0.48, 0.18),
    "white": (0.93, 0.93, 0.91),
    "black": (0.05, 0.05, 0.06),
    "yellow": (0.90, 0.74, 0.14),
}
SKIN_TONES = {"pale": (0.91, 0.79, 0.72), "tanned": (0.76, 0.53, 0.37), "dark": (0.30, 0.19, 0.13)}
"""Skins that are named for themselves; without one the skin is what is usual for the origin."""
ALIEN_COLORS = {"green": (0.28, 0.62, 0.16), "blue": (0.18, 0.38, 0.78), "purple": (0.50, 0.26, 0.66)}
STONE_COLORS = {"marble": (0.86, 0.85, 0.82), "bronze": (0.46, 0.29, 0.13), "gold": (0.83, 0.62, 0.18)}
EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smiling": {
        "mouthSmileLeft": 0.9,
        "mouthSmileRight": 0.9,
        "cheekSquintLeft": 0.5,
        "cheekSquintRight": 0.5,
        "mouthUpperUpLeft": 0.3,
        "mouthUpperUpRight": 0.3,
    },
    "surprised": {"jawOpen": 0.75, "browInnerUp": 0.7, "eyeWideLeft": 0.6, "eyeWideRight": 0.6},
    "angry": {
        "browDownLeft": 1.0,
        "browDownRight": 1.0,
        "noseSneerLeft": 0.6,
        "noseSneerRight": 0.6,
        "mouthFrownLeft": 0.6,
        "mouthFrownRight": 0.6,
    },
    "sad": {
        "browInnerUp": 1.0,
        "mouthFrownLeft": 0.9,
        "mouthFrownRight": 0.9,
        "eyeSquintLeft": 0.3,
        "eyeSquintRight": 0.3,
    },
    "eyes closed": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
}
HAIR_OF_MEN = {
    "bald": 27.0,
    "short": 33.0,
    "long": 6.0,
    "bob": 1.0,
    "braid": 1.0,
    "ponytail": 3.0,
    "afro": 7.0,
    "mohawk": 6.0,
    "curly": 8.0,
    "dreadlocks": 6.0,
    "bun": 1.5,
    "crown braid": 0.5,
}
HAIR_OF_WOMEN = {
    "bald": 6.0,
    "short": 15.0,
    "long": 24.0,
    "bob": 12.0,
    "braid": 7.0,
    "ponytail": 8.0,
    "afro": 5.0,
    "mohawk": 3.0,
    "curly": 8.0,
    "dreadlocks": 4.0,
    "bun": 4.0,
    "crown braid": 4.0,
}
HAIR_UNDER_HATS = ("bald", "short", "long", "bob", "dreadlocks")
BEARDS = {"short beard": 0.3, "full beard": 0.28, "goatee": 0.14, "moustache": 0.14, "stubble": 0.14}
HATS = {"fedora": 0.24, "cap": 0.22, "knitted hat": 0.22, "helmet": 0.16, "wizard hat": 0.16}
KINDS = {"human": 78.0, "alien": 8.0, "marble": 5.0, "bronze": 3.0, "gold": 1.5, "zombie": 4.5}


@dataclass(frozen=True)
class Traits:
    """Describe one synthetic person or creature in words.

    An empty string means that the thing is absent.
    """

    kind: str  # human, alien, zombie, marble, bronze, gold
    sex: str  # man, woman
    age: str  # young, middle-aged, old
    origin: str  # caucasian, african, asian
    build: str  # thin, "", overweight
    expression: str
    hair: str
    hair_color: str
    beard: str
    beard_color: str
    glasses: str  # "", glasses, sunglasses
    hat: str
    hat_color: str
    alien_color: str
    skin: str = ""  # "", pale, tanned, dark
    eye_color: str = "brown"
    freckles: str = ""  # "", freckles
    wrinkles: str = ""  # "", wrinkles
    paint: str = ""  # "", face paint, war paint, clown, skull
    paint_color: str = "red"

    @property
    def is_stone(self) -> bool:
        """Whether the whole head is of one solid material."""
        return self.kind in STONE_COLORS


def renamed_trait(name: str) -> str:
    """Translate a name in older files: `hair_colour` is `hair_color`."""
    return name.replace("colour", "color")


def pick(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """Sample a key in proportion to its weight."""
    values = np.array(list(weights.values()), float)
    return str(rng.choice(list(weights), p=values / values.sum()))


def _hair_style(rng: np.random.Generator, kind: str, sex: str) -> str:
    """Sample a hair style."""
    if kind == "alien" and rng.random() < 0.9:
        return "bald"
    if sex == "man":
        return pick(rng, HAIR_OF_MEN)
    return pick(rng, HAIR_OF_WOMEN)


def _hair_color(rng: np.random.Generator, age: str, origin: str) -> str:
    """Sample a hair colour."""
    if age == "old" and rng.random() < 0.6:
        return pick(rng, {"grey": 0.55, "white": 0.45})
    if rng.random() < 0.06:
        return pick(rng, {"blue": 1.0, "pink": 1.0, "white": 1.0})
    if origin == "caucasian":
        return pick(rng, {"black": 0.3, "brown": 0.26, "blonde": 0.26, "red": 0.18})
    return pick(rng, {"black": 0.62, "brown": 0.16, "blonde": 0.12, "red": 0.1})


def _marks(rng: np.random.Generator, kind: str, age: str) -> dict[str, str]:
    """Sample what is on the skin.

    Statues, aliens and the undead have their own.
    """
    told = {
        "skin": pick(rng, {"": 0.7, "pale": 0.1, "tanned": 0.1, "dark": 0.1}),
        "eye_color": pick(rng, {"brown": 0.4, "blue": 0.25, "green": 0.2, "grey": 0.15}),
        "freckles": "freckles" if rng.random() < 0.1 else "",
        "wrinkles": "wrinkles" if rng.random() < {"young": 0.0, "middle-aged": 0.12, "old": 0.45}[age] else "",
        "paint": pick(rng, {"": 0.9, "face paint": 0.025, "war paint": 0.025, "clown": 0.03, "skull": 0.02}),
        "paint_color": pick(rng, dict.fromkeys(PAINT_COLORS, 1.0)),
    }
    if kind != "human":
        told |= {"skin": "", "freckles": "", "paint": "", "wrinkles": "" if kind == "alien" else told["wrinkles"]}
    return told


def sample_traits(rng: np.random.Generator) -> Traits:
    """Sample one character; every draw comes from `rng`."""
    kind = pick(rng, KINDS)
    sex = pick(rng, {"man": 0.5, "woman": 0.5})
    age = pick(rng, {"young": 0.4, "middle-aged": 0.25, "old": 0.35})
    origin = pick(rng, {"caucasian": 1.0, "african": 1.0, "asian": 1.0})
    hair = _hair_style(rng, kind, sex)
    hair_color = _hair_color(rng, age, origin)
    beard = pick(rng, BEARDS) if sex == "man" and kind != "alien" and rng.random() < 0.45 else ""
    beard_color = (
        hair_color if rng.random() < 0.6 else pick(rng, dict.fromkeys(("black", "brown", "white", "grey", "red"), 1.0))
    )
    hat = pick(rng, HATS) if kind != "alien" and hair in HAIR_UNDER_HATS and rng.random() < 0.22 else ""
    expressions = {"neutral": 0.45, "smiling": 0.22, "surprised": 0.11, "angry": 0.1, "sad": 0.05, "eyes closed": 0.07}
    return Traits(
        kind=kind,
        sex=sex,
        age=age,
        origin=origin,
        build=pick(rng, {"thin": 0.16, "": 0.68, "overweight": 0.16}),
        expression="neutral" if kind == "alien" else pick(rng, expressions),
        hair=hair,
        hair_color=hair_color,
        beard=beard,
        beard_color=beard_color,
        glasses="" if rng.random() < 0.81 else pick(rng, {"glasses": 0.65, "sunglasses": 0.35}),
        hat=hat,
        hat_color=pick(rng, dict.fromkeys(CLOTH_COLORS, 1.0)),
        alien_color=pick(rng, {"green": 0.66, "blue": 0.2, "purple": 0.14}),
        **_marks(rng, kind, age),
    )
